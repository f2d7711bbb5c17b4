/* Dropout masks from a hash of seed and position. */
#include "tensor/dropout.h"

/* A uniform number in [0, 1) that depends on seed and index alone (the finaliser of splitmix64), so that threads need
 * no order. */
static float uniform_at(uint64_t seed, uint64_t index) {
    uint64_t z = seed + (index + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (float)(z >> 40) * 0x1p-24f;
}

void dropout_apply(float *out, const float *in, int64_t count, struct dropout dropout) {
    const float rate = (float)dropout.rate, keep = 1.0f / (1.0f - rate);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) out[i] = uniform_at(dropout.seed, (uint64_t)i) < rate ? 0.0f : in[i] * keep;
}

void dropout_backward(float *d_x, const float *d_dropped, int64_t count, struct dropout dropout) {
    const float rate = (float)dropout.rate, keep = 1.0f / (1.0f - rate);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) {
        if (uniform_at(dropout.seed, (uint64_t)i) >= rate) d_x[i] += d_dropped[i] * keep;
    }
}

void dropout_factors(float *factors, uint64_t first, int64_t count, struct dropout dropout) {
    const float rate = (float)dropout.rate, keep = 1.0f / (1.0f - rate);
    for (int64_t i = 0; i < count; i++) factors[i] = uniform_at(dropout.seed, first + (uint64_t)i) < rate ? 0.0f : keep;
}
