/* rollouts.jsonl of a run: what each group of completions was paid, line by line, and the curriculum that a later run
 * makes of it.
 *
 * Line: {"step":…, "note_id":…, "gold":TITLE, "temperature":…, "tries":…, "rewards":[…], "answers":[…], "tokens":[…]}
 * where answers are the rewards of the answers alone, without weight; now and then also "completions":[…]. */
#ifndef CASEMIX_TRAIN_ROLLOUT_LOG_H
#define CASEMIX_TRAIN_ROLLOUT_LOG_H

#include "base/hash.h"
#include "base/memory.h"
#include "drg/reward.h"
#include "train/groups.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

/* Appends the line of group p; `texts`: with the completions. */
void rollout_log_add(struct text *out, const struct groups *groups, int64_t p, int64_t step, const char *note_id,
                     bool texts);

/* Cuts the file back to the lines up to this step; a last line that a crash cut short goes too. */
bool rollout_log_cut(const char *path, int64_t step, struct error *error);

/* Which stays a later run leaves out. Easy: all completions of a group were right; hard: none had any part right. Both
 * are groups of equal answers, from which nothing was learned. */
enum curriculum_removes { REMOVE_NONE, REMOVE_EASY, REMOVE_HARD, REMOVE_BOTH };

/* What an earlier run says of a stay. */
struct seen_stay {
    double answers; /* sum of the means of its groups */
    int64_t groups, easy, hard;
};

struct curriculum {
    struct hash stays; /* note_id → place in seen */
    struct seen_stay *seen;
    size_t count, capacity;
    struct arena strings;
};

/* Reads PATH, a run directory or its rollouts.jsonl. `pay` is what the rewards of this run are: it says what right and
 * neither are worth. Release with curriculum_close; a zeroed one may be closed too. */
bool curriculum_open(struct curriculum *curriculum, const char *path, const struct reward_pay *pay,
                     struct error *error);
void curriculum_close(struct curriculum *curriculum);

/* What is known of a stay; NULL when the run never came to it. */
const struct seen_stay *curriculum_find(const struct curriculum *curriculum, const char *note_id);

/* Easy (hard): all groups of the stay were. A stay not seen is neither. */
bool curriculum_removes_stay(const struct curriculum *curriculum, const char *note_id, enum curriculum_removes removes);

/* From easy to hard: higher for what was answered better; stays not seen come last. */
double curriculum_ease(const struct curriculum *curriculum, const char *note_id);

#endif
