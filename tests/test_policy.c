/* Losses of sampled completions: coefficients against finite differences, advantages by hand, that micro-batches do not
 * show, and that a shared prompt gives what a prompt for each completion gives. */
#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"
#include "train/advantages.h"
#include "train/dpo_loss.h"
#include "train/grpo_loss.h"
#include "train/policy.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { B = 6, TOKENS = 24 };
static const int64_t starts[B + 1] = {0, 5, 6, 13, 13, 20, 24}; /* one completion is empty */
static const unsigned char is_cut[B] = {0, 1, 0, 0, 1, 0};

struct sampled_batch {
    float log_p[TOKENS], old_log_p[TOKENS], reference[TOKENS], entropy[TOKENS];
    double advantages[B];
};

/* Ratios on both sides of and between the edges of clipping, none within a step of the differences of one. */
static void fill(struct sampled_batch *batch) {
    static const double ratios[] = {0.5, 0.9, 1, 1.15, 1.6};
    struct rng rng;
    rng_seed(&rng, 3);
    for (int t = 0; t < TOKENS; t++) {
        batch->log_p[t] = -3 - (float)rng_uniform(&rng);
        batch->old_log_p[t] = batch->log_p[t] - (float)log(ratios[t % 5]);
        batch->reference[t] = batch->log_p[t] + 0.5f * (float)rng_normal(&rng);
        batch->entropy[t] = (float)rng_uniform(&rng);
    }
    for (int i = 0; i < B; i++) batch->advantages[i] = (i % 4 == 0 ? 1 : -1) * (0.5 + rng_uniform(&rng));
}

static struct grpo_rows rows_of(const struct sampled_batch *batch, bool given) {
    return (struct grpo_rows){.B = B,
                              .starts = starts,
                              .log_p = batch->log_p,
                              .old_log_p = given ? batch->old_log_p : NULL,
                              .reference = batch->reference,
                              .entropy = batch->entropy,
                              .advantages = batch->advantages,
                              .is_cut = is_cut};
}

static double loss_of(const struct sampled_batch *batch, const struct grpo_settings *settings, float *coefficients) {
    const struct grpo_rows rows = rows_of(batch, true);
    const struct grpo_whole whole = {.share = 0.7, .tokens = grpo_counted_tokens(settings, &rows) + 9};
    struct grpo_sums sums = {0};
    grpo_loss(&sums, coefficients, settings, &rows, &whole);
    return sums.loss;
}

static void check_differences(struct sampled_batch *batch, const struct grpo_settings *settings) {
    float coefficients[TOKENS], ignored[TOKENS];
    const float h = 0x1p-8f;
    loss_of(batch, settings, coefficients);
    for (int t = 0; t < TOKENS; t++) {
        const float kept = batch->log_p[t];
        batch->log_p[t] = kept + h;
        const double above = loss_of(batch, settings, ignored);
        batch->log_p[t] = kept - h;
        const double below = loss_of(batch, settings, ignored);
        batch->log_p[t] = kept;
        const double numeric = -(above - below) / (2 * (double)h);
        if (fabs(numeric - (double)coefficients[t]) > 1e-4 * fabs(numeric) + 1e-7)
            fail_msg("loss %d, level %d, token %d: %g, by differences %g", (int)settings->kind, (int)settings->level, t,
                     (double)coefficients[t], numeric);
    }
}

static void the_coefficients_of_every_variant_are_the_derivatives_of_its_loss(void **state) {
    struct sampled_batch batch;
    (void)state;
    fill(&batch);
    for (int variant = 0; variant < 32; variant++) {
        const struct grpo_settings settings = {.kind = (enum grpo_loss_kind)(variant % 4),
                                               .level = (enum grpo_level)(variant / 4 % 2),
                                               .epsilon_low = 0.2,
                                               .epsilon_high = 0.28,
                                               .beta = variant / 8 % 2 == 0 ? 0 : 0.3,
                                               .mask_truncated = variant / 16 == 1,
                                               .max_completion = 8};
        check_differences(&batch, &settings);
    }
}

