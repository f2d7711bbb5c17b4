/* Files of rationales: why a stay has its DRG, one JSON object a line, as `casemix rationales` writes them and
 * fine-tuning reads them.
 *
 * Line: {"note_id":…, "drg":470, "title":…, "rationale":…}; a knowledge row has "group" and "answer" in place of drg
 * and title. */
#ifndef CASEMIX_DATA_RATIONALES_H
#define CASEMIX_DATA_RATIONALES_H

#include "base/hash.h"
#include "base/memory.h"
#include "base/text.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

struct rationale {
    const char *note_id;
    int drg;                    /* 0: a knowledge row */
    const char *title;          /* NULL in a knowledge row */
    const char *text;           /* the reasoning, without tags */
    const char *group, *answer; /* of a knowledge row; else NULL */
};

/* Zero-initialise; release with rationales_free. */
struct rationales {
    struct rationale *items; /* [count] in file order */
    size_t count, capacity;
    struct hash by_note; /* note_id: index of its first rationale */
    struct arena arena;
};

/* Appends the rationales of a file (plain or gzip). */
bool rationales_load(struct rationales *rationales, const char *path, struct error *error);
/* The rationale of a note; NULL if there is none. */
const struct rationale *rationales_find(const struct rationales *rationales, const char *note_id);
void rationales_free(struct rationales *rationales);

/* Appends the rationale as a line. */
void rationale_add_line(struct text *out, const struct rationale *rationale);

#endif
