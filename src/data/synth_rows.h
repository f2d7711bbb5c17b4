/* One synthetic stay as rows of MIMIC-IV's files and as a line of the dataset. */
#ifndef CASEMIX_DATA_SYNTH_ROWS_H
#define CASEMIX_DATA_SYNTH_ROWS_H

#include "base/text.h"
#include "data/synth_note.h"
#include "data/synth_stay.h"

enum synth_file {
    FILE_DISCHARGE,
    FILE_DRG,
    FILE_DIAGNOSES,
    FILE_PROCEDURES,
    FILE_PATIENTS,
    FILE_ADMISSIONS,
    FILE_TRAIN,
    FILE_DEV,
    FILE_TEST,
    FILE_CLAIMS, /* which claim became which stay; with given claims only */
    FILES
};

/* Names and header lines, the columns of MIMIC-IV 2.2 and MIMIC-IV-Note 2.2. */
struct file_form {
    const char *name, *header;
};
extern const struct file_form file_forms[FILES];

/* One stay rendered: its rows for each file. */
struct rendered {
    struct text rows[FILES];
    struct text note;
};

/* Whose stay it is. */
struct stay_place {
    struct patient patient;
    int sequence;         /* which of the patient's stays, from 1 */
    bool closing;         /* no later stay of the patient is in the cohort */
    const char *claim_id; /* NULL: a drawn stay */
};

/* Writes the note and appends all rows of the stay. `apr`: an imitated APR row too. */
void rows_render(struct rendered *rendered, const struct knowledge *knowledge, const struct synthetic_stay *stay,
                 const struct stay_place *place, const struct note_style *style, bool apr, struct rng *rng);

#endif
