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

/* A section of a note, heading included, as byte offsets. */
struct note_section {
    size_t start, end;
    int rank; /* 0: the first to be kept where there is no room for all */
};

/* All sections of a note in its order; they lie end to end from 0 to length. What stands before the first heading is a
 * section too; a note without headings is one. Rank: discharge diagnosis, procedures, hospital course, chief complaint,
 * present illness, past history, results, then all others alike: diagnosis and procedure decide the base DRG and are
 * short, the course names what decides the severity. *sections: release with memory_free, also after a failure. */
bool sections_find(struct note_section **sections, size_t *count, const char *note, size_t length, struct error *error);

#endif
