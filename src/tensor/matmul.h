/* oneDNN's matmul primitive for products with a weight that lies in memory as checkpoints store it, [outputs, inputs].
 *
 * Beside sgemm (tensor/gemm.h): it does not pack the weight anew, and it knows other types; but a primitive is made for
 * each shape, so callers bring few of them. */
#ifndef CASEMIX_TENSOR_MATMUL_H
#define CASEMIX_TENSOR_MATMUL_H

#include <stdbool.h>
#include <stdint.h>

enum matmul_kind {
    MATMUL_F32,  /* f32 x f32 -> f32 */
    MATMUL_BF16, /* bf16 x bf16 -> f32 */
    MATMUL_INT8  /* u8 x s8 -> s32 */
};

/* C[M,N] (leading dimension ldc) = (accumulate ? C : 0) + A[M,K] B[N,K]^T, A and B dense. */
void matmul(enum matmul_kind kind, bool accumulate, int64_t M, int64_t N, int64_t K, const void *A, const void *B,
            void *C, int64_t ldc);

/* Whether MATMUL_INT8 is exact here: without VNNI oneDNN adds pairs of products in 16 bits, which saturate. */
bool matmul_int8_is_exact(void);

#endif
