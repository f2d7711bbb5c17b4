/* The tile product for one set of instructions. tile.c includes this file once for each: SET(name) names a function of
 * the set, TARGET marks it, VECTOR is the type that fills a register and VECTOR_LANES its floats; WIDE vectors by four
 * rows, TALL vectors by one row keep the sums in registers. */

/* C[R, W vectors] += A[R, depth] B[depth, W vectors], R and W constants after inlining. */
static inline __attribute__((always_inline)) TARGET void SET(block)(float *C, int64_t ldc, struct operand A,
                                                                    const float *B, int64_t ldb, int64_t depth,
                                                                    const int R, const int W) {
    VECTOR sums[16];
    for (int r = 0; r < R; r++) {
        for (int w = 0; w < W; w++) sums[r * W + w] = *(const VECTOR *)(C + r * ldc + w * VECTOR_LANES);
    }
    for (int64_t k = 0; k < depth; k++) {
        for (int w = 0; w < W; w++) {
            VECTOR b = *(const VECTOR *)(B + k * ldb + w * VECTOR_LANES);
            /* Else gcc makes b a memory operand of each of the R products, and the load ports become the limit. */
            if (R > 1) KEEP_IN_REGISTER(b);
            for (int r = 0; r < R; r++) sums[r * W + w] += A.data[r * A.row_stride + k * A.depth_stride] * b;
        }
    }
    for (int r = 0; r < R; r++) {
        for (int w = 0; w < W; w++) *(VECTOR *)(C + r * ldc + w * VECTOR_LANES) = sums[r * W + w];
    }
}

static inline __attribute__((always_inline)) TARGET void SET(rows)(float *C, int64_t ldc, struct operand A,
                                                                   const float *B, int64_t ldb, int64_t depth,
                                                                   int64_t cols, const int R, const int W) {
    int64_t c = 0;
    for (; c + W * VECTOR_LANES <= cols; c += W * VECTOR_LANES) SET(block)(C + c, ldc, A, B + c, ldb, depth, R, W);
    for (; c < cols; c += LANES) SET(block)(C + c, ldc, A, B + c, ldb, depth, R, LANES / VECTOR_LANES);
}

static TARGET void SET(product)(float *C, int64_t ldc, struct operand A, const float *B, int64_t ldb, int64_t rows,
                                int64_t depth, int64_t cols) {
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) {
        const struct operand four = {A.data + r * A.row_stride, A.row_stride, A.depth_stride};
        SET(rows)(C + r * ldc, ldc, four, B, ldb, depth, cols, 4, WIDE);
    }
    for (; r < rows; r++) {
        const struct operand one = {A.data + r * A.row_stride, A.row_stride, A.depth_stride};
        SET(rows)(C + r * ldc, ldc, one, B, ldb, depth, cols, 1, TALL);
    }
}

#undef SET
#undef TARGET
#undef VECTOR
#undef VECTOR_LANES
#undef WIDE
#undef TALL
