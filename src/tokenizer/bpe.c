/* Byte-pair merging. Short words are scanned again after each merge; long ones keep a heap of candidate pairs over a
 * linked list. */
#include "tokenizer/bpe.h"
#include "base/error.h"
#include "base/memory.h"
#include <string.h>

/* Words up to this length are quicker without a heap. */
enum { SHORT_WORD = 48 };

static size_t pair_slot(uint64_t pair, size_t capacity) {
    pair ^= pair >> 29;
    pair *= 0xbf58476d1ce4e5b9u;
    return (size_t)(pair ^ (pair >> 32)) & (capacity - 1);
}

static uint64_t pair_of(int32_t left, int32_t right) {
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

bool merge_table_open(struct merge_table *table, size_t merges, struct error *error) {
    size_t capacity = 64;
    while (capacity < merges + merges / 2) capacity *= 2;
    *table = (struct merge_table){memory_alloc(capacity, sizeof *table->slots), capacity, 0};
    if (table->slots == NULL) return memory_error(error, capacity * sizeof *table->slots, "the merges");
    for (size_t i = 0; i < capacity; i++) table->slots[i].pair = UINT64_MAX;
    return true;
}

void merge_table_add(struct merge_table *table, int32_t left, int32_t right, int32_t rank, int32_t id) {
    const uint64_t pair = pair_of(left, right);
    size_t i = pair_slot(pair, table->capacity);
    while (table->slots[i].pair != UINT64_MAX && table->slots[i].pair != pair) i = (i + 1) & (table->capacity - 1);
    table->count += table->slots[i].pair != pair;
    table->slots[i] = (struct merge){pair, rank, id};
}

const struct merge *merge_table_find(const struct merge_table *table, int32_t left, int32_t right) {
    const uint64_t pair = pair_of(left, right);
    for (size_t i = pair_slot(pair, table->capacity);; i = (i + 1) & (table->capacity - 1)) {
        if (table->slots[i].pair == pair) return &table->slots[i];
        if (table->slots[i].pair == UINT64_MAX) return NULL;
    }
}

void merge_table_prefetch(const struct merge_table *table, int32_t left, int32_t right) {
    __builtin_prefetch(&table->slots[pair_slot(pair_of(left, right), table->capacity)], 1);
}

void merge_table_close(struct merge_table *table) {
    memory_free(table->slots);
    *table = (struct merge_table){0};
}

static void merge_short(const struct merge_table *table, int32_t *ids, size_t *count) {
    const struct merge *candidates[SHORT_WORD];
    size_t n = *count;
    for (size_t i = 0; i + 1 < n; i++) candidates[i] = merge_table_find(table, ids[i], ids[i + 1]);
    for (;;) {
        size_t best = n;
        for (size_t i = 0; i + 1 < n; i++) {
            if (candidates[i] != NULL && (best == n || candidates[i]->rank < candidates[best]->rank)) best = i;
        }
        if (best == n) break;
        ids[best] = candidates[best]->id;
        memmove(ids + best + 1, ids + best + 2, (n - best - 2) * sizeof *ids);
        memmove(candidates + best, candidates + best + 1, (n - best - 2) * sizeof(const struct merge *));
        n--;
        if (best + 1 < n) candidates[best] = merge_table_find(table, ids[best], ids[best + 1]);
        if (best > 0) candidates[best - 1] = merge_table_find(table, ids[best - 1], ids[best]);
    }
    *count = n;
}

/* A pair that may be merged: stale when its symbols have changed since. */
struct candidate {
    int32_t rank, id;
    uint32_t left, right; /* places of the symbols */
    uint64_t pair;
};

struct long_word {
    int32_t *ids;              /* symbol at each place; -1: merged away */
    uint32_t *next, *previous; /* UINT32_MAX: none */
    struct candidate *heap;
    size_t heap_count;
};

static bool candidate_before(const struct candidate *a, const struct candidate *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->left < b->left;
}

static void heap_push(struct long_word *word, struct candidate candidate) {
    size_t i = word->heap_count++;
    while (i > 0 && candidate_before(&candidate, &word->heap[(i - 1) / 2])) {
        word->heap[i] = word->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    word->heap[i] = candidate;
}

static struct candidate heap_pop(struct long_word *word) {
    const struct candidate top = word->heap[0], moved = word->heap[--word->heap_count];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= word->heap_count) break;
        if (child + 1 < word->heap_count && candidate_before(&word->heap[child + 1], &word->heap[child])) child++;
        if (!candidate_before(&word->heap[child], &moved)) break;
        word->heap[i] = word->heap[child];
        i = child;
    }
    word->heap[i] = moved;
    return top;
}

static void push_pair(struct long_word *word, const struct merge_table *table, uint32_t left) {
    const uint32_t right = left == UINT32_MAX ? UINT32_MAX : word->next[left];
    if (right == UINT32_MAX) return;
    const struct merge *merge = merge_table_find(table, word->ids[left], word->ids[right]);
    if (merge != NULL) heap_push(word, (struct candidate){merge->rank, merge->id, left, right, merge->pair});
}

static void merge_long(const struct merge_table *table, struct long_word *word, size_t *count) {
    const size_t n = *count;
    for (size_t i = 0; i < n; i++) {
        word->next[i] = i + 1 < n ? (uint32_t)i + 1 : UINT32_MAX;
        word->previous[i] = i > 0 ? (uint32_t)i - 1 : UINT32_MAX;
    }
    for (size_t i = 0; i + 1 < n; i++) push_pair(word, table, (uint32_t)i);
    while (word->heap_count > 0) {
        const struct candidate c = heap_pop(word);
        if (word->ids[c.left] < 0 || word->next[c.left] != c.right ||
            pair_of(word->ids[c.left], word->ids[c.right]) != c.pair)
            continue;
        word->ids[c.left] = c.id;
        word->ids[c.right] = -1;
        word->next[c.left] = word->next[c.right];
        if (word->next[c.left] != UINT32_MAX) word->previous[word->next[c.left]] = c.left;
        push_pair(word, table, word->previous[c.left]);
        push_pair(word, table, c.left);
    }
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        if (word->ids[i] >= 0) word->ids[kept++] = word->ids[i];
    }
    *count = kept;
}

bool bpe_merge(const struct merge_table *table, int32_t *ids, size_t *count, struct error *error) {
    if (*count <= SHORT_WORD) {
        merge_short(table, ids, count);
        return true;
    }
    if (*count >= UINT32_MAX / 4) return error_set(error, "a word of %zu bytes is too long", *count);
    /* Each merge pushes at most two pairs and takes one symbol away: 3 n candidates at the most. */
    struct long_word word = {ids, memory_alloc(*count, sizeof(uint32_t)), memory_alloc(*count, sizeof(uint32_t)),
                             memory_alloc(*count, 3 * sizeof(struct candidate)), 0};
    const bool ready = word.next != NULL && word.previous != NULL && word.heap != NULL;
    if (ready) merge_long(table, &word, count);
    memory_free(word.next);
    memory_free(word.previous);
    memory_free(word.heap);
    return ready || memory_error(error, *count * 3 * sizeof(struct candidate), "a long word");
}
