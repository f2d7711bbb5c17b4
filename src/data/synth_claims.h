/* Given claims for the synthetic cohort: their codes and DRG are kept, only the note is made. */
#ifndef CASEMIX_DATA_SYNTH_CLAIMS_H
#define CASEMIX_DATA_SYNTH_CLAIMS_H

#include "base/csv.h"
#include "base/memory.h"
#include "data/synth_stay.h"
#include <stddef.h>

/* Claims of a file: tab separated, columns claim_id, pdx, sdx, px, drg (mdc, type and severity may stand there too);
 * sdx and px are comma lists. Zero-initialise; release with claims_free. */
struct claims {
    struct tsv table;
    struct synthetic_stay *stays; /* [count] DRG and codes only */
    const char **ids;             /* [count] */
    size_t rows, count, skipped;  /* skipped: with a code that no table knows */
    size_t columns[5];
    struct code_wishes wishes;
    struct arena arena;
};

/* Reads and checks the first `most` claims (0: all) and notes which codes they need. A DRG that v43 does not have, or
 * what is no code, is an error that names the line. */
bool claims_load(struct claims *claims, const char *path, size_t most, struct error *error);

/* Finds the codes in the knowledge, which was loaded with claims->wishes. */
bool claims_resolve(struct claims *claims, const char *path, const struct knowledge *knowledge, struct error *error);
void claims_free(struct claims *claims);

/* The kind of patient that the codes ask for; PATIENT_KINDS: any adult. */
enum patient_kind stay_kind(const struct knowledge *knowledge, const struct synthetic_stay *stay);

#endif
