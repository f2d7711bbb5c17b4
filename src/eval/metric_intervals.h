/* 95 % bootstrap intervals of the paper's metrics (eval/metrics.h), by patient.
 *
 * Each replicate is what metrics_classify would give on the rows of the resample, each row as often as its patient was
 * drawn; classes absent from the resample drop out of the macro means, as there. AUC is exact, not an approximation:
 * the rows are put in order once per class, and all resamples walk that order together, integers only. */
#ifndef CASEMIX_EVAL_METRIC_INTERVALS_H
#define CASEMIX_EVAL_METRIC_INTERVALS_H

#include "eval/metrics.h"
#include "eval/resample.h"

/* In the order of struct metrics. */
enum metric { ACC1, ACC5, ACC10, F1_MACRO, F1_MICRO, AUC_MACRO, AUC_MICRO, METRICS };
const char *metric_name(enum metric metric); /* "acc1", …, as metrics_add_json has it */

/* replicates [METRICS, B]; patients[N] of the rows. Time O(N C (log N + B / lanes of the machine)), memory O(N C). The
 * same bits whatever the threads. */
bool metric_replicates(const struct scores *scores, const uint32_t *patients, const struct resamples *resamples,
                       double *replicates, struct error *error);

/* Intervals [METRICS] around the point values; the replicates are used up. */
void metric_intervals(const struct metrics *metrics, double *replicates, size_t B, struct interval *intervals);

/* Place of the label from the end of numpy's argsort of logits[C] (0: first); METRIC_RANKS when it is not among the
 * last ten. order: [C] scratch. */
enum { METRIC_RANKS = 10 };
int32_t metric_rank(int64_t *order, const double *logits, int64_t C, int32_t label);

/* hits[N]: 1 where acc@1 counts the row as right. */
bool metric_hits(const struct scores *scores, uint8_t *hits, struct error *error);

/* acc@1 of one minus acc@1 of another on the same N rows, both on the same resamples: an interval that leaves out 0
 * says that one is ahead. */
bool paired_difference(const uint8_t *hits, const uint8_t *others, const struct patients *patients,
                       const struct resamples *resamples, struct interval *difference, struct error *error);

#endif
