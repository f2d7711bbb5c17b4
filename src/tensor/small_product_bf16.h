/* Products of few rows with a bf16 weight in bf16 arithmetic: activations rounded to bf16, sums in f32, sixty-four
 * operations an instruction. By request only (--compute bf16): one row waits for memory either way, but eight rows
 * compute in half the time of f32 arithmetic. */
#ifndef CASEMIX_TENSOR_SMALL_PRODUCT_BF16_H
#define CASEMIX_TENSOR_SMALL_PRODUCT_BF16_H

#include "tensor/dtype.h"
#include <stdbool.h>
#include <stdint.h>

/* Whether the processor has the instruction (AVX-512 BF16). */
bool small_product_bf16_is_possible(void);

/* y[T,O] = (accumulate ? y : 0) + x[T,I] W[O,I]^T, W of DTYPE_BF16, I up to SMALL_PRODUCT_INPUTS; leading dimensions
 * O and I. Subnormals count as zero, as the instruction has it. Every element is summed in an order that depends on I
 * alone. Only where small_product_bf16_is_possible. */
void small_product_bf16(float *y, const float *x, const struct matrix *weight, int64_t T, bool accumulate);

#endif
