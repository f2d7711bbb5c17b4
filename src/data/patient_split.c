/* The split by patient: see cohort.h. */
#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"
#include "data/cohort.h"
#include "data/mimic_notes.h"
#include <stdlib.h>
#include <string.h>

/* A row of the cohort by its patient. */
struct member {
    int64_t subject_id;
    uint32_t row, patient;
};

struct stratifier {
    const struct cohort *cohort;
    struct member *members;    /* [rows] by patient */
    uint32_t *first;           /* [patients + 1] first member of each patient */
    uint32_t *patient_of;      /* [rows] */
    int8_t *part_of;           /* [patients] -1: not yet */
    double *wanted;            /* [labels, SPLIT_PARTS] rows of the label that a part still lacks */
    double total[SPLIT_PARTS]; /* rows that a part still lacks */
    size_t patients;
};

static int compare_members(const void *a, const void *b) {
    const struct member *left = a, *right = b;
    if (left->subject_id != right->subject_id) return left->subject_id < right->subject_id ? -1 : 1;
    return (left->row > right->row) - (left->row < right->row);
}

static bool stratifier_open(struct stratifier *s, const struct note_table *notes, struct arena *arena,
                            struct error *error) {
    const size_t rows = s->cohort->count, labels = s->cohort->labels.count;
    s->members = arena_alloc(arena, rows, sizeof *s->members);
    s->first = arena_alloc(arena, rows + 1, sizeof *s->first);
    s->patient_of = arena_alloc(arena, rows, sizeof *s->patient_of);
    s->part_of = arena_alloc(arena, rows, sizeof *s->part_of);
    s->wanted = arena_alloc(arena, labels, SPLIT_PARTS * sizeof *s->wanted);
    if (s->members == NULL || s->first == NULL || s->patient_of == NULL || s->part_of == NULL || s->wanted == NULL)
        return memory_error(error, rows * sizeof *s->members, "the split");
    for (size_t i = 0; i < rows; i++)
        s->members[i] = (struct member){notes->notes[s->cohort->rows[i].note].subject_id, (uint32_t)i, 0};
    qsort(s->members, rows, sizeof *s->members, compare_members);
    for (size_t i = 0; i < rows; i++) {
        if (i == 0 || s->members[i].subject_id != s->members[i - 1].subject_id) s->first[s->patients++] = (uint32_t)i;
        s->patient_of[s->members[i].row] = (uint32_t)(s->patients - 1);
    }
    s->first[s->patients] = (uint32_t)rows;
    memset(s->part_of, -1, s->patients);
    return true;
}

static void want_shares(struct stratifier *s, const double shares[SPLIT_PARTS]) {
    const double sum = shares[PART_TRAIN] + shares[PART_DEV] + shares[PART_TEST];
    memset(s->wanted, 0, s->cohort->labels.count * SPLIT_PARTS * sizeof *s->wanted);
    for (size_t i = 0; i < s->cohort->count; i++) {
        for (int part = 0; part < SPLIT_PARTS; part++) {
            s->wanted[s->cohort->rows[i].label * SPLIT_PARTS + part] += shares[part] / sum;
            s->total[part] += shares[part] / sum;
        }
    }
}

/* The part that lacks most of the label; among equals the one that lacks most of all rows. */
static int choose_part(const struct stratifier *s, int32_t label) {
    const double *wanted = s->wanted + label * SPLIT_PARTS;
    int best = PART_TRAIN;
    for (int part = PART_DEV; part < SPLIT_PARTS; part++) {
        const bool equal = !(wanted[part] > wanted[best]) && !(wanted[part] < wanted[best]);
        if (wanted[part] > wanted[best] || (equal && s->total[part] > s->total[best])) best = part;
    }
    return best;
}

static void assign_patient(struct stratifier *s, uint32_t patient, int part) {
    s->part_of[patient] = (int8_t)part;
    for (uint32_t m = s->first[patient]; m < s->first[patient + 1]; m++) {
        s->wanted[s->cohort->rows[s->members[m].row].label * SPLIT_PARTS + part] -= 1;
        s->total[part] -= 1;
    }
}

struct label_rows {
    int32_t label;
    uint32_t first, count;
};

static int compare_label_rows(const void *a, const void *b) {
    const struct label_rows *left = a, *right = b;
    if (left->count != right->count) return left->count < right->count ? -1 : 1;
    return (left->label > right->label) - (left->label < right->label);
}

/* Labels from the rarest on; the patients of a label in an order drawn from the seed. */
static bool assign_patients(struct stratifier *s, uint64_t seed, struct arena *arena, struct error *error) {
    const size_t rows = s->cohort->count, labels = s->cohort->labels.count;
    struct label_rows *list = arena_zero(arena, labels, sizeof *list);
    uint32_t *shuffled = arena_alloc(arena, rows, sizeof *shuffled),
             *of_label = arena_alloc(arena, rows, sizeof *of_label);
    struct rng rng;
    if (list == NULL || shuffled == NULL || of_label == NULL) return memory_error(error, rows * 8, "the split");
    for (size_t i = 0; i < rows; i++) {
        shuffled[i] = (uint32_t)i;
        list[s->cohort->rows[i].label].count++;
    }
    rng_seed(&rng, seed);
    rng_shuffle(&rng, shuffled, rows, sizeof *shuffled);
    for (size_t l = 1; l < labels; l++) list[l].first = list[l - 1].first + list[l - 1].count;
    for (size_t l = 0; l < labels; l++) {
        list[l].label = (int32_t)l;
        list[l].count = 0;
    }
    for (size_t i = 0; i < rows; i++) {
        struct label_rows *label = &list[s->cohort->rows[shuffled[i]].label];
        of_label[label->first + label->count++] = shuffled[i];
    }
    qsort(list, labels, sizeof *list, compare_label_rows);
    for (size_t l = 0; l < labels; l++) {
        for (uint32_t i = 0; i < list[l].count; i++) {
            const uint32_t patient = s->patient_of[of_label[list[l].first + i]];
            if (s->part_of[patient] < 0) assign_patient(s, patient, choose_part(s, list[l].label));
        }
    }
    return true;
}

bool cohort_split_by_patient(struct cohort_split *split, const struct cohort *cohort, const struct note_table *notes,
                             const double shares[SPLIT_PARTS], uint64_t seed, struct error *error) {
    struct arena arena = {0};
    struct stratifier s = {.cohort = cohort};
    bool done = stratifier_open(&s, notes, &arena, error);
    if (done) want_shares(&s, shares);
    done = done && assign_patients(&s, seed, &arena, error);
    for (int part = 0; done && part < SPLIT_PARTS; part++) {
        split->rows[part] = memory_alloc(cohort->count, sizeof *split->rows[part]);
        done = split->rows[part] != NULL || memory_error(error, cohort->count * sizeof(uint32_t), "the split");
        for (size_t i = 0; done && i < cohort->count; i++) {
            if (s.part_of[s.patient_of[i]] == part) split->rows[part][split->counts[part]++] = (uint32_t)i;
        }
    }
    arena_free(&arena);
    return done;
}
