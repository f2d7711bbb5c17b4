/* Byte-pair merging: a table of merges by the pair of ids, and a word's ids merged by rising rank. */
#ifndef CASEMIX_TOKENIZER_BPE_H
#define CASEMIX_TOKENIZER_BPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

struct merge {
    uint64_t pair; /* left id << 32 | right id; UINT64_MAX: empty */
    int32_t rank;  /* order of learning: smaller merges first */
    int32_t id;    /* what the pair becomes */
};

/* Open addressing over a power of two of slots. */
struct merge_table {
    struct merge *slots;
    size_t capacity, count;
};

bool merge_table_open(struct merge_table *table, size_t merges, struct error *error);
/* Of a pair given twice the last rank counts, as in Hugging Face tokenizers. The table was opened for at least this
 * many merges. */
void merge_table_add(struct merge_table *table, int32_t left, int32_t right, int32_t rank, int32_t id);
const struct merge *merge_table_find(const struct merge_table *table, int32_t left, int32_t right); /* NULL if none */
/* Asks the processor for the memory in which the pair stands or will stand. */
void merge_table_prefetch(const struct merge_table *table, int32_t left, int32_t right);
void merge_table_close(struct merge_table *table);

/* Merges ids[0 … *count) in place until no pair of the table is left, lowest rank first, leftmost first among equals.
 * Time n log n. */
bool bpe_merge(const struct merge_table *table, int32_t *ids, size_t *count, struct error *error);

#endif
