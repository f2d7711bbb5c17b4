/* Sampling groups, again where it pays. All groups of a try are sampled together. */
#include "train/groups.h"
#include "base/error.h"
#include "base/memory.h"
#include "train/advantages.h"
#include <string.h>

bool groups_open(struct groups *groups, int64_t room, int64_t G, struct error *error) {
    const size_t count = (size_t)(room * G);
    *groups = (struct groups){.G = G, .room = room};
    groups->rollouts = memory_zero(count, sizeof *groups->rollouts);
    groups->parts = memory_zero(count, sizeof *groups->parts);
    groups->rewards = memory_zero(count, sizeof *groups->rewards);
    groups->temperatures = memory_zero((size_t)room, sizeof *groups->temperatures);
    groups->tries = memory_zero((size_t)room, sizeof *groups->tries);
    if (groups->rollouts != NULL && groups->parts != NULL && groups->rewards != NULL && groups->temperatures != NULL &&
        groups->tries != NULL)
        return true;
    groups_close(groups);
    return memory_error(error, count * sizeof *groups->parts, "groups of completions");
}

void groups_close(struct groups *groups) {
    for (int64_t i = 0; groups->rollouts != NULL && i < groups->room * groups->G; i++)
        rollout_free(&groups->rollouts[i]);
    memory_free(groups->rollouts);
    memory_free(groups->parts);
    memory_free(groups->rewards);
    memory_free(groups->temperatures);
    memory_free(groups->tries);
    *groups = (struct groups){0};
}

bool group_is_flat(const struct groups *groups, int64_t p) {
    return reward_deviation(groups->rewards + p * groups->G, groups->G) < 1e-9;
}

static bool has_reward_above_zero(const struct groups *groups, int64_t p) {
    for (int64_t i = p * groups->G; i < (p + 1) * groups->G; i++) {
        if (groups->rewards[i] > 0) return true;
    }
    return false;
}

static bool is_wanting(const struct groups *groups, int64_t p, enum resampling resampling) {
    if (resampling == RESAMPLING_NONE) return false;
    return group_is_flat(groups, p) || (resampling == RESAMPLING_POSITIVE && !has_reward_above_zero(groups, p));
}

static bool reward_group(struct groups *groups, int64_t p, const struct reward_settings *rewards,
                         const struct catalog *catalog, struct error *error) {
    for (int64_t i = p * groups->G; i < (p + 1) * groups->G; i++) {
        if (!reward_terms(&groups->parts[i], rewards, catalog, &groups->rollouts[i], groups->stays[p].gold, error))
            return false;
        groups->rewards[i] = groups->parts[i].total;
    }
    return true;
}

/* Seed and temperature of one try at one stay in one step. */
static struct rollout_prompt ask(const struct groups *groups, int64_t p, const struct group_settings *settings,
                                 int64_t step, int32_t try) {
    const struct group_stay *stay = &groups->stays[p];
    struct rng rng;
    rng_seed_stream(&rng, settings->seed, (uint64_t)step * 64 + (uint64_t)try, stay->index);
    struct rollout_prompt prompt = {stay->prompt, settings->temperature, rng_next(&rng)};
    if (try > 0 && settings->temperature_count > 0)
        prompt.temperature = settings->temperatures[rng_below(&rng, (uint64_t)settings->temperature_count)];
    return prompt;
}

/* Scratch of one try: the groups that are sampled, and their rollouts in a row. */
struct trial {
    int64_t *which; /* [P] */
    int64_t count;
    struct rollout_prompt *prompts; /* [P] */
    struct rollout *rollouts;       /* [P * G] */
};

static void swap_rollouts(struct rollout *a, struct rollout *b, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        const struct rollout kept = a[i];
        a[i] = b[i];
        b[i] = kept;
    }
}

/* Samples the trial's groups and puts everything of theirs in the place of what was there: tokens, log-probabilities,
 * text, temperature, rewards. */
static bool run_trial(struct groups *groups, struct trial *trial, struct generator *generator,
                      const struct group_settings *settings, const struct reward_settings *rewards,
                      const struct catalog *catalog, int64_t step, int32_t try, struct error *error) {
    const int64_t G = groups->G;
    for (int64_t k = 0; k < trial->count; k++) {
        const int64_t p = trial->which[k];
        trial->prompts[k] = ask(groups, p, settings, step, try);
        swap_rollouts(trial->rollouts + k * G, groups->rollouts + p * G, G);
    }
    for (int64_t i = 0; try > 0 && i < trial->count * G; i++) groups->resampled_tokens += trial->rollouts[i].ids.count;
    bool done = rollouts_sample(trial->rollouts, generator, trial->prompts, trial->count, &settings->rollout, error);
    for (int64_t k = 0; k < trial->count; k++) {
        const int64_t p = trial->which[k];
        swap_rollouts(trial->rollouts + k * G, groups->rollouts + p * G, G);
        groups->temperatures[p] = trial->prompts[k].temperature;
        groups->tries[p] = try;
        done = done && reward_group(groups, p, rewards, catalog, error);
    }
    return done;
}

static bool open_trial(struct trial *trial, int64_t P, int64_t G, struct error *error) {
    trial->which = memory_alloc((size_t)P, sizeof *trial->which);
    trial->prompts = memory_alloc((size_t)P, sizeof *trial->prompts);
    trial->rollouts = memory_zero((size_t)(P * G), sizeof *trial->rollouts);
    return (trial->which != NULL && trial->prompts != NULL && trial->rollouts != NULL) ||
           memory_error(error, (size_t)(P * G) * sizeof *trial->rollouts, "rollouts");
}

bool groups_sample(struct groups *groups, struct generator *generator, const struct group_stay *stays, int64_t P,
                   const struct group_settings *settings, const struct reward_settings *rewards,
                   const struct catalog *catalog, int64_t step, struct error *error) {
    struct trial trial = {0};
    groups->P = P;
    groups->stays = stays;
    groups->resampled_tokens = 0;
    bool done = open_trial(&trial, P, groups->G, error);
    for (int32_t try = 0; done && try <= settings->tries; try++) {
        trial.count = 0;
        for (int64_t p = 0; p < P; p++) {
            if (try == 0 || is_wanting(groups, p, settings->resampling)) trial.which[trial.count++] = p;
        }
        if (trial.count == 0) break;
        done = run_trial(groups, &trial, generator, settings, rewards, catalog, step, try, error);
    }
    memory_free(trial.which);
    memory_free(trial.prompts);
    memory_free(trial.rollouts);
    return done;
}
