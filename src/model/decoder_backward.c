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
    projection_backward(&layer->projections[PROJECTION_DOWN], run->d_act, d_x, a->act, a->xa[PROJECTION_DOWN], Q, false,
                        run_dropout(decoder, run, l, PROJECTION_DOWN), &run->scratch);
    float *d_gate = run->d_act;
    swiglu_backward(d_gate, run->d_up, run->d_act, a->gate, a->up, Q, c->F);
    const struct projection_group group = {
        layer->projections + PROJECTION_GATE,
        2,
        {run_dropout(decoder, run, l, PROJECTION_GATE), run_dropout(decoder, run, l, PROJECTION_UP)}};
    const float *const d_outputs[] = {d_gate, run->d_up};
    projections_backward(&group, run->d_normed, d_outputs, a->mlp_in, a->xa[PROJECTION_GATE], Q, false, &run->scratch);
    rmsnorm_backward(d_x, layer->mlp_norm.d_weight, run->d_normed, a->x_mid, layer->mlp_norm.weight.data, a->mlp_rms, Q,
                     c->C, run->norm_sums);
}

/* From d_x, the gradient of x_mid [Q, C], the gradients of q, k and v before rotation. */
static void attention_core_backward(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch,
                                    int64_t l, const float *d_x) {
    const struct model_config *c = &decoder->config;
    const struct layer_activations *a = &run->layers[l];
    const bool chosen = run_chosen(decoder, run, l);
    const int64_t Q = run_rows(decoder, run, batch, l);
    projection_backward(&decoder->layers[l].projections[PROJECTION_O], run->d_attended, d_x, a->attended,
                        a->xa[PROJECTION_O], Q, false, run_dropout(decoder, run, l, PROJECTION_O), &run->scratch);
    const struct attention_shape shape = run_attention_shape(decoder);
    const struct attention_batch queries = run_attention_batch(run, batch, chosen);
    attention_backward(run->d_q, run->d_k, run->d_v, run->d_attended, a->attended, a->log_sum, a->q, a->k, a->v, &shape,
                       &queries, run->delta);
    rope_backward(run->d_q, chosen ? run->row_position : run->position, run->rope_cosines, run->rope_sines, Q, c->H,
                  c->D);
    rope_backward(run->d_k, run->position, run->rope_cosines, run->rope_sines, batch->T, c->K, c->D);
}

/* From the gradients of q, k and v, those of the three projections and, with propagate, of their input: run->d_normed
 * [T, C]. */
static void attention_inputs_backward(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch,
                                      int64_t l, bool propagate) {
    const struct layer_activations *a = &run->layers[l];
    const struct projection *p = decoder->layers[l].projections;
    const int64_t T = batch->T, Q = run_rows(decoder, run, batch, l);
    float *d_in = propagate ? run->d_normed : NULL;
    struct projection_group group = {.projections = p + PROJECTION_Q, .count = 3};
    for (int i = 0; i < 3; i++) group.dropout[i] = run_dropout(decoder, run, l, (enum projection_kind)i);
    const float *const d_outputs[] = {run->d_q, run->d_k, run->d_v};
    if (!run_chosen(decoder, run, l)) {
        projections_backward(&group, d_in, d_outputs, a->attention_in, a->xa[PROJECTION_Q], T, false, &run->scratch);
        return;
    }
    const struct projection_group keys = {p + PROJECTION_K, 2, {group.dropout[1], group.dropout[2]}};
    projections_backward(&keys, d_in, d_outputs + 1, a->attention_in, a->xa[PROJECTION_K], T, false, &run->scratch);
    projection_backward(&p[PROJECTION_Q], propagate ? run->d_query_in : NULL, run->d_q, a->query_in,
                        a->xa[PROJECTION_Q], Q, false, group.dropout[0], &run->scratch);
    if (propagate) rows_scatter_add(run->d_normed, run->d_query_in, run->rows, Q, decoder->config.C);
}

/* One layer: d_x [T, C] (in the last layer, with chosen rows, d_rows [Q, C]) is the gradient of its output; run->d_x
 * becomes that of its input. False: there is nothing to train below. */
static bool layer_backward(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch,
                           int64_t l) {
    const struct model_config *c = &decoder->config;
    const bool chosen = run_chosen(decoder, run, l);
    float *d_x = chosen ? run->d_rows : run->d_x;
    run_recompute(decoder, run, batch, l);
    mlp_block_backward(decoder, run, l, run_rows(decoder, run, batch, l), d_x);
    attention_core_backward(decoder, run, batch, l, d_x);
    const struct norm *norm = &decoder->layers[l].attention_norm;
    const bool propagate = l > run->lowest_trained || norm->d_weight != NULL;
    attention_inputs_backward(decoder, run, batch, l, propagate);
    if (!propagate) return false;
    if (chosen) {
        memset(run->d_x, 0, (size_t)(batch->T * c->C) * sizeof *run->d_x);
        rows_scatter_add(run->d_x, run->d_rows, run->rows, run->Q, c->C);
    }
    rmsnorm_backward(run->d_x, norm->d_weight, run->d_normed, run->layers[l].x_in, norm->weight.data,
                     run->layers[l].attention_rms, batch->T, c->C, run->norm_sums);
    return true;
}

/* Whether anything below the head is trained. */
static bool trains_below_head(const struct decoder *decoder, const struct decoder_run *run) {
    return run->lowest_trained < decoder->config.L || decoder->final_norm.d_weight != NULL;
}

void decoder_hidden_backward(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch,
                             const float *d_hidden) {
    const struct model_config *c = &decoder->config;
    if (!trains_below_head(decoder, run)) return;
    float *d_x = run->chosen ? run->d_rows : run->d_x;
    memset(d_x, 0, (size_t)(run->Q * c->C) * sizeof *d_x);
    rmsnorm_backward(d_x, decoder->final_norm.d_weight, d_hidden, run->x_out, decoder->final_norm.weight.data,
                     run->final_rms, run->Q, c->C, run->norm_sums);
    for (int64_t l = c->L - 1; l >= 0 && l >= run->lowest_trained; l--) {
        if (!layer_backward(decoder, run, batch, l)) return;
    }
    if (decoder->d_embedding != NULL) embedding_backward(decoder->d_embedding, run->d_x, batch->tokens, batch->T, c->C);
}

void decoder_classify_backward(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch,
                               const float *d_logits) {
    float *d_hidden = trains_below_head(decoder, run) ? run->d_query_in : NULL;
    projection_backward(&decoder->head, d_hidden, d_logits, run->final_in, NULL, run->Q, false, (struct dropout){0},
                        &run->scratch);
    if (d_hidden != NULL) decoder_hidden_backward(decoder, run, batch, d_hidden);
}

const float *decoder_input_gradient(const struct decoder_run *run) {
    return run->d_x;
}
