/* The loss of GRPO (Shao et al. 2024) and its relatives, as a function of the log-probabilities of sampled tokens. With
 * ratio r = exp(log p - old log p), of a token or (GSPO, Zheng et al. 2025) of a whole completion, and advantage a:
 *
 *   l = -min(r a, clip(r, 1 - epsilon_low, 1 + epsilon_high) a) + beta kl,   kl = exp(d) - d - 1, d = reference - log p
 *
 *   grpo      mean over completions of the mean over their tokens
 *   bnpo      mean over the tokens of a micro-batch
 *   dapo      mean over the tokens of the whole update (Yu et al. 2025)
 *   dr_grpo   sum over tokens / (completions * max_completion) (Liu et al. 2025)
 *
 * Completions that were cut short may be left out (`mask_truncated`): their tokens do not count, nor do they. */
#ifndef CASEMIX_TRAIN_GRPO_LOSS_H
#define CASEMIX_TRAIN_GRPO_LOSS_H

#include <stdbool.h>
#include <stdint.h>

enum grpo_loss_kind { GRPO_LOSS_GRPO, GRPO_LOSS_BNPO, GRPO_LOSS_DR_GRPO, GRPO_LOSS_DAPO };
enum grpo_level { GRPO_LEVEL_TOKEN, GRPO_LEVEL_SEQUENCE };

struct grpo_settings {
    enum grpo_loss_kind kind;
    enum grpo_level level; /* of the ratio; the KL term is always a token's */
    double epsilon_low, epsilon_high;
    double beta;
    bool mask_truncated;
    int64_t max_completion; /* tokens that a completion may have, for dr_grpo */
};

/* Completions of one micro-batch, B of them; the tokens of completion i are starts[i] … starts[i + 1]. */
struct grpo_rows {
    int64_t B;
    const int64_t *starts;       /* [B + 1] */
    const float *log_p;          /* [tokens] under the policy as it stands */
    const float *old_log_p;      /* [tokens] under the policy that sampled; NULL: the same, every ratio is 1 */
    const float *reference;      /* [tokens] under the reference model; may be NULL when beta is 0 */
    const float *entropy;        /* [tokens] or NULL; only added up */
    const double *advantages;    /* [B] */
    const unsigned char *is_cut; /* [B] the completion was truncated */
};

/* What a micro-batch is of the whole update. */
struct grpo_whole {
    double share;   /* of this micro-batch in the mean of all: they add up to 1. Not looked at by dapo */
    int64_t tokens; /* counted tokens of all micro-batches, for dapo */
};

/* Sums over what counts; those of several micro-batches add up. */
struct grpo_sums {
    double loss;
    double kl, entropy; /* over tokens; divide by `tokens` */
    int64_t tokens, sequences;
    int64_t clipped_low, clipped_high; /* ratios beyond the edge where clipping bites, of `ratios` */
    int64_t ratios;                    /* tokens; completions at level sequence */
};

/* Tokens that count: all, but those of masked completions. */
int64_t grpo_counted_tokens(const struct grpo_settings *settings, const struct grpo_rows *rows);

/* Adds this micro-batch to the sums and sets coefficients [tokens]: the derivative of the loss by each -log p, which is
 * what lm_loss_backward takes. Old and reference log-probabilities and advantages are constants. */
void grpo_loss(struct grpo_sums *sums, float *coefficients, const struct grpo_settings *settings,
               const struct grpo_rows *rows, const struct grpo_whole *whole);

#endif
