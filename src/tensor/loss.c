/* Softmax and its cross-entropy, row by row. */
#include "tensor/exponential.h"
#include "tensor/kernels.h"
#include <math.h>

static float row_maximum(const float *row, int64_t V) {
    float largest = row[0];
#pragma omp simd reduction(max : largest)
    for (int64_t v = 0; v < V; v++) largest = row[v] > largest ? row[v] : largest;
    return largest;
}

void softmax_rows(float *p, const float *logits, int64_t N, int64_t V) {
#pragma omp parallel for schedule(static) if (N * V > 1 << 13)
    for (int64_t n = 0; n < N; n++) {
        const float *row = logits + n * V, largest = row_maximum(row, V);
        float *out = p + n * V, sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t v = 0; v < V; v++) {
            out[v] = exponential(row[v] - largest);
            sum += out[v];
        }
        for (int64_t v = 0; v < V; v++) out[v] /= sum;
    }
}

void cross_entropy_columns(float *losses, float *d_logits, const float *logits, const int32_t *labels, int64_t N,
                           int64_t V, struct columns columns, float scale) {
    const int64_t count = columns.count;
#pragma omp parallel for schedule(static) if (N * count > 1 << 13)
    for (int64_t n = 0; n < N; n++) {
        const float *row = logits + n * V + columns.first, largest = row_maximum(row, count), wanted = row[labels[n]];
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t v = 0; v < count; v++) sum += exponential(row[v] - largest);
        losses[n] = logf(sum) + largest - wanted;
        if (d_logits == NULL) continue;
        float *d = d_logits + n * V + columns.first;
        const float share = scale / sum;
        for (int64_t v = 0; v < count; v++) d[v] = exponential(row[v] - largest) * share;
        d[labels[n]] -= scale;
    }
}

void cross_entropy(float *losses, float *d_logits, const float *logits, const int32_t *labels, int64_t N, int64_t V,
                   float scale) {
    cross_entropy_columns(losses, d_logits, logits, labels, N, V, (struct columns){0, V}, scale);
}
