/* Few rows times a stored weight: blocks of a few activation rows by a few weight rows, dot products in lanes, the
 * lanes summed at the end for up to sixteen dot products together. */
#include "tensor/small_product.h"
#include "tensor/lane_sums.h"
#include "tensor/processor.h"
#include "tensor/tile.h"
#include <string.h>

typedef uint32_t word_lanes __attribute__((vector_size(LANES * 4), aligned(2), may_alias));

/* Least distance in bytes at which weights are asked for ahead, in the order in which they lie in memory: the rows of a
 * block are read side by side, which the processor's own prefetch does not follow. */
enum { AHEAD = 8192 };

/* Floats of packed activations, on the caller's stack: sixteen rows of 16,384 inputs, eight of 32,768. */
enum { PACKED = 1 << 18 };

#define INLINE static inline __attribute__((always_inline))

/* Elements that a vector of stored weights holds: sixteen words, a word being a float or two halves. */
INLINE int64_t step_of(const enum dtype dtype) {
    return dtype == DTYPE_F32 ? LANES : 2 * LANES;
}

/* A half in the low 16 bits is shifted into place and rescaled; infinities and NaN get their exponent back (as in
 * dtype.c). */
INLINE void widen_low_halves(lanes *out, const word_lanes *words) {
    const lanes scaled = (lanes)((*words & 0x7fffu) << 13) * 0x1p112f;
    const word_lanes special = (word_lanes)((*words & 0x7c00u) == 0x7c00u) & 0x7f800000u;
    *out = (lanes)((word_lanes)scaled | special | ((*words & 0x8000u) << 16));
}

/* The weights of sixteen words as floats: of halves, those in the low bits (even elements) and those in the high bits
 * (odd ones); the activations are packed to match. */
INLINE void load_weights(lanes *even, lanes *odd, const char *from, const enum dtype dtype) {
    const word_lanes words = *(const word_lanes *)from;
    if (dtype == DTYPE_F32) {
        *even = (lanes)words;
    } else if (dtype == DTYPE_BF16) {
        *even = (lanes)(words << 16);
        *odd = (lanes)(words & 0xffff0000u);
    } else {
        const word_lanes high = words >> 16;
        widen_low_halves(even, &words);
        widen_low_halves(odd, &high);
    }
}

/* What one call works on. */
struct small_job {
    float *y;
    int64_t ldy;
    const float
        *packed;        /* two groups of rows, [steps][rows][step] each: of halves, a step's even elements come first */
    int64_t second;     /* floats from the first group to the second */
    const char *weight; /* first byte of row 0 */
    int64_t I;
    float alpha;
    bool accumulate;
    bool ask_ahead; /* the weight comes from memory: other rows of x have not gone over it just now */
};

/* M rows by N weights of one step: sums += x w. `tall`: a vector is one register. */
INLINE void step_product(lanes *sums, const float *x, const lanes *even, const lanes *odd, const enum dtype dtype,
                         const int M, const int N, const bool tall) {
    for (int m = 0; m < M; m++) {
        lanes a = *(const lanes *)(x + m * step_of(dtype));
        if (tall && N > 1) KEEP_IN_REGISTER(a);
        for (int n = 0; n < N; n++) sums[m * N + n] += a * even[n];
        if (dtype == DTYPE_F32) continue;
        lanes b = *(const lanes *)(x + m * step_of(dtype) + LANES);
        if (tall && N > 1) KEEP_IN_REGISTER(b);
        for (int n = 0; n < N; n++) sums[m * N + n] += b * odd[n];
    }
}

/* `asked`: for which of the N rows this call asks ahead (a bit each): memory is kept busy evenly when the second of two
 * groups does its half. Rows m0 … m0 + M of x, packed, by N rows of the weight from row o on; M * N <= 16 dot products
 * of I elements. */
