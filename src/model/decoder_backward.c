/* The decoder's backward: the forward's steps in reverse, each with its hand-written gradient. Nothing is propagated
 * below the lowest layer that trains, and frozen weights get no gradient. */
#include "model/decoder_run.h"
#include "tensor/kernels.h"
#include <string.h>

/* d_x [Q, C] is the gradient of the layer's output and becomes that of x_mid. */
static void mlp_block_backward(const struct decoder *decoder, struct decoder_run *run, int64_t l, int64_t Q,
                               float *d_x) {
    const struct model_config *c = &decoder->config;
    const struct decoder_layer *layer = &decoder->layers[l];
    const struct layer_activations *a = &run->layers[l];
    const struct projection *p = layer->projections;
    const struct projection_scratch *scratch = &run->scratch;
    projection_backward(&p[PROJECTION_DOWN], run->d_act, d_x, a->act, a->xa[PROJECTION_DOWN], Q, false,
                        run_dropout(decoder, run, l, PROJECTION_DOWN), scratch);
    float *d_gate = run->d_act;
    swiglu_backward(d_gate, run->d_up, run->d_act, a->gate, a->up, Q, c->F);
    projection_backward(&p[PROJECTION_GATE], run->d_normed, d_gate, a->mlp_in, a->xa[PROJECTION_GATE], Q, false,
                        run_dropout(decoder, run, l, PROJECTION_GATE), scratch);
    projection_backward(&p[PROJECTION_UP], run->d_normed, run->d_up, a->mlp_in, a->xa[PROJECTION_UP], Q, true,
                        run_dropout(decoder, run, l, PROJECTION_UP), scratch);
    rmsnorm_backward(d_x, layer->mlp_norm.d_weight, run->d_normed, a->x_mid, layer->mlp_norm.weight.data, a->mlp_rms, Q,
                     c->C, run->norm_sums);
}

/* From d_x, the gradient of x_mid [Q, C], the gradients of q, k and v before rotation. */
static void attention_core_backward(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch,
                                    int64_t l, bool pooled, const float *d_x) {
    const struct model_config *c = &decoder->config;
    const struct layer_activations *a = &run->layers[l];
    const int64_t Q = pooled ? batch->N : batch->T;
    projection_backward(&decoder->layers[l].projections[PROJECTION_O], run->d_attended, d_x, a->attended,
                        a->xa[PROJECTION_O], Q, false, run_dropout(decoder, run, l, PROJECTION_O), &run->scratch);
    const struct attention_shape shape = run_attention_shape(decoder);
    const struct attention_batch queries = run_attention_batch(run, batch, pooled);
    attention_backward(run->d_q, run->d_k, run->d_v, run->d_attended, a->attended, a->log_sum, a->q, a->k, a->v, &shape,
                       &queries, run->delta);
    rope_backward(run->d_q, pooled ? run->last_position : run->position, run->rope_cosines, run->rope_sines, Q, c->H,
                  c->D);
    rope_backward(run->d_k, run->position, run->rope_cosines, run->rope_sines, batch->T, c->K, c->D);
}

/* From the gradients of q, k and v, those of the three projections and, with propagate, of their input: run->d_normed
 * [T, C]. */
static void attention_inputs_backward(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch,
                                      int64_t l, bool pooled, bool propagate) {
    const struct layer_activations *a = &run->layers[l];
    const struct projection *p = decoder->layers[l].projections;
    const struct projection_scratch *scratch = &run->scratch;
    const int64_t T = batch->T, Q = pooled ? batch->N : T;
    float *d_in = propagate ? run->d_normed : NULL;
    projection_backward(&p[PROJECTION_K], d_in, run->d_k, a->attention_in, a->xa[PROJECTION_K], T, false,
                        run_dropout(decoder, run, l, PROJECTION_K), scratch);
    projection_backward(&p[PROJECTION_V], d_in, run->d_v, a->attention_in, a->xa[PROJECTION_V], T, true,
                        run_dropout(decoder, run, l, PROJECTION_V), scratch);
    float *d_query_in = propagate && pooled ? run->d_query_in : d_in;
    projection_backward(&p[PROJECTION_Q], d_query_in, run->d_q, a->query_in, a->xa[PROJECTION_Q], Q, !pooled,
                        run_dropout(decoder, run, l, PROJECTION_Q), scratch);
    if (propagate && pooled) rows_scatter_add(run->d_normed, run->d_query_in, run->last_rows, Q, decoder->config.C);
}

void decoder_classify_backward(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch,
                               const float *d_logits) {
    const struct model_config *c = &decoder->config;
    const int64_t T = batch->T, N = batch->N;
    const bool below_head = run->lowest_trained < c->L || decoder->final_norm.d_weight != NULL;
    projection_backward(&decoder->head, below_head ? run->d_query_in : NULL, d_logits, run->final_in, NULL, N, false,
                        (struct dropout){0}, &run->scratch);
    if (!below_head) return;
    memset(run->d_rows, 0, (size_t)(N * c->C) * sizeof *run->d_rows);
    rmsnorm_backward(run->d_rows, decoder->final_norm.d_weight, run->d_query_in, run->x_out,
                     decoder->final_norm.weight.data, run->final_rms, N, c->C, run->norm_sums);
    for (int64_t l = c->L - 1; l >= 0 && l >= run->lowest_trained; l--) {
        const bool pooled = l == c->L - 1;
        float *d_x = pooled ? run->d_rows : run->d_x;
        mlp_block_backward(decoder, run, l, pooled ? N : T, d_x);
        attention_core_backward(decoder, run, batch, l, pooled, d_x);
        const struct norm *norm = &decoder->layers[l].attention_norm;
        const bool propagate = l > run->lowest_trained || norm->d_weight != NULL;
        attention_inputs_backward(decoder, run, batch, l, pooled, propagate);
        if (!propagate) return;
        if (pooled) {
            memset(run->d_x, 0, (size_t)(T * c->C) * sizeof *run->d_x);
            rows_scatter_add(run->d_x, run->d_rows, run->last_rows, N, c->C);
        }
        rmsnorm_backward(run->d_x, norm->d_weight, run->d_normed, run->layers[l].x_in, norm->weight.data,
                         run->layers[l].attention_rms, T, c->C, run->norm_sums);
    }
    if (decoder->d_embedding != NULL) embedding_backward(decoder->d_embedding, run->d_x, batch->tokens, T, c->C);
}
