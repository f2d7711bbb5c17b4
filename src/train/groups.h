/* Groups of completions, one for each prompt of an update: sampled, rewarded and, where all rewards of a group are
 * equal and so nothing can be learned, sampled again (DRG-Sapphire's dynamic resampling).
 *
 * A group is a function of the weights, the seed, the step and its stay alone: a resumed run samples the same. */
#ifndef CASEMIX_TRAIN_GROUPS_H
#define CASEMIX_TRAIN_GROUPS_H

#include "train/reward_terms.h"
#include "train/rollouts.h"
#include <stdbool.h>
#include <stdint.h>

struct error;

enum resampling {
    RESAMPLING_NONE,
    RESAMPLING_NEUTRAL, /* until the rewards differ */
    RESAMPLING_POSITIVE /* until they differ and one is above 0 */
};

enum { RESAMPLING_TEMPERATURES = 16 };

struct group_settings {
    struct rollout_settings rollout;
    double temperature;
    enum resampling resampling;
    int32_t tries;                                /* at most, after the first sampling */
    double temperatures[RESAMPLING_TEMPERATURES]; /* [temperature_count] one is drawn for each try */
    int64_t temperature_count;
    uint64_t seed;
};

/* The stay that a group answers. */
struct group_stay {
    struct token_span prompt;
    const char *gold; /* title */
    uint64_t index;   /* in the dataset */
};

struct groups {
    int64_t P, G;
    const struct group_stay *stays; /* [P] */
    struct rollout *rollouts;       /* [P * G] */
    struct reward_parts *parts;     /* [P * G] */
    double *rewards;                /* [P * G] totals */
    double *temperatures;           /* [P] that the group was drawn at */
    int32_t *tries;                 /* [P] samplings after the first */
    int64_t room;                   /* prompts */
    uint64_t resampled_tokens;      /* sampled and thrown away in the last sampling */
};

bool groups_open(struct groups *groups, int64_t room, int64_t G, struct error *error);
void groups_close(struct groups *groups);

/* Fills the groups of these P stays (borrowed until the next call) for an update. */
bool groups_sample(struct groups *groups, struct generator *generator, const struct group_stay *stays, int64_t P,
                   const struct group_settings *settings, const struct reward_settings *rewards,
                   const struct catalog *catalog, int64_t step, struct error *error);

/* Whether all rewards of group p are equal: their deviation is under 1e-9. */
bool group_is_flat(const struct groups *groups, int64_t p);

#endif
