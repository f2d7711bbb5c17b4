/* GRPO and DPO of oracle cases, through the functions that training calls: packed batches that share prompts, scores of
 * policy and reference, advantages, losses, one backward for each micro-batch. */
#include "oracle_policy.h"
#include "base/error.h"
#include "base/memory.h"
#include "train/advantages.h"
#include "train/dpo_loss.h"
#include "train/grpo_loss.h"
#include "train/optimizer.h"
#include "train/policy.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(bool done, const struct error *error) {
    if (done) return;
    fprintf(stderr, "oracle: %s\n", error->message);
    exit(1);
}

static void *must_have(size_t count, size_t size) {
    struct error error = {0};
    void *memory = memory_zero(count, size);
    must(memory != NULL || error_set(&error, "out of memory"), &error);
    return memory;
}

static struct token_span read_list(const json_node *node) {
    struct token_span list = {.count = (int64_t)json_count(node)};
    int32_t *ids = must_have((size_t)list.count, sizeof *ids), *id = ids;
    for (const json_node *n = json_first(node); n != NULL; n = json_next(n)) *id++ = (int32_t)json_number(n);
    list.ids = ids;
    return list;
}

static void free_lists(struct token_span *lists, int64_t count) {
    for (int64_t i = 0; i < count; i++) memory_free((void *)(uintptr_t)lists[i].ids);
    memory_free(lists);
}

static struct token_span *read_lists(const json_node *node, int64_t *count) {
    *count = (int64_t)json_count(node);
    struct token_span *lists = must_have((size_t)*count, sizeof *lists), *list = lists;
    for (const json_node *n = json_first(node); n != NULL; n = json_next(n)) *list++ = read_list(n);
    return lists;
}

static void report_named(const struct oracle_report *report, const char *prefix, const char *name, const float *got,
                         int64_t count) {
    char whole[256];
    snprintf(whole, sizeof whole, "%s%s", prefix, name);
    report->check(report->context, whole, got, count);
}

static void report_number(const struct oracle_report *report, const char *prefix, const char *name, double got) {
    const float number = (float)got;
    report_named(report, prefix, name, &number, 1);
}

static void report_gradients(const struct oracle_report *report, const char *prefix, const struct parameters *set) {
    for (size_t p = 0; p < set->count; p++)
        report_named(report, prefix, set->items[p].name, parameter_gradient(set, p),
                     set->items[p].rows * set->items[p].cols);
}

/* A run with room for such a batch, and the policy over it. */
static void open_policy(struct policy *policy, const struct decoder *decoder, const struct completion_size *room) {
    struct error error = {0};
    struct decoder_run *run;
    struct run_plan plan = {.T = room->tokens, .N = room->sequences, .rows = room->rows, .train = true};
    must(decoder_run_plan(&plan, decoder, 0, &error) && decoder_run_open_planned(&run, decoder, &plan, &error) &&
             policy_open(policy, decoder, run, room, &error),
         &error);
}

static void close_policy(struct policy *policy) {
    decoder_run_close(policy->run);
    policy_close(policy);
}

static void clear_gradients(struct parameters *set) {
    memset(set->gradients, 0, (size_t)set->total * sizeof *set->gradients);
}

/* A whole grpo case. */
struct grpo_case {
    const struct oracle_report *report;
    struct decoder *decoder;
    struct policy policy;
    struct token_span *prompts, *completions;
    int64_t P, B, G;
    int64_t *starts; /* [B + 1] */
    unsigned char *is_cut;
    float *log_p, *entropy, *reference, *kl, *old; /* [all completion tokens] */
    float *coefficients;
    double advantages[3][1024];
    int64_t longest;
};

static const char *const scale_names[] = {"group", "batch", "none"};

/* The completions `rows` (rising), each behind its prompt. */
static void pack_rows(struct grpo_case *c, const int64_t *rows, int64_t count) {
    struct error error = {0};
    completion_batch_clear(&c->policy.batch);
    for (int64_t i = 0; i < count;) {
        const int64_t prompt = rows[i] / c->G;
        struct token_span group[1024];
        int64_t size = 0;
        while (i < count && rows[i] / c->G == prompt) group[size++] = c->completions[rows[i++]];
        must(completion_batch_add(&c->policy.batch, &c->prompts[prompt], group, size) || error_set(&error, "no room"),
             &error);
    }
}

