/* Writing a synthetic stay as a discharge summary in the style of MIMIC-IV's notes. */
#ifndef CASEMIX_DATA_SYNTH_NOTE_H
#define CASEMIX_DATA_SYNTH_NOTE_H

#include "base/text.h"
#include "data/synth_stay.h"
#include "drg/note.h"

/* Appends the whole note; *course is the hospital course within it, relative to the start of the note. `words` is the length of the hospital course aimed
 * at (mean). Neither a DRG title nor a code stands in it. */
void synthetic_note_write(struct text *out, struct span *course, const struct knowledge *knowledge, const struct synthetic_stay *stay, int words,
                          struct rng *rng);

#endif
