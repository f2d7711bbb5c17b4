/* A hash of two places a word; entries are whole before they can be seen. */
#include "tokenizer/word_cache.h"
#include "base/hash.h"
#include "base/memory.h"
#include <string.h>

struct word_entry {
    uint64_t code;
    uint32_t length, count;
    char word[WORD_CACHE_LONGEST];
    int32_t ids[]; /* [count] */
};

bool word_cache_open(struct word_cache *cache) {
    cache->slots = memory_zero(WORD_CACHE_SLOTS, sizeof *cache->slots);
    return cache->slots != NULL;
}

void word_cache_free(struct word_cache *cache) {
    for (size_t i = 0; cache->slots != NULL && i < WORD_CACHE_SLOTS; i++)
        memory_free(atomic_load_explicit(&cache->slots[i], memory_order_relaxed));
    memory_free(cache->slots);
    cache->slots = NULL;
}

size_t word_cache_find(const struct word_cache *cache, const char *word, size_t length, int32_t *ids) {
    if (cache->slots == NULL || length > WORD_CACHE_LONGEST) return 0;
    const uint64_t code = hash_bytes(word, length, 2);
    for (size_t place = 0; place < 2; place++) {
        const struct word_entry *entry =
            atomic_load_explicit(&cache->slots[(code & (WORD_CACHE_SLOTS - 1)) ^ place], memory_order_acquire);
        if (entry == NULL) return 0;
        if (entry->code != code || entry->length != length || memcmp(entry->word, word, length) != 0) continue;
        memcpy(ids, entry->ids, entry->count * sizeof *ids);
        return entry->count;
    }
    return 0;
}

void word_cache_add(const struct word_cache *cache, const char *word, size_t length, const int32_t *ids, size_t count) {
    if (cache->slots == NULL || length > WORD_CACHE_LONGEST || count == 0) return;
    const uint64_t code = hash_bytes(word, length, 2);
    for (size_t place = 0; place < 2; place++) {
        _Atomic(struct word_entry *) *slot = &cache->slots[(code & (WORD_CACHE_SLOTS - 1)) ^ place];
        if (atomic_load_explicit(slot, memory_order_relaxed) != NULL) continue;
        struct word_entry *entry = memory_alloc_small(sizeof *entry + count * sizeof *ids);
        if (entry == NULL) return;
        *entry = (struct word_entry){.code = code, .length = (uint32_t)length, .count = (uint32_t)count};
        memcpy(entry->word, word, length);
        memcpy(entry->ids, ids, count * sizeof *ids);
        struct word_entry *none = NULL;
        if (atomic_compare_exchange_strong_explicit(slot, &none, entry, memory_order_release, memory_order_relaxed))
            return;
        memory_free(entry);
    }
}
