/* Widening and narrowing between storage types, and the search for what is not a number. */
#include "tensor/dtype.h"
#include <string.h>

size_t dtype_size(enum dtype dtype) {
    return dtype == DTYPE_F32 ? 4 : dtype == DTYPE_INT8 ? 1 : 2;
}

const char *dtype_name(enum dtype dtype) {
    static const char *const names[] = {
        [DTYPE_F32] = "F32", [DTYPE_F16] = "F16", [DTYPE_BF16] = "BF16", [DTYPE_INT8] = "I8"};
    return names[dtype];
}

static float float_of_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of_float(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* IEEE half to single by arithmetic alone, so that the loop vectorises: shift exponent and mantissa into place, rescale
 * by 2^112; infinities and NaN get their exponent back. */
static float widen_half(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16, rest = (uint32_t)(half & 0x7fffu) << 13;
    const float scaled = float_of_bits(rest) * 0x1p112f;
    const uint32_t special = (half & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0;
    return float_of_bits(bits_of_float(scaled) | sign | special);
}

/* The elements of one row after another, each times its row's scale. */
static void widen_int8(float *out, const struct matrix *matrix, int64_t first, int64_t count) {
    const struct int8_rows *stored = matrix->data;
    while (count > 0) {
        const int64_t row = first / matrix->cols, left = (row + 1) * matrix->cols - first;
        const int64_t piece = count < left ? count : left;
        const float scale = stored->scales[row];
        const int8_t *from = stored->values + first;
        for (int64_t i = 0; i < piece; i++) out[i] = scale * (float)from[i];
        out += piece;
        first += piece;
        count -= piece;
    }
}

void matrix_widen(float *out, const struct matrix *matrix, int64_t first, int64_t count) {
    if (matrix->dtype == DTYPE_F32) {
        memcpy(out, (const float *)matrix->data + first, (size_t)count * sizeof *out);
        return;
    }
    if (matrix->dtype == DTYPE_INT8) {
        widen_int8(out, matrix, first, count);
        return;
    }
    const uint16_t *from = (const uint16_t *)matrix->data + first;
    if (matrix->dtype == DTYPE_BF16) {
        for (int64_t i = 0; i < count; i++) out[i] = float_of_bits((uint32_t)from[i] << 16);
    } else {
        for (int64_t i = 0; i < count; i++) out[i] = widen_half(from[i]);
    }
}

void narrow_bf16(uint16_t *out, const float *in, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        const uint32_t bits = bits_of_float(in[i]);
        const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
        const uint32_t rounded = bits + 0x7fffu + ((bits >> 16) & 1);
        out[i] = (uint16_t)(nan ? (bits >> 16) | 0x40 : rounded >> 16);
    }
}

/* Nearest even; values under the smallest half become subnormal or zero, over the largest infinite. */
static uint16_t narrow_half(float value) {
    const uint32_t bits = bits_of_float(value), sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (magnitude >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u);
    if (magnitude >= 0x38800000u) {
        const uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1);
        return (uint16_t)(sign | ((rounded - 0x38000000u) >> 13));
    }
    /* Adding 0.5 puts the last bit that a subnormal half can hold at the end of the mantissa, and rounds there. */
    const float shifted = float_of_bits(magnitude) + 0.5f;
    return (uint16_t)(sign | (bits_of_float(shifted) - 0x3f000000u));
}

void narrow_f16(uint16_t *out, const float *in, int64_t count) {
    for (int64_t i = 0; i < count; i++) out[i] = narrow_half(in[i]);
}

/* Whether any element of a piece has all exponent bits set: a plain loop that vectorises. */
static bool piece_nonfinite(const struct matrix *matrix, int64_t first, int64_t count) {
    uint32_t found = 0;
    if (matrix->dtype == DTYPE_F32) {
        const float *from = (const float *)matrix->data + first;
        for (int64_t i = 0; i < count; i++) found |= (bits_of_float(from[i]) & 0x7f800000u) == 0x7f800000u;
    } else {
        const uint16_t *from = (const uint16_t *)matrix->data + first;
        const uint16_t exponent = matrix->dtype == DTYPE_BF16 ? 0x7f80u : 0x7c00u;
        for (int64_t i = 0; i < count; i++) found |= (from[i] & exponent) == exponent;
    }
    return found != 0;
}

int64_t matrix_find_nonfinite(const struct matrix *matrix) {
    if (matrix->dtype == DTYPE_INT8) return -1; /* its scales are finite: int8_rows are made from finite weights */
    enum { PIECE = 1 << 14 };
    const int64_t count = matrix->rows * matrix->cols, pieces = (count + PIECE - 1) / PIECE;
    int64_t first_bad = pieces;
#pragma omp parallel for schedule(static) reduction(min : first_bad)
    for (int64_t p = 0; p < pieces; p++) {
        const int64_t length = count - p * PIECE < PIECE ? count - p * PIECE : PIECE;
        if (piece_nonfinite(matrix, p * PIECE, length) && p < first_bad) first_bad = p;
    }
    for (int64_t i = first_bad * PIECE; i < count; i++) {
        if (piece_nonfinite(matrix, i, 1)) return i;
    }
    return -1;
}
