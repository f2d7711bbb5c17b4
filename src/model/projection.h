/* A linear layer with its bias and LoRA term (Hu et al. 2021): y = W x + b + scale B (A x), forward and backward. */
#ifndef CASEMIX_MODEL_PROJECTION_H
#define CASEMIX_MODEL_PROJECTION_H

#include "model/decoder.h"
#include "tensor/dropout.h"
#include <stdbool.h>
#include <stdint.h>

/* Scratch that projections share; nothing in it outlives a call. */
struct projection_scratch {
    float *panel;   /* linear_panel_size of the largest weight */
    float *dropped; /* [T, inputs]: the dropped-out input; NULL without dropout */
    float *d_xa;    /* [T, R] */
};

/* y [T, outputs] = (accumulate ? y : 0) + projection of x [T, inputs]. xa [T, R] keeps A x for the backward (scratch
 * otherwise); unused without LoRA. */
void projection_forward(const struct projection *projection, float *y, const float *x, float *xa, int64_t T,
                        bool accumulate, struct dropout dropout, const struct projection_scratch *scratch);

/* Adds the gradients of whatever is trained in the projection, and, unless d_x is NULL, sets (accumulate: adds to) d_x
 * [T, inputs]. */
void projection_backward(const struct projection *projection, float *d_x, const float *d_y, const float *x,
                         const float *xa, int64_t T, bool accumulate, struct dropout dropout,
                         const struct projection_scratch *scratch);

#endif
