/* What a run of method grpo shows: its log line, the groups of every step, answers to stays of dev, and a warning when
 * there is nothing to be learned. */
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "train/advantages.h"
#include "train/grpo_training.h"
#include <stdio.h>
#include <string.h>

/* Means over the completions of a batch of groups. */
struct group_means {
    double reward, accuracy, format, length, repetition, cot_first;
    double deviation; /* of the rewards of a group */
    double flat;      /* share of groups whose rewards are all equal */
    double has_format, right, is_cut, tokens, tries;
};

static struct group_means means_of(const struct groups *groups) {
    struct group_means m = {0};
    const double each = 1 / (double)(groups->P * groups->G), group = 1 / (double)groups->P;
    for (int64_t i = 0; i < groups->P * groups->G; i++) {
        const struct reward_parts *parts = &groups->parts[i];
        m.reward += each * parts->total;
        m.accuracy += each * parts->accuracy;
        m.format += each * parts->format;
        m.length += each * parts->length;
        m.repetition += each * parts->repetition;
        m.cot_first += each * parts->cot_first;
        m.has_format += parts->has_format ? each : 0;
        m.right += parts->is_right ? each : 0;
        m.is_cut += groups->rollouts[i].is_cut ? each : 0;
        m.tokens += each * (double)groups->rollouts[i].ids.count;
    }
    for (int64_t p = 0; p < groups->P; p++) {
        m.deviation += group * reward_deviation(groups->rewards + p * groups->G, groups->G);
        m.flat += group_is_flat(groups, p) ? group : 0;
        m.tries += group * groups->tries[p];
    }
    return m;
}

static double rate(double count, double seconds) {
    return seconds > 0 ? count / seconds : 0;
}

static double share(int64_t part, int64_t whole) {
    return whole == 0 ? 0 : (double)part / (double)whole;
}

void grpo_log(const struct training *training, struct text *line) {
    const struct grpo *grpo = training->context;
    const struct grpo_update *update = &grpo->update;
    const struct grpo_sums *sums = &update->sums;
    const struct group_means m = means_of(&grpo->groups);
    const struct reward_settings *r = &grpo->rewards;
    text_printf(line,
                ", \"reward\": %.6g, \"reward_accuracy\": %.6g, \"reward_format\": %.6g, \"reward_std\": %.6g, "
                "\"zero_variance\": %.6g, \"format_rate\": %.6g, \"right_rate\": %.6g, \"completion_tokens\": %.6g, "
                "\"truncated\": %.6g",
                m.reward, m.accuracy, m.format, m.deviation, m.flat, m.has_format, m.right, m.tokens, m.is_cut);
    if (update->trie != NULL)
        text_printf(line, ", \"trie_rescued\": %.6g", share(update->rescued, grpo->groups.P * grpo->groups.G));
    if (r->length > 0) text_printf(line, ", \"reward_length\": %.6g", m.length);
    if (r->repetition > 0) text_printf(line, ", \"reward_repetition\": %.6g", m.repetition);
    if (r->cot_first > 0) text_printf(line, ", \"reward_cot_first\": %.6g", m.cot_first);
    if (grpo->recipe->resampling != RESAMPLING_NONE)
        text_printf(line, ", \"resampling_tries\": %.6g, \"resampled_tokens\": %llu", m.tries,
                    (unsigned long long)grpo->groups.resampled_tokens);
    if (update->has_reference)
        text_printf(line, ", \"kl\": %.6g, \"beta\": %.6g", share(1, sums->tokens) * sums->kl, update->settings.beta);
    text_printf(line, ", \"entropy\": %.6g, \"clip_low\": %.6g, \"clip_high\": %.6g, \"sampler_difference\": %.3g",
                share(1, sums->tokens) * sums->entropy, share(sums->clipped_low, sums->ratios),
                share(sums->clipped_high, sums->ratios), update->difference);
    text_printf(line, ", \"sampling_tokens_per_second\": %.0f, \"training_tokens_per_second\": %.0f",
                rate((double)grpo->sampled_tokens, grpo->sampling_seconds),
                rate((double)update->trained_tokens, update->training_seconds));
    if (update->scored_tokens > 0)
        text_printf(line, ", \"scoring_tokens_per_second\": %.0f",
                    rate((double)update->scored_tokens, update->scoring_seconds));
}

