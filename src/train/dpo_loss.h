/* Direct preference optimization (Rafailov et al. 2023): of two completions of a prompt, the chosen one shall gain on
 * the rejected one, measured against a reference model. */
#ifndef CASEMIX_TRAIN_DPO_LOSS_H
#define CASEMIX_TRAIN_DPO_LOSS_H

#include <stdint.h>

/* Log-probabilities of whole completions, [N] each. */
struct dpo_pairs {
    int64_t N;
    double beta;
    const double *chosen, *rejected;                     /* under the policy */
    const double *reference_chosen, *reference_rejected; /* under the reference */
};

/* Sums over pairs; those of several micro-batches add up. */
struct dpo_sums {
    double loss;             /* weighted with `share` */
    double chosen, rejected; /* rewards: beta (policy - reference) */
    int64_t pairs, right;    /* right: the chosen one has the higher reward */
};

/* Adds these pairs to the sums, the loss -log sigmoid(margin) of each times `share` (1 / pairs of the update for their
 * mean). coefficients [N]: the derivative by -log p of every token of the chosen completion; for the rejected one it is
 * the negative. */
void dpo_loss(struct dpo_sums *sums, double *coefficients, const struct dpo_pairs *pairs, double share);

#endif
