/* Stays as prompts in token ids, each with the title that is to be found: what reinforcement learning samples from. */
#ifndef CASEMIX_TRAIN_STAY_PROMPTS_H
#define CASEMIX_TRAIN_STAY_PROMPTS_H

#include "base/memory.h"
#include "drg/catalog.h"
#include "model/prompt_encoder.h"
#include "train/rollout_log.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

struct stay_prompt {
    struct token_list ids;
    const char *note_id;
    const char *gold; /* title, in the catalog */
    uint64_t index;   /* of the stay in its file, from 0 */
    double ease;      /* by the curriculum; 0 without one */
};

struct stay_prompts {
    struct stay_prompt *items; /* [count] in the order of the file */
    size_t count;
    size_t cut;      /* their note lost words to the limit */
    size_t removed;  /* left out by the curriculum */
    int64_t longest; /* tokens of a prompt */
    int64_t tokens;  /* of all prompts */
    uint64_t fingerprint;
    struct arena strings;
};

/* Which stays of a file, and how they are asked. */
struct stay_prompts_settings {
    const struct prompt_encoder *encoder;
    const struct catalog *catalog;
    int64_t limit;                       /* tokens of a prompt */
    int64_t last;                        /* only the last so many stays of the file; 0: all */
    int64_t first;                       /* only the first so many of these; 0: all */
    const struct curriculum *curriculum; /* NULL: none */
    enum curriculum_removes removes;
};

/* Reads a dataset file (data/dataset.h). Release with stay_prompts_free; a zeroed one may be freed too. */
bool stay_prompts_load(struct stay_prompts *prompts, const char *path, const struct stay_prompts_settings *settings,
                       struct error *error);
void stay_prompts_free(struct stay_prompts *prompts);

/* order [count]: from the easiest to the hardest, equals in the order of the file. */
void stay_prompts_order_by_ease(const struct stay_prompts *prompts, uint32_t *order);

#endif
