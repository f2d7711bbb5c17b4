/* The sections of a discharge summary by name: "chief complaint", "hospital course", "discharge diagnosis", …
 *
 * A section begins with its heading at the start of a line, any case, followed by a colon or by the end of the line,
 * and runs to the next heading that is known here. */
#ifndef CASEMIX_DRG_SECTIONS_H
#define CASEMIX_DRG_SECTIONS_H

#include "base/text.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

/* A set of sections: bit i stands for the i-th known name. */
typedef uint32_t section_set;

/* "chief complaint,hospital-course" to a set; blanks, '-' and '_' are alike, case does not matter. An unknown name is
 * an error that lists the known ones. */
bool section_set_parse(section_set *set, const char *names, struct error *error);

/* Appends the wanted sections in the order of the note, headings included, a blank line between; returns how many there
 * were. */
size_t sections_copy(struct text *out, const char *note, size_t length, section_set wanted);

#endif
