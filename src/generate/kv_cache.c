/* The block pool: a stack of free blocks, a reference count each, and a table of block numbers for every sequence. */
#include "generate/kv_cache.h"
#include "base/error.h"
#include "base/memory.h"
#include <math.h>
#include <string.h>

struct kv_cache {
    int64_t positions; /* of the model */
    int64_t blocks, sequences;
    int64_t table;    /* blocks that one sequence can hold */
    int64_t layer;    /* floats of one layer in a block */
    int64_t stride;   /* floats of a block */
    float *memory;    /* [blocks, stride] */
    int32_t *held;    /* [sequences, table] block numbers */
    int64_t *lengths; /* [sequences] tokens; -1: not in use */
    int32_t *references;
    int32_t *free_blocks; /* [blocks], the first free_count of them */
    int64_t free_count;
};

static int64_t blocks_of(int64_t tokens) {
    return (tokens + ATTENTION_BLOCK - 1) / ATTENTION_BLOCK;
}

/* Sizes only. */
static bool plan(struct kv_cache *cache, const struct model_config *config, int64_t tokens, int64_t sequences,
                 struct error *error) {
    if (tokens < 1 || sequences < 1 || tokens > INT32_MAX || sequences > INT32_MAX / 2) {
        return error_set(error, "a cache of %lld tokens for %lld sequences is not possible", (long long)tokens,
                         (long long)sequences);
    }
    const struct attention_shape shape = {config->H, config->K, config->D, 1};
    *cache = (struct kv_cache){.positions = config->positions, .blocks = blocks_of(tokens), .sequences = sequences};
    cache->table = blocks_of(config->positions);
    if (cache->table > cache->blocks) cache->table = cache->blocks;
    cache->layer = config->K * attention_block_head(&shape);
    cache->stride = config->L * cache->layer;
    return true;
}

bool kv_cache_size(const struct model_config *config, int64_t tokens, int64_t sequences, size_t *bytes,
                   struct error *error) {
    struct kv_cache cache = {0};
    if (!plan(&cache, config, tokens, sequences, error)) return false;
    size_t tables;
    if (!size_multiply((size_t)cache.blocks, (size_t)cache.stride * sizeof(float), bytes) ||
        !size_multiply((size_t)sequences, (size_t)cache.table * sizeof(int32_t), &tables))
        return error_set(error, "a cache of %lld tokens does not fit into the address space", (long long)tokens);
    *bytes += tables + (size_t)sequences * sizeof(int64_t) + (size_t)cache.blocks * 2 * sizeof(int32_t);
    return true;
}

bool kv_cache_open(struct kv_cache **out, const struct model_config *config, int64_t tokens, int64_t sequences,
                   struct error *error) {
    size_t bytes;
    if (!kv_cache_size(config, tokens, sequences, &bytes, error)) return false;
    struct kv_cache *cache = memory_alloc(1, sizeof *cache);
    if (cache == NULL) return memory_error(error, bytes, "the cache of keys and values");
    if (!plan(cache, config, tokens, sequences, error)) {
        memory_free(cache);
        return false;
    }
    cache->memory = memory_alloc((size_t)cache->blocks, (size_t)cache->stride * sizeof *cache->memory);
    cache->held = memory_alloc((size_t)sequences, (size_t)cache->table * sizeof *cache->held);
    cache->lengths = memory_alloc((size_t)sequences, sizeof *cache->lengths);
    cache->references = memory_zero((size_t)cache->blocks, sizeof *cache->references);
    cache->free_blocks = memory_alloc((size_t)cache->blocks, sizeof *cache->free_blocks);
    if (cache->memory == NULL || cache->held == NULL || cache->lengths == NULL || cache->references == NULL ||
        cache->free_blocks == NULL) {
        kv_cache_close(cache);
        memory_error(error, bytes, "the cache of keys and values");
        return error_hint(error, "fewer tokens or sequences need less");
    }
    for (int64_t s = 0; s < sequences; s++) cache->lengths[s] = -1;
    for (int64_t b = 0; b < cache->blocks; b++) cache->free_blocks[b] = (int32_t)(cache->blocks - 1 - b);
    cache->free_count = cache->blocks;
    *out = cache;
    return true;
}

void kv_cache_close(struct kv_cache *cache) {
    if (cache == NULL) return;
    memory_free(cache->memory);
    memory_free(cache->held);
    memory_free(cache->lengths);
    memory_free(cache->references);
    memory_free(cache->free_blocks);
    memory_free(cache);
}

