/* Linear layers over stored weights. bf16 and f16 weights, and int8 ones in the backward, are widened a block of rows
 * at a time, small enough to stay in cache. */
#include "base/threads.h"
#include "tensor/gemm.h"
#include "tensor/int8.h"
#include "tensor/small_product.h"
#include <string.h>

/* Floats in a panel: 2 MiB. */
#define PANEL ((int64_t)1 << 19)

static int64_t panel_rows(const struct matrix *weight) {
    const int64_t rows = PANEL / (weight->cols > 0 ? weight->cols : 1);
    return rows < 16 ? 16 : rows > weight->rows ? weight->rows : rows;
}

int64_t linear_panel_size(const struct matrix *weight) {
    if (weight->data == NULL || weight->dtype == DTYPE_F32) return 0;
    const int64_t panel = panel_rows(weight) * weight->cols;
    if (weight->dtype != DTYPE_INT8) return panel;
    const int64_t scratch = int8_scratch_size(weight->cols);
    return scratch > panel ? scratch : panel;
}

/* Rows first … first + count of the weight as f32: in place, or widened into the panel. */
static const float *widened_rows(const struct matrix *weight, int64_t first, int64_t count, float *panel) {
    if (weight->dtype == DTYPE_F32) return (const float *)weight->data + first * weight->cols;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < count; r++)
        matrix_widen(panel + r * weight->cols, weight, (first + r) * weight->cols, weight->cols);
    return panel;
}

static void add_bias(float *y, const struct matrix *bias, int64_t T, int64_t O) {
    enum { PIECE = 1024 };
    float values[PIECE];
    for (int64_t first = 0; first < O; first += PIECE) {
        const int64_t count = O - first < PIECE ? O - first : PIECE;
        matrix_widen(values, bias, first, count);
#pragma omp parallel for schedule(static) if (T * count > 1 << 14)
        for (int64_t t = 0; t < T; t++) {
            float *row = y + t * O + first;
            for (int64_t o = 0; o < count; o++) row[o] += values[o];
        }
    }
}

void linear_forward(float *y, const float *x, const struct matrix *weight, const struct matrix *bias, int64_t T,
                    bool accumulate, float *panel) {
    const int64_t O = weight->rows, I = weight->cols, block = weight->dtype == DTYPE_F32 ? O : panel_rows(weight);
    if (weight->dtype == DTYPE_INT8) {
        int8_forward(y, x, weight, T, accumulate, panel);
    } else if (T <= SMALL_PRODUCT_ROWS && I <= SMALL_PRODUCT_INPUTS) {
        small_product(y, O, x, I, weight, T, 1, accumulate);
    } else {
        for (int64_t first = 0; first < O; first += block) {
            const int64_t count = O - first < block ? O - first : block;
            const float *rows = widened_rows(weight, first, count, panel);
            gemm(false, true, T, count, I, 1, x, I, rows, I, accumulate ? 1 : 0, y + first, O);
        }
    }
    if (bias != NULL && bias->data != NULL) add_bias(y, bias, T, O);
}

void linear_backward_input(float *d_x, const float *d_y, const struct matrix *weight, int64_t T, bool accumulate,
                           float *panel) {
    const int64_t O = weight->rows, I = weight->cols, block = weight->dtype == DTYPE_F32 ? O : panel_rows(weight);
    for (int64_t first = 0; first < O; first += block) {
        const int64_t count = O - first < block ? O - first : block;
        const float *rows = widened_rows(weight, first, count, panel);
        gemm(false, false, T, I, count, 1, d_y + first, O, rows, I, accumulate || first > 0 ? 1 : 0, d_x, I);
    }
}

void linear_backward_weight(float *d_w, const float *d_y, const float *x, int64_t T, int64_t O, int64_t I) {
    gemm(true, false, O, I, T, 1, d_y, O, x, I, 1, d_w, I);
}

void linear_backward_bias(float *d_bias, const float *d_y, int64_t T, int64_t O) {
    /* Each thread owns a range of columns and walks down all rows: the order of the sum does not depend on the threads.
     */
    enum { PIECE = 64 };
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < O; first += PIECE) {
        const int64_t count = O - first < PIECE ? O - first : PIECE;
        float sums[PIECE] = {0};
        for (int64_t t = 0; t < T; t++) {
            const float *row = d_y + t * O + first;
            for (int64_t o = 0; o < count; o++) sums[o] += row[o];
        }
        for (int64_t o = 0; o < count; o++) d_bias[first + o] += sums[o];
    }
}