static void report_padded(const struct grpo_case *c, const char *name, const float *values) {
    float *padded = must_have((size_t)(c->B * c->longest), sizeof *padded);
    for (int64_t i = 0; i < c->B; i++)
        memcpy(padded + i * c->longest, values + c->starts[i],
               (size_t)(c->starts[i + 1] - c->starts[i]) * sizeof *padded);
    report_named(c->report, "", name, padded, c->B * c->longest);
    memory_free(padded);
}

static void report_advantages(struct grpo_case *c, const json_node *list, const char *prefix, bool keep) {
    double rewards[1024], advantages[1024];
    float got[1024];
    int64_t count = 0;
    for (const json_node *n = json_first(list); n != NULL; n = json_next(n)) rewards[count++] = json_number(n);
    for (int scale = 0; scale < 3; scale++) {
        advantages_compute(advantages, rewards, count, c->G, (enum advantage_scale)scale,
                           reward_deviation(rewards, count));
        for (int64_t i = 0; i < count; i++) got[i] = (float)advantages[i];
        if (keep) memcpy(c->advantages[scale], advantages, (size_t)count * sizeof *advantages);
        report_named(c->report, prefix, scale_names[scale], got, count);
    }
}

/* The position of a name among `count`. */
static int choice(const json_node *node, const char *const *names, int count) {
    struct error error = {0};
    const char *name = json_string(node);
    for (int i = 0; name != NULL && i < count; i++) {
        if (strcmp(name, names[i]) == 0) return i;
    }
    must(error_set(&error, "case.json: \"%s\" is not known", name == NULL ? "" : name), &error);
    return 0;
}

static struct grpo_settings read_settings(const json_node *variant) {
    static const char *const kinds[] = {"grpo", "bnpo", "dr_grpo", "dapo"}, *const levels[] = {"token", "sequence"};
    return (struct grpo_settings){
        .kind = (enum grpo_loss_kind)choice(json_member(variant, "loss_type"), kinds, 4),
        .level = (enum grpo_level)choice(json_member(variant, "importance_level"), levels, 2),
        .epsilon_low = json_number(json_member(variant, "epsilon_low")),
        .epsilon_high = json_number(json_member(variant, "epsilon_high")),
        .beta = json_number(json_member(variant, "beta")),
        .mask_truncated = json_bool(json_member(variant, "mask_truncated_completions"), false),
        .max_completion = (int64_t)json_number(json_member(variant, "max_completion_length"))};
}

/* Values of the chosen completions, end to end. */
static float *gathered(const struct grpo_case *c, const float *values, const int64_t *rows, int64_t count) {
    int64_t total = 0;
    float *out = must_have((size_t)c->starts[c->B], sizeof *out);
    for (int64_t i = 0; i < count; i++) {
        const int64_t length = c->starts[rows[i] + 1] - c->starts[rows[i]];
        memcpy(out + total, values + c->starts[rows[i]], (size_t)length * sizeof *out);
        total += length;
    }
    return out;
}

static void run_micro_batch(struct grpo_case *c, struct grpo_sums *sums, const struct grpo_settings *settings,
                            const double *advantages, const int64_t *rows, int64_t count, bool given,
                            const struct grpo_whole *whole) {
    int64_t starts[1025] = {0};
    double some[1024];
    unsigned char is_cut[1024];
    struct error error = {0};
    for (int64_t i = 0; i < count; i++) {
        starts[i + 1] = starts[i] + c->starts[rows[i] + 1] - c->starts[rows[i]];
        some[i] = advantages[rows[i]];
        is_cut[i] = c->is_cut[rows[i]];
    }
    float *old = gathered(c, c->old, rows, count), *reference = gathered(c, c->reference, rows, count);
    pack_rows(c, rows, count);
    must(policy_score(&c->policy, 0, c->log_p, c->entropy, &error), &error);
    const struct grpo_rows batch = {.B = count,
                                    .starts = starts,
                                    .log_p = c->log_p,
                                    .old_log_p = given ? old : NULL,
                                    .reference = reference,
                                    .entropy = c->entropy,
                                    .advantages = some,
                                    .is_cut = is_cut};
    grpo_loss(sums, c->coefficients, settings, &batch, whole);
    policy_backward(&c->policy, c->coefficients);
    memory_free(old);
    memory_free(reference);
}

