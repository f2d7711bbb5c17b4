/* Storage types of weights, and matrices that lie where they were stored (a mapped checkpoint or a parameter). */
#ifndef CASEMIX_TENSOR_DTYPE_H
#define CASEMIX_TENSOR_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* DTYPE_INT8: quantised row by row, see struct int8_rows. */
enum dtype { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_INT8 };

size_t dtype_size(enum dtype dtype);
const char *dtype_name(enum dtype dtype); /* "F32", "F16", "BF16", "I8": the names of the safetensors format */

/* What `data` of an int8 matrix points to: element (r, c) is scales[r] * values[r * cols + c]. Borrowed. */
struct int8_rows {
    const int8_t *values; /* [rows, cols], -127 … 127 */
    const float *scales;  /* [rows] */
    const int32_t *sums;  /* [rows] sum of the row's values */
};

/* Row-major [rows, cols], borrowed. A vector has rows 1. data NULL: absent. Elements as stored, or a struct int8_rows.
 */
struct matrix {
    enum dtype dtype;
    int64_t rows, cols;
    const void *data;
};

/* Widens `count` elements starting at element `first` to f32. */
void matrix_widen(float *out, const struct matrix *matrix, int64_t first, int64_t count);

/* Rounds f32 to nearest even bf16 / f16 (NaN stays NaN). */
void narrow_bf16(uint16_t *out, const float *in, int64_t count);
void narrow_f16(uint16_t *out, const float *in, int64_t count);

/* Index of the first NaN or infinity in the stored elements; -1 if all are finite. */
int64_t matrix_find_nonfinite(const struct matrix *matrix);

#endif