static int32_t *table_of(const struct kv_cache *cache, int32_t sequence) {
    return cache->held + sequence * cache->table;
}

int32_t kv_sequence_open(struct kv_cache *cache) {
    for (int64_t s = 0; s < cache->sequences; s++) {
        if (cache->lengths[s] >= 0) continue;
        cache->lengths[s] = 0;
        return (int32_t)s;
    }
    return -1;
}

int32_t kv_sequence_fork(struct kv_cache *cache, int32_t parent) {
    const int32_t child = kv_sequence_open(cache);
    if (child < 0) return -1;
    const int64_t length = cache->lengths[parent];
    const int32_t *from = table_of(cache, parent);
    int32_t *to = table_of(cache, child);
    for (int64_t b = 0; b < blocks_of(length); b++) {
        to[b] = from[b];
        cache->references[to[b]]++;
    }
    cache->lengths[child] = length;
    return child;
}

static void release_block(struct kv_cache *cache, int32_t block) {
    if (--cache->references[block] == 0) cache->free_blocks[cache->free_count++] = block;
}

void kv_sequence_truncate(struct kv_cache *cache, int32_t sequence, int64_t length) {
    const int32_t *table = table_of(cache, sequence);
    for (int64_t b = blocks_of(length); b < blocks_of(cache->lengths[sequence]); b++) release_block(cache, table[b]);
    if (length < cache->lengths[sequence]) cache->lengths[sequence] = length;
}

void kv_sequence_close(struct kv_cache *cache, int32_t sequence) {
    kv_sequence_truncate(cache, sequence, 0);
    cache->lengths[sequence] = -1;
}

int64_t kv_sequence_length(const struct kv_cache *cache, int32_t sequence) {
    return cache->lengths[sequence];
}

bool kv_sequence_is_open(const struct kv_cache *cache, int32_t sequence) {
    return sequence >= 0 && sequence < cache->sequences && cache->lengths[sequence] >= 0;
}

int64_t kv_blocks_free(const struct kv_cache *cache) {
    return cache->free_count;
}

/* Whether the last block is partly filled and others read it too. */
static bool writes_shared(const struct kv_cache *cache, int32_t sequence) {
    const int64_t length = cache->lengths[sequence];
    return length % ATTENTION_BLOCK != 0 && cache->references[table_of(cache, sequence)[length / ATTENTION_BLOCK]] > 1;
}

int64_t kv_sequences_free(const struct kv_cache *cache) {
    int64_t count = 0;
    for (int64_t s = 0; s < cache->sequences; s++) count += cache->lengths[s] < 0;
    return count;
}

int64_t kv_blocks_needed(const struct kv_cache *cache, int32_t sequence, int64_t tokens) {
    const int64_t length = cache->lengths[sequence];
    if (tokens == 0) return 0;
    return blocks_of(length + tokens) - blocks_of(length) + (writes_shared(cache, sequence) ? 1 : 0);
}

static int32_t take_block(struct kv_cache *cache) {
    const int32_t block = cache->free_blocks[--cache->free_count];
    cache->references[block] = 1;
    return block;
}

bool kv_sequence_extend(struct kv_cache *cache, int32_t sequence, int64_t tokens) {
    const int64_t length = cache->lengths[sequence];
    if (tokens > cache->positions - length || blocks_of(length + tokens) > cache->table ||
        kv_blocks_needed(cache, sequence, tokens) > cache->free_count)
        return false;
    if (tokens == 0) return true;
    int32_t *table = table_of(cache, sequence);
    if (writes_shared(cache, sequence)) {
        int32_t *last = &table[length / ATTENTION_BLOCK];
        const int32_t own = take_block(cache);
        memcpy(cache->memory + own * cache->stride, cache->memory + *last * cache->stride,
               (size_t)cache->stride * sizeof *cache->memory);
        release_block(cache, *last);
        *last = own;
    }
    for (int64_t b = blocks_of(length); b < blocks_of(length + tokens); b++) table[b] = take_block(cache);
    cache->lengths[sequence] = length + tokens;
    return true;
}

int64_t kv_cache_positions(const struct kv_cache *cache) {
    const int64_t room = cache->table * ATTENTION_BLOCK;
    return room < cache->positions ? room : cache->positions;
}

const int32_t *kv_sequence_blocks(const struct kv_cache *cache, int32_t sequence) {
    return table_of(cache, sequence);
}

float *kv_layer(const struct kv_cache *cache, int64_t layer) {
    return cache->memory + layer * cache->layer;
}

int64_t kv_block_stride(const struct kv_cache *cache) {
    return cache->stride;
}
