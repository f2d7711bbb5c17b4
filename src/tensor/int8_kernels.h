/* The integer products under int8.h. Private to it and to its tests. u is an activation plus 128, so that it is
 * unsigned as the processor's dot product wants it; what 128 adds is 128 times the sum of the weight's row. */
#ifndef CASEMIX_TENSOR_INT8_KERNELS_H
#define CASEMIX_TENSOR_INT8_KERNELS_H

#include <stdint.h>

/* Bytes of a packed row of I activations, and the most rows that the kernels of few rows take. */
#define INT8_STEP 64
#define INT8_SMALL_ROWS 16

/* Packs u [T, I] (T up to 16) for int8_small_product; T * I rounded up to INT8_STEP bytes. */
void int8_small_pack(uint8_t *packed, const uint8_t *u, int64_t I, int64_t T);

/* acc[t * lda + o] = sum over i of u[t][i] * weight[o][i] for `count` rows of weight [count, I]; exact. One thread. */
void int8_small_product(int32_t *acc, int64_t lda, const uint8_t *packed, const int8_t *weight, int64_t I,
                        int64_t count, int64_t T);

#endif
