/* Multinomial naive Bayes with Lidstone smoothing (Manning, Raghavan and Schütze 2008, chapter 13). */
#ifndef CASEMIX_EVAL_NAIVE_BAYES_H
#define CASEMIX_EVAL_NAIVE_BAYES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct sparse_rows;

/* How often each feature stands in the notes of each class: only where it does. */
struct naive_bayes {
    size_t *starts;   /* [features + 1] feature f has entries starts[f] … starts[f+1]-1 */
    int32_t *classes; /* of an entry, rising within a feature */
    float *counts;    /* of an entry */
    float *weights;   /* of an entry: log(1 + count / alpha) */
    double *totals;   /* [C] n-grams in the notes of the class */
    double *notes;    /* [C] notes of the class */
    double *priors;   /* [C] log((1 + notes) / (C + all notes)) */
    double *absent;   /* [C] log probability of an n-gram that the class has not seen */
    int32_t features, C;
};

/* Counts the rows, whose labels are 0 … C-1. Smooth before use. */
bool naive_bayes_open(struct naive_bayes *model, const struct sparse_rows *rows, const int32_t *labels,
                      int32_t features, int32_t C, struct error *error);
void naive_bayes_close(struct naive_bayes *model);

/* Sets what is added to every count; alpha > 0. */
void naive_bayes_smooth(struct naive_bayes *model, double alpha);

/* logits [rows->count, C]: log probability of class and note together, less the largest of the row. */
void naive_bayes_logits(const struct naive_bayes *model, const struct sparse_rows *rows, double *logits);

#endif
