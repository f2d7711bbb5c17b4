/* Small matrix products inside the tiles of attention: compiler vectors of 16 floats, accumulated in registers.
 *
 * Works with any instruction set (the compiler splits the vectors); with AVX-512 one vector is one register. */
#ifndef CASEMIX_TENSOR_TILE_H
#define CASEMIX_TENSOR_TILE_H

#include <stdbool.h>
#include <stdint.h>

enum { LANES = 16 };

/* Arrays that stand in for the second operand and the result of a product begin on a cache line: a vector that lies
 * across two costs two loads. */
#define TILE_ALIGNED _Alignas(64)

/* Loads and stores need no more alignment than a float has. */
typedef float lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(sizeof(float)), may_alias));

/* A strided operand: element (row, depth) is data[row * row_stride + depth * depth_stride]; strides swapped, it is the
 * transpose. */
struct operand {
    const float *data;
    int64_t row_stride, depth_stride;
};

/* C[R, W lanes] += A[R, depth] B[depth, W lanes], R and W constants after inlining. */
static inline __attribute__((always_inline)) void tile_block(float *C, int64_t ldc, struct operand A, const float *B,
                                                             int64_t ldb, int64_t depth, const int R, const int W) {
    lanes sums[4][4];
    for (int r = 0; r < R; r++) {
        for (int w = 0; w < W; w++) sums[r][w] = *(const lanes *)(C + r * ldc + w * LANES);
    }
    for (int64_t k = 0; k < depth; k++) {
        for (int w = 0; w < W; w++) {
            lanes b = *(const lanes *)(B + k * ldb + w * LANES);
#ifdef __AVX512F__
            /* Else gcc makes b a memory operand of each of the R products, and the load ports become the limit. */
            __asm__("" : "+v"(b));
#endif
            for (int r = 0; r < R; r++) sums[r][w] += A.data[r * A.row_stride + k * A.depth_stride] * b;
        }
    }
    for (int r = 0; r < R; r++) {
        for (int w = 0; w < W; w++) *(lanes *)(C + r * ldc + w * LANES) = sums[r][w];
    }
}

static inline __attribute__((always_inline)) void tile_rows(float *C, int64_t ldc, struct operand A, const float *B,
                                                            int64_t ldb, int64_t depth, int64_t cols, const int R) {
    int64_t c = 0;
    for (; c + 4 * LANES <= cols; c += 4 * LANES) tile_block(C + c, ldc, A, B + c, ldb, depth, R, 4);
    if (c + 2 * LANES <= cols) {
        tile_block(C + c, ldc, A, B + c, ldb, depth, R, 2);
        c += 2 * LANES;
    }
    for (; c < cols; c += LANES) tile_block(C + c, ldc, A, B + c, ldb, depth, R, 1);
}

/* C[rows, cols] += A[rows, depth] B[depth, cols]; cols a multiple of LANES. */
static inline void tile_product(float *C, int64_t ldc, struct operand A, const float *B, int64_t ldb, int64_t rows,
                                int64_t depth, int64_t cols) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) {
        const struct operand four = {A.data + r * A.row_stride, A.row_stride, A.depth_stride};
        tile_rows(C + r * ldc, ldc, four, B, ldb, depth, cols, 4);
    }
    for (; r < rows; r++) {
        const struct operand one = {A.data + r * A.row_stride, A.row_stride, A.depth_stride};
        tile_rows(C + r * ldc, ldc, one, B, ldb, depth, cols, 1);
    }
}

#endif
