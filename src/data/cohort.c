/* Joining notes and DRGs, and the published split: see cohort.h. */
#include "data/cohort.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/numpy_sort.h"
#include "data/mimic_drgs.h"
#include "data/mimic_notes.h"
#include "data/sklearn_split.h"
#include <stdlib.h>
#include <string.h>

enum { CODES = 1000, LEAST_ROWS = 2 };

/* A note in the order of pandas' join: stays by first appearance, then notes in file order. */
struct join_key {
    int64_t hadm_id;
    uint32_t first, note; /* first note of the stay, this note */
};

static int compare_stays(const void *a, const void *b) {
    const struct join_key *left = a, *right = b;
    if (left->hadm_id != right->hadm_id) return left->hadm_id < right->hadm_id ? -1 : 1;
    return (left->note > right->note) - (left->note < right->note);
}

static int compare_places(const void *a, const void *b) {
    const struct join_key *left = a, *right = b;
    if (left->first != right->first) return left->first < right->first ? -1 : 1;
    return (left->note > right->note) - (left->note < right->note);
}

static void order_notes(struct join_key *keys, const struct note_table *notes) {
    for (size_t i = 0; i < notes->count; i++)
        keys[i] = (struct join_key){notes->notes[i].hadm_id, (uint32_t)i, (uint32_t)i};
    if (notes->count == 0) return;
    qsort(keys, notes->count, sizeof *keys, compare_stays);
    for (size_t i = 1; i < notes->count; i++) {
        if (keys[i].hadm_id == keys[i - 1].hadm_id) keys[i].first = keys[i - 1].first;
    }
    qsort(keys, notes->count, sizeof *keys, compare_places);
}

static bool all_alike(const struct drg_row *rows, size_t count) {
    for (size_t i = 1; i < count; i++) {
        if (rows[i].code != rows[0].code) return false;
    }
    return true;
}

static bool add_rows(struct cohort *cohort, size_t *capacity, uint32_t note, const struct drg_row *rows, size_t count,
                     struct error *error) {
    if (!memory_grow(&cohort->rows, capacity, cohort->count + count, sizeof *cohort->rows, error)) return false;
    for (size_t i = 0; i < count; i++) {
        cohort->rows[cohort->count] = (struct cohort_row){note, (uint32_t)cohort->count, rows[i].code, -1};
        cohort->count++;
    }
    return true;
}

static bool join_rows(struct cohort *cohort, const struct join_key *keys, const struct note_table *notes,
                      const struct drg_table *drgs, enum cohort_join join, struct error *error) {
    size_t capacity = 0;
    for (size_t i = 0; i < notes->count; i++) {
        const struct drg_row *rows;
        size_t count = drg_table_find(drgs, keys[i].hadm_id, &rows);
        const bool first_of_stay = keys[i].first == keys[i].note, alike = all_alike(rows, count);
        if (!alike && first_of_stay) cohort->ambiguous++;
        if (join == JOIN_CERTAIN) {
            if (!alike) continue;
            count = 1;
        }
        if (!add_rows(cohort, &capacity, keys[i].note, rows, count, error)) return false;
    }
    if (cohort->count > INT32_MAX) return error_set(error, "%zu rows are more than a cohort can hold", cohort->count);
    cohort->joined = cohort->count;
    return true;
}

/* Rows of rare DRGs go out; the others get their labels. */
static bool label_rows(struct cohort *cohort, enum grouper grouper, struct error *error) {
    size_t counts[CODES] = {0};
    int label_of[CODES];
    cohort->labels = (struct labels){.grouper = grouper, .codes = memory_alloc(CODES, sizeof *cohort->labels.codes)};
    if (cohort->labels.codes == NULL) return memory_error(error, CODES * sizeof(int), "the labels");
    for (size_t i = 0; i < cohort->count; i++) counts[cohort->rows[i].code]++;
    for (int code = 0; code < CODES; code++) {
        cohort->joined_codes += counts[code] > 0;
        cohort->rare_codes += counts[code] > 0 && counts[code] < LEAST_ROWS;
        label_of[code] = (int)cohort->labels.count;
        if (counts[code] >= LEAST_ROWS) cohort->labels.codes[cohort->labels.count++] = code;
    }
    size_t kept = 0;
    for (size_t i = 0; i < cohort->count; i++) {
        struct cohort_row row = cohort->rows[i];
        if (counts[row.code] < LEAST_ROWS) continue;
        row.label = label_of[row.code];
        cohort->rows[kept++] = row;
    }
    cohort->count = kept;
    if (kept > 0) return true;
    error_set(error, "no stay is left: %zu notes have a DRG, and none of their DRGs is seen twice", cohort->joined);
    return error_hint(error, "check that both files are of the same patients");
}

bool cohort_build(struct cohort *cohort, const struct note_table *notes, const struct drg_table *drgs,
                  enum cohort_join join, enum grouper grouper, struct error *error) {
    struct join_key *keys = memory_alloc(notes->count, sizeof *keys);
    if (keys == NULL) return memory_error(error, notes->count * sizeof *keys, "the join");
    order_notes(keys, notes);
    cohort->without_drg = (size_t)notes->first_of_stay - notes->count;
    const bool done = join_rows(cohort, keys, notes, drgs, join, error) && label_rows(cohort, grouper, error);
    memory_free(keys);
    return done;
}

void cohort_free(struct cohort *cohort) {
    memory_free(cohort->rows);
    labels_free(&cohort->labels);
    *cohort = (struct cohort){0};
}

static bool copy_part(struct cohort_split *split, enum part_of_split part, const int64_t *places, size_t count,
                      const uint32_t *sorted, struct error *error) {
    split->rows[part] = memory_alloc(count, sizeof *split->rows[part]);
    if (split->rows[part] == NULL) return memory_error(error, count * sizeof(uint32_t), "the split");
    for (size_t i = 0; i < count; i++) split->rows[part][i] = sorted[places[i]];
    split->counts[part] = count;
    return true;
}

bool cohort_split_published(struct cohort_split *split, uint32_t *sorted, const struct cohort *cohort,
                            struct error *error) {
    const size_t count = cohort->count;
    int64_t *codes = memory_alloc(count, sizeof *codes), *order = memory_alloc(count, sizeof *order);
    int32_t *labels = memory_alloc(count, sizeof *labels);
    struct split drawn = {0};
    bool done = (codes != NULL && order != NULL && labels != NULL) || memory_error(error, count * 20, "the split");
    for (size_t i = 0; done && i < count; i++) codes[i] = cohort->rows[i].code;
    if (done) numpy_argsort_int64(order, codes, (int64_t)count);
    for (size_t i = 0; done && i < count; i++) {
        sorted[i] = (uint32_t)order[i];
        labels[i] = cohort->rows[sorted[i]].label;
    }
    done = done && split_stratified(&drawn, labels, count, cohort->labels.count, 0.1, 42, error) &&
           copy_part(split, PART_TRAIN, drawn.train, drawn.train_count, sorted, error) &&
           copy_part(split, PART_TEST, drawn.test, drawn.test_count, sorted, error);
    split_free(&drawn);
    memory_free(codes);
    memory_free(order);
    memory_free(labels);
    return done;
}

void cohort_split_free(struct cohort_split *split) {
    for (int part = 0; part < SPLIT_PARTS; part++) memory_free(split->rows[part]);
    *split = (struct cohort_split){0};
}
