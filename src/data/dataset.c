/* Datasets of stays, and the labels of a model. */
#include "data/dataset.h"
#include "base/csv.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool copy_id(struct dataset *dataset, const json_node *root, const char *name, const char **id,
                    struct error *error) {
    const json_node *member = json_member(root, name);
    char number[32] = "";
    const char *value = json_string(member);
    int64_t integer;
    if (value == NULL && json_integer(member, &integer)) {
        snprintf(number, sizeof number, "%lld", (long long)integer);
    } else if (value == NULL && !json_is_null(member)) {
        return error_set(error, "\"%s\" is neither a string nor an integer", name);
    }
    *id = arena_string(&dataset->arena, value == NULL ? number : value, strlen(value == NULL ? number : value));
    return *id != NULL || memory_error(error, 32, "the dataset");
}

static bool add_stay(void *context, uint64_t line, const json_node *root, struct error *error) {
    struct dataset *dataset = context;
    (void)line;
    if (!json_is_object(root)) return error_set(error, "not a JSON object");
    const char *text = NULL;
    int64_t drg = 0;
    if (!json_get_string(root, "text", true, &text, error)) return false;
    if (!json_get_int(root, "drg", false, 1, 999, &drg, error)) return false;
    struct stay stay = {.text_length = strlen(text), .drg = (int)drg};
    stay.text = arena_string(&dataset->arena, text, stay.text_length);
    if (stay.text == NULL) return memory_error(error, stay.text_length, "the dataset");
    if (!copy_id(dataset, root, "note_id", &stay.note_id, error) ||
        !copy_id(dataset, root, "hadm_id", &stay.hadm_id, error) ||
        !copy_id(dataset, root, "subject_id", &stay.subject_id, error)) {
        return false;
    }
    if (!memory_grow(&dataset->stays, &dataset->capacity, dataset->count + 1, sizeof *dataset->stays, error))
        return false;
    dataset->stays[dataset->count++] = stay;
    return true;
}

bool dataset_load(struct dataset *dataset, const char *path, struct error *error) {
    return json_lines(path, add_stay, dataset, error);
}

void dataset_free(struct dataset *dataset) {
    memory_free(dataset->stays);
    arena_free(&dataset->arena);
    *dataset = (struct dataset){0};
}

void dataset_add_line(struct text *out, const struct dataset_line *line) {
    text_add(out, "{\"note_id\": ");
    text_add_json(out, line->note_id, strlen(line->note_id));
    text_printf(out, ", \"hadm_id\": %lld, \"subject_id\": %lld, \"text\": ", (long long)line->hadm_id,
                (long long)line->subject_id);
    text_add_json(out, line->text, line->length);
    text_printf(out, ", \"drg\": %d, \"title\": ", line->drg->code);
    text_add_json(out, line->drg->title, strlen(line->drg->title));
    if (line->drg->paper_severity >= 0)
        text_printf(out, ", \"base\": %d, \"severity\": %d", line->drg->base, line->drg->paper_severity);
    text_printf(out, ", \"split\": \"%s\"}\n", line->split);
}

/* The grouper stands in a comment on the first line: "# grouper v43". */
static bool read_grouper(struct labels *labels, const struct text *text, const char *path, struct error *error) {
    char name[16];
    if (text->data == NULL || sscanf(text->data, "# grouper %15s", name) != 1) {
        return error_set(error, "%s: the first line is not \"# grouper v34\" or \"# grouper v43\"", path);
    }
    return grouper_parse(name, &labels->grouper, error) || error_context(error, "%s", path);
}

static bool read_rows(struct labels *labels, const struct tsv *table, const char *path, struct error *error) {
    size_t label_column, drg_column;
    if (!tsv_require(table, path, "label", &label_column, error) ||
        !tsv_require(table, path, "drg", &drg_column, error))
        return false;
    labels->codes = memory_alloc(table->rows, sizeof *labels->codes);
    if (labels->codes == NULL) return memory_error(error, table->rows * sizeof *labels->codes, path);
    for (size_t row = 0; row < table->rows; row++) {
        int64_t label, code;
        const bool numbers = parse_int64(tsv_cell(table, row, label_column), &label) &&
                             parse_int64(tsv_cell(table, row, drg_column), &code);
        if (!numbers || label != (int64_t)row || code < 1 || code > 999 ||
            (row > 0 && code <= labels->codes[row - 1])) {
            return error_set(error, "%s, line %u: expected label %zu and a DRG code larger than the one before", path,
                             table->lines[row], row);
        }
        labels->codes[labels->count++] = (int)code;
    }
    return labels->count > 0 || error_set(error, "%s: no labels", path);
}

bool labels_load(struct labels *labels, const char *path, struct error *error) {
    struct text text = {0};
    struct tsv table = {0};
    *labels = (struct labels){0};
    const bool done = file_read(&text, path, (size_t)1 << 20, error) && read_grouper(labels, &text, path, error) &&
                      tsv_parse(&table, path, text.data, text.length, error) && read_rows(labels, &table, path, error);
    tsv_free(&table);
    text_free(&text);
    if (!done) labels_free(labels);
    return done;
}

void labels_add_tsv(struct text *out, const struct labels *labels) {
    const struct catalog *catalog = catalog_get(labels->grouper);
    const bool two_label = labels->grouper == GROUPER_V34;
    text_printf(out, "# grouper %s\nlabel\tdrg%s\n", grouper_name(labels->grouper),
                two_label ? "\tbase\tseverity" : "");
    for (size_t i = 0; i < labels->count; i++) {
        const struct drg *drg = catalog_find(catalog, labels->codes[i]);
        text_printf(out, "%zu\t%d", i, labels->codes[i]);
        if (two_label && drg != NULL) text_printf(out, "\t%d\t%d", drg->base, drg->paper_severity);
        text_add_char(out, '\n');
    }
}

bool labels_write(const struct labels *labels, const char *path, struct error *error) {
    struct text text = {0};
    labels_add_tsv(&text, labels);
    const bool done = text_ok(&text, error) && file_write(path, text.data, text.length, error);
    text_free(&text);
    return done;
}

static int compare_codes(const void *a, const void *b) {
    return *(const int *)a - *(const int *)b;
}

int labels_find(const struct labels *labels, int code) {
    const int *found =
        labels->count == 0 ? NULL : bsearch(&code, labels->codes, labels->count, sizeof code, compare_codes);
    return found == NULL ? -1 : (int)(found - labels->codes);
}

void labels_free(struct labels *labels) {
    memory_free(labels->codes);
    *labels = (struct labels){0};
}
