/* The "brief hospital course" as DRG-LLaMA's published preprocessing cuts it, quirks included.
 *
 * Source: arXiv 2309.12625, data/MIMIC_Preprocessing.py of the published code: four regular expressions, tried in
 * order. They are reproduced by string search: the same section from the first header to the *last* delimiter of the
 * note, in linear time. To read a note as it is meant, use note_hospital_course of drg/note.h. */
#ifndef CASEMIX_DRG_PUBLISHED_SECTION_H
#define CASEMIX_DRG_PUBLISHED_SECTION_H

#include "drg/note.h"
#include <stddef.h>

/* The number of the pattern that found the section, 1 to 4; 0 if none did, then *section is untouched. Pattern 3 asks
 * for 24 blanks behind the header and before the delimiter, which no real note has: a slip of the published code. */
int published_section(const char *note, size_t length, struct span *section);

/* Words between white space as Python's str.split() counts them: Unicode white space and the separators 28 to 31.
 * Counting stops at `limit` words: whether a text has more than so many is known early. */
size_t count_words(const char *text, size_t length, size_t limit);

#endif
