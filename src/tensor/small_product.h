/* Products of few rows with a stored weight, at the speed at which memory gives the weight: what decoding lives on.
 *
 * Every element is summed in an order that depends on I alone: a row's result has the same bits whatever rows stand
 * beside it, so decoding in a batch gives what decoding alone gives. */
#ifndef CASEMIX_TENSOR_SMALL_PRODUCT_H
#define CASEMIX_TENSOR_SMALL_PRODUCT_H

#include "tensor/dtype.h"
#include <stdbool.h>
#include <stdint.h>

/* Rows up to which these kernels are meant to be used; more are allowed and taken in groups. */
#define SMALL_PRODUCT_ROWS 16

/* Most inputs (I) that they take. */
#define SMALL_PRODUCT_INPUTS 32768

/* y[T,O] = (accumulate ? y : 0) + alpha x[T,I] W[O,I]^T, W stored as f32, f16 or bf16; leading dimensions ldy and ldx.
 * f32 arithmetic throughout. */
void small_product(float *y, int64_t ldy, const float *x, int64_t ldx, const struct matrix *weight, int64_t T,
                   float alpha, bool accumulate);

#endif
