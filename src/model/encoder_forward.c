/* The encoder's forward: tokens to logits, on a packed batch (Devlin et al. 2019). */
#include "model/encoder_run.h"
#include "tensor/gelu.h"
#include "tensor/kernels.h"
#include <string.h>

static void locate_tokens(struct encoder_run *run, const struct batch *batch) {
    for (int64_t n = 0; n < batch->N; n++) {
        const int32_t first = batch->offsets[n], end = batch->offsets[n + 1];
        for (int32_t t = first; t < end; t++) run->position[t] = t - first;
        run->first_rows[n] = first;
    }
}

static void norm_forward(const struct encoder *encoder, const struct layernorm *norm, float *y,
                         struct row_moments *moments, const float *x, int64_t rows) {
    layernorm_forward(y, moments, x, norm->weight.data, norm->bias.data, rows, encoder->config.C,
                      encoder->config.norm_eps);
}

static void drop(float *x, int64_t count, struct dropout dropout) {
    if (dropout.rate > 0) dropout_apply(x, x, count, dropout);
}

void encoder_embed(const struct encoder *encoder, const int32_t *tokens, int64_t T, float *out) {
    embedding_forward(out, &encoder->words, tokens, T);
}

static void embed_tokens(const struct encoder *encoder, struct encoder_run *run, const struct batch *batch,
                         const int32_t *types) {
    const int64_t T = batch->T, C = encoder->config.C;
    const float *positions = encoder->positions.data, *type_rows = encoder->types.data;
    float *x = run->layers[0].x_in;
    if (batch->embedded != NULL)
        memcpy(run->embedded, batch->embedded, (size_t)(T * C) * sizeof *run->embedded);
    else
        encoder_embed(encoder, batch->tokens, T, run->embedded);
#pragma omp parallel for schedule(static) if (T > 64)
    for (int64_t t = 0; t < T; t++) {
        float *row = run->embedded + t * C;
        const float *position = positions + run->position[t] * C,
                    *type = type_rows + (types == NULL ? 0 : types[t] * C);
        for (int64_t c = 0; c < C; c++) row[c] += position[c] + type[c];
    }
    norm_forward(encoder, &encoder->embedding_norm, x, run->embedding_moments, run->embedded, T);
    drop(x, T * C, encoder_dropout(encoder, run, 0, DROPOUT_EMBEDDING));
}

static void linear(const struct encoder_run *run, const struct projection *projection, float *y, const float *x,
                   int64_t rows) {
    projection_forward(projection, y, x, NULL, rows, false, (struct dropout){0}, &run->scratch);
}

/* mid = LayerNorm(x + attention) of Q rows. */
static void attention_block(const struct encoder *encoder, struct encoder_run *run, const struct batch *batch,
                            int64_t l, bool pooled) {
    const struct encoder_layer *layer = &encoder->layers[l];
    struct encoder_activations *a = &run->layers[l];
    const int64_t C = encoder->config.C, T = batch->T, Q = pooled ? batch->N : T;
    if (pooled) rows_gather(a->query_in, a->x_in, run->first_rows, Q, C);
    linear(run, &layer->projections[ENCODER_QUERY], a->q, a->query_in, Q);
    linear(run, &layer->projections[ENCODER_KEY], a->k, a->x_in, T);
    linear(run, &layer->projections[ENCODER_VALUE], a->v, a->x_in, T);
    const struct full_attention attention = encoder_attention(encoder, run, batch, l, pooled);
    full_attention_forward(a->attended, a->log_sum, a->q, a->k, a->v, &attention);
    linear(run, &layer->projections[ENCODER_ATTENTION_OUTPUT], a->attention_sum, a->attended, Q);
    drop(a->attention_sum, Q * C, encoder_dropout(encoder, run, l, DROPOUT_ATTENTION_OUTPUT));
    residual_add(a->attention_sum, a->query_in, Q * C);
    norm_forward(encoder, &layer->attention_norm, a->mid, a->attention_moments, a->attention_sum, Q);
}

/* x_out = LayerNorm(mid + feed-forward) of Q rows. */
static void feed_forward_block(const struct encoder *encoder, struct encoder_run *run, int64_t l, int64_t Q,
                               float *x_out) {
    const struct encoder_layer *layer = &encoder->layers[l];
    struct encoder_activations *a = &run->layers[l];
    const int64_t C = encoder->config.C, F = encoder->config.F;
    linear(run, &layer->projections[ENCODER_INTERMEDIATE], a->inner, a->mid, Q);
    gelu_forward(a->act, a->inner, Q * F);
    linear(run, &layer->projections[ENCODER_OUTPUT], a->output_sum, a->act, Q);
    drop(a->output_sum, Q * C, encoder_dropout(encoder, run, l, DROPOUT_OUTPUT));
    residual_add(a->output_sum, a->mid, Q * C);
    norm_forward(encoder, &layer->output_norm, x_out, a->output_moments, a->output_sum, Q);
}

void encoder_classify_forward(const struct encoder *encoder, struct encoder_run *run, const struct batch *batch,
                              const int32_t *types, uint64_t dropout_seed, float *logits) {
    const struct encoder_config *c = &encoder->config;
    const int64_t N = batch->N;
    run->dropout_seed = dropout_seed;
    locate_tokens(run, batch);
    embed_tokens(encoder, run, batch, types);
    for (int64_t l = 0; l < c->L; l++) {
        const bool pooled = l == c->L - 1;
        attention_block(encoder, run, batch, l, pooled);
        feed_forward_block(encoder, run, l, pooled ? N : batch->T, pooled ? run->first : run->layers[l + 1].x_in);
    }
    linear(run, &encoder->pooler, run->pooled, run->first, N);
    tanh_forward(run->pooled, run->pooled, N * c->C);
    if (run->train) {
        memcpy(run->dropped, run->pooled, (size_t)(N * c->C) * sizeof *run->dropped);
        drop(run->dropped, N * c->C, encoder_dropout(encoder, run, 0, DROPOUT_POOLED));
    }
    linear(run, &encoder->classifier, logits, run->dropped, N);
}
