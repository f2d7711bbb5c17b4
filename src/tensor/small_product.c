/* Few rows times a stored weight: blocks of a few activation rows by a few weight rows, dot products in lanes, the
 * lanes summed at the end for up to sixteen dot products together. */
#include "tensor/small_product.h"
#include "tensor/lane_sums.h"
#include "tensor/processor.h"
#include "tensor/tile.h"
#include <string.h>

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

/* Rows of the first of two groups: four by four sums fit the registers, and a group's activations the first cache. */
INLINE int first_group(int M) {
    return M <= 4 ? M : (M + 1) / 2;
}

/* A block: rows m0 … of x, packed, by weight rows from o on. `asked`: for which of these it asks ahead (a bit each). */
typedef void small_block(const struct small_job *job, const float *x, int64_t m0, int64_t o, int asked);

/* The blocks of one type and one set of instructions, by their rows of x less one. One and two rows that are the whole
 * call take four weight rows at a time, the groups of more what there are registers for. */
struct small_kernels {
    small_block *single[4]; /* one weight row: what whole blocks leave */
    small_block *alone[2];  /* four */
    small_block *block[4];  /* block_rows; two rows of x and more */
    int64_t block_rows;
};

/* The sums of the lanes of eight vectors of eight. */
#define SUM_EIGHT_LANES(dots, sums)                                                                                \
    do {                                                                                                           \
        four_lanes folded_[8];                                                                                     \
        for (int s_ = 0; s_ < 8; s_++) {                                                                           \
            const eight_lanes sum_ = (sums)[s_];                                                                   \
            folded_[s_] =                                                                                          \
                __builtin_shufflevector(sum_, sum_, 0, 1, 2, 3) + __builtin_shufflevector(sum_, sum_, 4, 5, 6, 7); \
        }                                                                                                          \
        SUM_FOUR_LANES(dots, folded_, 8);                                                                          \
    } while (0)

#define SET(name) plain_##name
#define TARGET
#define VECTOR four_lanes
#define WORDS four_words
#define VECTOR_LANES 4
#define SUM_DOTS(dots, sums) SUM_FOUR_LANES(dots, sums, 8)
#define BLOCK_ROWS 2
#include "tensor/small_product_kernel.h"

#define SET(name) avx2_##name
#define TARGET TARGET_AVX2
#define VECTOR eight_lanes
#define WORDS eight_words
#define VECTOR_LANES 8
#define SUM_DOTS(dots, sums) SUM_EIGHT_LANES(dots, sums)
#define BLOCK_ROWS 2
#include "tensor/small_product_kernel.h"

#define SET(name) avx512_##name
#define TARGET TARGET_AVX512
#define VECTOR sixteen_lanes
#define WORDS sixteen_words
#define VECTOR_LANES 16
#define SUM_DOTS(dots, sums) SUM_LANES(dots, sixteen_lanes, sums)
#define BLOCK_ROWS 4
#include "tensor/small_product_kernel.h"

static const struct small_kernels *choose_kernels(enum dtype dtype) {
    static const struct small_kernels *const table[3][3] = {
        {[DTYPE_F32] = &plain_f32, [DTYPE_F16] = &plain_f16, [DTYPE_BF16] = &plain_bf16},
        {[DTYPE_F32] = &avx2_f32, [DTYPE_F16] = &avx2_f16, [DTYPE_BF16] = &avx2_bf16},
        {[DTYPE_F32] = &avx512_f32, [DTYPE_F16] = &avx512_f16, [DTYPE_BF16] = &avx512_bf16}};
    const enum instructions found = processor_instructions();
    return table[found > INSTRUCTIONS_AVX512 ? INSTRUCTIONS_AVX512 : found][dtype];
}

/* Weight rows first … end for M <= 8 rows of x in one group or two. Memory is kept busy evenly when the second of two
 * groups asks for its half of the rows. */
static void rows_product(const struct small_job *job, const struct small_kernels *kernels, int M, int64_t first,
                         int64_t end) {
    const int M0 = first_group(M), M1 = M - M0, all = job->ask_ahead ? 15 : 0;
    const int64_t N = M <= 2 ? 4 : kernels->block_rows;
    small_block *const block = M <= 2 ? kernels->alone[M - 1] : kernels->block[M0 - 1];
    int64_t o = first;
    for (; o + N <= end; o += N) {
        block(job, job->packed, 0, o, M1 > 0 ? all & 5 : all);
        if (M1 > 0) kernels->block[M1 - 1](job, job->packed + job->second, M0, o, all & 10);
    }
    for (; o < end; o++) {
        kernels->single[M0 - 1](job, job->packed, 0, o, 0);
        if (M1 > 0) kernels->single[M1 - 1](job, job->packed + job->second, M0, o, 0);
    }
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
    const struct small_kernels *kernels = choose_kernels(weight->dtype);
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
                rows_product(&job, kernels, (int)M, first, end);
            }
        }
    }
}
