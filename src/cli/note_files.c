/* Notes from files: see note_files.h. */
#include "cli/note_files.h"
#include "base/csv.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "data/fhir.h"
#include "data/hl7.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Bytes of a file of messages or resources, and documents in one Bundle. */
#define MESSAGES_LIMIT ((size_t)256 << 20)
enum { FHIR_DOCUMENTS = 10000 };

bool input_parse(const char *name, enum input *input) {
    static const char *const names[] = {[INPUT_TEXT] = "text",
                                        [INPUT_CSV] = "csv",
                                        [INPUT_JSONL] = "jsonl",
                                        [INPUT_HL7] = "hl7",
                                        [INPUT_FHIR] = "fhir"};
    for (int i = INPUT_TEXT; i <= INPUT_FHIR; i++) {
        if (strcmp(names[i], name) != 0) continue;
        *input = (enum input)i;
        return true;
    }
    return false;
}

static bool read_text(const struct note_reader *reader, const char *path, struct error *error) {
    struct text note = {0};
    const bool done = file_read(&note, path, (size_t)64 << 20, error) &&
                      reader->take(reader->context, strcmp(path, "-") == 0 ? "standard input" : path,
                                   note.data == NULL ? "" : note.data, note.length, error);
    text_free(&note);
    return done;
}

/* The file goes no further: what has been taken comes out, and the error stays the one there is. */
static void give_up(const struct note_reader *reader) {
    struct error earlier = {0};
    reader->flush(reader->context, &earlier);
}

static bool read_hl7(const struct note_reader *reader, const char *path, struct error *error) {
    struct text bytes = {0};
    bool done = file_read(&bytes, path, MESSAGES_LIMIT, error);
    if (done &&
        !hl7_read(path, bytes.data == NULL ? "" : bytes.data, bytes.length, reader->take, reader->context, error)) {
        give_up(reader);
        done = false;
    }
    text_free(&bytes);
    return done;
}

bool fhir_file_read(const char *path, struct json **document, struct fhir_note **notes, size_t *count,
                    struct error *error) {
    if (!json_load(document, path, MESSAGES_LIMIT, error)) return false;
    if (fhir_read(json_root(*document), FHIR_DOCUMENTS, notes, count, error)) return true;
    json_free(*document);
    return error_context(error, "%s", path);
}

static bool read_fhir(const struct note_reader *reader, const char *path, struct error *error) {
    struct json *document;
    struct fhir_note *notes;
    size_t count;
    if (!fhir_file_read(path, &document, &notes, &count, error)) return false;
    bool done = true;
    for (size_t i = 0; i < count; i++) {
        done = done && reader->take(reader->context, notes[i].id, notes[i].text.data, notes[i].text.length, error);
        fhir_note_free(&notes[i]);
    }
    memory_free(notes);
    json_free(document);
    return done;
}

static bool find_columns(const struct note_reader *reader, const struct csv_reader *csv, int *text, int *id,
                         struct error *error) {
    static const char *const usual[] = {"note_id", "hadm_id", "id"};
    *id = -1;
    if (!csv_require(csv, reader->text_column, text, error))
        return error_hint(error, "name the column of the notes with --text-column");
    if (reader->id_column != NULL) return csv_require(csv, reader->id_column, id, error);
    for (size_t i = 0; i < 3 && *id < 0; i++) *id = csv_column(csv, usual[i]);
    return true;
}

static bool read_csv(const struct note_reader *reader, const char *path, struct error *error) {
    struct csv_reader *csv;
    if (!csv_open(&csv, path, error)) return false;
    int text_column, id_column;
    bool done = find_columns(reader, csv, &text_column, &id_column, error), more = true;
    for (uint64_t row = 1; done && more; row++) {
        done = csv_next(csv, &more, error);
        if (!done) give_up(reader);
        if (!done || !more) break;
        char number[32];
        size_t length;
        snprintf(number, sizeof number, "%llu", (unsigned long long)row);
        const char *note = csv_field(csv, text_column, &length),
                   *id = id_column < 0 ? number : csv_field(csv, id_column, NULL);
        done = reader->take(reader->context, *id == '\0' ? number : id, note, length, error);
        if (!done) error_context(error, "%s, line %llu", path, (unsigned long long)csv_line(csv));
    }
    csv_close(csv);
    return done;
}

static bool read_json_line(void *context, uint64_t line, const json_node *root, struct error *error) {
    static const char *const usual[] = {"id", "note_id", "hadm_id"};
    const struct note_reader *reader = context;
    const char *text = NULL;
    char id[256];
    snprintf(id, sizeof id, "%llu", (unsigned long long)line);
    for (size_t i = 0; i < 3; i++) {
        const json_node *member = json_member(root, usual[i]);
        int64_t number;
        if (json_string(member) != NULL)
            snprintf(id, sizeof id, "%s", json_string(member));
        else if (json_integer(member, &number))
            snprintf(id, sizeof id, "%lld", (long long)number);
        else
            continue;
        break;
    }
    return json_get_string(root, "text", true, &text, error) &&
           reader->take(reader->context, id, text, strlen(text), error);
}

static bool ends_with(const char *path, const char *ending) {
    const size_t length = strlen(path), size = strlen(ending);
    return length > size && strcasecmp(path + length - size, ending) == 0;
}

bool note_file_read(const struct note_reader *reader, const char *path, struct error *error) {
    enum input input = reader->input;
    struct note_reader copy = *reader; /* json_lines hands it on without const */
    if (input == INPUT_GUESS) {
        input = INPUT_TEXT;
        if (ends_with(path, ".csv") || ends_with(path, ".csv.gz")) input = INPUT_CSV;
        if (ends_with(path, ".jsonl") || ends_with(path, ".jsonl.gz") || ends_with(path, ".ndjson"))
            input = INPUT_JSONL;
    }
    if (input == INPUT_CSV) return read_csv(reader, path, error);
    if (input == INPUT_HL7) return read_hl7(reader, path, error);
    if (input == INPUT_FHIR) return read_fhir(reader, path, error);
    if (input == INPUT_TEXT) return read_text(reader, path, error);
    if (json_lines(path, read_json_line, &copy, error)) return true;
    give_up(reader);
    return false;
}
