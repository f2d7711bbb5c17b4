/* Few rows of unsigned bytes times a signed weight, exact in 32 bits: with AVX-512 VNNI sixty-four products an
 * instruction, with AVX2 sixteen, else plain loops that the compiler vectorises. */
#include "tensor/int8_kernels.h"
#include "tensor/lane_sums.h"
#include "tensor/processor.h"
#include <stdbool.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

/* Rows that go through the weight together: four by four sums fit the registers. */
enum { GROUP = 4 };

static int64_t steps_of(int64_t I) {
    return (I + INT8_STEP - 1) / INT8_STEP;
}

/* Groups of up to four rows one behind the other, [steps][rows][INT8_STEP] each; past the end zeros, which add nothing
 * whatever the weight is there. */
void int8_small_pack(uint8_t *packed, const uint8_t *u, int64_t I, int64_t T) {
    const int64_t steps = steps_of(I);
    for (int64_t t0 = 0; t0 < T; t0 += GROUP) {
        const int64_t rows = T - t0 < GROUP ? T - t0 : GROUP;
        uint8_t *group = packed + t0 * steps * INT8_STEP;
        for (int64_t t = 0; t < rows; t++) {
            for (int64_t k = 0; k < steps; k++) {
                const int64_t left = I - k * INT8_STEP, count = left < INT8_STEP ? left : INT8_STEP;
                uint8_t *to = group + (k * rows + t) * INT8_STEP;
                memcpy(to, u + (t0 + t) * I + k * INT8_STEP, (size_t)count);
                memset(to + count, 0, (size_t)(INT8_STEP - count));
            }
        }
    }
}

/* One dot product of up to INT8_STEP bytes. */
INLINE int32_t step_dot(const uint8_t *u, const int8_t *w, int64_t count) {
    int32_t sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < count; i++) sum += (int32_t)u[i] * (int32_t)w[i];
    return sum;
}

/* M rows of a group by all weight rows. */
INLINE void plain_rows(int32_t *acc, int64_t lda, const uint8_t *group, const int8_t *weight, int64_t I, int64_t count,
                       int64_t M) {
    const int64_t steps = steps_of(I);
    for (int64_t o = 0; o < count; o++) {
        int32_t sums[GROUP] = {0};
        for (int64_t k = 0; k < steps; k++) {
            const int64_t left = I - k * INT8_STEP;
            for (int64_t m = 0; m < M; m++) {
                const uint8_t *u = group + (k * M + m) * INT8_STEP;
                const int8_t *w = weight + o * I + k * INT8_STEP;
                sums[m] += left < INT8_STEP ? step_dot(u, w, left) : step_dot(u, w, INT8_STEP);
            }
        }
        for (int64_t m = 0; m < M; m++) acc[m * lda + o] = sums[m];
    }
}

typedef void group_kernel(int32_t *acc, int64_t lda, const uint8_t *group, const int8_t *weight, int64_t I,
                          int64_t count, int64_t M);

static void kernel_plain(int32_t *acc, int64_t lda, const uint8_t *group, const int8_t *weight, int64_t I,
                         int64_t count, int64_t M) {
    plain_rows(acc, lda, group, weight, I, count, M);
}

#if defined(__x86_64__)

/* M rows by N weight rows, M * N <= 8: sixteen bytes widened to sixteen bits and multiplied in pairs, which cannot
 * overflow as pairs of bytes do. */
TARGET_AVX2 INLINE void avx2_step(__m256i *sums, const uint8_t *u, const int8_t *weight, int64_t stride, const int M,
                                  const int N) {
    for (int part = 0; part < INT8_STEP; part += 16) {
        __m256i w[4];
        for (int n = 0; n < N; n++)
            w[n] = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(weight + n * stride + part)));
        for (int m = 0; m < M; m++) {
            const __m256i a = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(u + m * INT8_STEP + part)));
            for (int n = 0; n < N; n++) sums[m * N + n] = _mm256_add_epi32(sums[m * N + n], _mm256_madd_epi16(a, w[n]));
        }
    }
}

