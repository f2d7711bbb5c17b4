/* Dropout (Srivastava et al. 2014) without stored masks. */
#ifndef CASEMIX_TENSOR_DROPOUT_H
#define CASEMIX_TENSOR_DROPOUT_H

#include <stdint.h>

/* An element is zeroed with probability `rate`, the rest divided by 1 - rate. The mask is a function of seed and
 * position, so that the backward draws the same. rate 0: no dropout. */
struct dropout {
    double rate;
    uint64_t seed;
};

/* out = in, dropped out; in place allowed. Also the gradient, where it passes through nothing else. */
void dropout_apply(float *out, const float *in, int64_t count, struct dropout dropout);

/* d_x += the gradient that came through the dropped-out input. */
void dropout_backward(float *d_x, const float *d_dropped, int64_t count, struct dropout dropout);

/* factors [count] of the elements first … first + count of a larger array: 0 or 1 / (1 - rate). */
void dropout_factors(float *factors, uint64_t first, int64_t count, struct dropout dropout);

#endif