/* The rows of one micro-batch, or all. */
static int64_t read_rows(const struct grpo_case *c, const json_node *list, int64_t *rows) {
    int64_t count = 0;
    if (list == NULL) {
        for (; count < c->B; count++) rows[count] = count;
    } else {
        for (const json_node *n = json_first(list); n != NULL; n = json_next(n))
            rows[count++] = (int64_t)json_number(n);
    }
    return count;
}

static double share_of(int64_t part, int64_t whole) {
    return whole == 0 ? 0 : (double)part / (double)whole;
}

static void run_variant(struct grpo_case *c, const json_node *variant) {
    const struct grpo_settings settings = read_settings(variant);
    const double *advantages = c->advantages[choice(json_member(variant, "scale_rewards"), scale_names, 3)];
    const bool given = strcmp(json_string(json_member(variant, "old_logps")), "given") == 0;
    const json_node *micro_batches = json_member(variant, "micro_batches"), *first = json_first(micro_batches);
    const struct grpo_rows all = {.B = c->B, .starts = c->starts, .is_cut = c->is_cut};
    const struct grpo_whole whole = {.share = first == NULL ? 1 : 1 / (double)json_count(micro_batches),
                                     .tokens = grpo_counted_tokens(&settings, &all)};
    struct grpo_sums sums = {0};
    int64_t rows[1024];
    clear_gradients(&c->decoder->parameters);
    do {
        const int64_t count = read_rows(c, first, rows);
        run_micro_batch(c, &sums, &settings, advantages, rows, count, given, &whole);
    } while (first != NULL && (first = json_next(first)) != NULL);
    char prefix[64];
    snprintf(prefix, sizeof prefix, "%s.", json_string(json_member(variant, "id")));
    report_number(c->report, prefix, "loss", sums.loss);
    report_number(c->report, prefix, "kl_mean", sums.tokens == 0 ? 0 : sums.kl / (double)sums.tokens);
    report_number(c->report, prefix, "entropy_mean", sums.tokens == 0 ? 0 : sums.entropy / (double)sums.tokens);
    report_number(c->report, prefix, "clip_low", share_of(sums.clipped_low, sums.ratios));
    report_number(c->report, prefix, "clip_high", share_of(sums.clipped_high, sums.ratios));
    snprintf(prefix, sizeof prefix, "%s.grad.", json_string(json_member(variant, "id")));
    report_gradients(c->report, prefix, &c->decoder->parameters);
}

static void read_case(struct grpo_case *c, const json_node *root) {
    const json_node *inputs = json_member(root, "inputs"), *hyper = json_member(root, "hyper");
    struct error error = {0};
    struct completion_size room = {0};
    c->prompts = read_lists(json_member(inputs, "prompts"), &c->P);
    c->completions = read_lists(json_member(inputs, "completions"), &c->B);
    c->G = c->B / c->P;
    must(c->B < 1024 || error_set(&error, "too many completions"), &error);
    c->starts = must_have((size_t)c->B + 1, sizeof *c->starts);
    c->is_cut = must_have((size_t)c->B, sizeof *c->is_cut);
    for (int64_t i = 0; i < c->B; i++) {
        const struct token_span *completion = &c->completions[i];
        const struct completion_size alone = completion_size(&c->prompts[i / c->G], completion, 1);
        room.tokens += alone.tokens;
        room.sequences += alone.sequences;
        room.rows += alone.rows;
        c->starts[i + 1] = c->starts[i] + completion->count;
        if (completion->count > c->longest) c->longest = completion->count;
        c->is_cut[i] = completion->count == 0 || completion->ids[completion->count - 1] !=
                                                     (int32_t)json_number(json_member(hyper, "eos_token_id"));
    }
    open_policy(&c->policy, c->decoder, &room);
    c->policy.temperature = (float)json_number(json_member(hyper, "temperature"));
    float **const arrays[] = {&c->log_p, &c->entropy, &c->reference, &c->kl, &c->old, &c->coefficients};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++)
        *arrays[i] = must_have((size_t)c->starts[c->B], sizeof(float));
    int64_t t = 0;
    for (const json_node *list = json_first(json_member(inputs, "old_logps")); list != NULL; list = json_next(list)) {
        for (const json_node *n = json_first(list); n != NULL && t < c->starts[c->B]; n = json_next(n))
            c->old[t++] = (float)json_number(n);
    }
}

