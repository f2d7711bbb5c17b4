/* GELU (Hendrycks and Gimpel 2016) in its exact form x Phi(x), and tanh, each a forward beside its backward. */
#ifndef CASEMIX_TENSOR_GELU_H
#define CASEMIX_TENSOR_GELU_H

#include <stdint.h>

/* y = x Phi(x) with Phi the normal distribution function, within 3e-7 of the truth times max(1, |x|). y may be x. */
void gelu_forward(float *y, const float *x, int64_t count);
/* Sets d_x from d_y and the forward's x; d_x may be d_y. */
void gelu_backward(float *d_x, const float *d_y, const float *x, int64_t count);

/* y = tanh x, within 2e-7. y may be x. */
void tanh_forward(float *y, const float *x, int64_t count);
/* Sets d_x from d_y and the forward's result y; d_x may be d_y. */
void tanh_backward(float *d_x, const float *d_y, const float *y, int64_t count);

#endif
