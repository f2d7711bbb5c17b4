/* Layer normalisation (Ba, Kiros and Hinton 2016), forward beside its hand-written backward, on plain f32 arrays.
 *
 * T tokens, C width. Reductions run in a fixed order: same thread count, same bits. */
#ifndef CASEMIX_TENSOR_LAYERNORM_H
#define CASEMIX_TENSOR_LAYERNORM_H

#include <stdint.h>

/* What the backward wants to know of each row of x. */
struct row_moments {
    float mean;
    float inverse_deviation; /* 1 / sqrt(variance + eps) */
};

/* y = w * (x - mean) / sqrt(variance + eps) + b, row by row, the variance with divisor C. x, y [T,C] (may be the same
 * array); w, b [C] f32; moments [T] are kept for the backward, NULL if none follows. */
void layernorm_forward(float *y, struct row_moments *moments, const float *x, const float *w, const float *b, int64_t T,
                       int64_t C, float eps);

/* Sets d_x [T,C] (may be d_y); d_w, d_b [C] += gradient, or both NULL. scratch: threads_count() * 2 * C floats when
 * they are given. */
void layernorm_backward(float *d_x, float *d_w, float *d_b, const float *d_y, const float *x, const float *w,
                        const struct row_moments *moments, int64_t T, int64_t C, float *scratch);

#endif