/* Completions 0 … 2 and 3 … 5 apart, weighted with their number. */
static void cutting_an_update_into_micro_batches_changes_nothing(void **state) {
    struct sampled_batch batch;
    (void)state;
    fill(&batch);
    static const enum grpo_loss_kind kinds[] = {GRPO_LOSS_GRPO, GRPO_LOSS_DR_GRPO, GRPO_LOSS_DAPO};
    for (int k = 0; k < 3; k++) {
        const struct grpo_settings settings = {
            .kind = kinds[k], .epsilon_low = 0.2, .epsilon_high = 0.2, .beta = 0.1, .max_completion = 8};
        struct grpo_rows rows = rows_of(&batch, true);
        struct grpo_whole whole = {1, TOKENS};
        struct grpo_sums one = {0}, two = {0};
        float coefficients[TOKENS], parts[TOKENS];
        grpo_loss(&one, coefficients, &settings, &rows, &whole);
        whole.share = 2.0 / B;
        rows.B = 2;
        grpo_loss(&two, parts, &settings, &rows, &whole);
        whole.share = 4.0 / B;
        rows.B = 4;
        rows.starts += 2;
        rows.advantages += 2;
        rows.is_cut += 2;
        grpo_loss(&two, parts, &settings, &rows, &whole);
        assert_true(fabs(one.loss - two.loss) < 1e-12 && fabs(one.kl - two.kl) < 1e-12);
        assert_int_equal(one.clipped_low + one.clipped_high, two.clipped_low + two.clipped_high);
        assert_true(one.clipped_low > 0 && one.clipped_high > 0);
        for (int t = 0; t < TOKENS; t++) assert_float_equal(coefficients[t], parts[t], 1e-7);
    }
}

static void on_policy_the_loss_is_minus_the_mean_advantage_and_its_gradient_is_the_advantages(void **state) {
    struct sampled_batch batch;
    float coefficients[TOKENS];
    (void)state;
    fill(&batch);
    const struct grpo_settings settings = {.kind = GRPO_LOSS_DAPO, .epsilon_low = 0.2, .epsilon_high = 0.2};
    const struct grpo_rows rows = rows_of(&batch, false);
    const struct grpo_whole whole = {1, TOKENS};
    struct grpo_sums sums = {0};
    double expected = 0;
    grpo_loss(&sums, coefficients, &settings, &rows, &whole);
    for (int i = 0; i < B; i++) {
        for (int64_t t = starts[i]; t < starts[i + 1]; t++) {
            expected -= batch.advantages[i] / TOKENS;
            assert_float_equal(coefficients[t], (float)(batch.advantages[i] / TOKENS), 1e-7);
        }
    }
    assert_true(fabs(sums.loss - expected) < 1e-12);
    assert_int_equal(sums.clipped_low + sums.clipped_high, 0);
}

static void masked_completions_neither_count_nor_learn(void **state) {
    struct sampled_batch batch;
    float coefficients[TOKENS];
    (void)state;
    fill(&batch);
    const struct grpo_settings settings = {.kind = GRPO_LOSS_BNPO, .mask_truncated = true, .beta = 1};
    struct grpo_rows rows = rows_of(&batch, true);
    const struct grpo_whole whole = {1, TOKENS};
    struct grpo_sums sums = {0}, none = {0};
    grpo_loss(&sums, coefficients, &settings, &rows, &whole);
    assert_int_equal(sums.tokens, TOKENS - 1 - 7);
    assert_true(coefficients[5] == 0 && coefficients[13] == 0 && coefficients[19] == 0 && coefficients[20] != 0);
    /* All of them cut: nothing, and no division by it. */
    static const unsigned char all[B] = {1, 1, 1, 1, 1, 1};
    rows.is_cut = all;
    grpo_loss(&none, coefficients, &settings, &rows, &whole);
    assert_true(none.loss == 0 && none.tokens == 0);
    for (int t = 0; t < TOKENS; t++) assert_true(coefficients[t] == 0);
}

