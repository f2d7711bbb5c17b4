/* The loop of a training run, whatever is trained: steps, evaluations, log, checkpoints, the guard, early stopping, and
 * an end that can be gone on from; on one rank or many. A method brings the gradient of a batch and the score on dev.
 */
#ifndef CASEMIX_TRAIN_LOOP_H
#define CASEMIX_TRAIN_LOOP_H

#include "base/text.h"
#include "model/parameters.h"
#include "train/checkpoint.h"
#include "train/optimizer.h"
#include "train/recipe.h"
#include "train/run_directory.h"
#include "train/schedule.h"
#include <stdbool.h>
#include <stdint.h>

struct error;

/* This rank's part of a batch: the loop adds the parts up. */
struct batch_part {
    double loss;        /* of its share; the parts sum to the loss of the batch */
    int64_t tokens;     /* likewise */
    struct text *extra; /* members for the log line of this step, each with ", " before it: the method's own figures;
                           they must be the same on all ranks */
};

/* What an evaluation found, the same on all ranks. */
struct dev_score {
    double score;        /* the lower the better: the best so far becomes the run's model */
    struct text members; /* of the log line: "\"dev_loss\": 1.5, \"dev_acc1\": 0.5" */
    char note[64];       /* for people, beside the progress */
};

/* What a method brings. Functions that the ranks call together; each may use the cluster. */
struct loop_method {
    void *context;
    /* Adds the gradient of this rank's share of the batch of `step` (0 …) to parameters->gradients, which are zero. */
    bool (*gradient)(void *context, int64_t step, struct batch_part *part, struct error *error);
    bool (*evaluate)(void *context, struct dev_score *found, struct error *error);
    /* On rank 0 only: writes the model as it is into the run directory. */
    bool (*save_model)(void *context, struct error *error);
};

struct loop {
    struct loop_method method;
    const struct run_directory *directory; /* open on rank 0; elsewhere only goes_on counts */
    const struct recipe_train *train;      /* intervals and patience */
    struct schedule schedule;
    int64_t steps, steps_per_epoch;
    int64_t updates;      /* the run stops and is saved at multiples of so many steps, which use the same samples */
    int64_t stop_after;   /* updates in all after which to stop as on SIGTERM; 0: never */
    uint64_t fingerprint; /* of recipe, data and base model */
    struct parameters *parameters;
    struct adamw *optimizer;
    struct progress_state state; /* zero, best_score infinite, best_step -1 (loop_start) */
};

/* state as it is before the first step. */
void loop_start(struct loop *loop);

/* Goes on from the checkpoint if the directory has one, and runs to the end; or stops early with an error that says how
 * to resume. The checkpoint that a failure leaves behind is always good. */
bool loop_run(struct loop *loop, struct error *error);

#endif