INLINE void block_product(const struct small_job *job, const float *x, int64_t m0, int64_t o, int asked,
                          const enum dtype dtype, const int M, const int N, const bool tall) {
    const int64_t size = dtype == DTYPE_F32 ? 4 : 2, row_bytes = job->I * size, step = step_of(dtype);
    const int64_t steps = job->I / step, rest = job->I % step;
    const int64_t ahead = N * row_bytes > AHEAD ? N * row_bytes : AHEAD;
    const char *weight = job->weight + o * row_bytes;
    lanes sums[16] = {0}, even[4], odd[4];
    for (int64_t k = 0; k < steps; k++, x += M * step) {
        for (int n = 0; n < N; n++) {
            if (asked >> n & 1) __builtin_prefetch(weight + ahead + (k * N + n) * step * size);
            load_weights(&even[n], &odd[n], weight + n * row_bytes + k * step * size, dtype);
        }
        step_product(sums, x, even, odd, dtype, M, N, tall);
    }
    if (rest > 0) {
        for (int n = 0; n < N; n++) {
            word_lanes stored = {0};
            memcpy(&stored, weight + n * row_bytes + steps * step * size, (size_t)(rest * size));
            load_weights(&even[n], &odd[n], (const char *)&stored, dtype);
        }
        step_product(sums, x, even, odd, dtype, M, N, tall);
    }
    float dots[16];
    SUM_LANES(dots, lanes, sums);
    for (int m = 0; m < M; m++) {
        float *to = job->y + (m0 + m) * job->ldy + o;
        for (int n = 0; n < N; n++) to[n] = (job->accumulate ? to[n] : 0.0f) + job->alpha * dots[m * N + n];
    }
}

/* Rows of the first of two groups: four by four sums fit the registers, and a group's activations the first cache. */
INLINE int first_group(int M) {
    return M <= 4 ? M : (M + 1) / 2;
}

/* Weight rows first … end for M rows of x, N at a time. */
INLINE void rows_product(const struct small_job *job, int64_t first, int64_t end, const enum dtype dtype, const int M,
                         const int N, const bool tall) {
    const int M0 = first_group(M), all = job->ask_ahead ? 15 : 0, half = M > M0 ? all & 5 : all;
    int64_t o = first;
    for (; o + N <= end; o += N) {
        block_product(job, job->packed, 0, o, half, dtype, M0, N, tall);
        if (M > M0) block_product(job, job->packed + job->second, M0, o, all & 10, dtype, M - M0, N, tall);
    }
    for (; o < end; o++) {
        block_product(job, job->packed, 0, o, 0, dtype, M0, 1, tall);
        if (M > M0) block_product(job, job->packed + job->second, M0, o, 0, dtype, M - M0, 1, tall);
    }
}

typedef void small_kernel(const struct small_job *job, int64_t first, int64_t end);

/* A function for every number of rows and every type, so that each has the registers to itself. One row of x takes one
 * weight row at a time, in the order in which the processor's prefetch wants them; more take as many as there are
 * registers for the sums. */
#define KERNEL(SET, TARGET, TALL, TYPE, M, N)                                                        \
    TARGET static void SET##_##TYPE##_##M(const struct small_job *job, int64_t first, int64_t end) { \
        rows_product(job, first, end, TYPE, M, N, TALL);                                             \
    }
#define KERNELS(SET, TARGET, TALL, TYPE, N1, N2, N3)                                                    \
    KERNEL(SET, TARGET, TALL, TYPE, 1, N1)                                                              \
    KERNEL(SET, TARGET, TALL, TYPE, 2, N2)                                                              \
    KERNEL(SET, TARGET, TALL, TYPE, 3, N3)                                                              \
    KERNEL(SET, TARGET, TALL, TYPE, 4, N3)                                                              \
    KERNEL(SET, TARGET, TALL, TYPE, 5, N3)                                                              \
    KERNEL(SET, TARGET, TALL, TYPE, 6, N3)                                                              \
    KERNEL(SET, TARGET, TALL, TYPE, 7, N3)                                                              \
    KERNEL(SET, TARGET, TALL, TYPE, 8, N3)                                                              \
    static small_kernel *const SET##_##TYPE[8] = {SET##_##TYPE##_1, SET##_##TYPE##_2, SET##_##TYPE##_3, \
                                                  SET##_##TYPE##_4, SET##_##TYPE##_5, SET##_##TYPE##_6, \
                                                  SET##_##TYPE##_7, SET##_##TYPE##_8};
#define SET_OF_KERNELS(SET, TARGET, TALL, N1, N2, N3) \
    KERNELS(SET, TARGET, TALL, DTYPE_F32, N1, N2, N3) \
    KERNELS(SET, TARGET, TALL, DTYPE_F16, N1, N2, N3) \
    KERNELS(SET, TARGET, TALL, DTYPE_BF16, N1, N2, N3)
