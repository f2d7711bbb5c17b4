/* Codes of stays: see stay_codes.h. */
#include "data/stay_codes.h"
#include "base/csv.h"
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_code(const char *code, size_t length, bool procedure) {
    for (size_t i = 0; i < length; i++) {
        if (!isdigit((unsigned char)code[i]) && !isupper((unsigned char)code[i])) return false;
    }
    return procedure ? length == 7 : length >= 3 && length <= 7 && isupper((unsigned char)code[0]);
}

/* Notes the code among the wishes. */
static bool wish(struct stay_codes *codes, const char *code, size_t length, bool procedure, struct error *error) {
    struct hash *wishes = procedure ? &codes->wishes.procedures : &codes->wishes.diagnoses;
    if (hash_find(wishes, code, length, -1) >= 0) return true;
    const char *key = arena_string(&codes->arena, code, length);
    return key != NULL ? hash_insert(wishes, key, length, 1, NULL, error)
                       : memory_error(error, length, "the codes of the stays");
}

/* The columns of a file that are read. */
enum { COLUMN_STAY, COLUMN_SEQUENCE, COLUMN_CODE, COLUMN_VERSION, COLUMNS };

static bool read_row(struct stay_codes *codes, const struct csv_reader *reader, const int *columns, bool procedure,
                     struct error *error) {
    size_t length;
    const char *hadm = csv_field(reader, columns[COLUMN_STAY], &length);
    const int32_t stay = hash_find(&codes->stays, hadm, length, -1);
    int64_t sequence;
    if (stay < 0) return true;
    if (!parse_int64(csv_field(reader, columns[COLUMN_SEQUENCE], NULL), &sequence) || sequence < 1 ||
        sequence > INT32_MAX)
        return error_set(error, "\"seq_num\" is no whole number from 1");
    struct stay_code row = {.stay = (uint32_t)stay, .procedure = procedure, .sequence = (int32_t)sequence};
    const char *code = csv_field(reader, columns[COLUMN_CODE], &length);
    if (strcmp(csv_field(reader, columns[COLUMN_VERSION], NULL), "10") == 0 && is_code(code, length, procedure)) {
        memcpy(row.code, code, length);
        if (!wish(codes, code, length, procedure, error)) return false;
    }
    if (!memory_grow(&codes->rows, &codes->capacity, codes->count + 1, sizeof row, error)) return false;
    codes->rows[codes->count++] = row;
    return true;
}

static bool read_codes(struct stay_codes *codes, const char *path, bool procedure, struct error *error) {
    static const char *const names[COLUMNS] = {"hadm_id", "seq_num", "icd_code", "icd_version"};
    struct csv_reader *reader;
    int columns[COLUMNS];
    bool done = true, more = true;
    if (!csv_open(&reader, path, error)) return false;
    for (int c = 0; done && c < COLUMNS; c++) done = csv_require(reader, names[c], &columns[c], error);
    while (done && (done = csv_next(reader, &more, error)) && more) {
        done = read_row(codes, reader, columns, procedure, error);
        if (!done) error_context(error, "%s, line %llu", path, (unsigned long long)csv_line(reader));
    }
    csv_close(reader);
    return done;
}

static bool read_file(struct stay_codes *codes, const char *directory, const char *name, bool procedure,
                      struct error *error) {
    char path[4200];
    static const char *const endings[] = {".csv.gz", ".csv"};
    for (size_t i = 0; i < 2; i++) {
        if ((size_t)snprintf(path, sizeof path, "%.4000s/%s%s", directory, name, endings[i]) >= sizeof path)
            return error_set(error, "%.200s: path too long", directory);
        if (path_exists(path)) return read_codes(codes, path, procedure, error);
    }
    error_set(error, "%.200s: no %s.csv.gz", directory, name);
    return error_hint(error, "--codes takes a directory of `casemix synth`, or MIMIC-IV's hosp directory");
}

static int compare_rows(const void *a, const void *b) {
    const struct stay_code *left = a, *right = b;
    if (left->stay != right->stay) return left->stay < right->stay ? -1 : 1;
    if (left->procedure != right->procedure) return left->procedure ? 1 : -1;
    return (left->sequence > right->sequence) - (left->sequence < right->sequence);
}

bool stay_codes_load(struct stay_codes *codes, const struct dataset *dataset, const char *directory,
                     struct error *error) {
    *codes = (struct stay_codes){0};
    bool done = true;
    for (size_t i = 0; done && i < dataset->count; i++) {
        const struct stay *stay = &dataset->stays[i];
        if (stay->drg > 0 && stay->drg < 1000) codes->wishes.drgs[stay->drg] = true;
        done = stay->hadm_id[0] == '\0' ||
               hash_insert(&codes->stays, stay->hadm_id, strlen(stay->hadm_id), (int32_t)i, NULL, error);
    }
    done = done && read_file(codes, directory, "diagnoses_icd", false, error) &&
           read_file(codes, directory, "procedures_icd", true, error);
    if (!done) {
        stay_codes_free(codes);
        return false;
    }
    if (codes->count > 0) qsort(codes->rows, codes->count, sizeof *codes->rows, compare_rows);
    return true;
}

void stay_codes_free(struct stay_codes *codes) {
    memory_free(codes->rows);
    hash_free(&codes->wishes.diagnoses);
    hash_free(&codes->wishes.procedures);
    hash_free(&codes->stays);
    arena_free(&codes->arena);
    *codes = (struct stay_codes){0};
}

/* The first row of a stay, or where it would be. */
static size_t first_row(const struct stay_codes *codes, uint32_t stay) {
    size_t low = 0, high = codes->count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (codes->rows[middle].stay < stay)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool add_code(const struct knowledge *knowledge, const struct stay_code *row, struct synthetic_stay *found) {
    const struct hash *ids = row->procedure ? &knowledge->procedure_ids : &knowledge->diagnosis_ids;
    const int32_t code = row->code[0] == '\0' ? -1 : hash_find(ids, row->code, strlen(row->code), -1);
    if (code < 0) return false;
    if (row->procedure) {
        if (found->procedure_count == PROCEDURE_LIMIT) return false;
        found->procedures[found->procedure_count++] = code;
    } else if (found->principal < 0) {
        found->principal = code;
    } else {
        if (found->secondary_count == SECONDARY_LIMIT) return false;
        found->secondary[found->secondary_count++] = code;
    }
    return true;
}

bool stay_codes_find(const struct stay_codes *codes, const struct knowledge *knowledge, const struct dataset *dataset,
                     size_t stay, struct synthetic_stay *found) {
    const char *hadm = dataset->stays[stay].hadm_id;
    *found = (struct synthetic_stay){.principal = -1};
    for (size_t p = 0; p < knowledge->profile_count && found->profile == NULL; p++) {
        if (knowledge->profiles[p].drg->code == dataset->stays[stay].drg) found->profile = &knowledge->profiles[p];
    }
    /* Notes of one stay share its codes. */
    const int32_t owner = hash_find(&codes->stays, hadm, strlen(hadm), -1);
    if (owner < 0 || found->profile == NULL) return false;
    for (size_t i = first_row(codes, (uint32_t)owner); i < codes->count && codes->rows[i].stay == (uint32_t)owner;
         i++) {
        if (!add_code(knowledge, &codes->rows[i], found)) return false;
    }
    return found->principal >= 0;
}
