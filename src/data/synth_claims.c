/* Reading claims: see synth_claims.h. */
#include "data/synth_claims.h"
#include "base/error.h"
#include "base/text.h"
#include <ctype.h>
#include <string.h>

enum { COLUMN_ID, COLUMN_PRINCIPAL, COLUMN_SECONDARY, COLUMN_PROCEDURES, COLUMN_DRG, COLUMNS };

static const char *const column_names[COLUMNS] = {"claim_id", "pdx", "sdx", "px", "drg"};

/* Codes are three to seven capital letters and digits. */
static bool is_code(const char *code, size_t length, bool procedure) {
    for (size_t i = 0; i < length; i++) {
        if (!isdigit((unsigned char)code[i]) && !isupper((unsigned char)code[i])) return false;
    }
    return procedure ? length == 7 : length >= 3 && length <= 7 && isupper((unsigned char)code[0]);
}

/* Notes the codes of a comma list among the wishes; a list longer than `most` or with something that is no code is an
 * error. */
static bool wish_codes(struct claims *claims, const char *list, size_t most, bool procedures, struct error *error) {
    struct hash *wishes = procedures ? &claims->wishes.procedures : &claims->wishes.diagnoses;
    size_t count = 0;
    for (const char *code = list; *code != '\0';) {
        const size_t length = strcspn(code, ",");
        if (!is_code(code, length, procedures))
            return error_set(error, "\"%.*s\" is no %s code", (int)(length < 40 ? length : 40), code,
                             procedures ? "ICD-10-PCS" : "ICD-10-CM");
        if (++count > most) return error_set(error, "more than %zu codes in a column", most);
        if (hash_find(wishes, code, length, -1) < 0) {
            const char *key = arena_string(&claims->arena, code, length);
            if (key == NULL) return memory_error(error, length, "the codes of the claims");
            if (!hash_insert(wishes, key, length, 1, NULL, error)) return false;
        }
        code += length + (code[length] == ',');
    }
    return true;
}

static bool check_claim(struct claims *claims, size_t row, struct error *error) {
    const char *cells[COLUMNS];
    int64_t drg;
    for (int c = 0; c < COLUMNS; c++) cells[c] = tsv_cell(&claims->table, row, claims->columns[c]);
    if (!parse_int64(cells[COLUMN_DRG], &drg) || drg < 1 || drg > 999 ||
        catalog_find(catalog_get(GROUPER_V43), (int)drg) == NULL)
        return error_set(error, "\"%s\" is no DRG of v43", cells[COLUMN_DRG]);
    claims->wishes.drgs[drg] = true;
    if (cells[COLUMN_PRINCIPAL][0] == '\0') return error_set(error, "no principal diagnosis");
    return wish_codes(claims, cells[COLUMN_PRINCIPAL], 1, false, error) &&
           wish_codes(claims, cells[COLUMN_SECONDARY], SECONDARY_LIMIT, false, error) &&
           wish_codes(claims, cells[COLUMN_PROCEDURES], PROCEDURE_LIMIT, true, error);
}

bool claims_load(struct claims *claims, const char *path, size_t most, struct error *error) {
    *claims = (struct claims){0};
    bool done = tsv_load(&claims->table, path, error);
    for (int c = 0; done && c < COLUMNS; c++)
        done = tsv_require(&claims->table, path, column_names[c], &claims->columns[c], error);
    claims->rows = most > 0 && most < claims->table.rows ? most : claims->table.rows;
    if (done && claims->rows == 0) done = error_set(error, "%s: no claims", path);
    for (size_t row = 0; done && row < claims->rows; row++)
        done = check_claim(claims, row, error) || error_context(error, "%s, line %u", path, claims->table.lines[row]);
    if (!done) claims_free(claims);
    return done;
}

/* The indexes of a comma list; false when a code is unknown. */
static bool find_codes(const struct hash *ids, const char *list, int32_t *index, size_t *count) {
    *count = 0;
    for (const char *code = list; *code != '\0';) {
        const size_t length = strcspn(code, ",");
        if ((index[(*count)++] = hash_find(ids, code, length, -1)) < 0) return false;
        code += length + (code[length] == ',');
    }
    return true;
}

static const struct drg_profile *find_drg(const struct knowledge *knowledge, int64_t code) {
    for (size_t p = 0; p < knowledge->profile_count; p++) {
        if (knowledge->profiles[p].drg->code == code) return &knowledge->profiles[p];
    }
    return NULL;
}

bool claims_resolve(struct claims *claims, const char *path, const struct knowledge *knowledge, struct error *error) {
    claims->stays = memory_zero(claims->rows, sizeof *claims->stays);
    claims->ids = memory_alloc(claims->rows, sizeof *claims->ids);
    if (claims->stays == NULL || claims->ids == NULL)
        return memory_error(error, claims->rows * sizeof *claims->stays, "the claims");
    for (size_t row = 0; row < claims->rows; row++) {
        struct synthetic_stay *stay = &claims->stays[claims->count];
        const char *cells[COLUMNS];
        int64_t drg = 0;
        size_t one;
        for (int c = 0; c < COLUMNS; c++) cells[c] = tsv_cell(&claims->table, row, claims->columns[c]);
        parse_int64(cells[COLUMN_DRG], &drg);
        *stay = (struct synthetic_stay){.profile = find_drg(knowledge, drg)};
        if (stay->profile != NULL &&
            find_codes(&knowledge->diagnosis_ids, cells[COLUMN_PRINCIPAL], &stay->principal, &one) &&
            find_codes(&knowledge->diagnosis_ids, cells[COLUMN_SECONDARY], stay->secondary, &stay->secondary_count) &&
            find_codes(&knowledge->procedure_ids, cells[COLUMN_PROCEDURES], stay->procedures, &stay->procedure_count))
            claims->ids[claims->count++] = cells[COLUMN_ID];
        else
            claims->skipped++;
    }
    return claims->count > 0 || error_set(error, "%s: every claim has a code that no table of casemix knows", path);
}

void claims_free(struct claims *claims) {
    tsv_free(&claims->table);
    hash_free(&claims->wishes.diagnoses);
    hash_free(&claims->wishes.procedures);
    memory_free(claims->stays);
    memory_free(claims->ids);
    arena_free(&claims->arena);
    *claims = (struct claims){0};
}

static enum patient_kind sex_kind(enum code_sex sex) {
    return sex == SEX_ANY ? PATIENT_KINDS : sex == SEX_MALE ? PATIENT_MALE : PATIENT_FEMALE;
}

enum patient_kind stay_kind(const struct knowledge *knowledge, const struct synthetic_stay *stay) {
    const char *mdc = stay->profile->drg->mdc, *principal = knowledge->diagnoses[stay->principal].code;
    if (strcmp(mdc, "14") == 0 || principal[0] == 'O') return PATIENT_OBSTETRIC;
    if (strcmp(mdc, "15") == 0 || principal[0] == 'P') return PATIENT_NEWBORN;
    if (strcmp(mdc, "12") == 0) return PATIENT_MALE;
    if (strcmp(mdc, "13") == 0) return PATIENT_FEMALE;
    enum patient_kind kind = sex_kind(knowledge->diagnoses[stay->principal].sex);
    for (size_t i = 0; kind == PATIENT_KINDS && i < stay->procedure_count; i++)
        kind = sex_kind(knowledge->procedures[stay->procedures[i]].sex);
    for (size_t i = 0; kind == PATIENT_KINDS && i < stay->secondary_count; i++)
        kind = sex_kind(knowledge->diagnoses[stay->secondary[i]].sex);
    return kind;
}
