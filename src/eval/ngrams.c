/* Words and word pairs: hashing, choosing the vocabulary, counting. */
#include "eval/ngrams.h"
#include "base/error.h"
#include "base/memory.h"
#include "model/classifier.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* An n-gram met while the vocabulary is learned. */
struct candidate {
    uint64_t code;
    uint32_t notes; /* in how many it stands */
    uint32_t last;  /* number of the last of them, from 1 */
    uint32_t first; /* order of first appearance */
};

struct candidates {
    struct candidate *slots; /* open addressing, code 0: empty */
    size_t capacity, count;
};

/* Walks the n-grams of a note. */
struct cursor {
    const unsigned char *at, *end;
    uint64_t previous, pair; /* hash of the word before, 0: none; hash of a pair still to be given out, 0: none */
};

static uint64_t mix(uint64_t x) {
    x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93u;
    x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93u;
    x ^= x >> 32;
    return x == 0 ? 1 : x;
}

/* The byte as part of a word, ASCII in lower case; 0 if it parts words. */
static unsigned char word_byte(unsigned char byte) {
    if (byte >= 'A' && byte <= 'Z') return (unsigned char)(byte | 0x20);
    return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte > 127 ? byte : 0;
}

/* Hash of the next n-gram; 0 at the end. */
static uint64_t cursor_next(struct cursor *cursor) {
    if (cursor->pair != 0) {
        const uint64_t pair = cursor->pair;
        cursor->pair = 0;
        return pair;
    }
    while (cursor->at < cursor->end && word_byte(*cursor->at) == 0) cursor->at++;
    if (cursor->at == cursor->end) return 0;
    uint64_t word = 0xcbf29ce484222325u;
    for (unsigned char byte; cursor->at < cursor->end && (byte = word_byte(*cursor->at)) != 0; cursor->at++) {
        word = (word ^ byte) * 0x100000001b3u;
    }
    word = mix(word);
    if (cursor->previous != 0) cursor->pair = mix(cursor->previous * 3 + word);
    cursor->previous = word;
    return word;
}

static struct cursor cursor_at(const struct note *note) {
    const unsigned char *text = (const unsigned char *)note->text;
    return (struct cursor){text, text + note->length, 0, 0};
}

static struct candidate *candidate_slot(const struct candidates *candidates, uint64_t code) {
    size_t i = code & (candidates->capacity - 1);
    while (candidates->slots[i].code != 0 && candidates->slots[i].code != code)
        i = (i + 1) & (candidates->capacity - 1);
    return &candidates->slots[i];
}

static bool candidates_enlarge(struct candidates *candidates, struct error *error) {
    struct candidates larger = {NULL, candidates->capacity == 0 ? 1 << 16 : candidates->capacity * 2,
                                candidates->count};
    larger.slots = memory_zero(larger.capacity, sizeof *larger.slots);
    if (larger.slots == NULL)
        return memory_error(error, larger.capacity * sizeof *larger.slots, "the words of the training notes");
    for (size_t i = 0; i < candidates->capacity; i++) {
        if (candidates->slots[i].code != 0) *candidate_slot(&larger, candidates->slots[i].code) = candidates->slots[i];
    }
    memory_free(candidates->slots);
    *candidates = larger;
    return true;
}

static bool candidates_add(struct candidates *candidates, const struct note *note, uint32_t number,
                           struct error *error) {
    struct cursor cursor = cursor_at(note);
    for (uint64_t code; (code = cursor_next(&cursor)) != 0;) {
        if (candidates->count * 2 >= candidates->capacity && !candidates_enlarge(candidates, error)) return false;
        struct candidate *candidate = candidate_slot(candidates, code);
        if (candidate->code == 0) *candidate = (struct candidate){code, 0, 0, (uint32_t)candidates->count++};
        candidate->notes += candidate->last != number;
        candidate->last = number;
    }
    return true;
}

static int compare_candidates(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    if (x->notes != y->notes) return x->notes < y->notes ? 1 : -1;
    return (x->first > y->first) - (x->first < y->first);
}

static size_t feature_slot(const struct ngrams *ngrams, uint64_t code) {
    size_t i = code & (ngrams->slots - 1);
    while (ngrams->codes[i] != 0 && ngrams->codes[i] != code) i = (i + 1) & (ngrams->slots - 1);
    return i;
}

