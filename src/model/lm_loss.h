/* The loss over the vocabulary, fused with the head that makes the logits: cross-entropy, log-probability and entropy
 * of chosen rows, and the gradients of hidden states and head, without a buffer of rows times vocabulary.
 *
 * A loss is any function of the log-probabilities. The forward gives them; the caller derives from them a coefficient
 * for each row, dL / d(-log p); the backward takes the coefficients. SFT: coefficient 1 / targets. DPO: from the sums
 * of two completions. GRPO: advantage, ratio and the KL term. Where the coefficients do not depend on the
 * log-probabilities lm_loss_step does both at once and computes no logit twice. */
#ifndef CASEMIX_MODEL_LM_LOSS_H
#define CASEMIX_MODEL_LM_LOSS_H

#include "model/decoder.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

/* Scratch of the loss of one head; made once. */
struct lm_loss {
    int64_t rows;    /* at most */
    int64_t scratch; /* floats of logits */
    float *logits;   /* [rows, some of V] or [some rows, V] */
    float *panel;    /* of linear_* */
    float *log_sum;  /* [rows] of the last forward; before that, its running maximum */
    float *sum;      /* [rows] sum of exp(z - maximum) */
    float *moment;   /* [rows] sum of exp(z - maximum) (z - maximum) */
    float *behind;   /* [rows] of the last forward: how far the target's logit is below the largest; 0: the target is
                        the likeliest token */
    int64_t kept;    /* rows whose logits of the last forward still stand there whole; 0: none */
};

/* Hidden states behind the final norm, and the token that each is to predict. */
struct lm_rows {
    int64_t Q;
    const float *hidden;    /* [Q, C] */
    const int32_t *targets; /* [Q] */
    float temperature;      /* logits are divided by it */
};

/* Room for `rows` rows of this decoder's head (lm_head or tied embedding). bytes: what lm_loss_open takes. */
size_t lm_loss_size(const struct decoder *decoder, int64_t rows);
bool lm_loss_open(struct lm_loss *loss, const struct decoder *decoder, int64_t rows, struct error *error);
void lm_loss_close(struct lm_loss *loss);

/* log_p [Q]: log softmax(logits / temperature) at the targets; entropy [Q] of that distribution (may be NULL). */
void lm_loss_forward(struct lm_loss *loss, const struct decoder *decoder, const struct lm_rows *rows, float *log_p,
                     float *entropy);

/* From coefficients [Q], the gradient of the loss by each -log p: sets d_hidden [Q, C] (NULL: not wanted) and adds to
 * the gradient of the head, if it has one; with tied embeddings that is the embedding's. After the forward of the same
 * rows. */
void lm_loss_backward(struct lm_loss *loss, const struct decoder *decoder, const struct lm_rows *rows,
                      const float *coefficients, float *d_hidden);

/* Forward and backward at once. */
void lm_loss_step(struct lm_loss *loss, const struct decoder *decoder, const struct lm_rows *rows,
                  const float *coefficients, float *log_p, float *entropy, float *d_hidden);

/* Sum of weights[i] * -log_p[i], in double and in order. */
double lm_loss_weighted(const float *log_p, const float *weights, int64_t Q);

/* kl [Q] = exp(d) - d - 1 with d = reference - log_p (Schulman 2020, k3), and d_kl [Q] (may be NULL) its derivative by
 * -log_p, exp(d) - 1: a term weight * kl is added to a loss by adding weight * d_kl to the coefficients. */
void lm_loss_kl(float *kl, float *d_kl, const float *log_p, const float *reference, int64_t Q);

#endif
