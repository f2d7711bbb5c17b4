/* Quantising weights and activations, and the forward of an eight-bit linear layer. */
#include "tensor/int8.h"
#include "base/threads.h"
#include "tensor/gemm.h"
#include "tensor/int8_kernels.h"
#include "tensor/matmul.h"
#include <math.h>
#include <string.h>

/* Rows of activations that are quantised together, outputs whose sums stay in cache, outlier columns that are
 * multiplied together. */
enum { ROWS = 512, OUTPUTS = 256, COLUMNS = 64 };

static int32_t float_to_bits(float value) {
    int32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Nearest integer, ties to even, for |x| < 2^22: added to 1.5 * 2^23 it stands in the low bits. */
static inline int32_t nearest(float x) {
    return float_to_bits(x + 12582912.0f) - 0x4b400000;
}

void int8_sum_rows(int32_t *sums, const int8_t *values, int64_t rows, int64_t cols) {
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        int32_t sum = 0;
        for (int64_t c = 0; c < cols; c++) sum += values[r * cols + c];
        sums[r] = sum;
    }
}

void int8_quantise_rows(int8_t *values, float *scales, int32_t *sums, const struct matrix *weight, int64_t first,
                        int64_t count, float *row) {
    const int64_t cols = weight->cols;
#pragma omp parallel for schedule(static)
    for (int64_t r = first; r < first + count; r++) {
        float *wide = row + threads_index() * cols, largest = 0;
        int8_t *to = values + r * cols;
        int32_t sum = 0;
        matrix_widen(wide, weight, r * cols, cols);
#pragma omp simd reduction(max : largest)
        for (int64_t c = 0; c < cols; c++) largest = fabsf(wide[c]) > largest ? fabsf(wide[c]) : largest;
        /* Subnormal weights would make 1 / scale infinite: such a row is zero. */
        const float scale = largest > 1e-30f ? largest / 127.0f : 0.0f, inverse = scale > 0 ? 1.0f / scale : 0.0f;
        for (int64_t c = 0; c < cols; c++) {
            const int32_t value = nearest(wide[c] * inverse);
            to[c] = (int8_t)(value > 127 ? 127 : value < -127 ? -127 : value);
            sum += to[c];
        }
        scales[r] = scale;
        sums[r] = sum;
    }
}

/* Where a call keeps its intermediate values, in the caller's scratch. */
struct int8_scratch {
    uint8_t *u;           /* [ROWS, I] */
    uint8_t *packed;      /* [INT8_SMALL_ROWS, I rounded up] */
    int32_t *acc;         /* [ROWS, OUTPUTS] */
    float *scales;        /* [ROWS] of the activations */
    int64_t *outliers;    /* [ROWS] how many in each row */
    int32_t *columns;     /* [I] columns in which there are any */
    float *x_out, *w_out; /* [ROWS, COLUMNS], [OUTPUTS, COLUMNS] */
};

/* Lays it out; base NULL only counts. Bytes. */
static size_t lay_out(struct int8_scratch *scratch, char *base, int64_t I) {
    const int64_t padded = (I + INT8_STEP - 1) / INT8_STEP * INT8_STEP;
    const size_t sizes[] = {(size_t)(ROWS * I),     (size_t)(INT8_SMALL_ROWS * padded),
                            ROWS * OUTPUTS * 4,     ROWS * 4,
                            ROWS * sizeof(int64_t), (size_t)I * 4,
                            ROWS * COLUMNS * 4,     OUTPUTS * COLUMNS * 4};
    void *pieces[8];
    size_t used = 0;
    for (int i = 0; i < 8; i++) {
        pieces[i] = base == NULL ? NULL : base + used;
        used += (sizes[i] + 63) / 64 * 64;
    }
    *scratch =
        (struct int8_scratch){pieces[0], pieces[1], pieces[2], pieces[3], pieces[4], pieces[5], pieces[6], pieces[7]};
    return used;
}

int64_t int8_scratch_size(int64_t I) {
    struct int8_scratch scratch;
    return (int64_t)(lay_out(&scratch, NULL, I) / sizeof(float));
}