TARGET_AVX2 INLINE void avx2_block(int32_t *acc, int64_t lda, const uint8_t *group, const int8_t *weight, int64_t I,
                                   const int M, const int N) {
    const int64_t whole = I / INT8_STEP, rest = I % INT8_STEP;
    __m256i sums[8];
    for (int i = 0; i < 8; i++) sums[i] = _mm256_setzero_si256();
    for (int64_t k = 0; k < whole; k++) {
        for (int n = 0; n < N; n++) ASK_AHEAD(weight + N * I + (k * N + n) * INT8_STEP, false);
        avx2_step(sums, group + k * M * INT8_STEP, weight + k * INT8_STEP, I, M, N);
    }
    if (rest > 0) {
        int8_t last[4 * INT8_STEP] = {0};
        for (int n = 0; n < N; n++) memcpy(last + n * INT8_STEP, weight + n * I + whole * INT8_STEP, (size_t)rest);
        avx2_step(sums, group + whole * M * INT8_STEP, last, INT8_STEP, M, N);
    }
    for (int m = 0; m < M; m++) {
        for (int n = 0; n < N; n++) {
            const __m256i sum = sums[m * N + n];
            __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
            half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
            acc[m * lda + n] = _mm_cvtsi128_si32(_mm_add_epi32(half, _mm_shuffle_epi32(half, 0xb1)));
        }
    }
}

/* One kernel for each number of rows, with as many weight rows at a time as there are registers for their sums. */
#define AVX2_KERNEL(M, N)                                                                                          \
    TARGET_AVX2 static void kernel_avx2_##M(int32_t *acc, int64_t lda, const uint8_t *group, const int8_t *weight, \
                                            int64_t I, int64_t count) {                                            \
        int64_t o = 0;                                                                                             \
        for (; o + N <= count; o += N) avx2_block(acc + o, lda, group, weight + o * I, I, M, N);                   \
        for (; o < count; o++) avx2_block(acc + o, lda, group, weight + o * I, I, M, 1);                           \
    }
AVX2_KERNEL(1, 4)
AVX2_KERNEL(2, 4)
AVX2_KERNEL(3, 2)
AVX2_KERNEL(4, 2)

static void kernel_avx2(int32_t *acc, int64_t lda, const uint8_t *group, const int8_t *weight, int64_t I, int64_t count,
                        int64_t M) {
    static void (*const kernels[])(int32_t *, int64_t, const uint8_t *, const int8_t *, int64_t,
                                   int64_t) = {kernel_avx2_1, kernel_avx2_2, kernel_avx2_3, kernel_avx2_4};
    kernels[M - 1](acc, lda, group, weight, I, count);
}

typedef int32_t integer_lanes __attribute__((vector_size(64), aligned(4), may_alias));

/* Which weights a call asks for ahead, so that memory is busy while all groups go over a piece: those of some of the N
 * rows (a bit each), at a distance in bytes, in the order in which they lie in memory. */
struct asking {
    int rows;
    int64_t distance;
};

