/* The metrics of DRG-LLaMA (Wang et al. 2023), as its published evaluation code computes them with numpy and
 * scikit-learn.
 *
 * acc@k: the true label is among the last k of numpy's argsort of the logits (base/numpy_sort.h decides ties). F1 takes
 * the first largest logit as the prediction. F1 and macro AUC are over the classes present in the labels, and so micro
 * F1 is not accuracy when absent classes are predicted. AUC is the area under the ROC curve of the softmax, ties
 * counted half; micro AUC is over all N * C pairs of row and class. All in double. */
#ifndef CASEMIX_EVAL_METRICS_H
#define CASEMIX_EVAL_METRICS_H

#include <stdbool.h>
#include <stdint.h>

struct catalog;
struct error;
struct text;

/* Rows to be scored. Logits are finite; row r begins at logits[r * stride]. */
struct scores {
    const double *logits;  /* [N, C], rows `stride` apart */
    const int32_t *labels; /* [N], 0 … C-1 */
    int64_t N, C, stride;
};

struct metrics {
    double acc1, acc5, acc10;
    double f1_macro, f1_micro;
    double auc_macro, auc_micro; /* NaN where a class has no negative (all rows are of it), as in the published code */
    int64_t labels, count;       /* classes present, rows */
};

/* Time O(N C log N); memory beside the logits O(N + C). No rows or a label out of range is an error. */
bool metrics_classify(const struct scores *scores, struct metrics *metrics, struct error *error);

/* A two-label model: logits [N, bases + 5], first the catalog's base DRGs (v34: 340), then two_label_severity. */
struct two_label_metrics {
    struct metrics base, severity;
    double acc_drg; /* base right, and severity right once catalog_resolve has made it one that the base has */
    /* The DRG among the first k by the product of base and severity probability over the pairs that exist
     * (catalog_compose); a tie counts as behind. Not in the paper. */
    double composed1, composed5, composed10;
};

bool metrics_two_label(const struct catalog *catalog, const double *logits, const int32_t *base_labels,
                       const int32_t *severity_labels, int64_t N, struct two_label_metrics *metrics,
                       struct error *error);

/* Appends the members `"acc1":…, …, "count":…` without braces, each name followed by `suffix` ("", "_base", "_cc"). */
void metrics_add_json(struct text *out, const struct metrics *metrics, const char *suffix);

/* p = softmax of logits [C] in double, as the published code sums it; in place allowed. */
void softmax_double(double *p, const double *logits, int64_t C);

#endif
