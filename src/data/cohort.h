/* A cohort: notes joined with the DRGs of their stays, DRGs too rare to learn dropped, labels in code order.
 *
 * Two ways to join. As published (DRG-LLaMA): an inner join in pandas' order, a stay with two DRGs standing twice. As a
 * careful reader would: a stay with different DRGs has no certain label and is left out. */
#ifndef CASEMIX_DATA_COHORT_H
#define CASEMIX_DATA_COHORT_H

#include "data/dataset.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct drg_table;
struct note_table;

struct cohort_row {
    uint32_t note;   /* index into the notes */
    uint32_t joined; /* row number after the join, before rare DRGs were dropped */
    int32_t code;    /* DRG */
    int32_t label;   /* rank of the code among those of the cohort */
};

struct cohort {
    struct cohort_row *rows; /* [count] in the order of the join */
    size_t count;
    size_t without_drg;  /* notes left out since their stay has no mapped DRG */
    size_t ambiguous;    /* stays with different DRGs: left out by the careful join, doubled by the published one */
    size_t joined;       /* rows after the join */
    size_t joined_codes; /* distinct DRGs of these */
    size_t rare_codes;   /* DRGs dropped as rare */
    struct labels labels;
};

enum cohort_join { JOIN_PUBLISHED, JOIN_CERTAIN };

/* Rows of DRGs with fewer than two rows are dropped, as published. `kept_notes`: notes that passed all earlier steps,
 * those without a DRG among them. Zero-initialise; release with cohort_free. No row left is an error. */
bool cohort_build(struct cohort *cohort, const struct note_table *notes, const struct drg_table *drgs,
                  enum cohort_join join, enum grouper grouper, struct error *error);
void cohort_free(struct cohort *cohort);

/* Which rows of a cohort stand in which part, each part in its output order. The published protocol has no dev. */
enum part_of_split { PART_TRAIN, PART_DEV, PART_TEST, SPLIT_PARTS };
struct cohort_split {
    uint32_t *rows[SPLIT_PARTS]; /* row numbers of the cohort */
    size_t counts[SPLIT_PARTS];
};

/* DRG-LLaMA's: rows sorted by code as numpy sorts, then scikit-learn's stratified split, test 10 %, seed 42. `sorted`
 * [cohort->count] gets the row numbers after the sort. */
bool cohort_split_published(struct cohort_split *split, uint32_t *sorted, const struct cohort *cohort,
                            struct error *error);

/* By patient: no patient on two sides. DRGs from the rarest on, each patient goes to the part that lacks most of the
 * DRG (iterative stratification, Sechidis et al. 2011, over patients); rows keep the order of the cohort. shares: of
 * train, dev and test, sum above 0. */
bool cohort_split_by_patient(struct cohort_split *split, const struct cohort *cohort, const struct note_table *notes,
                             const double shares[SPLIT_PARTS], uint64_t seed, struct error *error);
void cohort_split_free(struct cohort_split *split);

#endif
