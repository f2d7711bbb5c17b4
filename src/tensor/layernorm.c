/* Layer normalisation (Ba, Kiros and Hinton 2016), forward and backward. */
#include "tensor/layernorm.h"
#include "base/threads.h"
#include <math.h>
#include <stddef.h>
#include <string.h>

static struct row_moments moments_of(const float *x, int64_t C, float eps) {
    float sum = 0, squares = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t c = 0; c < C; c++) sum += x[c];
    const float mean = sum / (float)C;
    /* A second pass: the difference of two large sums would lose the variance of rows far from zero. */
#pragma omp simd reduction(+ : squares)
    for (int64_t c = 0; c < C; c++) squares += (x[c] - mean) * (x[c] - mean);
    return (struct row_moments){mean, 1.0f / sqrtf(squares / (float)C + eps)};
}

void layernorm_forward(float *y, struct row_moments *moments, const float *x, const float *w, const float *b, int64_t T,
                       int64_t C, float eps) {
#pragma omp parallel for schedule(static) if (T * C > 1 << 13)
    for (int64_t t = 0; t < T; t++) {
        const float *in = x + t * C;
        float *out = y + t * C;
        const struct row_moments m = moments_of(in, C, eps);
        for (int64_t c = 0; c < C; c++) out[c] = w[c] * ((in[c] - m.mean) * m.inverse_deviation) + b[c];
        if (moments != NULL) moments[t] = m;
    }
}

/* With n the normalised row, g = w dy and s = 1 / deviation:  dx = s (g - mean(g) - n mean(g n)). */
static void backward_row(float *d_x, const float *d_y, const float *x, const float *w, struct row_moments m,
                         int64_t C) {
    float sum = 0, dot = 0;
#pragma omp simd reduction(+ : sum, dot)
    for (int64_t c = 0; c < C; c++) {
        const float g = w[c] * d_y[c];
        sum += g;
        dot += g * (x[c] - m.mean);
    }
    const float s = m.inverse_deviation, mean = sum / (float)C, along = s * s * dot / (float)C;
    for (int64_t c = 0; c < C; c++) d_x[c] = s * (w[c] * d_y[c] - mean - along * (x[c] - m.mean));
}

void layernorm_backward(float *d_x, float *d_w, float *d_b, const float *d_y, const float *x, const float *w,
                        const struct row_moments *moments, int64_t T, int64_t C, float *scratch) {
    const int64_t threads = threads_count(), rows = (T + threads - 1) / threads;
#pragma omp parallel for schedule(static, 1)
    for (int64_t part = 0; part < threads; part++) {
        float *weights = scratch + part * 2 * C, *biases = weights + C;
        if (d_w != NULL) memset(weights, 0, (size_t)(2 * C) * sizeof *weights);
        for (int64_t t = part * rows; t < T && t < (part + 1) * rows; t++) {
            const float *dy = d_y + t * C, *in = x + t * C;
            const struct row_moments m = moments[t];
            for (int64_t c = 0; d_w != NULL && c < C; c++) {
                weights[c] += dy[c] * ((in[c] - m.mean) * m.inverse_deviation);
                biases[c] += dy[c];
            }
            backward_row(d_x + t * C, dy, in, w, m, C);
        }
    }
    for (int64_t part = 0; d_w != NULL && part < threads; part++) {
        const float *weights = scratch + part * 2 * C;
        for (int64_t c = 0; c < C; c++) {
            d_w[c] += weights[c];
            d_b[c] += weights[C + c];
        }
    }
}
