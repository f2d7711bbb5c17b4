/* The encoder's backward: the forward's steps in reverse, each with its hand-written gradient. */
#include "model/encoder_run.h"
#include "tensor/gelu.h"
#include "tensor/gemm.h"
#include "tensor/kernels.h"

static void linear_backward(const struct encoder_run *run, const struct projection *projection, float *d_x,
                            const float *d_y, const float *x, int64_t rows, bool accumulate) {
    projection_backward(projection, d_x, d_y, x, NULL, rows, accumulate, (struct dropout){0}, &run->scratch);
}

/* d_x [rows, C] is the gradient of the norm's output and becomes that of its input. */
static void norm_backward(const struct encoder *encoder, const struct encoder_run *run, const struct layernorm *norm,
                          float *d_x, const float *x, const struct row_moments *moments, int64_t rows) {
    layernorm_backward(d_x, norm->d_weight, norm->d_bias, d_x, x, norm->weight.data, moments, rows, encoder->config.C,
                       run->norm_sums);
}

/* The gradient of what was dropped out before it joined the residual. */
static const float *branch_gradient(const struct encoder *encoder, struct encoder_run *run, const float *d_sum,
                                    int64_t rows, int64_t l, enum encoder_dropout place) {
    const struct dropout dropout = encoder_dropout(encoder, run, l, place);
    if (dropout.rate <= 0) return d_sum;
    dropout_apply(run->d_branch, d_sum, rows * encoder->config.C, dropout);
    return run->d_branch;
}

/* d_x [Q, C] is the gradient of the layer's output and becomes that of mid. */
static void feed_forward_backward(const struct encoder *encoder, struct encoder_run *run, int64_t l, int64_t Q,
                                  float *d_x) {
    const struct encoder_layer *layer = &encoder->layers[l];
    const struct encoder_activations *a = &run->layers[l];
    norm_backward(encoder, run, &layer->output_norm, d_x, a->output_sum, a->output_moments, Q);
    const float *d_branch = branch_gradient(encoder, run, d_x, Q, l, DROPOUT_OUTPUT);
    linear_backward(run, &layer->projections[ENCODER_OUTPUT], run->d_act, d_branch, a->act, Q, false);
    gelu_backward(run->d_act, run->d_act, a->inner, Q * encoder->config.F);
    linear_backward(run, &layer->projections[ENCODER_INTERMEDIATE], d_x, run->d_act, a->mid, Q, true);
}

/* d_sum [Q, C] is the gradient of mid; it becomes that of the residual, and the gradients of q, k and v follow. */
static void attention_core_backward(const struct encoder *encoder, struct encoder_run *run, const struct batch *batch,
                                    int64_t l, bool pooled, float *d_sum) {
    const struct encoder_layer *layer = &encoder->layers[l];
    const struct encoder_activations *a = &run->layers[l];
    const int64_t Q = pooled ? batch->N : batch->T;
    norm_backward(encoder, run, &layer->attention_norm, d_sum, a->attention_sum, a->attention_moments, Q);
    const float *d_branch = branch_gradient(encoder, run, d_sum, Q, l, DROPOUT_ATTENTION_OUTPUT);
    linear_backward(run, &layer->projections[ENCODER_ATTENTION_OUTPUT], run->d_attended, d_branch, a->attended, Q,
                    false);
    const struct full_attention attention = encoder_attention(encoder, run, batch, l, pooled);
    full_attention_backward(run->d_q, run->d_k, run->d_v, run->d_attended, a->attended, a->log_sum, a->q, a->k, a->v,
                            &attention);
}

/* Adds what came through q, k and v to the residual's gradient: run->d_x [T, C] becomes the gradient of x_in. */
static void attention_inputs_backward(const struct encoder *encoder, struct encoder_run *run, const struct batch *batch,
                                      int64_t l, bool pooled) {
    const struct projection *p = encoder->layers[l].projections;
    const struct encoder_activations *a = &run->layers[l];
    const int64_t T = batch->T, N = batch->N;
    linear_backward(run, &p[ENCODER_QUERY], pooled ? run->d_first : run->d_x, run->d_q, a->query_in, pooled ? N : T,
                    true);
    linear_backward(run, &p[ENCODER_KEY], run->d_x, run->d_k, a->x_in, T, !pooled);
    linear_backward(run, &p[ENCODER_VALUE], run->d_x, run->d_v, a->x_in, T, true);
    if (pooled) rows_scatter_add(run->d_x, run->d_first, run->first_rows, N, encoder->config.C);
}

static void embedding_block_backward(const struct encoder *encoder, struct encoder_run *run, const struct batch *batch,
                                     const int32_t *types) {
    const int64_t T = batch->T, C = encoder->config.C;
    const struct dropout dropout = encoder_dropout(encoder, run, 0, DROPOUT_EMBEDDING);
    if (dropout.rate > 0) dropout_apply(run->d_x, run->d_x, T * C, dropout);
    norm_backward(encoder, run, &encoder->embedding_norm, run->d_x, run->embedded, run->embedding_moments, T);
    if (encoder->d_words == NULL) return;
    embedding_backward(encoder->d_words, run->d_x, batch->tokens, T, C);
    embedding_backward(encoder->d_positions, run->d_x, run->position, T, C);
    if (types != NULL)
        embedding_backward(encoder->d_types, run->d_x, types, T, C);
    else
        linear_backward_bias(encoder->d_types, run->d_x, T, C); /* all tokens are of type 0 */
}

void encoder_classify_backward(const struct encoder *encoder, struct encoder_run *run, const struct batch *batch,
                               const int32_t *types, const float *d_logits) {
    const int64_t C = encoder->config.C, T = batch->T, N = batch->N;
    linear_backward(run, &encoder->classifier, run->d_pooled, d_logits, run->dropped, N, false);
    const struct dropout dropout = encoder_dropout(encoder, run, 0, DROPOUT_POOLED);
    if (dropout.rate > 0) dropout_apply(run->d_pooled, run->d_pooled, N * C, dropout);
    tanh_backward(run->d_pooled, run->d_pooled, run->pooled, N * C);
    linear_backward(run, &encoder->pooler, run->d_first, run->d_pooled, run->first, N, false);
    for (int64_t l = encoder->config.L - 1; l >= 0; l--) {
        const bool pooled = l == encoder->config.L - 1;
        float *d_x = pooled ? run->d_first : run->d_x;
        feed_forward_backward(encoder, run, l, pooled ? N : T, d_x);
        attention_core_backward(encoder, run, batch, l, pooled, d_x);
        attention_inputs_backward(encoder, run, batch, l, pooled);
    }
    embedding_block_backward(encoder, run, batch, types);
}

const float *encoder_input_gradient(const struct encoder_run *run) {
    return run->d_x;
}
