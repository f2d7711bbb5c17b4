/* The small layers of a decoder, each a forward beside its hand-written backward, on plain f32 arrays.
 *
 * T tokens, C width, F feed-forward width, V vocabulary, N sequences. Backward functions *add* to gradients of weights
 * (d_w, d_bias, d_table) and *set* gradients of activations unless said otherwise. Reductions run in a fixed order:
 * same thread count, same bits. */
#ifndef CASEMIX_TENSOR_KERNELS_H
#define CASEMIX_TENSOR_KERNELS_H

#include "tensor/dtype.h"
#include <stdint.h>

/* y = w * x / sqrt(mean(x^2) + eps), row by row (Zhang and Sennrich 2019). x, y [T,C] (may be the same array); w [C]
 * f32; inverse_rms [T] is kept for the backward, NULL if none follows. */
void rmsnorm_forward(float *y, float *inverse_rms, const float *x, const float *w, int64_t T, int64_t C, float eps);

/* d_x [T,C] += gradient; d_w [C] += gradient unless NULL. scratch: threads_count() * C floats when d_w is given. */
void rmsnorm_backward(float *d_x, float *d_w, const float *d_y, const float *x, const float *w,
                      const float *inverse_rms, int64_t T, int64_t C, float *scratch);

/* act [T,F] = silu(gate) * up (Shazeer 2020). act may be gate. */
void swiglu_forward(float *act, const float *gate, const float *up, int64_t T, int64_t F);
/* From d_act, sets d_gate and d_up. d_gate may be d_act. */
void swiglu_backward(float *d_gate, float *d_up, const float *d_act, const float *gate, const float *up, int64_t T,
                     int64_t F);

/* y += x, count elements. */
void residual_add(float *y, const float *x, int64_t count);

/* out [T,C] = rows of table [V,C] (any storage type). */
void embedding_forward(float *out, const struct matrix *table, const int32_t *tokens, int64_t T);
/* d_table [V,C] += rows of d_out. */
void embedding_backward(float *d_table, const float *d_out, const int32_t *tokens, int64_t T, int64_t C);

/* Softmax cross-entropy over rows. logits [N,V]; label[n] in 0..V-1. losses [N] (natural log). If d_logits is not NULL
 * it is set to scale * (softmax - onehot); it may be logits. */
void cross_entropy(float *losses, float *d_logits, const float *logits, const int32_t *labels, int64_t N, int64_t V,
                   float scale);

/* The same over some columns of rows of V logits, as if there were no others: one matrix of scores for two labels. The
 * labels count from columns.first; d_logits gets those columns only. */
struct columns {
    int64_t first, count;
};
void cross_entropy_columns(float *losses, float *d_logits, const float *logits, const int32_t *labels, int64_t N,
                           int64_t V, struct columns columns, float scale);

/* p = softmax of each row, in place allowed. */
void softmax_rows(float *p, const float *logits, int64_t N, int64_t V);

/* out [count,C] = rows `index` of in; and its transpose: out rows `index` += in rows, in order. */
void rows_gather(float *out, const float *in, const int32_t *index, int64_t count, int64_t C);
void rows_scatter_add(float *out, const float *in, const int32_t *index, int64_t count, int64_t C);

#endif
