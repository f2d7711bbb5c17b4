/* A dataset against what a model made of it: one row of logits a stay, one column a DRG.
 *
 * DRGs of the data that the model does not know get columns of their own, below every other logit of their row, so that
 * their stays count as wrong. */
#ifndef CASEMIX_EVAL_EVALUATION_H
#define CASEMIX_EVAL_EVALUATION_H

#include "data/dataset.h"
#include "eval/metrics.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

struct evaluation {
    const struct dataset *dataset; /* borrowed */
    double *logits;                /* [N, C] */
    int32_t *targets;              /* [N] column of the stay's DRG */
    int *codes;                    /* [C] DRG of each column */
    size_t N, C;
    size_t known;         /* columns that the model has */
    size_t unknown_stays; /* stays with a DRG that it has not */
};

/* Every stay must have a DRG. Columns 0 … known-1 are the labels. Release with evaluation_close. */
bool evaluation_open(struct evaluation *evaluation, const struct dataset *dataset, const struct labels *labels,
                     struct error *error);
void evaluation_close(struct evaluation *evaluation);

/* Takes logits [count, known] of the stays from `first` on. Values that are not finite are an error. */
bool evaluation_put(struct evaluation *evaluation, size_t first, size_t count, const double *logits,
                    struct error *error);

/* Metrics over all stays, once every row has been put. */
bool evaluation_score(const struct evaluation *evaluation, struct metrics *metrics, struct error *error);

/* DIR/predictions.jsonl: {"note_id", "hadm_id", "drg", "rank", "predictions": [{"drg", "p"}…]} with the ten likeliest
 * DRGs of each stay, p at the temperature, and the rank of the true one (1: first; null where the model does not know
 * it). */
bool evaluation_write(const struct evaluation *evaluation, double temperature, const char *directory,
                      struct error *error);

#endif
