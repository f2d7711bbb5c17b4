/* Forward and backward of completions through a decoder and its vocabulary. */
#include "train/policy.h"
#include "base/error.h"
#include "base/memory.h"
#include "model/allowed_loss.h"

size_t policy_size(const struct decoder *decoder, const struct completion_size *room) {
    const size_t rows = (size_t)room->rows, C = (size_t)decoder->config.C;
    return lm_loss_size(decoder, room->rows) + (rows * (C + 8) + allowed_loss_scratch(decoder, POLICY_ALLOWED) +
                                                (size_t)room->tokens + 2 * (size_t)room->sequences) *
                                                   sizeof(float);
}

bool policy_open(struct policy *policy, const struct decoder *decoder, struct decoder_run *run,
                 const struct completion_size *room, struct error *error) {
    const size_t rows = (size_t)room->rows;
    *policy = (struct policy){.decoder = decoder, .run = run, .temperature = 1};
    policy->log_p = memory_alloc(rows, sizeof *policy->log_p);
    policy->entropy = memory_alloc(rows, sizeof *policy->entropy);
    policy->log_allowed = memory_zero(rows, sizeof *policy->log_allowed);
    policy->scratch = memory_alloc(allowed_loss_scratch(decoder, POLICY_ALLOWED), sizeof *policy->scratch);
    policy->coefficients = memory_alloc(rows, sizeof *policy->coefficients);
    policy->d_hidden = memory_alloc(rows, (size_t)decoder->config.C * sizeof *policy->d_hidden);
    if (policy->log_allowed == NULL || policy->scratch == NULL || policy->log_p == NULL || policy->entropy == NULL ||
        policy->coefficients == NULL || policy->d_hidden == NULL) {
        policy_close(policy);
        return memory_error(error, policy_size(decoder, room), "a batch of completions");
    }
    if (lm_loss_open(&policy->loss, decoder, room->rows, error) && completion_batch_open(&policy->batch, room, error))
        return true;
    policy_close(policy);
    return false;
}

void policy_close(struct policy *policy) {
    lm_loss_close(&policy->loss);
    completion_batch_close(&policy->batch);
    memory_free(policy->log_allowed);
    memory_free(policy->scratch);
    memory_free(policy->log_p);
    memory_free(policy->entropy);
    memory_free(policy->coefficients);
    memory_free(policy->d_hidden);
    *policy = (struct policy){0};
}

static struct lm_rows rows_of(const struct policy *policy, const float *hidden) {
    return (struct lm_rows){.Q = policy->batch.batch.Q,
                            .hidden = hidden,
                            .targets = policy->batch.targets,
                            .temperature = policy->temperature};
}

/* What the token of row q could have been; NULL: any. */
static const struct allowed_tokens *kept_to(const struct policy *policy, int64_t q) {
    if (policy->allowed == NULL) return NULL;
    const struct allowed_tokens *allowed = &policy->allowed[policy->batch.places[q]];
    return allowed->ids == NULL ? NULL : allowed;
}

static struct allowed_row allowed_row(const struct policy *policy, int64_t q, const struct allowed_tokens *allowed) {
    return (struct allowed_row){.hidden = policy->hidden + q * policy->decoder->config.C,
                                .ids = allowed->ids,
                                .count = allowed->count,
                                .target = policy->batch.targets[q],
                                .temperature = policy->temperature};
}

/* Rows that are kept to some tokens: what they are among these takes the place of what they are among all. */
static void score_allowed(struct policy *policy) {
    for (int64_t q = 0; q < policy->batch.batch.Q; q++) {
        const struct allowed_tokens *allowed = kept_to(policy, q);
        policy->log_allowed[policy->batch.places[q]] = 0;
        if (allowed == NULL) continue;
        const struct allowed_row row = allowed_row(policy, q, allowed);
        const float among_all = policy->log_p[q];
        policy->log_p[q] = allowed_loss_forward(policy->decoder, &row, &policy->entropy[q], policy->scratch);
        policy->log_allowed[policy->batch.places[q]] = among_all - policy->log_p[q];
    }
}

/* The coefficients of those rows are taken out of the loss over the vocabulary, and come back behind it. */
static void backward_allowed(struct policy *policy, const float *of_tokens) {
    for (int64_t q = 0; q < policy->batch.batch.Q; q++) {
        const struct allowed_tokens *allowed = kept_to(policy, q);
        const float coefficient = of_tokens[policy->batch.places[q]];
        if (allowed == NULL || allowed->count < 2 || coefficient == 0) continue;
        const struct allowed_row row = allowed_row(policy, q, allowed);
        allowed_loss_backward(policy->decoder, &row, coefficient, policy->d_hidden + q * policy->decoder->config.C,
                              policy->scratch);
    }
}

bool policy_score(struct policy *policy, uint64_t dropout_seed, float *log_p, float *entropy, struct error *error) {
    const struct batch *batch = &policy->batch.batch;
    if (batch->Q == 0) return true;
    if (!batch_check(policy->decoder, policy->run, batch, error)) return false;
    policy->hidden = decoder_hidden_forward(policy->decoder, policy->run, batch, dropout_seed);
    const struct lm_rows rows = rows_of(policy, policy->hidden);
    lm_loss_forward(&policy->loss, policy->decoder, &rows, policy->log_p, entropy == NULL ? NULL : policy->entropy);
    if (policy->allowed != NULL) score_allowed(policy);
    completion_batch_scatter(&policy->batch, log_p, policy->log_p);
    if (entropy != NULL) completion_batch_scatter(&policy->batch, entropy, policy->entropy);
    return true;
}

void policy_backward(struct policy *policy, const float *coefficients) {
    const struct batch *batch = &policy->batch.batch;
    if (batch->Q == 0) return;
    const struct lm_rows rows = rows_of(policy, policy->hidden);
    completion_batch_gather(&policy->batch, policy->coefficients, coefficients);
    for (int64_t q = 0; q < batch->Q; q++) {
        if (kept_to(policy, q) != NULL) policy->coefficients[q] = 0;
    }
    lm_loss_backward(&policy->loss, policy->decoder, &rows, policy->coefficients, policy->d_hidden);
    if (policy->allowed != NULL) backward_allowed(policy, coefficients);
    decoder_hidden_backward(policy->decoder, policy->run, batch, policy->d_hidden);
}
