/* Large matrix products behind one interface (oneDNN), and linear layers over weights of any storage type.
 *
 * All matrices are row-major and dense. T tokens, I inputs, O outputs. */
#ifndef CASEMIX_TENSOR_GEMM_H
#define CASEMIX_TENSOR_GEMM_H

#include "tensor/dtype.h"
#include <stdbool.h>
#include <stdint.h>

/* C[M,N] (leading dimension ldc) = beta C + alpha op(A) op(B); op(A) is [M,K], op(B) is [K,N]. transpose_a: A is stored
 * [K,M] (lda >= M); transpose_b: B is stored [N,K] (ldb >= K). beta is 0 or 1. Zero-sized products are allowed. */
void gemm(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, float alpha, const float *A, int64_t lda,
          const float *B, int64_t ldb, float beta, float *C, int64_t ldc);

/* Floats of scratch that the linear_* functions want for widening stored weights block by block. */
int64_t linear_panel_size(const struct matrix *weight);

/* y[T,O] = (accumulate ? y : 0) + x[T,I] W[O,I]^T (+ bias[O]). `panel` holds linear_panel_size floats; NULL allowed
 * when W is f32. bias may be NULL or absent. */
void linear_forward(float *y, const float *x, const struct matrix *weight, const struct matrix *bias, int64_t T,
                    bool accumulate, float *panel);

/* d_x[T,I] = (accumulate ? d_x : 0) + d_y[T,O] W[O,I]. */
void linear_backward_input(float *d_x, const float *d_y, const struct matrix *weight, int64_t T, bool accumulate,
                           float *panel);

/* d_w[O,I] += d_y[T,O]^T x[T,I]. */
void linear_backward_weight(float *d_w, const float *d_y, const float *x, int64_t T, int64_t O, int64_t I);

/* d_bias[O] += sum over T of d_y[T,O]. */
void linear_backward_bias(float *d_bias, const float *d_y, int64_t T, int64_t O);

#endif