static double dpo_at(const double values[4][2], double *coefficients) {
    const struct dpo_pairs pairs = {2, 0.3, values[0], values[1], values[2], values[3]};
    struct dpo_sums sums = {0};
    dpo_loss(&sums, coefficients, &pairs, 0.5);
    return sums.loss;
}

static void the_coefficients_of_preferences_are_the_derivatives_of_their_loss(void **state) {
    double values[4][2] = {{-20, -31}, {-25, -24}, {-21, -30}, {-22, -27}}, coefficients[2], ignored[2];
    (void)state;
    dpo_at((const double(*)[2])values, coefficients);
    for (int side = 0; side < 2; side++) {
        for (int i = 0; i < 2; i++) {
            const double h = 1e-5;
            values[side][i] += h;
            const double above = dpo_at((const double(*)[2])values, ignored);
            values[side][i] -= 2 * h;
            const double below = dpo_at((const double(*)[2])values, ignored);
            values[side][i] += h;
            const double numeric = -(above - below) / (2 * h);
            assert_true(fabs(numeric - (side == 0 ? coefficients[i] : -coefficients[i])) < 1e-8);
        }
    }
    /* A margin beyond exp's range. */
    double far[4][2] = {{-1e5, 0}, {0, -1e5}, {0, 0}, {0, 0}};
    assert_true(fabs(dpo_at((const double(*)[2])far, coefficients) - 0.5 * 0.3 * 1e5) < 1e-6);
    assert_true(fabs(coefficients[0] - 0.15) < 1e-12 && coefficients[1] < 1e-300);
}

static void advantages_are_what_the_formula_gives_by_hand(void **state) {
    static const double rewards[] = {2, 0, 1, 1, 5, 5, 5, 5};
    double advantages[8];
    (void)state;
    const double of_group = sqrt(2.0 / 3), of_batch = reward_deviation(rewards, 8);
    advantages_compute(advantages, rewards, 8, 4, ADVANTAGE_GROUP, reward_deviation(rewards, 8));
    assert_true(fabs(advantages[0] - 1 / (of_group + 1e-4)) < 1e-12 && advantages[2] == 0 && advantages[7] == 0);
    advantages_compute(advantages, rewards, 8, 4, ADVANTAGE_BATCH, reward_deviation(rewards, 8));
    assert_true(fabs(advantages[1] + 1 / (of_batch + 1e-4)) < 1e-12);
    advantages_compute(advantages, rewards, 8, 4, ADVANTAGE_NONE, reward_deviation(rewards, 8));
    assert_true(advantages[0] == 1 && advantages[1] == -1 && advantages[5] == 0);
    advantages_compute(advantages, rewards, 8, 1, ADVANTAGE_GROUP,
                       reward_deviation(rewards, 8)); /* groups of one have nobody to compare with */
    for (int i = 0; i < 8; i++) assert_true(advantages[i] == 0);
}

/* A decoder with noise everywhere, prompts and completions of several lengths. */
enum { P = 3, G = 3, LONGEST = 12 };

struct written {
    struct decoder decoder;
    int32_t ids[P * (G + 1)][LONGEST];
    struct token_span prompts[P], completions[P * G];
    int64_t tokens;
};

