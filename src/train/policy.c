/* Forward and backward of completions through a decoder and its vocabulary. */
#include "train/policy.h"
#include "base/error.h"
#include "base/memory.h"

size_t policy_size(const struct decoder *decoder, const struct completion_size *room) {
    const size_t rows = (size_t)room->rows, C = (size_t)decoder->config.C;
    return lm_loss_size(decoder, room->rows) +
           (rows * (C + 7) + (size_t)room->tokens + 2 * (size_t)room->sequences) * sizeof(float);
}

bool policy_open(struct policy *policy, const struct decoder *decoder, struct decoder_run *run,
                 const struct completion_size *room, struct error *error) {
    const size_t rows = (size_t)room->rows;
    *policy = (struct policy){.decoder = decoder, .run = run, .temperature = 1};
    policy->log_p = memory_alloc(rows, sizeof *policy->log_p);
    policy->entropy = memory_alloc(rows, sizeof *policy->entropy);
    policy->coefficients = memory_alloc(rows, sizeof *policy->coefficients);
    policy->d_hidden = memory_alloc(rows, (size_t)decoder->config.C * sizeof *policy->d_hidden);
    if (policy->log_p == NULL || policy->entropy == NULL || policy->coefficients == NULL || policy->d_hidden == NULL) {
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

bool policy_score(struct policy *policy, uint64_t dropout_seed, float *log_p, float *entropy, struct error *error) {
    const struct batch *batch = &policy->batch.batch;
    if (batch->Q == 0) return true;
    if (!batch_check(policy->decoder, policy->run, batch, error)) return false;
    policy->hidden = decoder_hidden_forward(policy->decoder, policy->run, batch, dropout_seed);
    const struct lm_rows rows = rows_of(policy, policy->hidden);
    lm_loss_forward(&policy->loss, policy->decoder, &rows, policy->log_p, entropy == NULL ? NULL : policy->entropy);
    completion_batch_scatter(&policy->batch, log_p, policy->log_p);
    if (entropy != NULL) completion_batch_scatter(&policy->batch, entropy, policy->entropy);
    return true;
}

void policy_backward(struct policy *policy, const float *coefficients) {
    const struct batch *batch = &policy->batch.batch;
    if (batch->Q == 0) return;
    const struct lm_rows rows = rows_of(policy, policy->hidden);
    completion_batch_gather(&policy->batch, policy->coefficients, coefficients);
    lm_loss_backward(&policy->loss, policy->decoder, &rows, policy->coefficients, policy->d_hidden);
    decoder_hidden_backward(policy->decoder, policy->run, batch, policy->d_hidden);
}
