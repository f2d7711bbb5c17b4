/* SwiGLU (Shazeer 2020), the residual, the embedding, and rows picked out of a packed batch. */
#include "tensor/exponential.h"
#include "tensor/kernels.h"
#include <string.h>

static inline float sigmoid(float x) {
    return 1.0f / (1.0f + exponential(-x));
}

void swiglu_forward(float *act, const float *gate, const float *up, int64_t T, int64_t F) {
#pragma omp parallel for simd schedule(static) if (parallel : T * F > 1 << 13)
    for (int64_t i = 0; i < T * F; i++) act[i] = gate[i] * sigmoid(gate[i]) * up[i];
}

void swiglu_backward(float *d_gate, float *d_up, const float *d_act, const float *gate, const float *up, int64_t T,
                     int64_t F) {
#pragma omp parallel for simd schedule(static) if (parallel : T * F > 1 << 13)
    for (int64_t i = 0; i < T * F; i++) {
        const float g = gate[i], s = sigmoid(g), d = d_act[i];
        d_up[i] = d * g * s;
        d_gate[i] = d * up[i] * s * (1.0f + g * (1.0f - s));
    }
}

void residual_add(float *y, const float *x, int64_t count) {
#pragma omp parallel for simd schedule(static) if (parallel : count > 1 << 14)
    for (int64_t i = 0; i < count; i++) y[i] += x[i];
}

void embedding_forward(float *out, const struct matrix *table, const int32_t *tokens, int64_t T) {
#pragma omp parallel for schedule(static) if (T > 64)
    for (int64_t t = 0; t < T; t++) matrix_widen(out + t * table->cols, table, tokens[t] * table->cols, table->cols);
}

void embedding_backward(float *d_table, const float *d_out, const int32_t *tokens, int64_t T, int64_t C) {
    /* A token may come many times: each thread owns a range of columns of all rows, so sums keep the order of the
     * tokens. */
    enum { PIECE = 32 };
#pragma omp parallel for schedule(static)
    for (int64_t first = 0; first < C; first += PIECE) {
        const int64_t count = C - first < PIECE ? C - first : PIECE;
        for (int64_t t = 0; t < T; t++) {
            float *row = d_table + tokens[t] * C + first;
            const float *from = d_out + t * C + first;
            for (int64_t c = 0; c < count; c++) row[c] += from[c];
        }
    }
}

void rows_gather(float *out, const float *in, const int32_t *index, int64_t count, int64_t C) {
    for (int64_t i = 0; i < count; i++) memcpy(out + i * C, in + index[i] * C, (size_t)C * sizeof *out);
}

void rows_scatter_add(float *out, const float *in, const int32_t *index, int64_t count, int64_t C) {
    for (int64_t i = 0; i < count; i++) {
        float *row = out + index[i] * C;
        for (int64_t c = 0; c < C; c++) row[c] += in[i * C + c];
    }
}