/* The same batch under the bare base. */
static void score_reference(struct decoder *decoder, struct policy *policy, float *reference) {
    static const char *const used[] = {"default"};
    struct error error = {0};
    must(decoder_use_adapters(decoder, NULL, 0, &error) && policy_score(policy, 0, reference, NULL, &error) &&
             decoder_use_adapters(decoder, used, 1, &error),
         &error);
}

void oracle_grpo(struct decoder *decoder, const json_node *root, const struct oracle_report *report) {
    struct grpo_case *c = must_have(1, sizeof *c);
    struct error error = {0};
    int64_t rows[1024];
    c->report = report;
    c->decoder = decoder;
    read_case(c, root);
    pack_rows(c, rows, read_rows(c, NULL, rows));
    score_reference(decoder, &c->policy, c->reference);
    must(policy_score(&c->policy, 0, c->log_p, c->entropy, &error), &error);
    lm_loss_kl(c->kl, NULL, c->log_p, c->reference, c->starts[c->B]);
    report_padded(c, "logps", c->log_p);
    report_padded(c, "ref_logps", c->reference);
    report_padded(c, "entropy", c->entropy);
    report_padded(c, "kl", c->kl);
    const json_node *inputs = json_member(root, "inputs");
    report_advantages(c, json_member(inputs, "rewards"), "advantages.", true);
    report_advantages(c, json_member(inputs, "extra_rewards"), "extra_advantages.", false);
    const json_node *variants = json_member(json_member(root, "hyper"), "variants");
    for (const json_node *v = json_first(variants); v != NULL; v = json_next(v)) run_variant(c, v);
    close_policy(&c->policy);
    free_lists(c->prompts, c->P);
    free_lists(c->completions, c->B);
    void *const owned[] = {c->starts, c->is_cut, c->log_p, c->entropy, c->reference, c->kl, c->old, c->coefficients, c};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) memory_free(owned[i]);
}

/* Sums of log-probabilities over the completions of pairs: chosen, rejected, chosen, … */
struct dpo_case {
    struct policy policy;
    struct token_span *prompts, *completions; /* [N], [2 N] */
    int64_t N, tokens;
    double *sums[2][2]; /* [policy, reference][chosen, rejected] [N] */
};

static void pack_pairs(struct dpo_case *c, const json_node *pairs, const struct decoder *decoder) {
    struct error error = {0};
    struct completion_size room = {0};
    int64_t n = 0;
    c->N = (int64_t)json_count(pairs);
    c->prompts = must_have((size_t)c->N, sizeof *c->prompts);
    c->completions = must_have((size_t)(2 * c->N), sizeof *c->completions);
    for (const json_node *pair = json_first(pairs); pair != NULL; pair = json_next(pair), n++) {
        c->prompts[n] = read_list(json_member(pair, "prompt"));
        c->completions[2 * n] = read_list(json_member(pair, "chosen"));
        c->completions[2 * n + 1] = read_list(json_member(pair, "rejected"));
        const struct completion_size size = completion_size(&c->prompts[n], &c->completions[2 * n], 2);
        room.tokens += size.tokens;
        room.sequences += size.sequences;
        room.rows += size.rows;
    }
    c->tokens = room.rows;
    open_policy(&c->policy, decoder, &room);
    for (n = 0; n < c->N; n++)
        must(completion_batch_add(&c->policy.batch, &c->prompts[n], &c->completions[2 * n], 2), &error);
}

