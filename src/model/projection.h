/* A linear layer with its bias and LoRA term (Hu et al. 2021): y = W x + b + scale B (A x), forward and backward; and
 * groups of them that read the same input, as q, k and v do, and gate and up. */
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
    float *d_xa;    /* [T, R of a whole group] */
};

enum { GROUP_LIMIT = 3 };

/* Projections of one input. */
struct projection_group {
    const struct projection *projections; /* [count] */
    int count;
    struct dropout dropout[GROUP_LIMIT]; /* each its own, as in PEFT */
};

/* y[i] [T, outputs] = (accumulate ? y[i] : 0) + projection i of x [T, inputs]. xa [T, R of all] keeps A x for the
 * backward (scratch otherwise); unused without LoRA. Without dropout, LoRA factors A that lie end to end (as lora.c
 * lays them) are one product. */
void projections_forward(const struct projection_group *group, float *const *y, const float *x, float *xa, int64_t T,
                         bool accumulate, const struct projection_scratch *scratch);

/* Adds the gradients of whatever is trained in the projections, and, unless d_x is NULL, sets (accumulate: adds to) d_x
 * [T, inputs]. */
void projections_backward(const struct projection_group *group, float *d_x, const float *const *d_y, const float *x,
                          const float *xa, int64_t T, bool accumulate, const struct projection_scratch *scratch);

/* The same for one projection. */
void projection_forward(const struct projection *projection, float *y, const float *x, float *xa, int64_t T,
                        bool accumulate, struct dropout dropout, const struct projection_scratch *scratch);
void projection_backward(const struct projection *projection, float *d_x, const float *d_y, const float *x,
                         const float *xa, int64_t T, bool accumulate, struct dropout dropout,
                         const struct projection_scratch *scratch);

#endif
