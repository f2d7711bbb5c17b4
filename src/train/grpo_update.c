/* Scoring groups and going back through them: see grpo_update.h. */
#include "train/grpo_update.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "train/advantages.h"
#include "train/cluster.h"
#include <math.h>
#include <string.h>

size_t grpo_update_size(int64_t completions, int64_t max_tokens) {
    const size_t B = (size_t)completions;
    return 5 * B * (size_t)max_tokens * sizeof(float) + B * (sizeof(int64_t) + sizeof(double) + 1);
}

bool grpo_update_open(struct grpo_update *update, int64_t completions, int64_t max_tokens, struct error *error) {
    const size_t B = (size_t)completions, room = B * (size_t)max_tokens;
    update->room = (int64_t)room;
    update->starts = memory_zero(B + 1, sizeof *update->starts);
    update->advantages = memory_zero(B, sizeof *update->advantages);
    update->is_cut = memory_zero(B, sizeof *update->is_cut);
    float **const arrays[] = {&update->log_p, &update->old_log_p, &update->reference, &update->entropy,
                              &update->coefficients};
    bool done = update->starts != NULL && update->advantages != NULL && update->is_cut != NULL;
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        *arrays[i] = memory_alloc(room, sizeof(float));
        done = done && *arrays[i] != NULL;
    }
    update->allowed = memory_zero(update->trie == NULL ? 0 : room, sizeof *update->allowed);
    done = done && update->allowed != NULL;
    return done || memory_error(error, grpo_update_size(completions, max_tokens), "the scores of completions");
}

void grpo_update_close(struct grpo_update *update) {
    memory_free(update->allowed);
    memory_free(update->starts);
    memory_free(update->advantages);
    memory_free(update->is_cut);
    memory_free(update->log_p);
    memory_free(update->old_log_p);
    memory_free(update->reference);
    memory_free(update->entropy);
    memory_free(update->coefficients);
    *update = (struct grpo_update){0};
}

/* What each token of a rollout could have been within an answer: the generator's states gone through again. Before the
 * answer a token is left out only where it would close "<answer>" and run on; that is as good as free. */
static bool replay_trie(struct grpo_update *update, const struct token_span *prompt, const struct rollout *rollout,
                        struct allowed_tokens *allowed, struct error *error) {
    enum { TAIL = 16 };
    const int64_t first = prompt->count < TAIL ? 0 : prompt->count - TAIL;
    struct text text = {0};
    bool done = tokenizer_decode(update->tokenizer, prompt->ids + first, (size_t)(prompt->count - first), false, &text,
                                 error) &&
                text_ok(&text, error);
    struct trie_state state = trie_state_behind(text.data == NULL ? "" : text.data, text.length);
    for (size_t t = 0; done && t < rollout->ids.count; t++) {
        const int32_t id = rollout->ids.ids[t];
        allowed[t] = (struct allowed_tokens){0};
        if (state.node != TRIE_OUTSIDE && state.node != TRIE_DONE)
            allowed[t].ids = trie_allowed(update->trie, &state, &allowed[t].count);
        text_clear(&text);
        done = tokenizer_decode(update->tokenizer, &id, 1, false, &text, error);
        state = trie_advance(update->trie, state, id, text.data == NULL ? "" : text.data, text.length);
    }
    text_free(&text);
    return done;
}

/* Deviation of the rewards of all ranks. */
static double batch_deviation(const double *rewards, int64_t count) {
    double sums[] = {0, (double)count}, squares = 0;
    for (int64_t i = 0; i < count; i++) sums[0] += rewards[i];
    cluster_sum_doubles(sums, 2);
    const double middle = sums[0] / sums[1];
    for (int64_t i = 0; i < count; i++) squares += (rewards[i] - middle) * (rewards[i] - middle);
    cluster_sum_doubles(&squares, 1);
    return sums[1] < 2 ? 0 : sqrt(squares / (sums[1] - 1));
}

bool grpo_update_start(struct grpo_update *update, const struct groups *groups, struct error *error) {
    const int64_t B = groups->P * groups->G;
    bool done = true;
    update->groups = groups;
    update->difference = 0;
    for (int64_t i = 0; done && i < B; i++) {
        update->starts[i + 1] = update->starts[i] + (int64_t)groups->rollouts[i].ids.count;
        update->is_cut[i] = groups->rollouts[i].is_cut;
        if (update->trie != NULL)
            done = replay_trie(update, &groups->stays[i / groups->G].prompt, &groups->rollouts[i],
                               update->allowed + update->starts[i], error);
    }
    if (!cluster_agree(done, error)) return false;
    advantages_compute(update->advantages, groups->rewards, B, groups->G, update->scale,
                       batch_deviation(groups->rewards, B));
    update->rescued = 0;
    return true;
}

static struct token_span tokens_of(const struct rollout *rollout) {
    return (struct token_span){rollout->ids.ids, (int64_t)rollout->ids.count};
}

/* Adds completions of one group from `first` on, as many as there is room for; where they end. */
static int64_t add_some(struct completion_batch *batch, const struct groups *groups, int64_t first) {
    enum { AT_ONCE = 64 };
    struct token_span completions[AT_ONCE];
    const int64_t p = first / groups->G, left = (p + 1) * groups->G - first;
    int64_t count = left < AT_ONCE ? left : AT_ONCE;
    for (int64_t i = 0; i < count; i++) completions[i] = tokens_of(&groups->rollouts[first + i]);
    while (count > 0 && !completion_batch_add(batch, &groups->stays[p].prompt, completions, count)) count--;
    return first + count;
}

