/* Discharge summaries: finding the section that the models read. */
#ifndef CASEMIX_DRG_NOTE_H
#define CASEMIX_DRG_NOTE_H

#include <stdbool.h>
#include <stddef.h>

struct error;

/* A stretch of a note, as byte offsets. */
struct span {
    size_t start, end;
};

/* The "Brief Hospital Course" of a discharge summary as a reader would cut it: header alternatives ("Brief Hospital
 * Course", "HOSPITAL COURSE", "Summary of Hospital Course", …, at the start of a line, any case), up to the next
 * section header that follows it in a discharge summary
 * ("Medications on Admission", "Discharge Medications", "Discharge Disposition", …). Text behind the colon on the
 * header line belongs to the section. False when there is no such header; then *section is the whole note trimmed of
 * white space. */
bool note_hospital_course(const char *note, size_t length, struct span *section);

/* The whole note less the white space around it. */
struct span note_trim(const char *note, size_t length);

/* The largest note that is read: 4 MiB. */
#define NOTE_LIMIT ((size_t)4 << 20)

/* Checks what every reader of notes checks: not empty or blank, at most NOTE_LIMIT bytes, valid UTF-8, no NUL.
 * `name` says which note in the message; the note's text never appears in it. */
bool note_check(const char *name, const char *note, size_t length, struct error *error);

#endif
