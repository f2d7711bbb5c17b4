/* Linear layers over stored weights. bf16 and f16 weights, and int8 ones in the backward, are widened a block of rows
 * at a time, small enough to stay in cache. */
#include "base/threads.h"
#include "tensor/compute.h"
#include "tensor/gemm.h"
#include "tensor/int8.h"
#include "tensor/matmul.h"
#include "tensor/small_product.h"
#include "tensor/small_product_bf16.h"
#include <string.h>

/* Floats in a panel: 2 MiB. */
#define PANEL ((int64_t)1 << 19)

/* Rows that a bf16 product rounds at once, and the least that matmul is given: fewer shapes, so fewer primitives. */
enum { CHUNK = 512, LEAST = 64 };

/* At least 256 rows: products of fewer outputs reach two thirds of the rate. */
static int64_t panel_rows(const struct matrix *weight) {
    const int64_t rows = PANEL / (weight->cols > 0 ? weight->cols : 1);
    return rows < 256 ? (weight->rows < 256 ? weight->rows : 256) : rows > weight->rows ? weight->rows : rows;
}

int64_t linear_panel_size(const struct matrix *weight) {
    if (weight->data == NULL || weight->dtype == DTYPE_F32) return 0;
    const int64_t panel = panel_rows(weight) * weight->cols, rounded = CHUNK / 2 * weight->cols;
    if (weight->dtype == DTYPE_F16) return panel;
    const int64_t scratch = weight->dtype == DTYPE_BF16 ? rounded : int8_scratch_size(weight->cols);
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

/* Rows of the next call of matmul: 512, 256, 128 or 64 at a time; 0 when fewer are left. */
static int64_t matmul_rows(int64_t left) {
    for (int64_t rows = CHUNK; rows >= LEAST; rows /= 2) {
        if (left >= rows) return rows;
    }
    return 0;
}

/* One product with f32 rows of the weight, by matmul as far as its row counts go. */
static void multiply(float *y, int64_t O, const float *x, const float *rows, int64_t count, int64_t I, int64_t T,
                     bool accumulate, enum product_way way) {
    int64_t t = 0;
    for (int64_t take; way == WAY_MATMUL && (take = matmul_rows(T - t)) > 0; t += take)
        matmul(MATMUL_F32, accumulate, take, count, I, x + t * I, rows, y + t * O, O);
    gemm(false, true, T - t, count, I, 1, x + t * I, I, rows, I, accumulate ? 1 : 0, y + t * O, O);
}

/* The weight as f32, whole or block by block. */
static void forward_panels(float *y, const float *x, const struct matrix *weight, int64_t T, bool accumulate,
                           float *panel, enum product_way way) {
    const int64_t O = weight->rows, I = weight->cols, block = weight->dtype == DTYPE_F32 ? O : panel_rows(weight);
    for (int64_t first = 0; first < O; first += block) {
        const int64_t count = O - first < block ? O - first : block;
        multiply(y + first, O, x, widened_rows(weight, first, count, panel), count, I, T, accumulate, way);
    }
}

/* Activations rounded to bf16 in the panel, products of bf16 with f32 sums. What matmul does not take is widened. */
static void forward_bf16(float *y, const float *x, const struct matrix *weight, int64_t T, bool accumulate,
                         float *panel) {
    const int64_t O = weight->rows, I = weight->cols;
    uint16_t *rounded = (uint16_t *)(void *)panel;
    int64_t t = 0;
    for (int64_t take; (take = matmul_rows(T - t)) > 0; t += take) {
#pragma omp parallel for schedule(static)
        for (int64_t r = 0; r < take; r++) narrow_bf16(rounded + r * I, x + (t + r) * I, I);
        matmul(MATMUL_BF16, accumulate, take, O, I, rounded, weight->data, y + t * O, O);
    }
    if (t < T) forward_panels(y + t * O, x + t * I, weight, T - t, accumulate, panel, WAY_SGEMM);
}

/* Few rows, by the kernels that read the weight once. */
static void multiply_few(float *y, const float *x, const struct matrix *weight, int64_t T, bool accumulate,
                         enum product_way way) {
    if (way == WAY_BF16 && weight->dtype == DTYPE_BF16 && small_product_bf16_is_possible())
        small_product_bf16(y, x, weight, T, accumulate);
    else
        small_product(y, weight->rows, x, weight->cols, weight, T, 1, accumulate);
}

void linear_forward(float *y, const float *x, const struct matrix *weight, const struct matrix *bias, int64_t T,
                    bool accumulate, float *panel) {
    const int64_t O = weight->rows, I = weight->cols;
    const struct compute_choice *choice = compute_current();
    const int kind = weight->dtype == DTYPE_F32 ? 0 : 1;
    const enum product_way way = choice->way[shape_class_of(O, I)][kind];
    if (weight->dtype == DTYPE_INT8)
        int8_forward(y, x, weight, T, accumulate, panel);
    else if (T <= choice->few_rows[kind] && I <= SMALL_PRODUCT_INPUTS)
        multiply_few(y, x, weight, T, accumulate, way);
    else if (way == WAY_BF16 && weight->dtype == DTYPE_BF16 && matmul_bf16_is_possible())
        forward_bf16(y, x, weight, T, accumulate, panel);
    else
        forward_panels(y, x, weight, T, accumulate, panel, way);
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
