/* MIMIC-IV's two files to a dataset: the cohort of the papers, or an honest one split by patient. */
#ifndef CASEMIX_DATA_PREPARE_H
#define CASEMIX_DATA_PREPARE_H

#include "base/text.h"
#include "data/cohort.h"
#include "data/cohort_flow.h"
#include "data/mimic_drgs.h"
#include "data/mimic_notes.h"
#include "data/sapphire_subsets.h"

struct error;

enum prepare_protocol {
    PROTOCOL_PATIENT,  /* sections found as meant, split by patient, a stay with two different DRGs left out */
    PROTOCOL_DRG_LLAMA /* the published preprocessing, quirks included */
};

struct prepare_settings {
    enum prepare_protocol protocol;
    const char *notes, *drgcodes; /* discharge.csv[.gz], drgcodes.csv[.gz] */
    const char *title_map;        /* a published table of wordings; NULL: casemix's own */
    enum grouper grouper;
    enum note_part part; /* of the patient protocol */
    section_set sections;
    double shares[SPLIT_PARTS]; /* of the patient protocol */
    uint64_t seed;
    subset_set subsets; /* of the training part, in files of their own */
    bool audit;         /* OUT/audit: every step in the files of the published code */
    const char *out;    /* directory, made if absent */
    bool force;         /* overwrite a directory that is not empty */
};

/* Writes OUT/train.jsonl, dev.jsonl (patient protocol), test.jsonl, one JSONL a subset, labels.tsv, descriptions.tsv
 * and flow.json; files appear whole or not at all. Appends the cohort flow for people to `report`. */
bool prepare_run(const struct prepare_settings *settings, struct text *report, struct error *error);

/* Inside of the preparation: all that is known when the files are written. */
struct preparation {
    const struct prepare_settings *settings;
    struct drg_table drgs;
    struct note_table notes;
    struct cohort cohort;
    struct cohort_split split;
    struct sapphire_subsets subsets;
    uint32_t *sorted;       /* [cohort.count] rows after the published sort; NULL otherwise */
    struct text note_audit; /* rows of audit/sections.csv */
    struct cohort_flow *flow;
};

/* The files of OUT and OUT/audit. */
bool prepare_write(const struct preparation *preparation, struct error *error);

#endif
