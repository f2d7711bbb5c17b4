/* GELU and tanh as plain arithmetic over exponential(), so that the loops vectorise. */
#include "tensor/gelu.h"
#include "tensor/exponential.h"

/* The normal distribution: Phi(x), and its density. */
struct normal {
    float cumulative, density;
};

/* Phi(-a) = exp(-a^2/2) g(a) for a >= 0, where g falls slowly from 1/2: a polynomial of degree 9 in t = (a-3)/(a+3),
 * Chebyshev's interpolation of g on 0 <= a <= 13, misses it by less than 3e-9. */
static inline struct normal normal_at(float x) {
    const float a = x < 0 ? -x : x, t = (a - 3.0f) / (a + 3.0f), bell = exponential(-0.5f * a * a);
    float g = 5.387244257e-5f;
    g = g * t + 1.159075286e-4f;
    g = g * t - 3.393639696e-4f;
    g = g * t - 9.839352851e-4f;
    g = g * t + 2.904395917e-3f;
    g = g * t + 6.132075752e-3f;
    g = g * t - 4.621325025e-2f;
    g = g * t + 1.232250344e-1f;
    g = g * t - 2.064026217e-1f;
    g = g * t + 1.215139475e-1f;
    const float tail = bell * g;
    return (struct normal){x < 0 ? tail : 1.0f - tail, 0.3989422804f * bell};
}

void gelu_forward(float *y, const float *x, int64_t count) {
#pragma omp parallel for simd schedule(static) if (parallel : count > 1 << 12)
    for (int64_t i = 0; i < count; i++) y[i] = x[i] * normal_at(x[i]).cumulative;
}

void gelu_backward(float *d_x, const float *d_y, const float *x, int64_t count) {
#pragma omp parallel for simd schedule(static) if (parallel : count > 1 << 12)
    for (int64_t i = 0; i < count; i++) {
        const struct normal normal = normal_at(x[i]);
        d_x[i] = d_y[i] * (normal.cumulative + x[i] * normal.density);
    }
}

/* Near zero 1 - exp would cancel: there the Taylor series to x^9 stands in, whose rest is under 1e-8 of the value. */
static inline float tangent(float x) {
    const float a = x < 0 ? -x : x, e = exponential(-2.0f * a), s = x * x;
    const float large = (1.0f - e) / (1.0f + e);
    const float series = x * (1.0f + s * (-1.0f / 3 + s * (2.0f / 15 + s * (-17.0f / 315 + s * (62.0f / 2835)))));
    return a < 0.25f ? series : x < 0 ? -large : large;
}

void tanh_forward(float *y, const float *x, int64_t count) {
#pragma omp parallel for simd schedule(static) if (parallel : count > 1 << 12)
    for (int64_t i = 0; i < count; i++) y[i] = tangent(x[i]);
}

void tanh_backward(float *d_x, const float *d_y, const float *y, int64_t count) {
#pragma omp parallel for simd schedule(static) if (parallel : count > 1 << 13)
    for (int64_t i = 0; i < count; i++) d_x[i] = d_y[i] * (1.0f - y[i] * y[i]);
}
