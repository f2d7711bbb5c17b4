/* The ICD-10 codes of a dataset's stays, from MIMIC-IV's diagnoses_icd and procedures_icd (or those of `casemix
 * synth`): what a truthful rationale is made from. */
#ifndef CASEMIX_DATA_STAY_CODES_H
#define CASEMIX_DATA_STAY_CODES_H

#include "base/hash.h"
#include "base/memory.h"
#include "data/dataset.h"
#include "data/synth_stay.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

/* A row of either file. */
struct stay_code {
    uint32_t stay; /* index into the dataset */
    bool procedure;
    int32_t sequence; /* seq_num: 1 is the principal diagnosis */
    char code[8];     /* "": of another ICD version, or no code */
};

/* Zero-initialise; release with stay_codes_free. */
struct stay_codes {
    struct stay_code *rows; /* [count] by stay, diagnoses before procedures, by seq_num */
    size_t count, capacity;
    struct code_wishes wishes; /* codes and DRGs, for knowledge_load */
    struct hash stays;         /* hadm_id: index of its first stay */
    struct arena arena;
};

/* Reads DIRECTORY/diagnoses_icd.csv.gz and procedures_icd.csv.gz (or .csv) as far as they concern the stays. The
 * dataset's strings must outlive the codes, and the codes the knowledge that is loaded with their wishes. */
bool stay_codes_load(struct stay_codes *codes, const struct dataset *dataset, const char *directory,
                     struct error *error);
void stay_codes_free(struct stay_codes *codes);

/* The codes of one stay and its DRG (v43) as the generator has them. False when it has none, or one that no table knows
 * or that is not ICD-10, or more than a stay may have. */
bool stay_codes_find(const struct stay_codes *codes, const struct knowledge *knowledge, const struct dataset *dataset,
                     size_t stay, struct synthetic_stay *found);

#endif
