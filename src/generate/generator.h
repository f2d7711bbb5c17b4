/* The engine that answers: requests come and go, and in every step all running continuations and the prompts under way
 * pass through the model together (continuous batching, Yu et al. 2022).
 *
 * A prompt is computed once for all its continuations, and prompts stay in the cache of keys and values while there is
 * room, so that a later one with the same beginning goes on from there. Tokens are never decoded and encoded again. One
 * thread drives a generator; what a continuation becomes depends on its prompt, settings and seed, not on what runs
 * beside it (up to the rounding of the matrix products). */
#ifndef CASEMIX_GENERATE_GENERATOR_H
#define CASEMIX_GENERATE_GENERATOR_H

#include "generate/sampler.h"
#include "generate/title_trie.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct decoder;
struct tokenizer;
struct generator;

struct generator_settings {
    int64_t cache_tokens; /* positions of keys and values kept, shared by all sequences */
    int64_t sequences;    /* continuations and kept prompts at once */
    int64_t step_rows;    /* tokens that pass through the model in one step */
    int64_t kept_prompts; /* prompts kept for later requests; 0: none */
};

/* Enough for `samples` continuations of `max_tokens` behind one prompt of `prompt_tokens`, and as many running at once.
 */
struct generator_settings generator_settings_for(int64_t prompt_tokens, int64_t samples, int64_t max_tokens);

/* Bytes that generator_open will take. */
bool generator_size(const struct decoder *decoder, const struct generator_settings *settings, size_t *bytes,
                    struct error *error);

/* Borrows decoder, tokenizer (NULL: only ids are handed over, no bytes; stop strings and answer_trie are refused) and
 * trie (NULL: requests with answer_trie are refused). */
bool generator_open(struct generator **generator, const struct decoder *decoder, const struct tokenizer *tokenizer,
                    const struct title_trie *trie, const struct generator_settings *settings, struct error *error);
void generator_close(struct generator *generator);

enum generation_end {
    GENERATION_GOES_ON,
    GENERATION_STOP_TOKEN,
    GENERATION_STOP_STRING,
    GENERATION_LENGTH, /* max_tokens, or the model has no more positions */
    GENERATION_CANCELLED
};
const char *generation_end_name(enum generation_end end); /* "stop", "stop", "length", "cancelled" */

/* A token of a continuation as it comes. */
struct generation_event {
    int64_t request;
    int32_t sample;
    const struct sampled *token; /* NULL when it was cancelled */
    const char *bytes;           /* characters that are now complete and certain not to begin a stop string */
    size_t length;
    enum generation_end end;
};

/* Called for every token; false cancels the continuation. */
typedef bool generation_function(void *context, const struct generation_event *event);

struct generation_request {
    const int32_t *prompt; /* [prompt_count] */
    int64_t prompt_count;
    int32_t samples;    /* continuations */
    int64_t max_tokens; /* of each */
    struct sampling sampling;
    uint64_t seed; /* continuation i draws from stream i of this seed */
    const int32_t *stop_ids;
    size_t stop_id_count;
    const char *const *stop_strings; /* bytes, over tokens' borders; the text ends before them */
    size_t stop_string_count;
    bool answer_trie; /* behind "<answer>" only titles that exist */
    generation_function *function;
    void *context;
};

/* Queues a request; everything is copied but function and context. *id names it. An empty prompt, one that leaves no
 * position, and one that can never fit are refused. */
bool generator_submit(struct generator *generator, const struct generation_request *request, int64_t *id,
                      struct error *error);

/* Ends all continuations of a request; each one's function is called once more with GENERATION_CANCELLED. */
void generator_cancel(struct generator *generator, int64_t id);

/* One step of everything under way. After an error (memory is short) the generator can only be closed. */
bool generator_step(struct generator *generator, struct error *error);
bool generator_busy(const struct generator *generator);

/* Gives up the kept prompts: the model's weights have changed. Nothing may be under way. */
void generator_forget_prompts(struct generator *generator);

/* What has been done, for reports. */
struct generator_counts {
    uint64_t prompt_tokens, cached_tokens, generated_tokens, steps;
};
struct generator_counts generator_counts(const struct generator *generator);

#endif
