/* Forward and backward of completions through a decoder and its vocabulary. */
#include "train/policy.h"
#include "base/error.h"
#include "base/memory.h"

bool policy_plan(const struct decoder *decoder, const struct completion_size *room, bool train, size_t budget,
                 struct run_plan *plan, size_t *bytes, struct error *error) {
    const size_t rows = (size_t)room->rows, C = (size_t)decoder->config.C;
    const size_t others = lm_loss_size(decoder, room->rows) + (train ? rows * C : 0) * sizeof(float) +
                          (3 * rows + (size_t)room->tokens + 4 * rows) * sizeof(float);
    *plan = (struct run_plan){.T = room->tokens, .N = room->sequences, .rows = room->rows, .train = train};
    if (budget > 0 && budget <= others)
        return error_set(error, "a batch of %lld completion tokens takes more than the %zu MiB there are",
                         (long long)room->rows, budget >> 20);
    if (!decoder_run_plan(plan, decoder, budget == 0 ? 0 : budget - others, error)) return false;
    *bytes = plan->bytes + others;
    return true;
}

bool policy_open(struct policy *policy, const struct decoder *decoder, const struct completion_size *room, bool train,
                 size_t budget, float temperature, struct error *error) {
    struct run_plan plan;
    size_t bytes = 0;
    *policy = (struct policy){.decoder = decoder, .temperature = temperature};
    if (!policy_plan(decoder, room, train, budget, &plan, &bytes, error)) return false;
    const size_t rows = (size_t)room->rows;
    policy->recomputed = plan.recomputed;
    policy->log_p = memory_alloc(rows, sizeof *policy->log_p);
    policy->entropy = memory_alloc(rows, sizeof *policy->entropy);
    policy->coefficients = memory_alloc(rows, sizeof *policy->coefficients);
    policy->d_hidden = memory_alloc(train ? rows : 0, (size_t)decoder->config.C * sizeof *policy->d_hidden);
    if (policy->log_p == NULL || policy->entropy == NULL || policy->coefficients == NULL || policy->d_hidden == NULL) {
        policy_close(policy);
        return memory_error(error, bytes, "a batch of completions");
    }
    if (decoder_run_open_planned(&policy->run, decoder, &plan, error) &&
        lm_loss_open(&policy->loss, decoder, room->rows, error) && completion_batch_open(&policy->batch, room, error))
        return true;
    policy_close(policy);
    return false;
}

void policy_close(struct policy *policy) {
    if (policy->run != NULL) decoder_run_close(policy->run);
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
