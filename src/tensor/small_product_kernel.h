/* Products of few rows for one set of instructions. small_product.c includes this file once for each: SET(name) names
 * what belongs to the set, TARGET marks its functions, VECTOR and WORDS are types that fill a register, VECTOR_LANES
 * their elements, SUM_DOTS adds up the lanes of the sums, BLOCK_ROWS weight rows go with three or four rows of x. */

/* A half in the low 16 bits is shifted into place and rescaled; infinities and NaN get their exponent back (as in
 * dtype.c). */
INLINE TARGET void SET(widen_low_halves)(VECTOR *out, const WORDS *words) {
    const VECTOR scaled = (VECTOR)((*words & 0x7fffu) << 13) * 0x1p112f;
    const WORDS special = (WORDS)((*words & 0x7c00u) == 0x7c00u) & 0x7f800000u;
    *out = (VECTOR)((WORDS)scaled | special | ((*words & 0x8000u) << 16));
}

/* The weights of a vector of words as floats: of halves, those in the low bits (even elements) and those in the high
 * bits (odd ones); the activations are packed to match. */
INLINE TARGET void SET(load_weights)(VECTOR *even, VECTOR *odd, const char *from, const enum dtype dtype) {
    const WORDS words = *(const WORDS *)from;
    if (dtype == DTYPE_F32) {
        *even = (VECTOR)words;
    } else if (dtype == DTYPE_BF16) {
        *even = (VECTOR)(words << 16);
        *odd = (VECTOR)(words & 0xffff0000u);
    } else {
        const WORDS high = words >> 16;
        SET(widen_low_halves)(even, &words);
        SET(widen_low_halves)(odd, &high);
    }
}

/* M rows by N weights of one vector of words: sums += x w. */
INLINE TARGET void SET(vector_product)(VECTOR *sums, const float *x, const VECTOR *even, const VECTOR *odd,
                                       const enum dtype dtype, const int M, const int N) {
    for (int m = 0; m < M; m++) {
        VECTOR a = *(const VECTOR *)(x + m * step_of(dtype));
        if (N > 1) KEEP_IN_REGISTER(a);
        for (int n = 0; n < N; n++) sums[m * N + n] += a * even[n];
        if (dtype == DTYPE_F32) continue;
        VECTOR b = *(const VECTOR *)(x + m * step_of(dtype) + LANES);
        if (N > 1) KEEP_IN_REGISTER(b);
        for (int n = 0; n < N; n++) sums[m * N + n] += b * odd[n];
    }
}

/* Rows m0 … m0 + M of x, packed, by N rows of the weight from row o on; M * N <= 16 dot products of I elements. */
INLINE TARGET void SET(block_product)(const struct small_job *job, const float *x, int64_t m0, int64_t o, int asked,
                                      const enum dtype dtype, const int M, const int N) {
    const int64_t size = dtype == DTYPE_F32 ? 4 : 2, row_bytes = job->I * size, step = step_of(dtype);
    const int64_t steps = job->I / step, rest = job->I % step;
    const int64_t ahead = N * row_bytes > AHEAD ? N * row_bytes : AHEAD;
    const char *weight = job->weight + o * row_bytes;
    VECTOR sums[16] = {0}, even[4], odd[4];
    for (int64_t k = 0; k < steps; k++, x += M * step) {
        for (int n = 0; n < N; n++) {
            if (asked >> n & 1) ASK_AHEAD(weight + ahead + (k * N + n) * step * size, N > 1);
        }
        for (int part = 0; part < LANES; part += VECTOR_LANES) {
            for (int n = 0; n < N; n++)
                SET(load_weights)(&even[n], &odd[n], weight + n * row_bytes + k * step * size + part * 4, dtype);
            SET(vector_product)(sums, x + part, even, odd, dtype, M, N);
        }
    }
    if (rest > 0) {
        uint32_t stored[4][LANES] = {{0}};
        for (int n = 0; n < N; n++)
            memcpy(stored[n], weight + n * row_bytes + steps * step * size, (size_t)(rest * size));
        for (int part = 0; part < LANES; part += VECTOR_LANES) {
            for (int n = 0; n < N; n++) SET(load_weights)(&even[n], &odd[n], (const char *)(stored[n] + part), dtype);
            SET(vector_product)(sums, x + part, even, odd, dtype, M, N);
        }
    }
    float dots[16];
    SUM_DOTS(dots, sums);
    for (int m = 0; m < M; m++) {
        float *to = job->y + (m0 + m) * job->ldy + o;
        for (int n = 0; n < N; n++) to[n] = (job->accumulate ? to[n] : 0.0f) + job->alpha * dots[m * N + n];
    }
}

/* A function for every type and shape of block, so that each has the registers to itself. */
#define BLOCK(NAME, TYPE, M, N)                                                                                   \
    static TARGET void SET(NAME)(const struct small_job *job, const float *x, int64_t m0, int64_t o, int asked) { \
        SET(block_product)(job, x, m0, o, asked, TYPE, M, N);                                                     \
    }
#define BLOCKS(NAME, TYPE)                                                                                  \
    BLOCK(NAME##_1_single, TYPE, 1, 1)                                                                      \
    BLOCK(NAME##_2_single, TYPE, 2, 1)                                                                      \
    BLOCK(NAME##_3_single, TYPE, 3, 1)                                                                      \
    BLOCK(NAME##_4_single, TYPE, 4, 1)                                                                      \
    BLOCK(NAME##_1_alone, TYPE, 1, 4)                                                                       \
    BLOCK(NAME##_2_alone, TYPE, 2, 4)                                                                       \
    BLOCK(NAME##_2, TYPE, 2, BLOCK_ROWS)                                                                    \
    BLOCK(NAME##_3, TYPE, 3, BLOCK_ROWS)                                                                    \
    BLOCK(NAME##_4, TYPE, 4, BLOCK_ROWS)                                                                    \
    static const struct small_kernels SET(NAME) = {                                                         \
        .single = {SET(NAME##_1_single), SET(NAME##_2_single), SET(NAME##_3_single), SET(NAME##_4_single)}, \
        .alone = {SET(NAME##_1_alone), SET(NAME##_2_alone)},                                                \
        .block = {[1] = SET(NAME##_2), SET(NAME##_3), SET(NAME##_4)},                                       \
        .block_rows = BLOCK_ROWS};
BLOCKS(f32, DTYPE_F32)
BLOCKS(f16, DTYPE_F16)
BLOCKS(bf16, DTYPE_BF16)

#undef BLOCK
#undef BLOCKS
#undef SET
#undef TARGET
#undef VECTOR
#undef WORDS
#undef VECTOR_LANES
#undef SUM_DOTS
#undef BLOCK_ROWS
