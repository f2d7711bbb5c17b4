/* Small matrix products inside the tiles of attention, accumulated in registers, by kernels for what the processor has
 * (tile.c). */
#ifndef CASEMIX_TENSOR_TILE_H
#define CASEMIX_TENSOR_TILE_H

#include <stdint.h>

/* Widths of tiles are multiples of it: the floats of the widest register. */
enum { LANES = 16 };

/* Arrays that stand in for the second operand and the result of a product begin on a cache line: a vector that lies
 * across two costs two loads. */
#define TILE_ALIGNED _Alignas(64)

/* A strided operand: element (row, depth) is data[row * row_stride + depth * depth_stride]; strides swapped, it is the
 * transpose. */
struct operand {
    const float *data;
    int64_t row_stride, depth_stride;
};

/* C[rows, cols] += A[rows, depth] B[depth, cols]; cols a multiple of LANES. Every element is one sum in the order of
 * the depth: its bits do not depend on rows and cols. */
void tile_product(float *C, int64_t ldc, struct operand A, const float *B, int64_t ldb, int64_t rows, int64_t depth,
                  int64_t cols);

#endif
