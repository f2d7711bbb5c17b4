/* CSV streams through libcsv: the records of one piece of input are collected, then handed out one by one. */
#include "base/csv.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/read_ahead.h"
#include "base/text.h"
#include <csv.h>
#include <string.h>

enum { PIECE = 1 << 18 };
#define RECORD_LIMIT ((size_t)64 << 20)

/* A parsed record: fields first_field … of the batch. */
struct record {
    size_t first_field, fields;
    uint64_t line;
};

struct field {
    size_t start, length;
};

struct csv_reader {
    struct read_ahead *file;
    char *path;
    struct csv_parser parser;
    bool parser_open, finished, failed;
    struct text bytes; /* of the fields of the batch, each with a NUL */
    struct field *fields;
    size_t field_count, field_capacity;
    struct record *records;
    size_t record_count, record_capacity, record_next;
    size_t record_start; /* first field of the record being read */
    uint64_t line, record_line;
    bool in_record;
    struct field *header;
    char *header_bytes;
    size_t columns;
    const struct record *current;
};

static void take_field(void *bytes, size_t length, void *context) {
    struct csv_reader *reader = context;
    if (!memory_grow(&reader->fields, &reader->field_capacity, reader->field_count + 1, sizeof *reader->fields, NULL)) {
        reader->failed = true;
        return;
    }
    reader->fields[reader->field_count++] = (struct field){reader->bytes.length, length};
    text_append(&reader->bytes, bytes, length);
    text_append(&reader->bytes, "", 1);
}

static void take_record(int end, void *context) {
    struct csv_reader *reader = context;
    (void)end;
    if (!memory_grow(&reader->records, &reader->record_capacity, reader->record_count + 1, sizeof *reader->records,
                     NULL)) {
        reader->failed = true;
        return;
    }
    reader->records[reader->record_count++] =
        (struct record){reader->record_start, reader->field_count - reader->record_start, reader->record_line};
    reader->record_start = reader->field_count;
    reader->in_record = false;
}

/* Moves the unfinished record to the front, so that the memory holds one batch and not the file. */
static void drop_batch(struct csv_reader *reader) {
    const size_t kept = reader->field_count - reader->record_start;
    const size_t from = kept > 0 ? reader->fields[reader->record_start].start : reader->bytes.length;
    if (kept > 0) memmove(reader->fields, reader->fields + reader->record_start, kept * sizeof *reader->fields);
    for (size_t i = 0; i < kept; i++) reader->fields[i].start -= from;
    if (reader->bytes.length > 0) memmove(reader->bytes.data, reader->bytes.data + from, reader->bytes.length - from);
    reader->bytes.length -= from;
    reader->field_count = kept;
    reader->record_start = 0;
    reader->record_count = reader->record_next = 0;
}

static bool parser_error(struct csv_reader *reader, struct error *error) {
    const int code = csv_error(&reader->parser);
    const unsigned long long line = (unsigned long long)reader->record_line;
    if (code == CSV_EPARSE) {
        error_set(
            error,
            "%s: a quote is not closed or stands in the middle of a field, in the record that begins on line %llu",
            reader->path, line);
        return error_hint(error, "write fields with quotes as \"…\" and double the quotes inside (RFC 4180)");
    }
    return error_set(error, "%s: line %llu cannot be read: %s", reader->path, line, csv_strerror(code));
}

/* libcsv does not tell on which line a record begins: bytes are fed up to each line feed, and a record that has none of
 * its fields or quotes yet begins there. */
static bool feed(struct csv_reader *reader, const char *bytes, size_t length, struct error *error) {
    for (size_t from = 0; from < length;) {
        const char *line_feed = memchr(bytes + from, '\n', length - from);
        const size_t run = line_feed == NULL ? length - from : (size_t)(line_feed - bytes) + 1 - from;
        if (!reader->in_record) {
            reader->record_line = reader->line;
            reader->in_record = true;
        }
        if (csv_parse(&reader->parser, bytes + from, run, take_field, take_record, reader) != run)
            return parser_error(reader, error);
        if (line_feed != NULL) reader->line++;
        from += run;
        if (reader->failed || reader->bytes.failed) return memory_error(error, reader->bytes.length, "a CSV record");
        if (reader->bytes.length > RECORD_LIMIT + PIECE || reader->parser.entry_pos > RECORD_LIMIT) {
            return error_set(error, "%s: the record that begins on line %llu is over 64 MiB; a quote may be left open",
                             reader->path, (unsigned long long)reader->record_line);
        }
        /* A blank line gives no record: the next one begins on the next line. */
        if (line_feed != NULL && reader->parser.pstate == 0 && reader->field_count == reader->record_start)
            reader->in_record = false;
    }
    return true;
}

static bool read_batch(struct csv_reader *reader, struct error *error) {
    drop_batch(reader);
    while (reader->record_count == 0 && !reader->finished) {
        const char *bytes;
        size_t got;
        if (!read_ahead_next(reader->file, &bytes, &got, error)) return false;
        if (got > 0) {
            if (!feed(reader, bytes, got, error)) return false;
            continue;
        }
        reader->finished = true;
        if (csv_fini(&reader->parser, take_field, take_record, reader) != 0) return parser_error(reader, error);
        if (reader->failed || reader->bytes.failed) return memory_error(error, reader->bytes.length, "a CSV record");
    }
    return true;
}