static void write_something(struct written *written) {
    static const int64_t prompt_lengths[P] = {12, 1, 7}, lengths[P * G] = {5, 1, 12, 3, 0, 2, 1, 1, 9};
    const struct model_config config = {.architecture = ARCHITECTURE_QWEN2,
                                        .V = 31,
                                        .C = 16,
                                        .L = 2,
                                        .H = 4,
                                        .K = 2,
                                        .D = 6,
                                        .F = 24,
                                        .positions = 64,
                                        .norm_eps = 1e-6f,
                                        .rope_theta = 10000,
                                        .qkv_bias = true,
                                        .tied = true,
                                        .bos_id = -1,
                                        .eos_id = -1,
                                        .pad_id = -1,
                                        .initializer_range = 0.3f};
    struct error error = {0};
    struct rng rng;
    *written = (struct written){0};
    assert_true(decoder_create(&written->decoder, &config, 7, &error));
    rng_seed(&rng, 11);
    struct parameters *set = &written->decoder.parameters;
    for (int64_t i = 0; i < set->total; i++) set->values[i] += 0.1f * (float)rng_normal(&rng);
    for (int i = 0; i < P * (G + 1); i++) {
        for (int t = 0; t < LONGEST; t++) written->ids[i][t] = (int32_t)rng_below(&rng, 31);
    }
    for (int p = 0; p < P; p++) written->prompts[p] = (struct token_span){written->ids[p], prompt_lengths[p]};
    for (int i = 0; i < P * G; i++) {
        written->completions[i] = (struct token_span){written->ids[P + i], lengths[i]};
        written->tokens += lengths[i];
    }
}

static struct completion_size room_of(const struct written *written) {
    struct completion_size room = {0};
    for (int i = 0; i < P * G; i++) {
        const struct completion_size size = completion_size(&written->prompts[i / G], &written->completions[i], 1);
        room.tokens += size.tokens;
        room.sequences += size.sequences;
        room.rows += size.rows;
    }
    return room;
}

static void open_policy(struct policy *policy, const struct decoder *decoder, const struct completion_size *room) {
    struct error error = {0};
    struct decoder_run *run = NULL;
    struct run_plan plan = {.T = room->tokens, .N = room->sequences, .rows = room->rows, .train = true};
    if (!decoder_run_plan(&plan, decoder, 0, &error) || !decoder_run_open_planned(&run, decoder, &plan, &error) ||
        !policy_open(policy, decoder, run, room, &error))
        fail_msg("%s", error.message);
    policy->temperature = 0.8f;
}

static void close_policy(struct policy *policy) {
    decoder_run_close(policy->run);
    policy_close(policy);
}

/* Log-probabilities, entropies and gradient with each prompt computed once, or once for each completion. */
static void run_written(struct written *written, bool shared, float *log_p, float *entropy) {
    const struct completion_size room = room_of(written);
    struct parameters *set = &written->decoder.parameters;
    struct policy policy;
    struct error error = {0};
    float coefficients[64];
    assert_true(written->tokens <= 64);
    open_policy(&policy, &written->decoder, &room);
    for (int p = 0; p < P; p++) {
        const int64_t at_once = shared ? G : 1;
        for (int64_t i = 0; i < G; i += at_once)
            assert_true(
                completion_batch_add(&policy.batch, &written->prompts[p], &written->completions[p * G + i], at_once));
    }
    assert_true(policy_score(&policy, 0, log_p, entropy, &error));
    for (int64_t t = 0; t < written->tokens; t++) coefficients[t] = (float)(1 + t % 5) / 7 - 0.4f;
    memset(set->gradients, 0, (size_t)set->total * sizeof(float));
    policy_backward(&policy, coefficients);
    close_policy(&policy);
}

static void a_shared_prompt_gives_the_gradient_of_a_prompt_for_each_completion(void **state) {
    struct written written;
    float log_p[2][64], entropy[2][64];
    (void)state;
    write_something(&written);
    const struct parameters *set = &written.decoder.parameters;
    run_written(&written, false, log_p[0], entropy[0]);
    float *apart = memory_alloc((size_t)set->total, sizeof *apart);
    memcpy(apart, set->gradients, (size_t)set->total * sizeof *apart);
    run_written(&written, true, log_p[1], entropy[1]);
    for (int64_t t = 0; t < written.tokens; t++) {
        assert_float_equal(log_p[0][t], log_p[1][t], 2e-5);
        assert_float_equal(entropy[0][t], entropy[1][t], 2e-5);
    }
    for (size_t k = 0; k < set->count; k++) {
        const struct parameter *tensor = &set->items[k];
        double difference = 0, norm = 0;
        for (int64_t i = tensor->first; i < tensor->first + tensor->rows * tensor->cols; i++) {
            difference = fmax(difference, fabs((double)apart[i] - (double)set->gradients[i]));
            norm = fmax(norm, fabs((double)apart[i]));
        }
        if (norm == 0 || difference > 1e-4 * norm) fail_msg("%s: %g of %g apart", tensor->name, difference, norm);
    }
    memory_free(apart);
    decoder_close(&written.decoder);
}