SET_OF_KERNELS(plain, , false, 1, 1, 1)
SET_OF_KERNELS(avx2, TARGET_AVX2, false, 1, 2, 1)
SET_OF_KERNELS(avx512, TARGET_AVX512, true, 1, 4, 4)

static small_kernel *choose_kernel(enum dtype dtype, int64_t M) {
    static small_kernel *const *const table[3][3] = {
        {[DTYPE_F32] = plain_DTYPE_F32, [DTYPE_F16] = plain_DTYPE_F16, [DTYPE_BF16] = plain_DTYPE_BF16},
        {[DTYPE_F32] = avx2_DTYPE_F32, [DTYPE_F16] = avx2_DTYPE_F16, [DTYPE_BF16] = avx2_DTYPE_BF16},
        {[DTYPE_F32] = avx512_DTYPE_F32, [DTYPE_F16] = avx512_DTYPE_F16, [DTYPE_BF16] = avx512_DTYPE_BF16}};
    const enum instructions found = processor_instructions();
    return table[found > INSTRUCTIONS_AVX512 ? INSTRUCTIONS_AVX512 : found][dtype][M - 1];
}

/* Packs M rows of x for weights of this type; elements past I are zero. */
static void pack_activations(float *packed, const float *x, int64_t ldx, int64_t I, enum dtype dtype, int64_t M) {
    const int64_t step = step_of(dtype), steps = (I + step - 1) / step;
    for (int64_t m = 0; m < M; m++) {
        for (int64_t k = 0; k < steps; k++) {
            float *to = packed + (k * M + m) * step;
            const float *from = x + m * ldx + k * step;
            const int64_t count = I - k * step < step ? I - k * step : step;
            if (count < step) memset(to, 0, (size_t)step * sizeof *to);
            for (int64_t i = 0; i < count; i++) to[dtype == DTYPE_F32 ? i : i / 2 + i % 2 * LANES] = from[i];
        }
    }
}

/* Rows that one call of a kernel takes, of those that are left: a pass over the weight in cache for every eight. */
static int64_t group_rows(int64_t left) {
    return left < 8 ? left : 8;
}

void small_product(float *y, int64_t ldy, const float *x, int64_t ldx, const struct matrix *weight, int64_t T,
                   float alpha, bool accumulate) {
    float packed[PACKED];
    const int64_t O = weight->rows, I = weight->cols, padded = (I + 2 * LANES - 1) / (2 * LANES) * (2 * LANES);
    const int64_t held = PACKED / padded < SMALL_PRODUCT_ROWS ? PACKED / padded : SMALL_PRODUCT_ROWS;
    /* Rows of the weight that go to a thread at a time: whole blocks, about 64 KiB, read once for all rows of x. */
    const int64_t bytes = I * (int64_t)dtype_size(weight->dtype), piece = ((1 << 16) / (bytes + 1) + 4) / 4 * 4;
    for (int64_t done = 0; done < T; done += held) {
        const int64_t rows = T - done < held ? T - done : held;
        for (int64_t t = 0; t < rows; t += 8) {
            const int64_t M = group_rows(rows - t), M0 = first_group((int)M);
            const float *from = x + (done + t) * ldx;
            pack_activations(packed + t * padded, from, ldx, I, weight->dtype, M0);
            pack_activations(packed + (t + M0) * padded, from + M0 * ldx, ldx, I, weight->dtype, M - M0);
        }
#pragma omp parallel for schedule(static) if (O * I > 1 << 15)
        for (int64_t first = 0; first < O; first += piece) {
            const int64_t end = O - first < piece ? O : first + piece;
            for (int64_t t = 0; t < rows; t += 8) {
                const int64_t M = group_rows(rows - t);
                const struct small_job job = {.y = y + (done + t) * ldy,
                                              .ldy = ldy,
                                              .packed = packed + t * padded,
                                              .second = first_group((int)M) * padded,
                                              .weight = weight->data,
                                              .I = I,
                                              .alpha = alpha,
                                              .accumulate = accumulate,
                                              .ask_ahead = t == 0};
                choose_kernel(weight->dtype, M)(&job, first, end);
            }
        }
    }
}
