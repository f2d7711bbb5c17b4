/* Groups of up to four rows of activations by four rows of the weight, dot products in lanes, the lanes summed at the
 * end for sixteen dot products together. */
#include "tensor/small_product_bf16.h"
#include "tensor/lane_sums.h"
#include "tensor/processor.h"
#include "tensor/small_product.h"
#include <stdlib.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

/* Elements of a step, rows of a group, weight rows of a block, rows that go over a piece of the weight together. */
enum { STEP = 32, GROUP = 4, BLOCK = 4, TOGETHER = 8 };

/* Least distance in bytes at which weights are asked for ahead, in the order in which they lie in memory. */
enum { AHEAD = 8192 };

/* Elements of packed activations, on the caller's stack (512 KiB): TOGETHER rows of SMALL_PRODUCT_INPUTS. */
enum { PACKED = TOGETHER * SMALL_PRODUCT_INPUTS };

bool small_product_bf16_is_possible(void) {
    return processor_instructions() >= INSTRUCTIONS_AVX512 && __builtin_cpu_supports("avx512bf16");
}

/* What one call works on. */
struct bf16_job {
    float *y;
    const uint16_t *packed; /* groups one behind the other, [steps][rows of the group][STEP] each */
    const uint16_t *weight;
    int64_t O, I, T;
    bool accumulate;
};

static int64_t steps_of(int64_t I) {
    return (I + STEP - 1) / STEP;
}

/* Past the end zeros, which add nothing to a weight that is read as zero there. */
static void pack_rows(uint16_t *packed, const float *x, int64_t I, int64_t T) {
    const int64_t steps = steps_of(I);
    for (int64_t t0 = 0; t0 < T; t0 += GROUP) {
        const int64_t rows = T - t0 < GROUP ? T - t0 : GROUP;
        uint16_t *group = packed + t0 * steps * STEP;
        for (int64_t t = 0; t < rows; t++) {
            for (int64_t k = 0; k < steps; k++) {
                const int64_t left = I - k * STEP, count = left < STEP ? left : STEP;
                uint16_t *to = group + (k * rows + t) * STEP;
                if (count < STEP) memset(to, 0, STEP * sizeof *to);
                narrow_bf16(to, x + (t0 + t) * I + k * STEP, count);
            }
        }
    }
}

/* M rows of a group by N weight rows from row o on. `asked`: for which of them this call asks ahead (a bit each), so
 * that all groups together ask for everything once. */
TARGET_BF16 INLINE void block_product(const struct bf16_job *job, int64_t t0, int64_t o, int asked, const int M,
                                      const int N) {
    const int64_t I = job->I, whole = I / STEP, rest = I % STEP, ahead = N * I > AHEAD / 2 ? N * I : AHEAD / 2;
    const uint16_t *weight = job->weight + o * I, *x = job->packed + t0 * steps_of(I) * STEP;
    __m512 sums[16];
    __m512bh w[BLOCK];
    for (int i = 0; i < 16; i++) sums[i] = _mm512_setzero_ps();
    for (int64_t k = 0; k < whole; k++, x += M * STEP) {
        for (int n = 0; n < N; n++) {
            if (asked >> n & 1) ASK_AHEAD(weight + ahead + (k * N + n) * STEP, N > 1 && M > 1);
            w[n] = (__m512bh)_mm512_loadu_si512(weight + n * I + k * STEP);
        }
        for (int m = 0; m < M; m++) {
            __m512i a = _mm512_loadu_si512(x + m * STEP);
            if (N > 1) KEEP_IN_REGISTER(a);
            for (int n = 0; n < N; n++) sums[m * N + n] = _mm512_dpbf16_ps(sums[m * N + n], (__m512bh)a, w[n]);
        }
    }
    if (rest > 0) {
        const __mmask32 mask = (__mmask32)(((uint64_t)1 << rest) - 1);
        for (int n = 0; n < N; n++) w[n] = (__m512bh)_mm512_maskz_loadu_epi16(mask, weight + n * I + whole * STEP);
        for (int m = 0; m < M; m++) {
            const __m512bh a = (__m512bh)_mm512_loadu_si512(x + m * STEP);
            for (int n = 0; n < N; n++) sums[m * N + n] = _mm512_dpbf16_ps(sums[m * N + n], a, w[n]);
        }
    }
    float dots[16];
    SUM_LANES(dots, sixteen_lanes, (sixteen_lanes *)sums);
    for (int m = 0; m < M; m++) {
        float *to = job->y + (t0 + m) * job->O + o;
        for (int n = 0; n < N; n++) to[n] = (job->accumulate ? to[n] : 0.0f) + dots[m * N + n];
    }
}

