/* CSV (RFC 4180) read as a stream, and TSV tables read whole. */
#ifndef CASEMIX_BASE_CSV_H
#define CASEMIX_BASE_CSV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

/* A CSV file, plain or gzip, "-" for stdin: a header row, then records. Quotes, doubled quotes, commas and line feeds
 * inside fields are handled by libcsv. An unclosed quote, a record with fewer or more fields than the header, and a
 * record over 64 MiB are errors that name the line on which the record began. */
struct csv_reader;

bool csv_open(struct csv_reader **reader, const char *path, struct error *error);

/* Column number of a header name; -1 if there is none. */
int csv_column(const struct csv_reader *reader, const char *name);
/* The same, an error that lists the columns present when there is none. */
bool csv_require(const struct csv_reader *reader, const char *name, int *column, struct error *error);
size_t csv_column_count(const struct csv_reader *reader);
const char *csv_column_name(const struct csv_reader *reader, size_t column);

/* The next record. At the end *more is false. Fields stay valid until the next call; each has a NUL behind. */
bool csv_next(struct csv_reader *reader, bool *more, struct error *error);
const char *csv_field(const struct csv_reader *reader, int column, size_t *length); /* length may be NULL */
uint64_t csv_line(const struct csv_reader *reader); /* line of the file on which the current record began, from 1 */
void csv_position(const struct csv_reader *reader, uint64_t *consumed, uint64_t *size); /* as read_ahead_position */
void csv_close(struct csv_reader *reader);

/* A TSV file (plain or gzip) read whole: tab separated, LF (or CRLF) lines, one header line, no quoting; lines that
 * begin with '#' and empty lines are left out. Every row must have as many fields as the header. */
struct tsv {
    char *bytes;         /* the file; cells point into it */
    const char **header; /* [columns] */
    const char **cells;  /* [rows, columns] */
    uint32_t *lines;     /* [rows] line in the file */
    size_t rows, columns;
};
bool tsv_load(struct tsv *table, const char *path, struct error *error);
/* The same from memory (copied); `name` for messages. */
bool tsv_parse(struct tsv *table, const char *name, const char *bytes, size_t length, struct error *error);
bool tsv_require(const struct tsv *table, const char *path, const char *name, size_t *column, struct error *error);
const char *tsv_cell(const struct tsv *table, size_t row, size_t column);
void tsv_free(struct tsv *table);

#endif