/* One row of activations: u = round(x / scale) + 128, and 128 where x is an outlier (NaN is one too). */
static int64_t quantise_row(uint8_t *u, float *scale, const float *x, int64_t I) {
    float largest = 0;
    int32_t regular = 0;
#pragma omp simd reduction(max : largest) reduction(+ : regular)
    for (int64_t i = 0; i < I; i++) {
        const float size = fabsf(x[i]);
        const int inside = size <= INT8_OUTLIER;
        largest = inside && size > largest ? size : largest;
        regular += inside;
    }
    *scale = largest > 1e-30f ? largest / 127.0f : 0.0f;
    const float inverse = *scale > 0 ? 1.0f / *scale : 0.0f;
    for (int64_t i = 0; i < I; i++) {
        const float kept = fabsf(x[i]) <= INT8_OUTLIER ? x[i] : 0.0f;
        u[i] = (uint8_t)(nearest(kept * inverse) + 128);
    }
    return I - regular;
}

static int64_t quantise(const struct int8_scratch *scratch, const float *x, int64_t I, int64_t T) {
    int64_t outliers = 0;
#pragma omp parallel for schedule(static) reduction(+ : outliers) if (T * I > 1 << 13)
    for (int64_t t = 0; t < T; t++) {
        scratch->outliers[t] = quantise_row(scratch->u + t * I, &scratch->scales[t], x + t * I, I);
        outliers += scratch->outliers[t];
    }
    return outliers;
}

/* One row of sums becomes outputs: what the 128 added is taken off, both scales are multiplied in. */
static void scale_row(float *y, const int32_t *acc, const struct int8_rows *w, int64_t first, int64_t count,
                      float x_scale, bool accumulate) {
    const float *scales = w->scales + first;
    const int32_t *sums = w->sums + first;
    if (accumulate) {
        for (int64_t o = 0; o < count; o++) y[o] += x_scale * scales[o] * (float)(acc[o] - 128 * sums[o]);
    } else {
        for (int64_t o = 0; o < count; o++) y[o] = x_scale * scales[o] * (float)(acc[o] - 128 * sums[o]);
    }
}

/* The columns in which some row has an outlier; how many. */
static int64_t find_columns(const struct int8_scratch *scratch, const float *x, int64_t I, int64_t T) {
    memset(scratch->columns, 0, (size_t)I * sizeof *scratch->columns);
    for (int64_t t = 0; t < T; t++) {
        if (scratch->outliers[t] == 0) continue;
        for (int64_t i = 0; i < I; i++) scratch->columns[i] |= !(fabsf(x[t * I + i]) <= INT8_OUTLIER);
    }
    int64_t count = 0;
    for (int64_t i = 0; i < I; i++) {
        if (scratch->columns[i] != 0) scratch->columns[count++] = (int32_t)i;
    }
    return count;
}

/* Adds the outliers' products with outputs first … first + count, in f32, some columns at a time. */
static void add_outliers(float *y, int64_t O, const struct int8_scratch *scratch, const float *x,
                         const struct int8_rows *w, int64_t I, int64_t T, int64_t first, int64_t outputs,
                         int64_t columns) {
    for (int64_t c0 = 0; c0 < columns; c0 += COLUMNS) {
        const int64_t count = columns - c0 < COLUMNS ? columns - c0 : COLUMNS;
        const int32_t *chosen = scratch->columns + c0;
        for (int64_t t = 0; t < T; t++) {
            for (int64_t c = 0; c < count; c++) {
                const float value = x[t * I + chosen[c]];
                scratch->x_out[t * count + c] = fabsf(value) <= INT8_OUTLIER ? 0.0f : value;
            }
        }
        for (int64_t o = 0; o < outputs; o++) {
            const int8_t *row = w->values + (first + o) * I;
            for (int64_t c = 0; c < count; c++)
                scratch->w_out[o * count + c] = w->scales[first + o] * (float)row[chosen[c]];
        }
        gemm(false, true, T, outputs, count, 1, scratch->x_out, count, scratch->w_out, count, 1, y + first, O);
    }
}

/* Up to INT8_SMALL_ROWS rows: each thread takes pieces of the weight, read once. A row's outliers are added one by one,
 * so that its bits do not depend on the others. */
