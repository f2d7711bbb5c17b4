/* Reading discharge.csv: see mimic_notes.h. */
#include "data/mimic_notes.h"
#include "base/csv.h"
#include "base/error.h"
#include "base/log.h"
#include "data/mimic_drgs.h"
#include "drg/note.h"
#include "drg/published_section.h"
#include <string.h>

const char note_audit_header[] = "note_id,hadm_id,pattern,words,chars,bytes,sha256,status\n";

/* The file being read. */
struct note_stream {
    struct csv_reader *reader;
    const char *path;
    int note_id, subject_id, hadm_id, text; /* columns */
    const struct note_reading *reading;
    struct text sections; /* scratch of PART_SECTIONS */
};

/* The part of one note that is read. */
struct part {
    const char *text;
    size_t length;
    int pattern; /* of the published code; 1 for the other ways of reading; 0: the note has no such part */
};

static struct part cut_part(struct note_stream *stream, const char *note, size_t length) {
    struct span span = {0, length};
    switch (stream->reading->part) {
    case PART_PUBLISHED: {
        const int pattern = published_section(note, length, &span);
        return (struct part){note + span.start, pattern == 0 ? 0 : span.end - span.start, pattern};
    }
    case PART_HOSPITAL_COURSE:
        if (!note_hospital_course(note, length, &span)) return (struct part){note, 0, 0};
        return (struct part){note + span.start, span.end - span.start, 1};
    case PART_SECTIONS:
        text_clear(&stream->sections);
        if (sections_copy(&stream->sections, note, length, stream->reading->sections) == 0)
            return (struct part){note, 0, 0};
        return (struct part){stream->sections.data, stream->sections.length, 1};
    case PART_FULL:
        break;
    }
    return (struct part){note, length, 1};
}

/* Whether the bytes were seen before; they are remembered. */
static bool remember(struct hash *seen, struct arena *arena, const char *bytes, size_t length, bool *before,
                     struct error *error) {
    uint64_t *fingerprint = arena_alloc(arena, 2, sizeof *fingerprint);
    if (fingerprint == NULL) return memory_error(error, sizeof *fingerprint, "the texts seen so far");
    fingerprint[0] = hash_bytes(bytes, length, 0x9e3779b97f4a7c15u);
    fingerprint[1] = hash_bytes(bytes, length, 0xc2b2ae3d27d4eb4fu);
    return hash_insert(seen, (const char *)fingerprint, 2 * sizeof *fingerprint, 1, before, error);
}

static bool keep(struct note_table *table, const struct note_stream *stream, int64_t hadm_id, const struct part *part,
                 struct error *error) {
    const struct drg_row *rows;
    int64_t subject_id = 0;
    if (drg_table_find(stream->reading->drgs, hadm_id, &rows) == 0) return true;
    const char *subject = csv_field(stream->reader, stream->subject_id, NULL);
    if (!parse_int64(subject, &subject_id))
        return error_set(error, "%s: subject_id \"%.20s\" in the record on line %llu is no whole number", stream->path,
                         subject, (unsigned long long)csv_line(stream->reader));
    if (!memory_grow(&table->notes, &table->capacity, table->count + 1, sizeof *table->notes, error)) return false;
    size_t id_length;
    const char *id = csv_field(stream->reader, stream->note_id, &id_length);
    struct source_note *note = &table->notes[table->count];
    *note = (struct source_note){arena_string(&table->arena, id, id_length), subject_id, hadm_id,
                                 arena_string(&table->arena, part->text, part->length), part->length};
    if (note->note_id == NULL || note->text == NULL) return memory_error(error, part->length, "the text of the notes");
    table->count++;
    return true;
}

/* One note through the steps; *status says where it ended. */
static bool sift(struct note_table *table, const struct note_stream *stream, int64_t hadm_id, bool has_stay,
                 const struct part *part, size_t words, const char **status, struct error *error) {
    bool before;
    table->patterns[part->pattern]++;
    *status = "no_section";
    if (part->pattern == 0) return true;
    table->with_part++;
    *status = "short";
    if (words <= SHORT_WORDS) return true;
    table->long_enough++;
    *status = "duplicate";
    if (!remember(&table->fingerprints, &table->arena, part->text, part->length, &before, error)) return false;
    if (before) return true;
    table->unique++;
    *status = "second_note";
    if (stream->reading->one_note_a_stay && has_stay) {
        if (!remember(&table->stays, &table->arena, (const char *)&hadm_id, sizeof hadm_id, &before, error))
            return false;
        if (before) return true;
    }
    table->first_of_stay++;
    *status = "kept";
    return !has_stay || keep(table, stream, hadm_id, part, error);
}

