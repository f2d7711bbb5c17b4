/* Reading drgcodes.csv: see mimic_drgs.h. */
#include "data/mimic_drgs.h"
#include "base/csv.h"
#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "drg/harmonise.h"
#include <stdlib.h>
#include <string.h>

/* Columns of the file. */
struct drg_columns {
    int hadm_id, type, description;
};

/* The description's index, taken up and mapped when it is new; -1 when memory is short. */
static int32_t take_description(struct drg_table *table, const char *text, size_t length,
                                const struct title_map *titles, struct error *error) {
    const int32_t known = hash_find(&table->ids, text, length, -1);
    if (known >= 0) return known;
    const char *copy = arena_string(&table->arena, text, length);
    if (copy == NULL || !memory_grow(&table->descriptions, &table->description_capacity, table->description_count + 1,
                                     sizeof *table->descriptions, error)) {
        memory_error(error, length, "a description");
        return -1;
    }
    const int32_t index = (int32_t)table->description_count;
    if (!hash_insert(&table->ids, copy, length, index, NULL, error)) return -1;
    struct drg_description *description = &table->descriptions[table->description_count++];
    *description = (struct drg_description){.text = copy, .length = length};
    const char *reason;
    description->code = title_map_find(titles, copy, length, &reason);
    if (description->code > 0) return index;
    /* The reason belongs to the map, which goes before the table does. */
    description->reason = arena_string(&table->arena, reason, strlen(reason));
    if (description->reason == NULL) {
        memory_error(error, strlen(reason), "a description");
        return -1;
    }
    return index;
}

static bool take_row(struct drg_table *table, const struct csv_reader *reader, const struct drg_columns *columns,
                     const char *path, const struct title_map *titles, struct error *error) {
    size_t length;
    int64_t hadm_id;
    table->all_rows++;
    if (strcmp(csv_field(reader, columns->type, NULL), "HCFA") != 0) return true;
    table->hcfa_rows++;
    const char *text = csv_field(reader, columns->description, &length);
    size_t bad;
    if (!utf8_valid(text, length, &bad)) {
        error_set(error, "%s: the description in the record on line %llu is not UTF-8", path,
                  (unsigned long long)csv_line(reader));
        return error_hint(error, "convert the file first, for example: iconv -f latin1 -t utf-8");
    }
    const int32_t index = take_description(table, text, length, titles, error);
    if (index < 0) return false;
    struct drg_description *description = &table->descriptions[index];
    description->rows++;
    const char *stay = csv_field(reader, columns->hadm_id, NULL);
    if (*stay == '\0') {
        table->without_stay++;
        return true;
    }
    if (!parse_int64(stay, &hadm_id))
        return error_set(error, "%s: hadm_id \"%.20s\" in the record on line %llu is no whole number", path, stay,
                         (unsigned long long)csv_line(reader));
    if (description->code == 0) return true;
    if (table->count == UINT32_MAX) return error_set(error, "%s: more than 4,294,967,295 rows", path);
    if (!memory_grow(&table->rows, &table->capacity, table->count + 1, sizeof *table->rows, error)) return false;
    table->rows[table->count] = (struct drg_row){hadm_id, description->code, (uint32_t)table->count};
    table->count++;
    return true;
}

static int compare_rows(const void *a, const void *b) {
    const struct drg_row *left = a, *right = b;
    if (left->hadm_id != right->hadm_id) return left->hadm_id < right->hadm_id ? -1 : 1;
    return (left->place > right->place) - (left->place < right->place);
}

static bool sort_by_stay(struct drg_table *table, struct error *error) {
    table->by_stay = memory_alloc(table->count, sizeof *table->by_stay);
    if (table->by_stay == NULL) return memory_error(error, table->count * sizeof *table->by_stay, "the DRGs");
    if (table->count == 0) return true;
    memcpy(table->by_stay, table->rows, table->count * sizeof *table->rows);
    qsort(table->by_stay, table->count, sizeof *table->by_stay, compare_rows);
    return true;
}

bool drg_table_load(struct drg_table *table, const char *path, const struct title_map *titles, struct error *error) {
    struct csv_reader *reader;
    struct drg_columns columns;
    struct progress progress;
    uint64_t consumed, size;
    if (!csv_open(&reader, path, error)) return false;
    bool more = true, done = csv_require(reader, "hadm_id", &columns.hadm_id, error) &&
                             csv_require(reader, "drg_type", &columns.type, error) &&
                             csv_require(reader, "description", &columns.description, error);
    csv_position(reader, &consumed, &size);
    progress_start(&progress, "reading DRGs", "bytes", size);
    while (done && (done = csv_next(reader, &more, error)) && more) {
        done = take_row(table, reader, &columns, path, titles, error);
        if ((table->all_rows & 1023) != 0) continue;
        csv_position(reader, &consumed, &size);
        progress_update(&progress, consumed);
    }
    progress_finish(&progress);
    csv_close(reader);
    return done && sort_by_stay(table, error);
}

size_t drg_table_find(const struct drg_table *table, int64_t hadm_id, const struct drg_row **rows) {
    size_t low = 0, high = table->count, count = 0;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (table->by_stay[middle].hadm_id < hadm_id)
            low = middle + 1;
        else
            high = middle;
    }
    *rows = table->by_stay + low;
    while (low + count < table->count && table->by_stay[low + count].hadm_id == hadm_id) count++;
    return count;
}

void drg_table_free(struct drg_table *table) {
    memory_free(table->rows);
    memory_free(table->by_stay);
    memory_free(table->descriptions);
    hash_free(&table->ids);
    arena_free(&table->arena);
    *table = (struct drg_table){0};
}
