/* Completions sampled from the model that is being trained: the tokens as they were drawn (never decoded and encoded
 * again), the log-probability of each under the distribution it was drawn from, and their text. */
#ifndef CASEMIX_TRAIN_ROLLOUTS_H
#define CASEMIX_TRAIN_ROLLOUTS_H

#include "base/text.h"
#include "generate/generator.h"
#include "tokenizer/tokenizer.h"
#include "train/completion_batch.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

struct rollout {
    struct token_list ids; /* the stop token too */
    float *log_p;          /* [ids.count] as drawn */
    int32_t *text_ends;    /* [ids.count] bytes of the text that were complete after each token */
    struct text text;      /* without the stop token */
    bool is_cut;           /* it ran out of tokens */
    size_t log_p_capacity, end_capacity;
};

struct rollout_settings {
    int32_t group;      /* completions of each prompt */
    int64_t max_tokens; /* of a completion */
    double top_p;
    int32_t stop; /* the token that ends a completion */
    bool answer_trie;
};

/* What one prompt is asked. */
struct rollout_prompt {
    struct token_span ids;
    double temperature;
    uint64_t seed;
};

/* Makes count * settings->group rollouts, those of a prompt together. `rollouts` holds as many, zeroed at first; what
 * they held before is overwritten and its memory used again. */
bool rollouts_sample(struct rollout *rollouts, struct generator *generator, const struct rollout_prompt *prompts,
                     int64_t count, const struct rollout_settings *settings, struct error *error);
void rollout_free(struct rollout *rollout);

#endif