/* Fills the batch with completions from `first` on, all drawn at one temperature; where they end. */
static int64_t pack(struct policy *policy, const struct groups *groups, int64_t first) {
    const double temperature = groups->temperatures[first / groups->G];
    int64_t i = first, before = -1;
    completion_batch_clear(&policy->batch);
    policy->temperature = (float)temperature;
    while (i < groups->P * groups->G && i > before && fabs(groups->temperatures[i / groups->G] - temperature) < 1e-12) {
        before = i;
        i = add_some(&policy->batch, groups, i);
    }
    return i;
}

/* The reference's log-probabilities of completions first … end, which stand packed in the policy's batch. */
static bool score_reference(struct grpo_update *update, int64_t first, int64_t end, struct error *error) {
    static const char *const trained[] = {"default"};
    const struct grpo_reference *model = &update->reference_model;
    float *reference = update->reference + update->starts[first];
    const double start = time_now();
    bool done;
    if (model->policy != NULL) {
        done = pack(model->policy, update->groups, first) == end || error_set(error, "the reference has less room");
        model->policy->allowed = update->policy->allowed;
        done = done && policy_score(model->policy, 0, reference, NULL, error);
    } else {
        done = decoder_use_adapters(update->decoder, &model->adapter, model->adapter != NULL ? 1 : 0, error) &&
               policy_score(update->policy, 0, reference, NULL, error) &&
               decoder_use_adapters(update->decoder, trained, 1, error);
    }
    update->scoring_seconds += time_now() - start;
    update->scored_tokens += update->starts[end] - update->starts[first];
    return done;
}

/* How far sampler and trainer are apart at the tokens that they saw alike. */
static void compare_with_sampler(struct grpo_update *update, int64_t first, int64_t end) {
    for (int64_t i = first; i < end; i++) {
        const struct rollout *rollout = &update->groups->rollouts[i];
        const float *log_p = update->log_p + update->starts[i];
        for (size_t t = 0; t < rollout->ids.count; t++)
            update->difference = fmax(update->difference, fabs((double)log_p[t] - (double)rollout->log_p[t]));
    }
}

static void count_rescued(struct grpo_update *update, int64_t first, int64_t end) {
    const float *log_allowed = update->policy->log_allowed;
    for (int64_t i = first; i < end; i++) {
        double sum = 0;
        for (int64_t t = update->starts[i]; t < update->starts[i + 1]; t++)
            sum += (double)log_allowed[t - update->starts[first]];
        update->rescued += sum < log(0.5);
    }
}

/* What the completions of all ranks come to. */
struct whole_batch {
    double completions;
    int64_t counted; /* tokens */
};

static struct whole_batch count_all(const struct grpo_update *update, int64_t B) {
    const struct grpo_rows own = {.B = B, .starts = update->starts, .is_cut = update->is_cut};
    double sums[] = {(double)B, (double)grpo_counted_tokens(&update->settings, &own)};
    cluster_sum_doubles(sums, 2);
    return (struct whole_batch){sums[0], (int64_t)sums[1]};
}

static bool run_micro_batch(struct grpo_update *update, bool on_policy, int64_t first, int64_t end,
                            const struct whole_batch *all, struct error *error) {
    const int64_t from = update->starts[first];
    update->policy->allowed = update->trie == NULL ? NULL : update->allowed + from;
    if (update->has_reference && on_policy && !score_reference(update, first, end, error)) return false;
    const double start = time_now();
    if (!policy_score(update->policy, 0, update->log_p + from, update->entropy + from, error)) return false;
    const struct grpo_rows rows = {.B = end - first,
                                   .starts = update->starts + first,
                                   .log_p = update->log_p,
                                   .old_log_p = on_policy ? NULL : update->old_log_p,
                                   .reference = update->has_reference ? update->reference : NULL,
                                   .entropy = update->entropy,
                                   .advantages = update->advantages + first,
                                   .is_cut = update->is_cut + first};
    const struct grpo_whole whole = {(double)(end - first) / all->completions, all->counted};
    grpo_loss(&update->sums, update->coefficients, &update->settings, &rows, &whole);
    policy_backward(update->policy, update->coefficients + from);
    update->training_seconds += time_now() - start;
    update->trained_tokens += update->starts[end] - from;
    if (on_policy) compare_with_sampler(update, first, end);
    if (on_policy && update->trie != NULL) count_rescued(update, first, end);
    return true;
}

bool grpo_update_gradient(struct grpo_update *update, bool first, struct error *error) {
    const struct groups *groups = update->groups;
    const int64_t B = groups->P * groups->G;
    const struct whole_batch all = count_all(update, B);
    update->sums = (struct grpo_sums){0};
    update->scoring_seconds = update->training_seconds = 0;
    update->scored_tokens = update->trained_tokens = 0;
    for (int64_t from = 0; from < B;) {
        const int64_t to = pack(update->policy, groups, from);
        if (to == from) return error_set(error, "a micro-batch has no room for a prompt and its completion");
        if (!run_micro_batch(update, first, from, to, &all, error)) return false;
        from = to;
    }
    if (first) memcpy(update->old_log_p, update->log_p, (size_t)update->starts[B] * sizeof(float));
    return true;
}