static void sum_completions(const struct dpo_case *c, const float *log_p, double *const sums[2]) {
    int64_t t = 0;
    for (int64_t i = 0; i < 2 * c->N; i++) {
        double sum = 0;
        for (int64_t k = 0; k < c->completions[i].count; k++) sum += (double)log_p[t++];
        sums[i % 2][i / 2] = sum;
    }
}

static void report_doubles(const struct oracle_report *report, const char *name, const double *values, int64_t count) {
    float *got = must_have((size_t)count, sizeof *got);
    for (int64_t i = 0; i < count; i++) got[i] = (float)values[i];
    report_named(report, "", name, got, count);
    memory_free(got);
}

static void report_rewards(const struct dpo_case *c, double beta, const struct oracle_report *report) {
    double *values = must_have((size_t)(3 * c->N), sizeof *values);
    for (int64_t i = 0; i < c->N; i++) {
        for (int side = 0; side < 2; side++)
            values[side * c->N + i] = beta * (c->sums[0][side][i] - c->sums[1][side][i]);
        values[2 * c->N + i] = values[i] - values[c->N + i];
    }
    report_doubles(report, "rewards.chosen", values, c->N);
    report_doubles(report, "rewards.rejected", values + c->N, c->N);
    report_doubles(report, "rewards.margin", values + 2 * c->N, c->N);
    memory_free(values);
}

void oracle_dpo(struct decoder *decoder, const json_node *root, const struct oracle_report *report) {
    static const char *const names[2][2] = {{"logps.policy_chosen", "logps.policy_rejected"},
                                            {"logps.ref_chosen", "logps.ref_rejected"}};
    struct dpo_case c = {0};
    struct error error = {0};
    const double beta = json_number(json_member(json_member(root, "hyper"), "beta"));
    pack_pairs(&c, json_member(json_member(root, "inputs"), "pairs"), decoder);
    float *log_p = must_have((size_t)c.tokens, sizeof *log_p);
    double *coefficients = must_have((size_t)c.N, sizeof *coefficients);
    for (int i = 0; i < 4; i++) c.sums[i / 2][i % 2] = must_have((size_t)c.N, sizeof(double));
    score_reference(decoder, &c.policy, log_p);
    sum_completions(&c, log_p, c.sums[1]);
    must(policy_score(&c.policy, 0, log_p, NULL, &error), &error);
    sum_completions(&c, log_p, c.sums[0]);
    for (int i = 0; i < 4; i++) report_doubles(report, names[i / 2][i % 2], c.sums[i / 2][i % 2], c.N);
    report_rewards(&c, beta, report);
    struct dpo_sums sums = {0};
    const struct dpo_pairs pairs = {c.N, beta, c.sums[0][0], c.sums[0][1], c.sums[1][0], c.sums[1][1]};
    dpo_loss(&sums, coefficients, &pairs, 1 / (double)c.N);
    float *of_tokens = log_p;
    for (int64_t i = 0; i < 2 * c.N; i++) {
        for (int64_t k = 0; k < c.completions[i].count; k++)
            *of_tokens++ = (float)(i % 2 == 0 ? coefficients[i / 2] : -coefficients[i / 2]);
    }
    clear_gradients(&decoder->parameters);
    policy_backward(&c.policy, log_p);
    report_number(report, "", "loss", sums.loss);
    report_number(report, "", "accuracy", share_of(sums.right, sums.pairs));
    report_number(report, "", "grad_norm", gradient_norm(&decoder->parameters));
    report_gradients(report, "grad.", &decoder->parameters);
    close_policy(&c.policy);
    free_lists(c.prompts, c.N);
    free_lists(c.completions, 2 * c.N);
    for (int i = 0; i < 4; i++) memory_free(c.sums[i / 2][i % 2]);
    memory_free(log_p);
    memory_free(coefficients);
}
