/* Ids of words that took merging, kept for the next time: rare words of one note are those of the next one.
 *
 * Entries are added and never changed or removed, at most WORD_CACHE_SLOTS of them, so threads share a cache without
 * locks. A full cache, a longer word or short memory only means that a word is merged again. */
#ifndef CASEMIX_TOKENIZER_WORD_CACHE_H
#define CASEMIX_TOKENIZER_WORD_CACHE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WORD_CACHE_SLOTS = 1 << 15, WORD_CACHE_LONGEST = 48 };

struct word_entry;

/* Zero-initialise; without word_cache_open it stays empty. Release with word_cache_free. */
struct word_cache {
    _Atomic(struct word_entry *) *slots;
};

/* False when memory is short: the cache is then empty for good. */
bool word_cache_open(struct word_cache *cache);
void word_cache_free(struct word_cache *cache);

/* Copies the ids of the word to `ids`, which has room for one a byte; 0: the word is not known. */
size_t word_cache_find(const struct word_cache *cache, const char *word, size_t length, int32_t *ids);
void word_cache_add(const struct word_cache *cache, const char *word, size_t length, const int32_t *ids, size_t count);

#endif
