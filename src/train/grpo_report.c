/* What a run of method grpo shows: its log line, the groups of every step, answers to stays of dev, and a warning when
 * there is nothing to be learned. */
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "train/advantages.h"
#include "train/cluster.h"
#include "train/grpo_training.h"
#include <stdio.h>
#include <string.h>

/* Sums over the completions of a batch of groups, of the ones above COUNT_COMPLETIONS, and over its groups; of all
 * ranks. Divided by the counts they are means. */
enum {
    REWARD,
    ACCURACY,
    FORMAT,
    LENGTH,
    REPETITION,
    COT_FIRST,
    HAS_FORMAT,
    RIGHT,
    IS_CUT,
    TOKENS,
    COMPLETIONS,
    DEVIATION, /* of the rewards of a group */
    FLAT,      /* groups whose rewards are all equal */
    TRIES,
    GROUPS,
    MEANS
};

struct group_means {
    double of[MEANS];
};

/* For all ranks to call together. */
static struct group_means means_of(const struct groups *groups) {
    struct group_means m = {{0}};
    for (int64_t i = 0; i < groups->P * groups->G; i++) {
        const struct reward_parts *parts = &groups->parts[i];
        m.of[REWARD] += parts->total;
        m.of[ACCURACY] += parts->accuracy;
        m.of[FORMAT] += parts->format;
        m.of[LENGTH] += parts->length;
        m.of[REPETITION] += parts->repetition;
        m.of[COT_FIRST] += parts->cot_first;
        m.of[HAS_FORMAT] += parts->has_format;
        m.of[RIGHT] += parts->is_right;
        m.of[IS_CUT] += groups->rollouts[i].is_cut;
        m.of[TOKENS] += (double)groups->rollouts[i].ids.count;
        m.of[COMPLETIONS]++;
    }
    for (int64_t p = 0; p < groups->P; p++) {
        m.of[DEVIATION] += reward_deviation(groups->rewards + p * groups->G, groups->G);
        m.of[FLAT] += group_is_flat(groups, p);
        m.of[TRIES] += groups->tries[p];
        m.of[GROUPS]++;
    }
    cluster_sum_doubles(m.of, MEANS);
    for (int i = 0; i < COMPLETIONS; i++) m.of[i] /= m.of[COMPLETIONS];
    for (int i = DEVIATION; i < GROUPS; i++) m.of[i] /= m.of[GROUPS];
    return m;
}

static double rate(double count, double seconds) {
    return seconds > 0 ? count / seconds : 0;
}

/* Of the last gradient, over all ranks. */
struct update_figures {
    double entropy, kl, tokens, clipped_low, clipped_high, ratios, rescued, resampled;
    double sampling, training, scoring; /* tokens per second */
    double difference;
};

static struct update_figures figures_of(const struct grpo *grpo) {
    const struct grpo_update *update = &grpo->update;
    const struct grpo_sums *sums = &update->sums;
    double all[] = {sums->entropy,
                    sums->kl,
                    (double)sums->tokens,
                    (double)sums->clipped_low,
                    (double)sums->clipped_high,
                    (double)sums->ratios,
                    (double)update->rescued,
                    (double)grpo->groups.resampled_tokens,
                    rate((double)grpo->sampled_tokens, grpo->sampling_seconds),
                    rate((double)update->trained_tokens, update->training_seconds),
                    rate((double)update->scored_tokens, update->scoring_seconds)};
    cluster_sum_doubles(all, sizeof all / sizeof all[0]);
    return (struct update_figures){all[0], all[1], all[2], all[3], all[4],  all[5],
                                   all[6], all[7], all[8], all[9], all[10], cluster_max_double(update->difference)};
}

static double share(double part, double whole) {
    return whole > 0 ? part / whole : 0;
}

