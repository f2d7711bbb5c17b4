/* The state of a training run on disk, from which it goes on to the same bytes. Of any method. */
#ifndef CASEMIX_TRAIN_CHECKPOINT_H
#define CASEMIX_TRAIN_CHECKPOINT_H

#include "model/parameters.h"
#include "train/guard.h"
#include "train/optimizer.h"
#include <stdbool.h>
#include <stdint.h>

struct error;

/* Everything beside the tensors that the loop must know. */
struct progress_state {
    int64_t step;      /* updates made */
    int64_t best_step; /* of the best dev score; -1: none yet */
    int64_t stale;     /* evaluations since then */
    double best_score; /* the lower the better: a loss */
    double loss_sum;   /* of the steps since the last log line */
    int64_t loss_count;
    int64_t tokens; /* seen so far */
    struct norm_window norms;
    int64_t threads, ranks; /* that the run was last computed with; others give other last bits */
    uint64_t kernels;       /* the same: a hash of what --compute chose */
};

/* Writes PATH atomically: a header, the names and shapes of the tensors, values, moments, and a checksum over all of
 * it. `fingerprint` ties it to recipe, data and base model. */
bool checkpoint_write(const char *path, uint64_t fingerprint, const struct progress_state *state,
                      const struct parameters *set, const struct adamw *optimizer, struct error *error);

/* Reads it back into allocated tensors. Damage, another fingerprint, and tensors that are not the same ones in the same
 * order are refused, the first that differs by name; nothing is changed then. */
bool checkpoint_read(const char *path, uint64_t fingerprint, struct progress_state *state, const struct parameters *set,
                     struct adamw *optimizer, struct error *error);

#endif
