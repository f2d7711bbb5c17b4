/* The MS-DRG catalogs: parsed once from the tables in the program, looked up by code, and the papers' rule from base
 * and severity to DRG. */
#include "drg/catalog.h"
#include "base/csv.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "drg/catalog_tables.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CODES = 1000, BASE_LIMIT = 512 };

/* A catalog with its indexes. */
struct catalog_index {
    struct catalog catalog;
    struct tsv table; /* owns the strings */
    const struct drg *by_code[CODES];
    const struct drg *by_base[BASE_LIMIT][TWO_LABEL_SEVERITIES];
};

static struct catalog_index indexes[2];

/* The tables are part of the program: a fault in them is a broken build, not bad input. */
static void broken(const struct error *error) {
    fprintf(stderr, "casemix: the built-in DRG table is damaged: %s\n", error->message);
    abort();
}

static int severity_of(const char *name) {
    static const char *const names[] = {"mcc", "cc", "none", "without_mcc", "cc_mcc", "any"};
    for (int i = 0; i < 6; i++) {
        if (strcmp(names[i], name) == 0) return i;
    }
    return -1;
}

static int type_of(const char *name) {
    static const char *const names[] = {"medical", "surgical", "ungroupable"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(names[i], name) == 0) return i;
    }
    return -1;
}

static bool read_row(struct drg *drg, const struct tsv *table, const size_t *columns, size_t row, struct error *error) {
    int64_t code, base, paper = -1;
    const int type = type_of(tsv_cell(table, row, columns[2])),
              severity = severity_of(tsv_cell(table, row, columns[4]));
    if (!parse_int64(tsv_cell(table, row, columns[0]), &code) ||
        !parse_int64(tsv_cell(table, row, columns[3]), &base) || type < 0 || severity < 0 ||
        !parse_double(tsv_cell(table, row, columns[6]), &drg->weight) ||
        !parse_double(tsv_cell(table, row, columns[7]), &drg->gmlos) ||
        (table->columns > 8 && !parse_int64(tsv_cell(table, row, columns[8]), &paper)) || code < 1 || code >= CODES ||
        base < 0 || base >= BASE_LIMIT || paper >= TWO_LABEL_SEVERITIES) {
        return error_set(error, "line %u", table->lines[row]);
    }
    drg->code = (int)code;
    drg->base = (int)base;
    drg->type = (enum drg_type)type;
    drg->severity = (enum drg_severity)severity;
    drg->mdc = tsv_cell(table, row, columns[1]);
    drg->title = tsv_cell(table, row, columns[5]);
    drg->paper_severity = (int)paper;
    return true;
}

static void load(enum grouper grouper) {
    static const char *const names[] = {"drg",   "mdc",    "type",  "base",          "severity",
                                        "title", "weight", "gmlos", "paper_severity"};
    struct catalog_index *index = &indexes[grouper];
    const struct table_bytes bytes = catalog_table(grouper);
    struct error error = {0};
    size_t columns[9];
    if (!tsv_parse(&index->table, grouper_name(grouper), bytes.bytes, bytes.length, &error)) broken(&error);
    for (size_t i = 0; i < index->table.columns && i < 9; i++) {
        if (!tsv_require(&index->table, grouper_name(grouper), names[i], &columns[i], &error)) broken(&error);
    }
    struct drg *drgs = memory_alloc(index->table.rows, sizeof *drgs);
    if (drgs == NULL) {
        memory_error(&error, index->table.rows * sizeof *drgs, "the catalog");
        broken(&error);
    }
    index->catalog = (struct catalog){grouper, drgs, index->table.rows, 0};
    for (size_t row = 0; row < index->table.rows; row++) {
        struct drg *drg = &drgs[row];
        if (!read_row(drg, &index->table, columns, row, &error)) broken(&error);
        index->by_code[drg->code] = drg;
        if ((size_t)drg->base + 1 > index->catalog.bases) index->catalog.bases = (size_t)drg->base + 1;
        index->by_base[drg->base][two_label_severity(drg)] = drg;
    }
}

