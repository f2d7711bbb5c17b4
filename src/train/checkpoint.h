/* The state of a training run on disk, from which it goes on to the same bytes. */
#ifndef CASEMIX_TRAIN_CHECKPOINT_H
#define CASEMIX_TRAIN_CHECKPOINT_H

#include "model/parameters.h"
#include "train/optimizer.h"
#include <stdbool.h>
#include <stdint.h>

struct error;

/* Everything beside the tensors that the loop must know. */
struct progress_state {
    int64_t step;      /* updates made */
    int64_t best_step; /* of the best dev loss; -1: none yet */
    int64_t stale;     /* evaluations since then */
    double best_loss;
    double loss_sum; /* of the steps since the last log line */
    int64_t loss_count;
    int64_t tokens; /* seen so far */
};

/* Writes PATH atomically: a header, values, moments, and a checksum over all of it. `fingerprint` ties it to recipe and
 * data. */
bool checkpoint_write(const char *path, uint64_t fingerprint, const struct progress_state *state,
                      const struct parameters *set, const struct adamw *optimizer, struct error *error);

/* Reads it back into allocated tensors. Another fingerprint, a wrong size or a wrong checksum is refused, and nothing
 * is changed. */
bool checkpoint_read(const char *path, uint64_t fingerprint, struct progress_state *state, const struct parameters *set,
                     struct adamw *optimizer, struct error *error);

#endif
