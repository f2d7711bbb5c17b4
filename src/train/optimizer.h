/* AdamW (Loshchilov and Hutter 2019) over all trained tensors at once, with clipping by their global norm. */
#ifndef CASEMIX_TRAIN_OPTIMIZER_H
#define CASEMIX_TRAIN_OPTIMIZER_H

#include "model/parameters.h"
#include <stdbool.h>
#include <stdint.h>

struct error;

struct adamw {
    double beta1, beta2, epsilon, weight_decay;
    double max_norm; /* gradients are scaled down to this global norm; 0: never */
    float *m, *v;    /* [total] moments */
    int64_t step;    /* updates made */
};

/* Allocates the moments for these parameters, zeroed; the settings are the caller's to fill. */
bool adamw_open(struct adamw *optimizer, const struct parameters *set, struct error *error);
void adamw_close(struct adamw *optimizer);

/* Global norm of the gradients, summed in double in a fixed order. */
double gradient_norm(const struct parameters *set);

/* One update with learning rate `rate` from the gradients, whose norm is `norm`:
 * g *= min(1, max_norm / (norm + 1e-6)); p *= 1 - rate decay; m, v; p -= rate m^ / (sqrt(v^) + epsilon). */
void adamw_update(struct adamw *optimizer, const struct parameters *set, double rate, double norm);

#endif
