/* How the two heads of a two-label model do by themselves, and the DRG that DRG-LLaMA's rule makes of them, beside the
 * product that the rest of the assessment is about. Shares have 95 % bootstrap intervals by patient. */
#ifndef CASEMIX_EVAL_TWO_LABEL_H
#define CASEMIX_EVAL_TWO_LABEL_H

#include "eval/evaluation.h"
#include "eval/resample.h"

struct catalog;
struct text;

struct two_label_assessment {
    struct two_label_metrics metrics;
    struct interval base, severity, rule, product; /* accuracy of each; the last two of the DRG */
};

/* outputs [N, bases + 5]: scores of the heads for the stays of the dataset. A DRG that the catalog has not is an
 * error. */
bool two_label_assess(struct two_label_assessment *assessment, const struct dataset *dataset,
                      const struct catalog *catalog, const double *outputs, size_t resamples, uint64_t seed,
                      struct error *error);

/* `, "two_label": {…}`: the paper's metrics of base ("…_base") and severity ("…_cc"), acc_drg by rule, acc_product,
 * and intervals. */
void two_label_add_json(struct text *out, const struct two_label_assessment *assessment);
void two_label_add_text(struct text *out, const struct two_label_assessment *assessment);

#endif
