/* Matrix products through oneDNN's row-major sgemm, whose kernels are chosen for the CPU at run time; products of few
 * rows, where sgemm would spend its time on packing, through small_product. */
#include "tensor/gemm.h"
#include "tensor/small_product.h"
#include <dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void gemm(bool transpose_a, bool transpose_b, int64_t M, int64_t N, int64_t K, float alpha, const float *A, int64_t lda,
          const float *B, int64_t ldb, float beta, float *C, int64_t ldc) {
    if (M == 0 || N == 0) return;
    if (K == 0) {
        for (int64_t m = 0; m < M && !(beta > 0); m++) memset(C + m * ldc, 0, (size_t)N * sizeof *C);
        return;
    }
    if (M <= SMALL_PRODUCT_ROWS && K <= SMALL_PRODUCT_INPUTS && transpose_b && !transpose_a && ldb == K) {
        const struct matrix stored = {DTYPE_F32, N, K, B};
        small_product(C, ldc, A, lda, &stored, M, alpha, beta > 0);
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
