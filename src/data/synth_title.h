/* What a code is called that nobody wrote wordings for: its title as a clinician would rather put it. */
#ifndef CASEMIX_DATA_SYNTH_TITLE_H
#define CASEMIX_DATA_SYNTH_TITLE_H

#include "base/text.h"

/* Appends two or more wordings separated by '|', made from the ICD-10-CM title (official, or without its administrative
 * words): those words out, commas turned round, common words for learned ones, the short forms of notes. */
void title_reword(struct text *out, const char *title);

#endif
