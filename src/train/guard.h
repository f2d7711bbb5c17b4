/* What watches over a run: numbers that are none, and gradients that are far larger than usual. */
#ifndef CASEMIX_TRAIN_GUARD_H
#define CASEMIX_TRAIN_GUARD_H

#include "model/parameters.h"
#include "train/optimizer.h"
#include <stdbool.h>
#include <stdint.h>

struct error;

/* Before an update: the loss of step `step`, its gradients and their norm must be finite. The error names what went bad
 * first: the loss, or else the gradient that is nearest to it (the backward goes through the tensors from the last to
 * the first), by the tensor's name in the checkpoint. */
bool guard_gradients(const struct parameters *set, int64_t step, double loss, double norm, struct error *error);

/* After an update: values and moments must be finite; the error names the first tensor that is not. A checkpoint is
 * written only of what passed, so that the last one is always good. */
bool guard_weights(const struct parameters *set, const struct adamw *optimizer, int64_t step, struct error *error);

enum { NORM_WINDOW = 64 };

/* Gradient norms of the last steps; part of a checkpoint, so that a resumed run warns as the straight one does. */
struct norm_window {
    double norms[NORM_WINDOW]; /* a ring */
    int64_t count;             /* ever added */
    int64_t quiet_until;       /* count before which no further warning is given */
    int64_t alarms;            /* warnings given */
};

/* Their median; 0 while there is none. */
double norm_window_median(const struct norm_window *window);

/* Takes the norm of one more step. True when it is so far above the median of those before it (8 times; once there are
 * 16) that people should know, and no warning was given in the last 64 steps. *median (may be NULL): of those before
 * it. */
bool norm_window_add(struct norm_window *window, double norm, double *median);

/* Says so on stderr: by how much, in which tensor most of it lies, and what to do. */
void norm_window_warn(const struct parameters *set, int64_t step, double norm, double median, double max_norm);

#endif
