/* Kept prompts: see kept_prompts.h. There are few of them, so they stand in a plain list. */
#include "generate/kept_prompts.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/memory.h"
#include <string.h>

bool kept_prompts_open(struct kept_prompts *kept, struct kv_cache *cache, int64_t limit, struct error *error) {
    *kept = (struct kept_prompts){.cache = cache, .limit = limit};
    kept->prompts = memory_alloc((size_t)limit, sizeof *kept->prompts);
    return kept->prompts != NULL || memory_error(error, (size_t)limit * sizeof *kept->prompts, "kept prompts");
}

static void drop(struct kept_prompts *kept, int64_t index) {
    kv_sequence_close(kept->cache, kept->prompts[index].sequence);
    memory_free(kept->prompts[index].tokens);
    kept->prompts[index] = kept->prompts[--kept->count];
}

void kept_prompts_close(struct kept_prompts *kept) {
    while (kept->count > 0) drop(kept, kept->count - 1);
    memory_free(kept->prompts);
    *kept = (struct kept_prompts){0};
}

static uint64_t hash_first_block(const int32_t *tokens) {
    return hash_bytes(tokens, ATTENTION_BLOCK * sizeof *tokens, 0);
}

static int64_t common_length(const struct kept_prompt *prompt, const int32_t *tokens, int64_t count) {
    int64_t length = 0;
    while (length < prompt->count && length < count && prompt->tokens[length] == tokens[length]) length++;
    return length;
}

int32_t kept_prompts_fork(struct kept_prompts *kept, const int32_t *tokens, int64_t count, int64_t *done) {
    struct kept_prompt *best = NULL;
    *done = 0;
    if (count <= ATTENTION_BLOCK) return -1;
    const uint64_t first_block = hash_first_block(tokens);
    for (int64_t i = 0; i < kept->count; i++) {
        struct kept_prompt *prompt = &kept->prompts[i];
        if (prompt->first_block != first_block) continue;
        const int64_t length = common_length(prompt, tokens, count - 1);
        if (length < ATTENTION_BLOCK || length <= *done) continue;
        best = prompt;
        *done = length;
    }
    if (best == NULL) return -1;
    const int32_t sequence = kv_sequence_fork(kept->cache, best->sequence);
    if (sequence < 0) {
        *done = 0;
        return -1;
    }
    best->used = ++kept->clock;
    kv_sequence_truncate(kept->cache, sequence, *done);
    return sequence;
}

void kept_prompts_keep(struct kept_prompts *kept, int32_t sequence, const int32_t *tokens, int64_t count) {
    int32_t *copy = NULL;
    if (kept->limit > 0 && count > ATTENTION_BLOCK) copy = memory_alloc((size_t)count, sizeof *copy);
    if (copy == NULL) { /* too short to be worth it, or no memory: it is read again when it comes again */
        kv_sequence_close(kept->cache, sequence);
        return;
    }
    memcpy(copy, tokens, (size_t)count * sizeof *copy);
    /* What the new prompt holds as a whole is not needed twice. */
    for (int64_t i = kept->count; i-- > 0;) {
        const struct kept_prompt *prompt = &kept->prompts[i];
        if (prompt->count <= count && common_length(prompt, tokens, count) == prompt->count) drop(kept, i);
    }
    if (kept->count == kept->limit) kept_prompts_drop_oldest(kept);
    kept->prompts[kept->count++] = (struct kept_prompt){sequence, copy, count, hash_first_block(tokens), ++kept->clock};
}

bool kept_prompts_drop_oldest(struct kept_prompts *kept) {
    int64_t oldest = 0;
    if (kept->count == 0) return false;
    for (int64_t i = 1; i < kept->count; i++) {
        if (kept->prompts[i].used < kept->prompts[oldest].used) oldest = i;
    }
    drop(kept, oldest);
    return true;
}
