/* drgcodes.csv of MIMIC-IV: which DRG each stay was billed under, brought to one version of the grouper.
 *
 * Rows of type HCFA are MS-DRGs; APR rows are passed over. A row is mapped by its description, since code numbers were
 * used again for other DRGs over the years (drg/harmonise.h). */
#ifndef CASEMIX_DATA_MIMIC_DRGS_H
#define CASEMIX_DATA_MIMIC_DRGS_H

#include "base/hash.h"
#include "base/memory.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct title_map;

/* A mapped HCFA row. */
struct drg_row {
    int64_t hadm_id;
    int32_t code;
    uint32_t place; /* among the mapped rows, in file order */
};

/* A distinct description of HCFA rows, in order of first appearance. */
struct drg_description {
    const char *text;
    size_t length;
    uint64_t rows;
    int code;           /* 0: it has none in this version */
    const char *reason; /* why not; NULL when it has one */
};

struct drg_table {
    struct drg_row *rows;    /* [count] file order */
    struct drg_row *by_stay; /* [count] by stay, file order within a stay */
    size_t count, capacity;
    struct drg_description *descriptions;
    size_t description_count, description_capacity;
    uint64_t all_rows, hcfa_rows, without_stay; /* without_stay: HCFA rows with an empty hadm_id */
    struct hash ids;                            /* text of a description to its index */
    struct arena arena;
};

/* Reads the file (CSV, plain or gzip) as a stream. Zero-initialise; release with drg_table_free. */
bool drg_table_load(struct drg_table *table, const char *path, const struct title_map *titles, struct error *error);

/* The mapped rows of a stay, in file order; returns how many. */
size_t drg_table_find(const struct drg_table *table, int64_t hadm_id, const struct drg_row **rows);

void drg_table_free(struct drg_table *table);

#endif
