/* Matrix products through oneDNN's row-major sgemm, whose kernels are chosen for the CPU at run time. */
#include "tensor/gemm.h"
#include <dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Products of fewer rows are read straight from the weights: oneDNN packs them first, which costs more than the
 * product. */
enum { SMALL_ROWS = 4 };

/* C[m, :] = beta C + alpha A[m, :] B^T for few rows m: one pass over B, whose rows are the dot products' second
 * operand. */
static void gemm_small(int64_t M, int64_t N, int64_t K, float alpha, const float *A, int64_t lda, const float *B,
                       int64_t ldb, float beta, float *C, int64_t ldc) {
#pragma omp parallel for schedule(static) if (N * K > 1 << 15)
    for (int64_t n = 0; n < N; n++) {
        const float *b = B + n * ldb;
        for (int64_t m = 0; m < M; m++) {
            const float *a = A + m * lda;
            float sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t k = 0; k < K; k++) sum += a[k] * b[k];
            float *c = C + m * ldc + n;
            *c = alpha * sum + (beta > 0 ? *c : 0.0f);
        }
    }
}

void gemm(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, float alpha, const float *A, int64_t lda,
          const float *B, int64_t ldb, float beta, float *C, int64_t ldc) {
    if (M == 0 || N == 0) return;
    if (K == 0) {
        for (int64_t m = 0; m < M && !(beta > 0); m++) memset(C + m * ldc, 0, (size_t)N * sizeof *C);
        return;
    }
    if (M < SMALL_ROWS && transpose_b && !transpose_a) {
        gemm_small(M, N, K, alpha, A, lda, B, ldb, beta, C, ldc);
        return;
    }
    const dnnl_status_t status =
        dnnl_sgemm(transpose_a ? 'T' : 'N', transpose_b ? 'T' : 'N', M, N, K, alpha, A, lda, B, ldb, beta, C, ldc);
    if (status != dnnl_success) { /* the arguments are ours: only a broken invariant or no memory for its packing
                                     buffers gets here */
        fprintf(stderr, "casemix: matrix product %lld x %lld x %lld failed in oneDNN (status %d)\n", (long long)M,
                (long long)N, (long long)K, (int)status);
        abort();
    }
}
