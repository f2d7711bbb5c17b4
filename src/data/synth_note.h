/* Writing a synthetic stay as a discharge summary in the style of MIMIC-IV's notes. */
#ifndef CASEMIX_DATA_SYNTH_NOTE_H
#define CASEMIX_DATA_SYNTH_NOTE_H

#include "base/text.h"
#include "data/synth_stay.h"
#include "drg/note.h"

/* What the hospital course tells. The others are for finding out where a label's signal is: the course without the
 * principal condition, its findings, its treatment and the procedures; without them and without conditions that are
 * much commoner in this DRG than elsewhere; and with nothing but the principal condition. */
enum tell { TELL_ALL, TELL_NO_PRINCIPAL, TELL_BACKGROUND, TELL_PRINCIPAL_ONLY, TELLS };
extern const char *const tell_names[TELLS]; /* "all", "no-principal", "background", "principal-only" */

struct note_style {
    int words;          /* mean length of the hospital course; single ones lie between 60 and 900 */
    double misspells;   /* share of the longer words that are misspelt, in the mean of all authors */
    double abbreviates; /* 1: as authors do; 0: none shortens a word */
    enum tell tell;
};

/* Appends the whole note; *course is the hospital course within it, relative to the start of the note. Neither a DRG
 * title nor a code stands in it. */
void synthetic_note_write(struct text *out, struct span *course, const struct knowledge *knowledge,
                          const struct synthetic_stay *stay, const struct note_style *style, struct rng *rng);

#endif