void grpo_log(const struct training *training, struct text *line) {
    const struct grpo *grpo = training->context;
    const struct reward_settings *r = &grpo->rewards;
    const struct group_means m = means_of(&grpo->groups);
    const struct update_figures f = figures_of(grpo);
    text_printf(line,
                ", \"reward\": %.6g, \"reward_accuracy\": %.6g, \"reward_format\": %.6g, \"reward_std\": %.6g, "
                "\"zero_variance\": %.6g, \"format_rate\": %.6g, \"right_rate\": %.6g, \"completion_tokens\": %.6g, "
                "\"truncated\": %.6g",
                m.of[REWARD], m.of[ACCURACY], m.of[FORMAT], m.of[DEVIATION], m.of[FLAT], m.of[HAS_FORMAT], m.of[RIGHT],
                m.of[TOKENS], m.of[IS_CUT]);
    if (grpo->update.trie != NULL) text_printf(line, ", \"trie_rescued\": %.6g", share(f.rescued, m.of[COMPLETIONS]));
    if (r->length > 0) text_printf(line, ", \"reward_length\": %.6g", m.of[LENGTH]);
    if (r->repetition > 0) text_printf(line, ", \"reward_repetition\": %.6g", m.of[REPETITION]);
    if (r->cot_first > 0) text_printf(line, ", \"reward_cot_first\": %.6g", m.of[COT_FIRST]);
    if (grpo->recipe->resampling != RESAMPLING_NONE)
        text_printf(line, ", \"resampling_tries\": %.6g, \"resampled_tokens\": %.0f", m.of[TRIES], f.resampled);
    if (grpo->update.has_reference)
        text_printf(line, ", \"kl\": %.6g, \"beta\": %.6g", share(f.kl, f.tokens), grpo->update.settings.beta);
    text_printf(line, ", \"entropy\": %.6g, \"clip_low\": %.6g, \"clip_high\": %.6g, \"sampler_difference\": %.3g",
                share(f.entropy, f.tokens), share(f.clipped_low, f.ratios), share(f.clipped_high, f.ratios),
                f.difference);
    text_printf(line, ", \"sampling_tokens_per_second\": %.0f, \"training_tokens_per_second\": %.0f", f.sampling,
                f.training);
    if (f.scoring > 0) text_printf(line, ", \"scoring_tokens_per_second\": %.0f", f.scoring);
}

/* Why no completion of a batch is better than another. */
static const char *likely_cause(const struct grpo *grpo, const struct group_means *m) {
    if (m->of[IS_CUT] >= 0.999 && grpo->recipe->mask_truncated)
        return "every completion was cut at grpo.max_tokens, and grpo.mask_truncated leaves those out: raise "
               "grpo.max_tokens, or start from a model that was fine-tuned to end its answers";
    if (m->of[IS_CUT] >= 0.999)
        return "every completion was cut at grpo.max_tokens: raise it, or start from a model that was fine-tuned to "
               "end its answers";
    if (m->of[HAS_FORMAT] <= 0.001)
        return "no completion has the form <think>…</think><answer>…</answer>: start from a model that was fine-tuned "
               "on it, with the same prompt";
    if (m->of[RIGHT] >= 0.999)
        return "every answer is right: leave out easy stays with grpo.curriculum and grpo.remove";
    if (m->of[RIGHT] <= 0.001)
        return "no answer is right and none is better than another: fine-tune longer first, or use reward.kind dense";
    return "the completions of a group agree with each other: raise grpo.temperature or grpo.group, or leave out easy "
           "and hard stays with grpo.curriculum and grpo.remove";
}

/* Loud when a batch teaches nothing, at once and then ever more seldom while that lasts. */
static void warn_if_flat(struct grpo *grpo, int64_t step) {
    const struct group_means m = means_of(&grpo->groups);
    const bool masked = grpo->recipe->mask_truncated && m.of[IS_CUT] >= 0.999;
    if (m.of[FLAT] < 0.999 && !masked) {
        grpo->flat_steps = 0;
        return;
    }
    const int64_t n = ++grpo->flat_steps;
    if ((n & (n - 1)) != 0 || !cluster_is_first()) return;
    log_warning("step %lld: NOTHING CAN BE LEARNED from its %lld groups (%lld such step%s in a row; rewards %.3g): %s",
                (long long)step, (long long)grpo->groups.P, (long long)n, n == 1 ? "" : "s", m.of[REWARD],
                likely_cause(grpo, &m));
}

