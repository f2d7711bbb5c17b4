/* What a classifier is trained for: how labels of stays become losses and gradients of the network's scores.
 *
 * Single label: softmax cross-entropy over the DRGs of the cohort. Two labels (DRG-LLaMA): one matrix of scores, first
 * the grouper's base DRGs, then the five severities; CE(base) + cc_weight * CE(severity).
 *
 * Each cross-entropy can be balanced. class_balanced (Cui et al. 2019, eq. 4): a stay of a class with n training stays
 * weighs (1 - beta) / (1 - beta^n), scaled so that the training stays weigh 1 in the mean. logit_adjusted (Menon et al.
 * 2021, eq. 10): tau * log(share of the class in training) is added to the scores before the softmax, in training only;
 * a class without training stays counts as half a stay. label_smoothing e: the target is (1 - e) of the label plus e
 * of the uniform distribution. */
#ifndef CASEMIX_TRAIN_OBJECTIVE_H
#define CASEMIX_TRAIN_OBJECTIVE_H

#include "data/dataset.h"
#include "tensor/kernels.h"
#include "train/recipe.h"

struct error;

/* One cross-entropy, over some columns of the scores. */
struct objective_part {
    struct columns columns;
    double weight;       /* of this cross-entropy in the loss */
    int32_t *targets;    /* [labels of the cohort]: the column within the part */
    float *class_weight; /* [columns.count] of a stay; NULL: 1 */
    float *adjustment;   /* [columns.count] added to the scores; NULL: nothing */
};

struct objective {
    struct objective_settings settings;
    const struct catalog *catalog;
    int64_t outputs; /* scores of a stay */
    struct objective_part parts[2];
    int part_count;
};

/* The objective of a recipe over the DRGs of a cohort; label_of [count] are the labels of the training stays. Release
 * with objective_close, also after a failure. */
bool objective_open(struct objective *objective, const struct recipe *recipe, const struct labels *labels,
                    const int32_t *label_of, size_t count, struct error *error);
void objective_close(struct objective *objective);

/* losses [N] of stays with cohort labels label_of [N]; scores [N, outputs] become scale * d loss / d score. */
void objective_gradient(const struct objective *objective, float *losses, float *scores, const int32_t *label_of,
                        int64_t N, float scale);

/* The same losses alone; scores are used up. */
void objective_losses(const struct objective *objective, float *losses, float *scores, const int32_t *label_of,
                      int64_t N);

/* Stays whose likeliest DRG, base and severity are right; single label: drg only. A two-label model's DRG is the one
 * whose base and severity have the largest product among all of the grouper. */
struct objective_hits {
    int64_t drg, base, severity;
};
void objective_count(const struct objective *objective, const struct labels *labels, const float *scores,
                     const int32_t *label_of, int64_t N, struct objective_hits *hits);

#endif