/* One completion at a time through a decoder that knows nothing of parents, against its place among the shared. */
static void values_of_completions_lie_in_the_order_in_which_they_were_added(void **state) {
    struct written written;
    float log_p[64], alone[64];
    struct policy policy;
    struct error error = {0};
    (void)state;
    write_something(&written);
    run_written(&written, true, log_p, NULL);
    const struct completion_size room = {2 * LONGEST, 1, LONGEST};
    open_policy(&policy, &written.decoder, &room);
    for (int64_t i = 0, t = 0; i < P * G; i++) {
        const struct token_span *completion = &written.completions[i], *prompt = &written.prompts[i / G];
        int32_t joined[2 * LONGEST];
        memcpy(joined, prompt->ids, (size_t)prompt->count * sizeof *joined);
        memcpy(joined + prompt->count, completion->ids, (size_t)completion->count * sizeof *joined);
        for (int64_t k = 0; k < completion->count; k++, t++) {
            const struct token_span before = {joined, prompt->count + k}, next = {completion->ids + k, 1};
            completion_batch_clear(&policy.batch);
            assert_true(completion_batch_add(&policy.batch, &before, &next, 1));
            assert_true(policy_score(&policy, 0, alone, NULL, &error));
            assert_float_equal(alone[0], log_p[t], 2e-5);
        }
    }
    assert_false(completion_batch_add(&policy.batch, &written.prompts[0], written.completions, G)); /* no room */
    close_policy(&policy);
    decoder_close(&written.decoder);
}

/* A loss of a batch of which some tokens were kept to some others. */
struct kept_loss {
    struct policy *policy;
    struct allowed_tokens allowed[64];
    float log_p[64], entropy[64], coefficients[64];
    int64_t tokens;
};

static double kept_loss_at(struct kept_loss *kept) {
    struct error error = {0};
    double loss = 0;
    assert_true(policy_score(kept->policy, 0, kept->log_p, kept->entropy, &error));
    for (int64_t t = 0; t < kept->tokens; t++) loss -= (double)kept->coefficients[t] * (double)kept->log_p[t];
    return loss;
}

static void pack_all(struct policy *policy, const struct written *written) {
    completion_batch_clear(&policy->batch);
    for (int p = 0; p < P; p++)
        assert_true(completion_batch_add(&policy->batch, &written->prompts[p], &written->completions[p * G], G));
}

/* Every third token could have been itself or two others only, every seventh nothing else. */
static void keep_some(struct kept_loss *kept, const struct written *written, int32_t ids[64][3]) {
    int64_t t = 0;
    for (int i = 0; i < P * G; i++) {
        for (int64_t k = 0; k < written->completions[i].count; k++, t++) {
            const int32_t id = written->completions[i].ids[k];
            ids[t][0] = (id + 11) % 31;
            ids[t][1] = id;
            ids[t][2] = (id + 5) % 31;
            if (t % 3 == 0) kept->allowed[t] = (struct allowed_tokens){ids[t], 3};
            if (t % 7 == 0) kept->allowed[t] = (struct allowed_tokens){&ids[t][1], 1};
            kept->coefficients[t] = (float)(1 + t % 5) / 7 - 0.4f;
        }
    }
    kept->tokens = t;
}

