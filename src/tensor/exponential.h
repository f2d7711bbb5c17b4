/* e^x in f32 as plain arithmetic, so that loops over it vectorise: 2^n times a polynomial on [-ln2/2, ln2/2].
 *
 * Relative error under 2e-7 for -87 <= x <= 88; below it gives the smallest normal numbers, above it stays finite. */
#ifndef CASEMIX_TENSOR_EXPONENTIAL_H
#define CASEMIX_TENSOR_EXPONENTIAL_H

#include <stdint.h>
#include <string.h>

static inline float exponential(float x) {
    x = x < -87.0f ? -87.0f : x > 88.0f ? 88.0f : x;
    /* Adding 1.5 * 2^23 rounds to an integer that stands in the low bits of the sum. */
    const float magic = 12582912.0f, shifted = x * 1.44269504f + magic, n = shifted - magic;
    /* ln 2 in two parts, so that x - n ln 2 keeps its last bits. */
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.0f / 5040; /* the Taylor series to r^7: its rest is under 6e-9 here */
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r * r + r + 1.0f;
    uint32_t bits, shift;
    memcpy(&shift, &shifted, sizeof shift); /* n stands in the low bits; of a NaN they are zero, and it stays one */
    memcpy(&bits, &p, sizeof bits);
    bits += shift << 23;
    memcpy(&p, &bits, sizeof p);
    return p;
}

/* The same in double, for x <= 0; relative error under 1e-13 for -700 <= x, below it 0. */
static inline double exponential_double(double x) {
    const double bounded = x < -700.0 ? -700.0 : x;
    const double magic = 6755399441055744.0, shifted = bounded * 1.4426950408889634 + magic, n = shifted - magic;
    const double r = (bounded - n * 0.693145751953125) - n * 1.42860682030941723212e-6;
    double p = 1.0 / 6227020800; /* the Taylor series to r^13 */
    p = p * r + 1.0 / 479001600;
    p = p * r + 1.0 / 39916800;
    p = p * r + 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = p * r * r + r + 1.0;
    int64_t bits, shift;
    memcpy(&shift, &shifted, sizeof shift); /* n stands in the low bits */
    memcpy(&bits, &p, sizeof bits);
    bits = (int64_t)((uint64_t)bits + ((uint64_t)shift << 52));
    memcpy(&p, &bits, sizeof p);
    return x < -700.0 ? 0.0 : p;
}

#endif
