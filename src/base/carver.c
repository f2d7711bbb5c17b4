/* Carving: see carver.h. */
#include "base/carver.h"
#include "base/memory.h"

void *carve(struct carver *carver, int64_t rows, int64_t cols, size_t size) {
    size_t bytes;
    if (!size_multiply((size_t)rows, (size_t)cols, &bytes) || !size_multiply(bytes, size, &bytes) ||
        carver->used + bytes < bytes || bytes > SIZE_MAX / 4) {
        carver->overflow = true;
        return NULL;
    }
    void *piece = carver->base == NULL ? NULL : carver->base + carver->used;
    carver->used += (bytes + 63) / 64 * 64;
    return piece;
}

float *carve_floats(struct carver *carver, int64_t rows, int64_t cols) {
    return carve(carver, rows, cols, sizeof(float));
}
