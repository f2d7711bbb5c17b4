/* Writing a synthetic cohort: MIMIC-IV's files, and the dataset that training reads. */
#ifndef CASEMIX_DATA_SYNTH_WRITE_H
#define CASEMIX_DATA_SYNTH_WRITE_H

#include "data/synth_note.h"
#include <stdbool.h>
#include <stdint.h>

struct claims;
struct error;
struct knowledge;

struct synth_settings {
    int64_t stays;               /* with claims: not looked at */
    const struct claims *claims; /* rendered instead of drawn stays; NULL: none */
    bool apr;                    /* imitated APR rows beside the HCFA rows of drgcodes */
    uint64_t seed;
    double temper; /* DRGs are drawn with probability claims^temper: 1 as claims have them, 0 all alike */
    struct note_style style;
    double split[3]; /* shares of patients for train, dev, test */
    const char *out; /* directory, made if absent */
    bool force;      /* overwrite a directory that is not empty */
};

/* Writes discharge.csv.gz, drgcodes.csv.gz, diagnoses_icd.csv.gz, procedures_icd.csv.gz, patients.csv.gz,
 * admissions.csv.gz, train.jsonl, dev.jsonl, test.jsonl, labels.tsv and synth.json; with claims claims.tsv too. The
 * bytes depend on the settings alone, not on the number of threads. Files appear whole or not at all. */
bool synth_write(const struct knowledge *knowledge, const struct synth_settings *settings, struct error *error);

#endif
