/* TSV tables read whole: cut in place at tabs and line feeds. */
#include "base/csv.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include <string.h>

#define TABLE_LIMIT ((size_t)1 << 30)

/* Cuts a line at its tabs and appends the pieces to cells. */
static bool cut_line(char *line, const char ***cells, size_t *count, size_t *capacity, size_t *fields,
                     struct error *error) {
    *fields = 0;
    for (char *cell = line; cell != NULL; ++*fields) {
        char *tab = strchr(cell, '\t');
        if (tab != NULL) *tab++ = '\0';
        if (!memory_grow(cells, capacity, *count + 1, sizeof **cells, error)) return false;
        (*cells)[(*count)++] = cell;
        cell = tab;
    }
    return true;
}

static bool cut_table(struct tsv *table, const char *name, struct error *error) {
    size_t cells = 0, cell_capacity = 0, line_capacity = 0, headers = 0, header_capacity = 0;
    uint32_t number = 1;
    for (char *line = table->bytes; line != NULL; number++) {
        char *end = strchr(line, '\n'), *next = end == NULL ? NULL : end + 1;
        if (end == NULL) end = line + strlen(line);
        *end = '\0';
        if (end > line && end[-1] == '\r') end[-1] = '\0';
        char *this_line = line;
        line = next;
        if (*this_line == '\0' || *this_line == '#') continue;
        if (table->columns == 0) {
            if (!cut_line(this_line, &table->header, &headers, &header_capacity, &table->columns, error)) return false;
            continue;
        }
        size_t fields;
        if (!cut_line(this_line, &table->cells, &cells, &cell_capacity, &fields, error)) return false;
        if (fields != table->columns) {
            return error_set(error, "%s, line %u: %zu fields, the header has %zu", name, number, fields,
                             table->columns);
        }
        if (!memory_grow(&table->lines, &line_capacity, table->rows + 1, sizeof *table->lines, error)) return false;
        table->lines[table->rows++] = number;
    }
    return table->columns > 0 || error_set(error, "%s: empty, expected a header line", name);
}

bool tsv_parse(struct tsv *table, const char *name, const char *bytes, size_t length, struct error *error) {
    *table = (struct tsv){0};
    size_t bad;
    if (!utf8_valid(bytes, length, &bad)) return error_set(error, "%s: invalid UTF-8 at byte %zu", name, bad);
    if (length > 0 && memchr(bytes, '\0', length) != NULL) return error_set(error, "%s: a NUL byte in a table", name);
    table->bytes = memory_copy_string(bytes, length);
    if (table->bytes == NULL) return memory_error(error, length, name);
    if (cut_table(table, name, error)) return true;
    tsv_free(table);
    return false;
}

bool tsv_load(struct tsv *table, const char *path, struct error *error) {
    struct text text = {0};
    *table = (struct tsv){0};
    const bool done = file_read(&text, path, TABLE_LIMIT, error) &&
                      tsv_parse(table, path, text.data == NULL ? "" : text.data, text.length, error);
    text_free(&text);
    return done;
}

bool tsv_require(const struct tsv *table, const char *path, const char *name, size_t *column, struct error *error) {
    for (*column = 0; *column < table->columns; ++*column) {
        if (strcmp(table->header[*column], name) == 0) return true;
    }
    return error_set(error, "%s: no column \"%s\"", path, name);
}

const char *tsv_cell(const struct tsv *table, size_t row, size_t column) {
    return table->cells[row * table->columns + column];
}

void tsv_free(struct tsv *table) {
    memory_free(table->cells);
    memory_free(table->header);
    memory_free(table->lines);
    memory_free(table->bytes);
    *table = (struct tsv){0};
}
