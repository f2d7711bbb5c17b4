/* Bag-of-words baselines: what a note's words and word pairs give away without their order. Naive Bayes and logistic
 * regression over the same vocabulary, each tuned on dev notes. */
#ifndef CASEMIX_EVAL_BASELINE_H
#define CASEMIX_EVAL_BASELINE_H

#include "data/dataset.h"
#include "eval/naive_bayes.h"
#include "eval/ngrams.h"
#include "eval/softmax_regression.h"
#include <stdbool.h>
#include <stddef.h>

struct error;

struct baseline {
    struct labels labels; /* DRGs of the training notes */
    struct ngrams ngrams;
    struct naive_bayes bayes;
    struct softmax_regression regression;
    double bayes_smoothing, bayes_dev; /* as chosen on dev, and accuracy there */
    int regression_epochs;             /* passes made */
    double regression_rate, regression_dev;
};

/* Trains both on the stays of `train`; smoothing, step and number of passes are those with the best accuracy on `dev`.
 * The result depends on the data alone. Shows progress. Release with baseline_close. */
bool baseline_train(struct baseline *baseline, const struct dataset *train, const struct dataset *dev,
                    struct error *error);
void baseline_close(struct baseline *baseline);

/* Logits [count, labels] of notes. */
enum baseline_kind { BASELINE_NAIVE_BAYES, BASELINE_REGRESSION };
bool baseline_logits(const struct baseline *baseline, enum baseline_kind kind, const struct stay *stays, size_t count,
                     double *logits, struct error *error);

#endif
