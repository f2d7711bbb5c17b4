/* A safetensors file: whatever opens must have every tensor inside the file and readable as a matrix or refused. */
#include "base/error.h"
#include "input.h"
#include "model/safetensors.h"
#include <stdlib.h>
#include <string.h>

static void read_tensor(const struct safetensors *set, const struct stored_tensor *tensor) {
    struct matrix matrix;
    struct error error;
    float first[8];
    const int64_t rows = tensor->dims == 2 ? tensor->shape[0] : 1,
                  cols = tensor->dims > 0 ? tensor->shape[tensor->dims - 1] : 1;
    if (safetensors_find(set, tensor->name) != tensor) abort();
    if (!safetensors_matrix(set, tensor->name, rows, cols, &matrix, &error)) return;
    const int64_t count = rows * cols;
    input_touch(matrix.data, (size_t)count * dtype_size(matrix.dtype));
    matrix_widen(first, &matrix, 0, count < 8 ? count : 8);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    struct safetensors *set;
    struct error error;
    if (!safetensors_open(&set, input_file(bytes, length), &error)) return 0;
    for (size_t i = 0; i < safetensors_count(set); i++) read_tensor(set, safetensors_at(set, i));
    safetensors_close(set);
    return 0;
}
