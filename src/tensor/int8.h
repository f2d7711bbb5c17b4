/* Eight-bit linear layers: weights quantised per output channel, activations per row on the fly, products in integers
 * (Dettmers et al. 2022, LLM.int8()).
 *
 * An activation of more than INT8_OUTLIER in size stays out of the integer product and is multiplied in f32. Unlike the
 * paper, which takes the whole column out as soon as one row of the batch has an outlier in it, each row keeps its own:
 * a row's result then does not depend on what it is batched with. */
#ifndef CASEMIX_TENSOR_INT8_H
#define CASEMIX_TENSOR_INT8_H

#include "tensor/dtype.h"
#include <stdbool.h>
#include <stdint.h>

#define INT8_OUTLIER 6.0f

/* Quantises rows first … first + count of a weight (any storage type, finite) symmetrically: values[r] = round(w /
 * scale), scale = largest |w| / 127 of the row. values, scales and sums are those of the whole matrix. `row`: cols
 * floats of scratch for each thread (threads_count). */
void int8_quantise_rows(int8_t *values, float *scales, int32_t *sums, const struct matrix *weight, int64_t first,
                        int64_t count, float *row);

/* sums[r] of stored values. */
void int8_sum_rows(int32_t *sums, const int8_t *values, int64_t rows, int64_t cols);

/* Floats of scratch that int8_forward wants for a weight of so many inputs. */
int64_t int8_scratch_size(int64_t I);

/* y[T,O] = (accumulate ? y : 0) + x[T,I] W[O,I]^T, W of DTYPE_INT8. Few rows go through own kernels, more through
 * oneDNN's u8 s8 matmul where the processor has VNNI (elsewhere it is not exact). Takes no memory. */
void int8_forward(float *y, const float *x, const struct matrix *weight, int64_t T, bool accumulate, float *scratch);

#endif