static void forward_few(float *y, const float *x, const struct matrix *weight, int64_t T, bool accumulate,
                        const struct int8_scratch *scratch) {
    enum { PIECE = 128 };
    const struct int8_rows *w = weight->data;
    const int64_t O = weight->rows, I = weight->cols;
    quantise(scratch, x, I, T);
    int8_small_pack(scratch->packed, scratch->u, I, T);
    const int64_t fitting = (1 << 16) / I / 16 * 16, piece = fitting < 16 ? 16 : fitting > PIECE ? PIECE : fitting;
#pragma omp parallel for schedule(static) if (O * I > 1 << 15)
    for (int64_t first = 0; first < O; first += piece) {
        const int64_t count = O - first < piece ? O - first : piece;
        int32_t acc[INT8_SMALL_ROWS * PIECE];
        int8_small_product(acc, PIECE, scratch->packed, w->values + first * I, I, count, T);
        for (int64_t t = 0; t < T; t++) {
            float *to = y + t * O + first;
            scale_row(to, acc + t * PIECE, w, first, count, scratch->scales[t], accumulate);
            for (int64_t i = 0, left = scratch->outliers[t]; left > 0; i++) {
                const float value = x[t * I + i];
                if (fabsf(value) <= INT8_OUTLIER) continue;
                left--;
                for (int64_t o = 0; o < count; o++)
                    to[o] += value * (w->scales[first + o] * (float)w->values[(first + o) * I + i]);
            }
        }
    }
}

/* Where oneDNN's matmul is not exact: the kernels of few rows, again and again. */
static void multiply_in_groups(int32_t *acc, const uint8_t *u, const int8_t *weight, int64_t I, int64_t count,
                               int64_t T, uint8_t *packed) {
    for (int64_t t = 0; t < T; t += INT8_SMALL_ROWS) {
        const int64_t rows = T - t < INT8_SMALL_ROWS ? T - t : INT8_SMALL_ROWS;
        int8_small_pack(packed, u + t * I, I, rows);
#pragma omp parallel for schedule(static)
        for (int64_t o = 0; o < count; o += 16) {
            int8_small_product(acc + t * OUTPUTS + o, OUTPUTS, packed, weight + o * I, I,
                               count - o < 16 ? count - o : 16, rows);
        }
    }
}

/* Up to ROWS rows. oneDNN gets a multiple of 32 of them, so that it meets few shapes; the rest is whatever the scratch
 * holds, and not read. */
static void forward_many(float *y, const float *x, const struct matrix *weight, int64_t T, bool accumulate,
                         const struct int8_scratch *scratch) {
    const struct int8_rows *w = weight->data;
    const int64_t O = weight->rows, I = weight->cols, padded = (T + 31) / 32 * 32;
    const bool exact = matmul_int8_is_exact();
    const int64_t columns = quantise(scratch, x, I, T) > 0 ? find_columns(scratch, x, I, T) : 0;
    for (int64_t first = 0; first < O; first += OUTPUTS) {
        const int64_t count = O - first < OUTPUTS ? O - first : OUTPUTS;
        const int8_t *rows = w->values + first * I;
        if (exact)
            matmul(MATMUL_INT8, false, padded, count, I, scratch->u, rows, scratch->acc, OUTPUTS);
        else
            multiply_in_groups(scratch->acc, scratch->u, rows, I, count, T, scratch->packed);
#pragma omp parallel for schedule(static)
        for (int64_t t = 0; t < T; t++) {
            scale_row(y + t * O + first, scratch->acc + t * OUTPUTS, w, first, count, scratch->scales[t], accumulate);
        }
        if (columns > 0) add_outliers(y, O, scratch, x, w, I, T, first, count, columns);
    }
}

void int8_forward(float *y, const float *x, const struct matrix *weight, int64_t T, bool accumulate, float *memory) {
    const int64_t O = weight->rows, I = weight->cols;
    struct int8_scratch scratch;
    lay_out(&scratch, (char *)memory, I);
    if (T <= INT8_SMALL_ROWS) {
        forward_few(y, x, weight, T, accumulate, &scratch);
        return;
    }
    for (int64_t t = 0; t < T; t += ROWS)
        forward_many(y + t * O, x + t * I, weight, T - t < ROWS ? T - t : ROWS, accumulate, &scratch);
}
