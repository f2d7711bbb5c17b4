/* One batch of groups becomes gradients: completions are scored by the policy and by the reference, in micro-batches
 * that compute each prompt once for all its completions, and the loss's derivatives go back through the policy.
 *
 * Several updates of the weights can follow on the same groups; the first of them is on-policy, and its
 * log-probabilities are the old ones of the others. */
#ifndef CASEMIX_TRAIN_GRPO_UPDATE_H
#define CASEMIX_TRAIN_GRPO_UPDATE_H

#include "generate/title_trie.h"
#include "train/advantages.h"
#include "train/groups.h"
#include "train/grpo_loss.h"
#include "train/policy.h"
#include <stdbool.h>
#include <stdint.h>

struct error;

/* The model that the KL term keeps the policy near: another decoder with a run of its own, or the policy's decoder with
 * an adapter of this name in use (NULL: none). */
struct grpo_reference {
    struct policy *policy; /* over another decoder; NULL: the trained one */
    const char *adapter;
};

struct grpo_update {
    struct grpo_settings settings;
    enum advantage_scale scale;
    bool has_reference;
    struct grpo_reference reference_model;
    struct policy *policy;
    struct decoder *decoder;           /* the policy's, whose adapters are put out of use for the reference */
    const struct title_trie *trie;     /* NULL: completions were sampled freely */
    const struct tokenizer *tokenizer; /* with a trie */
    struct allowed_tokens *allowed;    /* [room] with a trie */
    const struct groups *groups;
    int64_t room;    /* completion tokens of all groups, at most */
    int64_t *starts; /* [completions + 1] */
    double *advantages;
    unsigned char *is_cut;
    float *log_p, *old_log_p, *reference, *entropy, *coefficients; /* [room] */
    struct grpo_sums sums;                                         /* of the last gradient */
    double difference; /* largest, of the sampler's log-probability and the trainer's */
    int64_t rescued;   /* completions that would have been no title more likely than not, had the trie not kept them */
    double scoring_seconds, training_seconds; /* of the last gradient */
    int64_t scored_tokens, trained_tokens;    /* completion tokens through the reference, and through the policy */
};

/* Bytes for `completions` of up to max_tokens each, and opening. Policies, decoder and groups are borrowed; the
 * settings are the caller's to fill in before or after. */
size_t grpo_update_size(int64_t completions, int64_t max_tokens);
bool grpo_update_open(struct grpo_update *update, int64_t completions, int64_t max_tokens, struct error *error);
void grpo_update_close(struct grpo_update *update);

/* A new batch of groups, this rank's part of it: advantages, and what each token could have been. Like the gradient, it
 * is for all ranks to call together. */
bool grpo_update_start(struct grpo_update *update, const struct groups *groups, struct error *error);

/* Adds this rank's part of the gradient of an update on the groups of all ranks, and fills in sums, times and tokens;
 * its part of the loss is sums.loss. `first`: the weights are those that sampled. */
bool grpo_update_gradient(struct grpo_update *update, bool first, struct error *error);

#endif