static bool log_path(const struct training *training, char *path, size_t capacity, struct error *error) {
    return path_join(path, capacity, training->settings->out, "rollouts.jsonl") ||
           error_set(error, "%s: path too long", training->settings->out);
}

static bool append_lines(const char *path, const struct text *lines, struct error *error) {
    FILE *file = fopen(path, "a");
    if (file == NULL) return error_system(error, "%s", path);
    const bool written = fwrite(lines->data, 1, lines->length, file) == lines->length;
    return (fclose(file) == 0 && written) || error_system(error, "%s: write failed", path);
}

/* On rank 0, which has the run directory. */
static bool append_to_log(struct training *training, const struct text *lines, struct error *error) {
    struct grpo *grpo = training->context;
    char path[4096];
    if (!log_path(training, path, sizeof path, error)) return false;
    if (!grpo->log_cut && !rollout_log_cut(path, training->step, error)) return false;
    grpo->log_cut = true;
    return append_lines(path, lines, error);
}

bool grpo_report_groups(struct training *training, int64_t first, struct error *error) {
    struct grpo *grpo = training->context;
    const int64_t step = training->step + 1, every = grpo->recipe->sample_every,
                  batch = training->step / training->updates;
    struct text own = {0}, all = {0};
    for (int64_t p = 0; p < grpo->groups.P; p++) {
        const struct stay_prompt *stay = &grpo->data.items[training->order[first + p]];
        const bool shown = p == 0 && cluster_is_first() && every > 0 && batch % every == 0;
        rollout_log_add(&own, &grpo->groups, p, step, stay->note_id, shown);
    }
    bool done = cluster_agree(text_ok(&own, error), error) && cluster_gather_text(&own, &all, error);
    done = done && (!cluster_is_first() || append_to_log(training, &all, error));
    text_free(&own);
    text_free(&all);
    if (!cluster_agree(done, error)) return false;
    warn_if_flat(grpo, step);
    return true;
}

bool grpo_evaluate(struct training *training, struct training_dev *dev, struct error *error) {
    struct grpo *grpo = training->context;
    int64_t from, stop;
    grpo_share((int64_t)grpo->dev.count, &from, &stop);
    for (int64_t i = from; i < stop; i++) {
        const struct stay_prompt *stay = &grpo->dev.items[i];
        grpo->dev_stays[i - from] =
            (struct group_stay){{stay->ids.ids, (int64_t)stay->ids.count}, stay->gold, stay->index};
    }
    generator_forget_prompts(grpo->generator);
    /* The same seeds at every evaluation: what differs between two is the model. */
    const bool sampled = groups_sample(&grpo->dev_groups, grpo->generator, grpo->dev_stays, stop - from,
                                       &grpo->dev_sampling, &grpo->rewards, grpo->catalog, 0, error);
    if (!cluster_agree(sampled, error)) return false;
    const double right = means_of(&grpo->dev_groups).of[RIGHT];
    *dev = (struct training_dev){.loss = 1 - right, .accuracy = right, .unit = "pass@1", .member = "dev_pass1"};
    return true;
}

void grpo_log_dev(const struct training *training, struct text *line) {
    const struct grpo *grpo = training->context;
    const struct group_means m = means_of(&grpo->dev_groups);
    text_printf(line, ", \"dev_reward\": %.6g, \"dev_format_rate\": %.6g, \"dev_tokens\": %.6g", m.of[REWARD],
                m.of[HAS_FORMAT], m.of[TOKENS]);
}
