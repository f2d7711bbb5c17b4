/* One block of memory cut into arrays: a first pass with base NULL counts the bytes, a second one places. */
#ifndef CASEMIX_BASE_CARVER_H
#define CASEMIX_BASE_CARVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Hands out pieces of a block; with base NULL it only counts. */
struct carver {
    char *base;
    size_t used;
    bool overflow; /* a size did not fit: nothing that was handed out may be used */
};

/* rows * cols elements of `size` bytes, aligned to 64; NULL while counting. */
void *carve(struct carver *carver, int64_t rows, int64_t cols, size_t size);
float *carve_floats(struct carver *carver, int64_t rows, int64_t cols);

#endif
