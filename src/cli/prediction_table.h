/* Tables for people: what `predict` prints for a note, within 100 columns. */
#ifndef CASEMIX_CLI_PREDICTION_TABLE_H
#define CASEMIX_CLI_PREDICTION_TABLE_H

#include "base/text.h"
#include "drg/catalog.h"
#include <stdbool.h>
#include <stddef.h>

enum { TABLE_COLUMNS = 100, BAR_COLUMNS = 8 };

/* A string padded with blanks, or cut with an ellipsis, to exactly `columns` terminal columns. */
void table_fit(char *out, size_t capacity, const char *string, size_t columns);

/* A bar of BAR_COLUMNS columns of which a share, 0 to 1, is filled by eighths. */
void table_add_bar(struct text *out, double share);

struct table_row {
    const struct drg *drg;
    double p;
};

/* One note: a heading with its name, then the rows. */
void table_add_note(struct text *out, const char *name, int tokens, bool truncated, bool whole_note,
                    const struct table_row *rows, size_t count);

/* Words behind a label, in lines of TABLE_COLUMNS whose later ones are indented; line ends of the text stay, control
 * characters, which could move a terminal's cursor, become blanks. */
void table_add_words(struct text *out, const char *label, const char *words, size_t length);

#endif