static void check_kept_gradient(struct kept_loss *kept, struct parameters *set) {
    const float h = 0x1p-7f;
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < set->total; i += 5) {
        const float value = set->values[i];
        set->values[i] = value + h;
        const double above = kept_loss_at(kept);
        set->values[i] = value - h;
        const double below = kept_loss_at(kept);
        set->values[i] = value;
        const double numeric = (above - below) / (2 * (double)h);
        difference += (numeric - (double)set->gradients[i]) * (numeric - (double)set->gradients[i]);
        norm += numeric * numeric;
    }
    assert_true(norm > 0.1);
    if (!(sqrt(difference) <= 1e-2 * sqrt(norm))) fail_msg("%g of %g", sqrt(difference), sqrt(norm));
}

static void tokens_kept_to_some_are_scored_among_these_with_their_gradient(void **state) {
    struct written written;
    struct policy policy;
    struct kept_loss kept = {.policy = &policy};
    int32_t ids[64][3];
    float free_log_p[64];
    struct error error = {0};
    (void)state;
    write_something(&written);
    struct parameters *set = &written.decoder.parameters;
    const struct completion_size room = room_of(&written);
    open_policy(&policy, &written.decoder, &room);
    pack_all(&policy, &written);
    assert_true(policy_score(&policy, 0, free_log_p, NULL, &error));
    keep_some(&kept, &written, ids);
    policy.allowed = kept.allowed;
    kept_loss_at(&kept);
    for (int64_t t = 0; t < kept.tokens; t++) {
        const bool alone = kept.allowed[t].count == 1, is_free = kept.allowed[t].ids == NULL;
        if (is_free) assert_true(kept.log_p[t] == free_log_p[t] && policy.log_allowed[t] == 0);
        if (alone) assert_true(kept.log_p[t] == 0 && kept.entropy[t] == 0);
        if (!is_free) assert_float_equal(kept.log_p[t] + policy.log_allowed[t], free_log_p[t], 1e-5);
        if (!is_free) assert_true(policy.log_allowed[t] < 0);
        if (!is_free && !alone) assert_true(kept.log_p[t] < 0 && (double)kept.entropy[t] <= log(3) + 1e-6);
    }
    memset(set->gradients, 0, (size_t)set->total * sizeof(float));
    policy_backward(&policy, kept.coefficients);
    check_kept_gradient(&kept, set);
    close_policy(&policy);
    decoder_close(&written.decoder);
}

static void a_policy_without_memory_is_refused_and_leaves_nothing_behind(void **state) {
    struct written written;
    struct policy policy;
    struct error error = {0};
    (void)state;
    write_something(&written);
    const struct completion_size room = room_of(&written);
    for (int64_t fail = 0; fail < 40; fail++) {
        memory_fail_after(fail);
        const bool opened = policy_open(&policy, &written.decoder, NULL, &room, &error);
        memory_fail_after(-1);
        if (opened) policy_close(&policy);
        if (opened) break;
        assert_true(fail < 39 && strstr(error.message, "memory") != NULL);
    }
    decoder_close(&written.decoder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_coefficients_of_every_variant_are_the_derivatives_of_its_loss),
        cmocka_unit_test(cutting_an_update_into_micro_batches_changes_nothing),
        cmocka_unit_test(on_policy_the_loss_is_minus_the_mean_advantage_and_its_gradient_is_the_advantages),
        cmocka_unit_test(masked_completions_neither_count_nor_learn),
        cmocka_unit_test(the_coefficients_of_preferences_are_the_derivatives_of_their_loss),
        cmocka_unit_test(advantages_are_what_the_formula_gives_by_hand),
        cmocka_unit_test(a_shared_prompt_gives_the_gradient_of_a_prompt_for_each_completion),
        cmocka_unit_test(values_of_completions_lie_in_the_order_in_which_they_were_added),
        cmocka_unit_test(tokens_kept_to_some_are_scored_among_these_with_their_gradient),
        cmocka_unit_test(a_policy_without_memory_is_refused_and_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
