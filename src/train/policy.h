/* A decoder that writes, seen from training: log-probabilities of completions, and the gradient of any loss of them.
 * SFT, DPO and GRPO go through it. */
#ifndef CASEMIX_TRAIN_POLICY_H
#define CASEMIX_TRAIN_POLICY_H

#include "generate/sampler.h"
#include "model/lm_loss.h"
#include "train/completion_batch.h"

struct policy {
    const struct decoder *decoder;
    struct decoder_run *run;
    struct lm_loss loss;
    struct completion_batch batch; /* to be filled: clear, add */
    float temperature;             /* logits are divided by it; 1 until changed */
    const float *hidden;           /* [rows, C] of the batch scored last; the run's */
    /* [completion tokens of the batch] what each could have been, for those that were kept to some tokens: their
     * log-probability and entropy are among these. ids NULL: any token. NULL: all are free. */
    const struct allowed_tokens *allowed;
    float *log_allowed;     /* [rows] of the batch scored last, in the order of completion tokens: how likely it
                               was that one of the allowed tokens comes; 0 where all may */
    float *scratch;         /* of model/allowed_loss.h */
    float *log_p, *entropy; /* [rows] */
    float *coefficients;    /* [rows] */
    float *d_hidden;        /* [rows, C] */
};

/* Bytes that policy_open takes. */
size_t policy_size(const struct decoder *decoder, const struct completion_size *room);

/* Tokens that a row may be kept to, at most. */
enum { POLICY_ALLOWED = 4096 };

/* Room for batches of this size. Borrows the decoder and a run of it that has room for as much. */
bool policy_open(struct policy *policy, const struct decoder *decoder, struct decoder_run *run,
                 const struct completion_size *room, struct error *error);
void policy_close(struct policy *policy);

/* log_p and entropy (or NULL) of the completion tokens of policy->batch, in their order. `dropout_seed` as in
 * decoder_hidden_forward. */
bool policy_score(struct policy *policy, uint64_t dropout_seed, float *log_p, float *entropy, struct error *error);

/* Adds to the gradients of the decoder's parameters, from the derivatives by each -log p of the batch scored last. */
void policy_backward(struct policy *policy, const float *coefficients);

#endif
