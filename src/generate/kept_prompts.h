/* Prompts that stay in the cache of keys and values after their requests: a new prompt that begins like one of them
 * goes on from there. The long introduction of a coding question is the same in every request. */
#ifndef CASEMIX_GENERATE_KEPT_PROMPTS_H
#define CASEMIX_GENERATE_KEPT_PROMPTS_H

#include "generate/kv_cache.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

struct kept_prompt {
    int32_t sequence;
    int32_t *tokens; /* [count] */
    int64_t count;
    uint64_t first_block; /* hash of its first tokens: others need not be compared */
    uint64_t used;        /* when it was last of use */
};

struct kept_prompts {
    struct kv_cache *cache;
    struct kept_prompt *prompts; /* [count] */
    int64_t count, limit;
    uint64_t clock;
};

bool kept_prompts_open(struct kept_prompts *kept, struct kv_cache *cache, int64_t limit, struct error *error);
void kept_prompts_close(struct kept_prompts *kept); /* a zeroed one is fine */

/* A new sequence that holds the longest beginning of the prompt known, at most all but its last token; *done says how
 * long. -1 (and *done 0) when no kept prompt shares its first ATTENTION_BLOCK tokens, or no sequence is free. */
int32_t kept_prompts_fork(struct kept_prompts *kept, const int32_t *tokens, int64_t count, int64_t *done);

/* Takes over the sequence of a prompt that has been read; the least lately used one makes way. */
void kept_prompts_keep(struct kept_prompts *kept, int32_t sequence, const int32_t *tokens, int64_t count);

/* Gives back the least lately used prompt; false when there is none. */
bool kept_prompts_drop_oldest(struct kept_prompts *kept);

#endif