/* The header is the first record; its names are kept apart from the batches. */
static bool read_header(struct csv_reader *reader, struct error *error) {
    if (!read_batch(reader, error)) return false;
    if (reader->record_count == 0) return error_set(error, "%s: empty, expected a header line", reader->path);
    const struct record *record = &reader->records[0];
    reader->columns = record->fields;
    size_t bytes = 0;
    for (size_t i = 0; i < record->fields; i++) bytes += reader->fields[record->first_field + i].length + 1;
    reader->header = memory_alloc(record->fields, sizeof *reader->header);
    reader->header_bytes = memory_alloc(bytes, 1);
    if (reader->header == NULL || reader->header_bytes == NULL) return memory_error(error, bytes, "a CSV header");
    size_t used = 0;
    for (size_t i = 0; i < record->fields; i++) {
        struct field field = reader->fields[record->first_field + i];
        const char *name = reader->bytes.data + field.start;
        if (i == 0 && field.length >= 3 && memcmp(name, "\xef\xbb\xbf", 3) == 0) { /* a byte order mark */
            name += 3;
            field.length -= 3;
        }
        memcpy(reader->header_bytes + used, name, field.length);
        reader->header_bytes[used + field.length] = '\0';
        reader->header[i] = (struct field){used, field.length};
        used += field.length + 1;
    }
    reader->record_next = 1;
    return true;
}

/* Blanks around fields are part of the text: libcsv would trim them. */
static int no_blank(unsigned char byte) {
    (void)byte;
    return 0;
}

bool csv_open(struct csv_reader **out, const char *path, struct error *error) {
    struct csv_reader *reader = memory_zero(1, sizeof *reader);
    if (reader == NULL) return memory_error(error, sizeof *reader, path);
    const char *name = strcmp(path, "-") == 0 ? "standard input" : path;
    reader->path = memory_copy_string(name, strlen(name));
    reader->line = 1;
    bool opened = reader->path != NULL || memory_error(error, strlen(name) + 1, path);
    opened = opened && read_ahead_open(&reader->file, path, error);
    if (opened && csv_init(&reader->parser, CSV_STRICT | CSV_STRICT_FINI | CSV_APPEND_NULL) != 0)
        opened = memory_error(error, 128, path);
    reader->parser_open = opened;
    if (opened) {
        csv_set_space_func(&reader->parser, no_blank);
        csv_set_blk_size(&reader->parser, PIECE); /* notes are long: the buffer of a field grows in large steps */
    }
    if (!opened || !read_header(reader, error)) {
        csv_close(reader);
        return false;
    }
    *out = reader;
    return true;
}

const char *csv_column_name(const struct csv_reader *reader, size_t column) {
    return reader->header_bytes + reader->header[column].start;
}

size_t csv_column_count(const struct csv_reader *reader) {
    return reader->columns;
}

int csv_column(const struct csv_reader *reader, const char *name) {
    for (size_t i = 0; i < reader->columns; i++) {
        if (strcmp(csv_column_name(reader, i), name) == 0) return (int)i;
    }
    return -1;
}

bool csv_require(const struct csv_reader *reader, const char *name, int *column, struct error *error) {
    *column = csv_column(reader, name);
    if (*column >= 0) return true;
    struct text names = {0};
    for (size_t i = 0; i < reader->columns && names.length < 400; i++)
        text_printf(&names, "%s%s", i == 0 ? "" : ", ", csv_column_name(reader, i));
    error_set(error, "%s: no column \"%s\"; the columns are: %s", reader->path, name,
              names.data == NULL ? "" : names.data);
    text_free(&names);
    return false;
}

bool csv_next(struct csv_reader *reader, bool *more, struct error *error) {
    reader->current = NULL;
    if (reader->record_next == reader->record_count && !read_batch(reader, error)) return false;
    *more = reader->record_next < reader->record_count;
    if (!*more) return true;
    reader->current = &reader->records[reader->record_next++];
    if (reader->current->fields == reader->columns) return true;
    return error_set(error, "%s: the record that begins on line %llu has %zu fields, the header has %zu", reader->path,
                     (unsigned long long)reader->current->line, reader->current->fields, reader->columns);
}

const char *csv_field(const struct csv_reader *reader, int column, size_t *length) {
    const struct field *field = &reader->fields[reader->current->first_field + (size_t)column];
    if (length != NULL) *length = field->length;
    return reader->bytes.data + field->start;
}

uint64_t csv_line(const struct csv_reader *reader) {
    return reader->current == NULL ? reader->line : reader->current->line;
}

void csv_position(const struct csv_reader *reader, uint64_t *consumed, uint64_t *size) {
    read_ahead_position(reader->file, consumed, size);
}

void csv_close(struct csv_reader *reader) {
    if (reader == NULL) return;
    if (reader->parser_open) csv_free(&reader->parser);
    read_ahead_close(reader->file);
    text_free(&reader->bytes);
    memory_free(reader->fields);
    memory_free(reader->records);
    memory_free(reader->header);
    memory_free(reader->header_bytes);
    memory_free(reader->path);
    memory_free(reader);
}