static void load_all(void) {
    load(GROUPER_V34);
    load(GROUPER_V43);
}

/* The tables live as long as the process; leak checkers are told by freeing them at its end. */
static void free_all(void) {
    for (int i = 0; i < 2; i++) {
        memory_free((void *)(uintptr_t)indexes[i].catalog.drgs);
        tsv_free(&indexes[i].table);
    }
}

static void load_once(void) {
    load_all();
    atexit(free_all);
}

const struct catalog *catalog_get(enum grouper grouper) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load_once);
    return &indexes[grouper].catalog;
}

const struct drg *catalog_find(const struct catalog *catalog, int code) {
    return code < 1 || code >= CODES ? NULL : indexes[catalog->grouper].by_code[code];
}

int two_label_severity(const struct drg *drg) {
    static const int classes[] = {[SEVERITY_MCC] = 2,         [SEVERITY_CC] = 1,     [SEVERITY_NONE] = 0,
                                  [SEVERITY_WITHOUT_MCC] = 3, [SEVERITY_CC_MCC] = 1, [SEVERITY_ANY] = 4};
    return classes[drg->severity];
}

const struct drg *catalog_resolve(const struct catalog *catalog, int base, int severity) {
    if (base < 0 || (size_t)base >= catalog->bases || severity < 0 || severity >= TWO_LABEL_SEVERITIES) return NULL;
    const struct drg *const *options = indexes[catalog->grouper].by_base[base];
    if (options[4] != NULL) return options[4]; /* one DRG for the base, whatever was predicted */
    if (options[severity] != NULL) return options[severity];
    if (options[3] != NULL) return options[3]; /* {MCC, without MCC} */
    if (options[2] == NULL && severity == 2 && options[1] != NULL)
        return options[1]; /* {CC/MCC, without}: an MCC is with */
    return options[0];
}

void catalog_compose(const struct catalog *catalog, const double *base, const double *severity, double *p) {
    double sum = 0;
    for (size_t i = 0; i < catalog->count; i++) {
        const struct drg *drg = &catalog->drgs[i];
        p[i] = base[drg->base] * severity[two_label_severity(drg)];
        sum += p[i];
    }
    for (size_t i = 0; i < catalog->count && sum > 0; i++) p[i] /= sum;
}

const struct drg *catalog_find_title(const struct catalog *catalog, const char *title, size_t length) {
    for (size_t i = 0; i < catalog->count; i++) {
        const struct drg *drg = &catalog->drgs[i];
        if (strncmp(drg->title, title, length) == 0 && drg->title[length] == '\0') return drg;
    }
    return NULL;
}

int severity_class(const struct drg *drg) {
    return drg->paper_severity >= 0 ? drg->paper_severity : (int)drg->severity;
}

bool grouper_parse(const char *name, enum grouper *grouper, struct error *error) {
    for (int i = 0; i < 2; i++) {
        if (strcmp(name, grouper_name((enum grouper)i)) != 0) continue;
        *grouper = (enum grouper)i;
        return true;
    }
    error_set(error, "there is no grouper \"%s\"", name);
    return error_hint(error, "v34 (FY2017, the papers) and v43 (FY2026) are known");
}

const char *grouper_name(enum grouper grouper) {
    return grouper == GROUPER_V34 ? "v34" : "v43";
}

const char *severity_name(enum drg_severity severity) {
    static const char *const names[] = {"MCC", "CC", "none", "without MCC", "CC/MCC", "any"};
    return names[severity];
}

const char *type_name(enum drg_type type) {
    static const char *const names[] = {"medical", "surgical", "ungroupable"};
    return names[type];
}

bool drg_parse(const char *string, int *code, struct error *error) {
    int64_t value;
    if (strlen(string) > 3 || !parse_int64(string, &value) || value < 1) {
        error_set(error, "\"%s\" is no DRG code", string);
        return error_hint(error, "a DRG code has one to three digits, such as 291");
    }
    *code = (int)value;
    return true;
}