/* One group by BLOCK weight rows, or by one. */
#define GROUP_KERNEL(M)                                                                                           \
    TARGET_BF16 static void group_##M(const struct bf16_job *job, int64_t t0, int64_t o, int asked, bool block) { \
        if (block)                                                                                                \
            block_product(job, t0, o, asked, M, BLOCK);                                                           \
        else                                                                                                      \
            block_product(job, t0, o, 0, M, 1);                                                                   \
    }
GROUP_KERNEL(1)
GROUP_KERNEL(2)
GROUP_KERNEL(3)
GROUP_KERNEL(4)

/* Weight rows first … end for all rows of the job. */
static void rows_product(const struct bf16_job *job, int64_t first, int64_t end, bool ask) {
    static void (*const kernels[])(const struct bf16_job *, int64_t, int64_t, int, bool) = {group_1, group_2, group_3,
                                                                                            group_4};
    const int64_t groups = (job->T + GROUP - 1) / GROUP;
    for (int64_t o = first; o < end;) {
        const bool block = o + BLOCK <= end;
        for (int64_t g = 0; g < groups; g++) {
            const int64_t left = job->T - g * GROUP, M = left < GROUP ? left : GROUP;
            int asked = 0;
            for (int n = 0; ask && n < BLOCK; n++) asked |= n % groups == g ? 1 << n : 0;
            kernels[M - 1](job, g * GROUP, o, asked, block);
        }
        o += block ? BLOCK : 1;
    }
}

void small_product_bf16(float *y, const float *x, const struct matrix *weight, int64_t T, bool accumulate) {
    uint16_t packed[PACKED];
    const int64_t O = weight->rows, I = weight->cols, padded = steps_of(I) * STEP;
    const int64_t held = PACKED / padded < SMALL_PRODUCT_ROWS ? PACKED / padded : SMALL_PRODUCT_ROWS;
    /* Weight rows that go to a thread at a time: whole blocks, about 64 KiB, read from memory once for all rows. */
    const int64_t piece = ((1 << 16) / (2 * I + 1) + BLOCK) / BLOCK * BLOCK;
    for (int64_t done = 0; done < T; done += held) {
        const int64_t rows = T - done < held ? T - done : held;
        pack_rows(packed, x + done * I, I, rows);
#pragma omp parallel for schedule(static) if (O * I > 1 << 15)
        for (int64_t first = 0; first < O; first += piece) {
            const int64_t end = O - first < piece ? O : first + piece;
            for (int64_t t = 0; t < rows; t += TOGETHER) {
                const struct bf16_job job = {.y = y + (done + t) * O,
                                             .packed = packed + t * padded,
                                             .weight = weight->data,
                                             .O = O,
                                             .I = I,
                                             .T = rows - t < TOGETHER ? rows - t : TOGETHER,
                                             .accumulate = accumulate};
                rows_product(&job, first, end, t == 0);
            }
        }
    }
}

#else

bool small_product_bf16_is_possible(void) {
    return false;
}

void small_product_bf16(float *y, const float *x, const struct matrix *weight, int64_t T, bool accumulate) {
    small_product(y, weight->rows, x, weight->cols, weight, T, 1, accumulate);
}

#endif
