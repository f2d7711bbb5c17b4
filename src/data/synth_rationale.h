/* Truthful rationales of synthetic stays: from the codes of a stay, the sentences that lead to its DRG. They name the
 * principal condition, what procedures decide, which other conditions are an MCC or a CC, which would be and do not
 * count beside this principal diagnosis, which are neither, and the title. Conditions are called as the note calls
 * them. */
#ifndef CASEMIX_DATA_SYNTH_RATIONALE_H
#define CASEMIX_DATA_SYNTH_RATIONALE_H

#include "base/csv.h"
#include "base/text.h"
#include "data/synth_stay.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

enum rationale_slot {
    RATIONALE_PRINCIPAL,
    RATIONALE_OPERATION,
    RATIONALE_PROCEDURE,
    RATIONALE_MEDICAL,
    RATIONALE_COMPANION,
    RATIONALE_DIED,
    RATIONALE_ALIVE,
    RATIONALE_AGAINST,
    RATIONALE_MCC,
    RATIONALE_CC,
    RATIONALE_LOWER,
    RATIONALE_EXCLUDED_MCC,
    RATIONALE_EXCLUDED_CC,
    RATIONALE_UNUSED_MCC,
    RATIONALE_UNUSED_CC,
    RATIONALE_NEITHER,
    RATIONALE_NOTHING,
    RATIONALE_ANY,
    RATIONALE_WITHOUT_MCC,
    RATIONALE_CC_MCC,
    RATIONALE_MORE_MCC,
    RATIONALE_MORE_CC,
    RATIONALE_MORE_CC_MCC,
    RATIONALE_LESS,
    RATIONALE_CHOICE,
    RATIONALE_CONCLUSION,
    RATIONALE_SLOTS
};

/* The sentences, from rationales.tsv. Zero-initialise; release with rationale_words_free. */
struct rationale_words {
    struct tsv table;
    struct phrases slots[RATIONALE_SLOTS];
    struct arena arena;
};
bool rationale_words_load(struct rationale_words *words, const char *directory, struct error *error);
void rationale_words_free(struct rationale_words *words);

/* Appends the rationale of a stay: DRG, principal diagnosis, secondary ones and procedures are read of it. `note` (may
 * be NULL) is the text whose names for conditions are taken; what it does not name is left out where the DRG does not
 * rest on it. `differential`: the other DRGs of the same base are weighed too. Same seed, same words. False, and
 * nothing appended, when the codes do not give the DRG its severity: then there is nothing true to be said. */
bool rationale_write(struct text *out, const struct rationale_words *words, const struct knowledge *knowledge,
                     const struct synthetic_stay *stay, const char *note, size_t length, bool differential,
                     uint64_t seed);

#endif