/* The candidates, sorted, become the vocabulary. */
static bool take_candidates(struct ngrams *ngrams, const struct candidate *sorted, size_t notes, struct error *error) {
    ngrams->slots = 64;
    while (ngrams->slots < (size_t)ngrams->count * 2) ngrams->slots *= 2;
    ngrams->codes = memory_zero(ngrams->slots, sizeof *ngrams->codes);
    ngrams->features = memory_alloc(ngrams->slots, sizeof *ngrams->features);
    ngrams->inverse_frequency = memory_alloc((size_t)ngrams->count, sizeof *ngrams->inverse_frequency);
    if (ngrams->codes == NULL || ngrams->features == NULL || ngrams->inverse_frequency == NULL) {
        return memory_error(error, ngrams->slots * 12, "the vocabulary");
    }
    memset(ngrams->features, 0xff, ngrams->slots * sizeof *ngrams->features);
    for (int32_t feature = 0; feature < ngrams->count; feature++) {
        const size_t slot = feature_slot(ngrams, sorted[feature].code);
        ngrams->codes[slot] = sorted[feature].code;
        ngrams->features[slot] = feature;
        ngrams->inverse_frequency[feature] =
            (float)(log((1 + (double)notes) / (1 + (double)sorted[feature].notes)) + 1);
    }
    return true;
}

bool ngrams_open(struct ngrams *ngrams, const struct note *notes, size_t count, int32_t limit, struct error *error) {
    struct candidates candidates = {0};
    bool done = true;
    size_t kept = 0;
    *ngrams = (struct ngrams){0};
    for (size_t i = 0; done && i < count; i++) done = candidates_add(&candidates, &notes[i], (uint32_t)i + 1, error);
    for (size_t i = 0; done && i < candidates.capacity; i++) {
        if (candidates.slots[i].notes >= 2) candidates.slots[kept++] = candidates.slots[i];
    }
    if (done && kept == 0) done = error_set(error, "no word stands in two of the %zu training notes", count);
    if (done) {
        qsort(candidates.slots, kept, sizeof *candidates.slots, compare_candidates);
        ngrams->count = kept < (size_t)limit ? (int32_t)kept : limit;
        done = take_candidates(ngrams, candidates.slots, count, error);
    }
    memory_free(candidates.slots);
    if (!done) ngrams_close(ngrams);
    return done;
}

void ngrams_close(struct ngrams *ngrams) {
    memory_free(ngrams->codes);
    memory_free(ngrams->features);
    memory_free(ngrams->inverse_frequency);
    *ngrams = (struct ngrams){0};
}

static int compare_features(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Appends the features of a note to the rows, once for each time they stand in it; *end is the end of the row. */
static bool append_features(const struct ngrams *ngrams, const struct note *note, struct sparse_rows *rows, size_t *end,
                            struct error *error) {
    struct cursor cursor = cursor_at(note);
    for (uint64_t code; (code = cursor_next(&cursor)) != 0;) {
        const int32_t feature = ngrams->features[feature_slot(ngrams, code)];
        if (feature < 0) continue;
        if (!memory_grow(&rows->features, &rows->feature_capacity, *end + 1, sizeof *rows->features, error))
            return false;
        rows->features[(*end)++] = feature;
    }
    return memory_grow(&rows->values, &rows->value_capacity, *end + 1, sizeof *rows->values, error);
}

/* Sorts the features from `start` and merges equal ones into counts. Gives the new end. */
static size_t merge_features(struct sparse_rows *rows, size_t start, size_t end) {
    qsort(rows->features + start, end - start, sizeof *rows->features, compare_features);
    size_t filled = start;
    for (size_t i = start; i < end; i++) {
        if (filled > start && rows->features[filled - 1] == rows->features[i]) {
            rows->values[filled - 1] += 1;
            continue;
        }
        rows->features[filled] = rows->features[i];
        rows->values[filled++] = 1;
    }
    return filled;
}

bool ngrams_count(const struct ngrams *ngrams, const struct note *notes, size_t count, struct sparse_rows *rows,
                  struct error *error) {
    size_t end = 0;
    *rows = (struct sparse_rows){.count = count};
    rows->starts = memory_alloc(count + 1, sizeof *rows->starts);
    bool done = rows->starts != NULL || memory_error(error, (count + 1) * sizeof *rows->starts, "the word counts");
    for (size_t r = 0; done && r < count; r++) {
        rows->starts[r] = end;
        done = append_features(ngrams, &notes[r], rows, &end, error);
        if (done) end = merge_features(rows, rows->starts[r], end);
    }
    if (!done) {
        sparse_rows_free(rows);
        return false;
    }
    rows->starts[count] = end;
    return true;
}

void ngrams_weigh(const struct ngrams *ngrams, struct sparse_rows *rows) {
    for (size_t r = 0; r < rows->count; r++) {
        double squares = 0;
        for (size_t i = rows->starts[r]; i < rows->starts[r + 1]; i++) {
            rows->values[i] = (1 + logf(rows->values[i])) * ngrams->inverse_frequency[rows->features[i]];
            squares += (double)rows->values[i] * (double)rows->values[i];
        }
        const float scale = squares > 0 ? (float)(1 / sqrt(squares)) : 0;
        for (size_t i = rows->starts[r]; i < rows->starts[r + 1]; i++) rows->values[i] *= scale;
    }
}

void sparse_rows_free(struct sparse_rows *rows) {
    memory_free(rows->starts);
    memory_free(rows->features);
    memory_free(rows->values);
    *rows = (struct sparse_rows){0};
}
