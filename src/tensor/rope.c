/* Rotary position embedding (Su et al. 2021), half-split: element j turns with element j + D/2. */
#include "tensor/attention.h"
#include <math.h>

void rope_table(float *cosines, float *sines, const double *inverse_frequency, int64_t positions, int64_t D) {
    const int64_t half = D / 2;
#pragma omp parallel for schedule(static)
    for (int64_t p = 0; p < positions; p++) {
        for (int64_t j = 0; j < half; j++) {
            const double angle = (double)p * inverse_frequency[j];
            cosines[p * half + j] = (float)cos(angle);
            sines[p * half + j] = (float)sin(angle);
        }
    }
}

/* direction 1 turns forward, -1 back. */
static void rotate(float *x, const int32_t *position, const float *cosines, const float *sines, int64_t T,
                   int64_t heads, int64_t D, float direction) {
    const int64_t half = D / 2;
#pragma omp parallel for schedule(static) if (T * heads > 64)
    for (int64_t t = 0; t < T; t++) {
        const float *c = cosines + position[t] * half, *s = sines + position[t] * half;
        for (int64_t h = 0; h < heads; h++) {
            float *low = x + (t * heads + h) * D, *high = low + half;
#pragma omp simd
            for (int64_t j = 0; j < half; j++) {
                const float a = low[j], b = high[j], sine = direction * s[j];
                low[j] = a * c[j] - b * sine;
                high[j] = b * c[j] + a * sine;
            }
        }
    }
}

void rope_forward(float *x, const int32_t *position, const float *cosines, const float *sines, int64_t T, int64_t heads,
                  int64_t D) {
    rotate(x, position, cosines, sines, T, heads, D, 1);
}

void rope_backward(float *d_x, const int32_t *position, const float *cosines, const float *sines, int64_t T,
                   int64_t heads, int64_t D) {
    rotate(d_x, position, cosines, sines, T, heads, D, -1);
}