/* Why no completion of a batch is better than another. */
static const char *likely_cause(const struct grpo *grpo, const struct group_means *m) {
    if (m->is_cut >= 0.999 && grpo->recipe->mask_truncated)
        return "every completion was cut at grpo.max_tokens, and grpo.mask_truncated leaves those out: raise "
               "grpo.max_tokens, or start from a model that was fine-tuned to end its answers";
    if (m->is_cut >= 0.999)
        return "every completion was cut at grpo.max_tokens: raise it, or start from a model that was fine-tuned to "
               "end "
               "its answers";
    if (m->has_format <= 0.001)
        return "no completion has the form <think>…</think><answer>…</answer>: start from a model that was fine-tuned "
               "on it, with the same prompt";
    if (m->right >= 0.999) return "every answer is right: leave out easy stays with grpo.curriculum and grpo.remove";
    if (m->right <= 0.001)
        return "no answer is right and none is better than another: fine-tune longer first, or use reward.kind dense";
    return "the completions of a group agree with each other: raise grpo.temperature or grpo.group, or leave out easy "
           "and hard stays with grpo.curriculum and grpo.remove";
}

/* Loud when a batch teaches nothing, at once and then ever more seldom while that lasts. */
static void warn_if_flat(struct grpo *grpo, int64_t step) {
    const struct group_means m = means_of(&grpo->groups);
    const bool masked = grpo->recipe->mask_truncated && m.is_cut >= 0.999;
    if (m.flat < 0.999 && !masked) {
        grpo->flat_steps = 0;
        return;
    }
    const int64_t n = ++grpo->flat_steps;
    if ((n & (n - 1)) != 0) return;
    log_warning("step %lld: NOTHING CAN BE LEARNED from its %lld groups (%lld such step%s in a row; rewards %.3g): %s",
                (long long)step, (long long)grpo->groups.P, (long long)n, n == 1 ? "" : "s", m.reward,
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

bool grpo_report_groups(struct training *training, struct error *error) {
    struct grpo *grpo = training->context;
    const int64_t step = training->step + 1,
                  first = training->step % training->steps_per_epoch / training->updates * training->train->batch_size;
    const int64_t every = grpo->recipe->sample_every, batch = training->step / training->updates;
    char path[4096];
    struct text lines = {0};
    if (!log_path(training, path, sizeof path, error)) return false;
    if (!grpo->log_cut && !rollout_log_cut(path, training->step, error)) return false;
    grpo->log_cut = true;
    for (int64_t p = 0; p < grpo->groups.P; p++) {
        const struct stay_prompt *stay = &grpo->data.items[training->order[first + p]];
        rollout_log_add(&lines, &grpo->groups, p, step, stay->note_id, p == 0 && every > 0 && batch % every == 0);
    }
    const bool done = text_ok(&lines, error) && append_lines(path, &lines, error);
    text_free(&lines);
    warn_if_flat(grpo, step);
    return done;
}

bool grpo_evaluate(struct training *training, struct training_dev *dev, struct error *error) {
    struct grpo *grpo = training->context;
    for (size_t i = 0; i < grpo->dev.count; i++) {
        const struct stay_prompt *stay = &grpo->dev.items[i];
        grpo->dev_stays[i] = (struct group_stay){{stay->ids.ids, (int64_t)stay->ids.count}, stay->gold, stay->index};
    }
    generator_forget_prompts(grpo->generator);
    /* The same seeds at every evaluation: what differs between two is the model. */
    if (!groups_sample(&grpo->dev_groups, grpo->generator, grpo->dev_stays, (int64_t)grpo->dev.count,
                       &grpo->dev_sampling, &grpo->rewards, grpo->catalog, 0, error))
        return false;
    const double right = means_of(&grpo->dev_groups).right;
    *dev = (struct training_dev){.loss = 1 - right, .accuracy = right, .unit = "pass@1", .member = "dev_pass1"};
    return true;
}

void grpo_log_dev(const struct training *training, struct text *line) {
    const struct grpo *grpo = training->context;
    const struct group_means m = means_of(&grpo->dev_groups);
    text_printf(line, ", \"dev_reward\": %.6g, \"dev_format_rate\": %.6g, \"dev_tokens\": %.6g", m.reward, m.has_format,
                m.tokens);
}
