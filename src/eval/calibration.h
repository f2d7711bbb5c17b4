/* Whether probabilities mean what they say, and the one number that mends them.
 *
 * Confidence is p of the predicted DRG. Expected calibration error: the stays' share in each bin times
 * |accuracy - mean confidence|, summed (Naeini et al. 2015; Guo et al. 2017); 15 bins, of equal width or of equal
 * numbers of stays. Temperature scaling divides all logits by one T, fitted on dev by its likelihood: the order of the
 * DRGs stays. */
#ifndef CASEMIX_EVAL_CALIBRATION_H
#define CASEMIX_EVAL_CALIBRATION_H

#include "eval/outcome.h"

enum { CALIBRATION_BINS = 15 };

struct reliability_bin {
    double low, high; /* confidences that it takes; equal mass: those of its first and last stay */
    size_t stays;
    double confidence, accuracy; /* means; 0 where the bin is empty */
};

struct reliability {
    struct reliability_bin bins[CALIBRATION_BINS];
    double ece;
    double largest_gap; /* maximum of |accuracy - confidence| over the bins with stays */
};

/* Both ways of binning. bin_of [2, N] receives each stay's bin (equal width first), for resampling with fixed bins. */
bool reliability_tables(const struct outcome *outcomes, size_t N, struct reliability *width, struct reliability *mass,
                        uint8_t *bin_of, struct error *error);

/* The T in [0.05, 20] that minimises the mean -log p of the true DRGs over the stays whose DRG the model has: the
 * likelihood is convex in 1/T, its root of the derivative is found by Newton's method kept in a shrinking bracket. The
 * same bits whatever the threads. No such stay is an error. */
bool temperature_fit(const struct evaluation *evaluation, double *temperature, struct error *error);

#endif
