/* Accepting only the predictions that the model is surest of: what share of stays that leaves, and how many are right.
 *
 * Stays are accepted from the most confident on; stays of equal confidence come together. Risk is the share of wrong
 * DRGs among the accepted, AURC its mean over all numbers of accepted stays 1 … N (Geifman and El-Yaniv 2017), where a
 * stay of a tied group counts with the group's error rate. */
#ifndef CASEMIX_EVAL_SELECTIVE_H
#define CASEMIX_EVAL_SELECTIVE_H

#include "eval/outcome.h"
#include "eval/resample.h"

enum { COVERAGES = 20 }; /* 5 %, 10 % … 100 % */

struct coverage {
    double threshold; /* accepted: confidence at or above it */
    size_t accepted, right;
    double lower; /* bound that the accuracy of new stays exceeds, with 95 % confidence for the 20 coverages together:
                     Clopper and Pearson (1934) at 1 - 0.05 / 20 each */
};

/* The smallest threshold for a wanted accuracy; threshold above 1 where none reaches it. */
struct selective {
    struct coverage table[COVERAGES];
    struct interval aurc;
    double best_aurc; /* of an order that put every wrong stay last */
    /* For accuracy 0.95. `observed`: the smallest threshold at which at least 95 % of the accepted stays are right.
     * `assured`: the smallest of the table whose lower bound reaches 95 %. */
    double observed, assured;
};
bool selective_measure(const struct outcome *outcomes, size_t N, const uint32_t *patients,
                       const struct resamples *resamples, struct selective *selective, struct error *error);

/* A threshold applied to other stays than those it was chosen on. */
struct coverage coverage_at(const struct outcome *outcomes, size_t N, double threshold);

/* One-sided lower bound at confidence 1 - alpha for the rate behind `right` of `count` (0 when right is 0). */
double binomial_lower(size_t right, size_t count, double alpha);

#endif
