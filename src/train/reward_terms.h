/* What a sampled completion is paid in training: the rewards of drg/reward.h and terms on the way it is written, each
 * with a weight. */
#ifndef CASEMIX_TRAIN_REWARD_TERMS_H
#define CASEMIX_TRAIN_REWARD_TERMS_H

#include "drg/reward.h"
#include "train/rollouts.h"

struct error;

struct reward_settings {
    struct reward_pay pay;
    bool compat;             /* rewards as the published code computes them */
    double accuracy, format; /* weights of the two rewards of drg/reward.h */
    /* Weight of -1 for a completion as long as it may be, rising in a line to 0 for one that is `length_soft` tokens
     * shorter (the soft punishment of DAPO, Yu et al. 2025). */
    double length;
    int64_t max_tokens, length_soft;
    /* Weight of minus the share of n-grams of tokens that stood before in the completion. */
    double repetition;
    int64_t repetition_ngram;
    /* Taken off when a DRG is named within the first tokens of the reasoning (the paper's CoT-first: 0.5 and 50). */
    double cot_first;
    int64_t cot_first_tokens;
};

/* The terms with their weights. */
struct reward_parts {
    double accuracy, format, length, repetition, cot_first;
    double total;
    double answer;   /* what the answer alone was worth, without weights; without the format, what that costs */
    bool has_format; /* think, answer, nothing else */
    bool is_right;   /* it has the format and names the DRG of the stay, exactly */
};

bool reward_terms(struct reward_parts *parts, const struct reward_settings *settings, const struct catalog *catalog,
                  const struct rollout *rollout, const char *gold, struct error *error);

/* Whether a DRG is named within the first `tokens` tokens of the reasoning: by its number behind "DRG", or by its title
 * as it stands in the catalog; in any case of letters only a title of four words and more, since short ones are common
 * words of a note ("chest pain"). */
bool reasoning_names_drg(const struct catalog *catalog, const struct rollout *rollout, int64_t tokens);

/* The share of n-grams that stood before: 0 when all differ. */
double repeated_share(const int32_t *ids, int64_t count, int64_t n);

#endif