static size_t count_characters(const char *text, size_t length) {
    size_t count = 0;
    for (size_t i = 0; i < length; i++) count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

static void audit(const struct note_stream *stream, const struct part *part, size_t words, const char *status) {
    struct text *out = stream->reading->audit;
    char hash[65] = "";
    size_t length;
    const char *id = csv_field(stream->reader, stream->note_id, &length);
    text_add_csv(out, id, length);
    if (part->pattern > 0) sha256_hex(part->text, part->length, hash);
    text_printf(out, ",%s,%d,%zu,%zu,%zu,%s,%s\n", csv_field(stream->reader, stream->hadm_id, NULL), part->pattern,
                words, count_characters(part->text, part->length), part->length, hash, status);
}

static bool check_text(const struct note_stream *stream, const char *note, size_t length, struct error *error) {
    size_t bad;
    const unsigned long long line = (unsigned long long)csv_line(stream->reader);
    if (!utf8_valid(note, length, &bad)) {
        error_set(error, "%s: the note in the record that begins on line %llu is not UTF-8 (byte %zu of its text)",
                  stream->path, line, bad + 1);
        return error_hint(error, "convert the file first, for example: iconv -f latin1 -t utf-8");
    }
    return memchr(note, '\0', length) == NULL ||
           error_set(error, "%s: the note in the record that begins on line %llu holds a NUL byte", stream->path, line);
}

static bool take_note(struct note_table *table, struct note_stream *stream, struct error *error) {
    size_t length;
    int64_t hadm_id = 0;
    const char *note = csv_field(stream->reader, stream->text, &length),
               *stay = csv_field(stream->reader, stream->hadm_id, NULL), *status;
    table->read++;
    if (!check_text(stream, note, length, error)) return false;
    if (*stay != '\0' && !parse_int64(stay, &hadm_id))
        return error_set(error, "%s: hadm_id \"%.20s\" in the record on line %llu is no whole number", stream->path,
                         stay, (unsigned long long)csv_line(stream->reader));
    const struct part part = cut_part(stream, note, length);
    if (stream->sections.failed) return memory_error(error, length, "the sections of a note");
    const size_t limit = stream->reading->audit == NULL ? SHORT_WORDS + 1 : SIZE_MAX,
                 words = count_words(part.text, part.length, limit);
    if (!sift(table, stream, hadm_id, *stay != '\0', &part, words, &status, error)) return false;
    if (stream->reading->audit != NULL) audit(stream, &part, words, status);
    return true;
}

static bool open_stream(struct note_stream *stream, struct error *error) {
    return csv_open(&stream->reader, stream->path, error) &&
           csv_require(stream->reader, "note_id", &stream->note_id, error) &&
           csv_require(stream->reader, "subject_id", &stream->subject_id, error) &&
           csv_require(stream->reader, "hadm_id", &stream->hadm_id, error) &&
           csv_require(stream->reader, "text", &stream->text, error);
}

bool note_table_load(struct note_table *table, const char *path, const struct note_reading *reading,
                     struct error *error) {
    struct note_stream stream = {.path = path, .reading = reading};
    struct progress progress;
    uint64_t consumed, size;
    bool more = true, done = open_stream(&stream, error);
    if (done) {
        csv_position(stream.reader, &consumed, &size);
        progress_start(&progress, "reading notes", "bytes", size);
    }
    while (done && (done = csv_next(stream.reader, &more, error)) && more) {
        done = take_note(table, &stream, error);
        if ((table->read & 127) != 0) continue;
        csv_position(stream.reader, &consumed, &size);
        progress_update(&progress, consumed);
    }
    if (done) progress_finish(&progress);
    csv_close(stream.reader);
    text_free(&stream.sections);
    return done;
}

void note_table_free(struct note_table *table) {
    memory_free(table->notes);
    hash_free(&table->fingerprints);
    hash_free(&table->stays);
    arena_free(&table->arena);
    *table = (struct note_table){0};
}
