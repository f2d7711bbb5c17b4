/* Notes from files: text, a column of a CSV, JSON lines, HL7 version 2 messages, FHIR resources. */
#ifndef CASEMIX_CLI_NOTE_FILES_H
#define CASEMIX_CLI_NOTE_FILES_H

#include <stdbool.h>
#include <stddef.h>

struct error;
struct fhir_note;
struct json;

enum input { INPUT_GUESS, INPUT_TEXT, INPUT_CSV, INPUT_JSONL, INPUT_HL7, INPUT_FHIR };
/* "text", "csv", "jsonl", "hl7" or "fhir"; false for another name. */
bool input_parse(const char *name, enum input *input);

/* How files are read, and who is given the notes. */
struct note_reader {
    enum input input;                    /* INPUT_GUESS: by the file's name */
    const char *text_column, *id_column; /* id_column NULL: note_id, hadm_id or id, else the row's number */
    bool (*take)(void *context, const char *id, const char *note, size_t length, struct error *error);
    bool (*flush)(void *context,
                  struct error *error); /* a file cannot be read further: what was taken shall come out */
    void *context;
};

/* All notes of a file ("-": standard input), in its order. Stops at the first error. */
bool note_file_read(const struct note_reader *reader, const char *path, struct error *error);

/* The notes of a FHIR file (data/fhir.h: fhir_read) and the document that they point into; all three are the caller's.
 */
bool fhir_file_read(const char *path, struct json **document, struct fhir_note **notes, size_t *count,
                    struct error *error);

#endif
