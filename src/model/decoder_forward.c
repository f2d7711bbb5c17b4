/* The decoder's forward: tokens to logits, on a packed batch. Equations: Touvron et al. 2023; Qwen2 adds biases to q, k
 * and v. */
#include "model/decoder_run.h"
#include "tensor/kernels.h"
#include <string.h>

/* Where each token stands in its sequence, and where each sequence ends. */
static void locate_tokens(struct decoder_run *run, const struct batch *batch) {
    for (int64_t n = 0; n < batch->N; n++) {
        const int32_t first = batch->offsets[n], end = batch->offsets[n + 1];
        for (int32_t t = first; t < end; t++) run->position[t] = t - first;
        run->last_rows[n] = end - 1;
        run->last_position[n] = end - 1 - first;
    }
}

/* The residual between attention and MLP starts as a copy of the one that entered (its pooled rows); in place nothing
 * is moved. */
static void carry_residual(float *to, const float *from, const int32_t *rows, int64_t Q, int64_t C) {
    if (rows != NULL)
        rows_gather(to, from, rows, Q, C);
    else if (to != from)
        memcpy(to, from, (size_t)(Q * C) * sizeof *to);
}

static void attention_block(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch,
                            int64_t l, bool pooled) {
    const struct model_config *c = &decoder->config;
    const struct decoder_layer *layer = &decoder->layers[l];
    struct layer_activations *a = &run->layers[l];
    const int64_t T = batch->T, Q = pooled ? batch->N : T;
    const struct projection *p = layer->projections;
    const struct projection_scratch *scratch = &run->scratch;
    rmsnorm_forward(a->attention_in, a->attention_rms, a->x_in, layer->attention_norm.weight.data, T, c->C,
                    c->norm_eps);
    if (pooled) rows_gather(a->query_in, a->attention_in, run->last_rows, Q, c->C);
    projection_forward(&p[PROJECTION_Q], a->q, a->query_in, a->xa[PROJECTION_Q], Q, false,
                       run_dropout(decoder, run, l, PROJECTION_Q), scratch);
    projection_forward(&p[PROJECTION_K], a->k, a->attention_in, a->xa[PROJECTION_K], T, false,
                       run_dropout(decoder, run, l, PROJECTION_K), scratch);
    projection_forward(&p[PROJECTION_V], a->v, a->attention_in, a->xa[PROJECTION_V], T, false,
                       run_dropout(decoder, run, l, PROJECTION_V), scratch);
    rope_forward(a->q, pooled ? run->last_position : run->position, run->rope_cosines, run->rope_sines, Q, c->H, c->D);
    rope_forward(a->k, run->position, run->rope_cosines, run->rope_sines, T, c->K, c->D);
    const struct attention_shape shape = run_attention_shape(decoder);
    const struct attention_batch queries = run_attention_batch(run, batch, pooled);
    attention_forward(a->attended, a->log_sum, a->q, a->k, a->v, &shape, &queries);
    carry_residual(a->x_mid, a->x_in, pooled ? run->last_rows : NULL, Q, c->C);
    projection_forward(&p[PROJECTION_O], a->x_mid, a->attended, a->xa[PROJECTION_O], Q, true,
                       run_dropout(decoder, run, l, PROJECTION_O), scratch);
}

static void mlp_block(const struct decoder *decoder, struct decoder_run *run, int64_t l, int64_t Q, float *x_out) {
    const struct model_config *c = &decoder->config;
    const struct decoder_layer *layer = &decoder->layers[l];
    struct layer_activations *a = &run->layers[l];
    const struct projection *p = layer->projections;
    const struct projection_scratch *scratch = &run->scratch;
    rmsnorm_forward(a->mlp_in, a->mlp_rms, a->x_mid, layer->mlp_norm.weight.data, Q, c->C, c->norm_eps);
    projection_forward(&p[PROJECTION_GATE], a->gate, a->mlp_in, a->xa[PROJECTION_GATE], Q, false,
                       run_dropout(decoder, run, l, PROJECTION_GATE), scratch);
    projection_forward(&p[PROJECTION_UP], a->up, a->mlp_in, a->xa[PROJECTION_UP], Q, false,
                       run_dropout(decoder, run, l, PROJECTION_UP), scratch);
    swiglu_forward(a->act, a->gate, a->up, Q, c->F);
    carry_residual(x_out, a->x_mid, NULL, Q, c->C);
    projection_forward(&p[PROJECTION_DOWN], x_out, a->act, a->xa[PROJECTION_DOWN], Q, true,
                       run_dropout(decoder, run, l, PROJECTION_DOWN), scratch);
}

/* Embedding, all layers and the final norm; the result is run->final_in [T, C], or [N, C] when pooled. */
static void decoder_body(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch,
                         bool pooled) {
    const struct model_config *c = &decoder->config;
    locate_tokens(run, batch);
    embedding_forward(run->layers[0].x_in, &decoder->embedding, batch->tokens, batch->T);
    for (int64_t l = 0; l < c->L; l++) {
        const bool last = l == c->L - 1;
        attention_block(decoder, run, batch, l, pooled && last);
        mlp_block(decoder, run, l, pooled && last ? batch->N : batch->T, last ? run->x_out : run->layers[l + 1].x_in);
    }
    rmsnorm_forward(run->final_in, run->final_rms, run->x_out, decoder->final_norm.weight.data,
                    pooled ? batch->N : batch->T, c->C, c->norm_eps);
}

static void head_forward(const struct decoder *decoder, struct decoder_run *run, int64_t rows, float *logits) {
    projection_forward(&decoder->head, logits, run->final_in, NULL, rows, false, (struct dropout){0}, &run->scratch);
}

void decoder_logits(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch, float *logits) {
    run->dropout_seed = 0;
    decoder_body(decoder, run, batch, false);
    head_forward(decoder, run, batch->T, logits);
}

void decoder_classify_forward(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch,
                              uint64_t dropout_seed, float *logits) {
    run->dropout_seed = dropout_seed;
    decoder_body(decoder, run, batch, true);
    head_forward(decoder, run, batch->N, logits);
}
