/* Bootstrap by patient: which patients a resample holds, and percentile intervals (Efron and Tibshirani 1993, ch. 13).
 *
 * A resample draws as many patients as there are, with replacement; a patient brings all of their stays. Resample b has
 * its own stream of random numbers, so the draws depend on seed and patients alone, not on threads. */
#ifndef CASEMIX_EVAL_RESAMPLE_H
#define CASEMIX_EVAL_RESAMPLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct dataset;

/* Who is whose: stays with the same subject_id are of one patient; a stay without is a patient of its own. */
struct patients {
    uint32_t *of; /* [N] number of the stay's patient */
    size_t N, count;
};
bool patients_open(struct patients *patients, const struct dataset *dataset, struct error *error);
void patients_close(struct patients *patients);

/* counts[p * B + b]: how often resample b holds patient p (8 bits are enough: 256 draws of one patient among 256 or
 * more have probability below 1e-500). */
struct resamples {
    uint8_t *counts; /* [patients, B] */
    size_t patients, B;
};
bool resamples_open(struct resamples *resamples, size_t patients, size_t B, uint64_t seed, struct error *error);
void resamples_close(struct resamples *resamples);

/* A value and its 95 % interval; NaN bounds where there is none. */
struct interval {
    double value, low, high;
};

/* The 2.5th and 97.5th percentile (linear between order statistics) of replicates[B], which is sorted. Replicates that
 * are NaN (a class absent from the resample) are left out; none left: NaN bounds. */
struct interval interval_percentile(double value, double *replicates, size_t B);

/* Sums over the stays of a resample. Contributions of one stay are added to the columns that it concerns. */
struct sums {
    struct contribution {
        uint32_t patient, column;
        double value;
    } * items;
    size_t count, capacity, columns;
};
bool sums_add(struct sums *sums, uint32_t patient, size_t column, double value, struct error *error);
void sums_close(struct sums *sums);

/* The sums over all stays [columns], and over each resample [columns, B]: multi-threaded over resamples, each added up
 * in the order of the contributions. */
void sums_total(const struct sums *sums, double *totals);
void sums_replicates(const struct sums *sums, const struct resamples *resamples, double *replicates);

#endif