/* M rows by N weight rows; M * N <= 16. */
TARGET_VNNI INLINE void vnni_block(int32_t *acc, int64_t lda, const uint8_t *group, const int8_t *weight, int64_t I,
                                   struct asking asking, const int M, const int N) {
    const int64_t whole = I / INT8_STEP, rest = I % INT8_STEP;
    __m512i sums[16], w[4];
    for (int i = 0; i < 16; i++) sums[i] = _mm512_setzero_si512();
    const uint8_t *u = group;
    for (int64_t k = 0; k < whole; k++, u += M * INT8_STEP) {
        for (int n = 0; n < N; n++) {
            if (asking.rows >> n & 1) ASK_AHEAD(weight + asking.distance + (k * N + n) * INT8_STEP, N > 1);
            w[n] = _mm512_loadu_si512(weight + n * I + k * INT8_STEP);
        }
        for (int m = 0; m < M; m++) {
            __m512i a = _mm512_loadu_si512(u + m * INT8_STEP);
            if (N > 1) KEEP_IN_REGISTER(a);
            for (int n = 0; n < N; n++) sums[m * N + n] = _mm512_dpbusd_epi32(sums[m * N + n], a, w[n]);
        }
    }
    if (rest > 0) {
        const __mmask64 mask = ((__mmask64)1 << rest) - 1;
        for (int n = 0; n < N; n++) w[n] = _mm512_maskz_loadu_epi8(mask, weight + n * I + whole * INT8_STEP);
        for (int m = 0; m < M; m++) {
            const __m512i a = _mm512_loadu_si512(u + m * INT8_STEP);
            for (int n = 0; n < N; n++) sums[m * N + n] = _mm512_dpbusd_epi32(sums[m * N + n], a, w[n]);
        }
    }
    int32_t dots[16];
    SUM_LANES(dots, integer_lanes, (integer_lanes *)sums);
    for (int m = 0; m < M; m++) {
        for (int n = 0; n < N; n++) acc[m * lda + n] = dots[m * N + n];
    }
}

/* One kernel for each number of rows: one takes a weight row at a time, in the order that the processor's prefetch
 * wants; more take four. */
#define VNNI_KERNEL(M, N)                                                                                          \
    TARGET_VNNI static void kernel_vnni_##M(int32_t *acc, int64_t lda, const uint8_t *group, const int8_t *weight, \
                                            int64_t I, int64_t count, struct asking asking) {                      \
        int64_t o = 0;                                                                                             \
        for (; o + N <= count; o += N) vnni_block(acc + o, lda, group, weight + o * I, I, asking, M, N);           \
        for (; o < count; o++) vnni_block(acc + o, lda, group, weight + o * I, I, asking, M, 1);                   \
    }
VNNI_KERNEL(1, 1)
VNNI_KERNEL(2, 4)
VNNI_KERNEL(3, 4)
VNNI_KERNEL(4, 4)

static void run_vnni(int32_t *acc, int64_t lda, const uint8_t *group, const int8_t *weight, int64_t I, int64_t count,
                     int64_t M, struct asking asking) {
    switch (M) {
    case 1:
        kernel_vnni_1(acc, lda, group, weight, I, count, asking);
        break;
    case 2:
        kernel_vnni_2(acc, lda, group, weight, I, count, asking);
        break;
    case 3:
        kernel_vnni_3(acc, lda, group, weight, I, count, asking);
        break;
    default:
        kernel_vnni_4(acc, lda, group, weight, I, count, asking);
        break;
    }
}

#endif

void int8_small_product(int32_t *acc, int64_t lda, const uint8_t *packed, const int8_t *weight, int64_t I,
                        int64_t count, int64_t T) {
    /* Weight rows that stay in the first cache while all groups go over them. */
    const int64_t piece = I < 4096 ? 16 : 4, groups = (T + GROUP - 1) / GROUP;
    group_kernel *kernel = kernel_plain;
#if defined(__x86_64__)
    const enum instructions found = processor_instructions();
    if (found >= INSTRUCTIONS_AVX2) kernel = kernel_avx2;
#endif
    for (int64_t o = 0; o < count; o += piece) {
        const int64_t rows = count - o < piece ? count - o : piece;
        for (int64_t g = 0; g < groups; g++) {
            const int64_t t = g * GROUP, M = T - t < GROUP ? T - t : GROUP;
            int32_t *to = acc + t * lda + o;
            const uint8_t *group = packed + t * steps_of(I) * INT8_STEP;
#if defined(__x86_64__)
            if (found >= INSTRUCTIONS_VNNI) {
                struct asking asking = {0, piece * I > 8192 ? piece * I : 8192};
                for (int n = 0; n < 4; n++) asking.rows |= n % groups == g ? 1 << n : 0;
                run_vnni(to, lda, group, weight + o * I, I, rows, M, asking);
                continue;
            }
#endif
            kernel(to, lda, group, weight + o * I, I, rows, M);
        }
    }
}
