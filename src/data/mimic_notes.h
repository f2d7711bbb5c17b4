/* discharge.csv of MIMIC-IV-Note: the part of each summary that models read, for the stays that have a DRG.
 *
 * Notes stream by; what stays in memory is the text that is kept, and a fingerprint of 128 bits of each text seen, by
 * which copies are known. */
#ifndef CASEMIX_DATA_MIMIC_NOTES_H
#define CASEMIX_DATA_MIMIC_NOTES_H

#include "base/hash.h"
#include "base/memory.h"
#include "base/text.h"
#include "drg/sections.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct drg_table;

/* What of a note is read. */
enum note_part {
    PART_PUBLISHED,       /* the hospital course as DRG-LLaMA's published code cuts it */
    PART_HOSPITAL_COURSE, /* the hospital course as a reader would cut it */
    PART_FULL,            /* the whole note */
    PART_SECTIONS         /* sections by name */
};

/* Texts of so many words or fewer are left out, as in DRG-LLaMA. */
enum { SHORT_WORDS = 40 };

struct note_reading {
    enum note_part part;
    section_set sections;         /* of PART_SECTIONS */
    bool one_note_a_stay;         /* further notes of a stay are left out */
    const struct drg_table *drgs; /* only texts of these stays are kept in memory */
    struct text *audit;           /* gets a CSV row on the fate of each note; NULL: none wanted */
};

struct source_note {
    const char *note_id;
    int64_t subject_id, hadm_id;
    const char *text;
    size_t length;
};

enum { PATTERNS = 5 };

struct note_table {
    struct source_note *notes; /* [count] file order */
    size_t count, capacity;
    /* Notes left after each step: read, with the part asked for, long enough, not seen before, first of their stay. */
    uint64_t read, with_part, long_enough, unique, first_of_stay;
    uint64_t patterns[PATTERNS]; /* notes by the published pattern that matched; 0: none did */
    struct hash fingerprints, stays;
    struct arena arena;
};

/* Header line of the audit: note_id,hadm_id,pattern,words,chars,bytes,sha256,status. */
extern const char note_audit_header[];

/* Reads the file (CSV, plain or gzip) as a stream, with progress. Text that is not UTF-8 or holds a NUL is refused by
 * line. Zero-initialise; release with note_table_free. */
bool note_table_load(struct note_table *table, const char *path, const struct note_reading *reading,
                     struct error *error);
void note_table_free(struct note_table *table);

#endif
