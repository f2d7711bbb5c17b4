/* Notes as bags of words: counts of single words and of pairs of neighbours, over a vocabulary learned from training
 * notes. */
#ifndef CASEMIX_EVAL_NGRAMS_H
#define CASEMIX_EVAL_NGRAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct note;

/* The vocabulary. A word is a run of ASCII letters (in lower case), digits and bytes above 127; an n-gram is known by a
 * 64-bit hash. */
struct ngrams {
    uint64_t *codes;   /* [slots] hash of the n-gram, 0: empty; open addressing, slots a power of two */
    int32_t *features; /* [slots] its number, most frequent first; -1: not in the vocabulary */
    size_t slots;
    int32_t count;            /* features */
    float *inverse_frequency; /* [count] log((1 + notes) / (1 + notes with it)) + 1 */
};

/* Keeps the n-grams that stand in at least two notes, at most `limit`: those in most notes (ties: first seen). None at
 * all is an error. */
bool ngrams_open(struct ngrams *ngrams, const struct note *notes, size_t count, int32_t limit, struct error *error);
void ngrams_close(struct ngrams *ngrams);

/* Notes as sparse rows: row r has features[starts[r] … starts[r+1]-1], rising, and their values. */
struct sparse_rows {
    size_t *starts; /* [count + 1] */
    int32_t *features;
    float *values;
    size_t count, feature_capacity, value_capacity;
};

/* The counts of the notes' n-grams. A note may have none. Zero-initialise; release with sparse_rows_free. */
bool ngrams_count(const struct ngrams *ngrams, const struct note *notes, size_t count, struct sparse_rows *rows,
                  struct error *error);
/* Counts become (1 + log count) * inverse frequency, each row scaled to length 1 (tf-idf). */
void ngrams_weigh(const struct ngrams *ngrams, struct sparse_rows *rows);
void sparse_rows_free(struct sparse_rows *rows);

#endif
