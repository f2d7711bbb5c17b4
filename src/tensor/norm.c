/* RMSNorm (Zhang and Sennrich 2019), forward and backward. */
#include "base/threads.h"
#include "tensor/kernels.h"
#include <math.h>
#include <string.h>

void rmsnorm_forward(float *y, float *inverse_rms, const float *x, const float *w, int64_t T, int64_t C, float eps) {
#pragma omp parallel for schedule(static) if (T * C > 1 << 13)
    for (int64_t t = 0; t < T; t++) {
        const float *in = x + t * C;
        float *out = y + t * C, sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < C; c++) sum += in[c] * in[c];
        const float scale = 1.0f / sqrtf(sum / (float)C + eps);
        for (int64_t c = 0; c < C; c++) out[c] = w[c] * (in[c] * scale);
        if (inverse_rms != NULL) inverse_rms[t] = scale;
    }
}

/* With s = 1 / rms and g = w dy:  dx = s g - s^3 x (g . x) / C. */
static void rmsnorm_backward_row(float *d_x, const float *d_y, const float *x, const float *w, float s, int64_t C) {
    float dot = 0;
#pragma omp simd reduction(+ : dot)
    for (int64_t c = 0; c < C; c++) dot += w[c] * d_y[c] * x[c];
    const float along = s * s * s * dot / (float)C;
    for (int64_t c = 0; c < C; c++) d_x[c] += s * w[c] * d_y[c] - along * x[c];
}

void rmsnorm_backward(float *d_x, float *d_w, const float *d_y, const float *x, const float *w,
                      const float *inverse_rms, int64_t T, int64_t C, float *scratch) {
    const int64_t threads = threads_count(), rows = (T + threads - 1) / threads;
#pragma omp parallel for schedule(static, 1)
    for (int64_t part = 0; part < threads; part++) {
        float *sums = scratch + part * C;
        if (d_w != NULL) memset(sums, 0, (size_t)C * sizeof *sums);
        for (int64_t t = part * rows; t < T && t < (part + 1) * rows; t++) {
            const float *dy = d_y + t * C, *in = x + t * C;
            if (d_w != NULL) {
                const float s = inverse_rms[t];
                for (int64_t c = 0; c < C; c++) sums[c] += dy[c] * (in[c] * s);
            }
            rmsnorm_backward_row(d_x + t * C, dy, in, w, inverse_rms[t], C);
        }
    }
    for (int64_t part = 0; d_w != NULL && part < threads; part++) {
        for (int64_t c = 0; c < C; c++) d_w[c] += scratch[part * C + c];
    }
}
