/* Loading data/synth: seven tables, cross-checked, with every number and reference validated. */
#include "data/synth_knowledge.h"
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum {
    TABLE_DRGS, TABLE_PRINCIPALS, TABLE_SECONDARIES, TABLE_DIAGNOSES, TABLE_EXCLUSIONS, TABLE_EXTRA, TABLE_PROCEDURES, TABLE_CONDITIONS, TABLE_TEMPLATES,
    TABLES
};

static const struct {
    const char *file;
    const char *columns[4];
} table_forms[TABLES] = {
    [TABLE_DRGS] = {"drgs.tsv", {"drg", "claims"}},
    [TABLE_PRINCIPALS] = {"principals.tsv", {"drg", "pdx", "px", "claims"}},
    [TABLE_SECONDARIES] = {"secondaries.tsv", {"drg", "code", "weight"}},
    [TABLE_DIAGNOSES] = {"diagnoses.tsv", {"code", "severity", "group", "title"}},
    [TABLE_EXCLUSIONS] = {"exclusions.tsv", {"group", "principal"}},
    [TABLE_EXTRA] = {"exclusions-extra.tsv", {"code", "principals", "drgs"}},
    [TABLE_PROCEDURES] = {"procedures.tsv", {"code", "wordings"}},
    [TABLE_CONDITIONS] = {"conditions.tsv", {"code", "kind", "wordings", "clauses"}},
    [TABLE_TEMPLATES] = {"templates.tsv", {"slot", "template"}},
};

static const char *const slot_names[SLOTS] = {
    "opening", "opening_late", "principal_late", "clause", "care", "procedure", "procedure_minor", "procedure_past", "active", "active_bare", "chronic",
    "negated", "historical", "family", "problem_principal", "problem_active", "problem_chronic", "problem_negated", "end", "history_none", "generic"};

static bool word_byte(char byte) { return isalnum((unsigned char)byte) != 0; }

const char *knowledge_leak(const char *text, size_t length) {
    const struct catalog *catalog = catalog_get(GROUPER_V43);
    struct text upper = {0};
    text_append(&upper, text, length);
    for (size_t i = 0; i < upper.length; i++) upper.data[i] = (char)toupper((unsigned char)upper.data[i]);
    const char *leak = NULL;
    for (size_t i = 0; leak == NULL && i < catalog->count && upper.data != NULL; i++) {
        const char *title = catalog->drgs[i].title;
        const size_t size = strlen(title);
        for (const char *at = upper.data; leak == NULL && (at = strstr(at, title)) != NULL; at++) {
            if ((at == upper.data || !word_byte(at[-1])) && !word_byte(at[size])) leak = title;
        }
    }
    text_free(&upper);
    return leak;
}

/* Splits "a|b|c" into phrases; wordings that hold a DRG title are left out, and it is an error when none is left. */
static bool split_phrases(struct knowledge *knowledge, const char *joined, struct phrases *phrases, struct error *error) {
    size_t count = 1;
    for (const char *c = joined; *c != '\0'; c++) count += *c == '|';
    phrases->items = arena_alloc(&knowledge->arena, count, sizeof *phrases->items);
    phrases->count = 0;
    if (phrases->items == NULL) return memory_error(error, count * sizeof *phrases->items, "phrases");
    for (const char *from = joined; from != NULL;) {
        const char *bar = strchr(from, '|');
        const size_t length = bar == NULL ? strlen(from) : (size_t)(bar - from);
        if (length > 0 && knowledge_leak(from, length) == NULL) {
            const char *copy = arena_string(&knowledge->arena, from, length);
            if (copy == NULL) return memory_error(error, length, "phrases");
            phrases->items[phrases->count++] = copy;
        }
        from = bar == NULL ? NULL : bar + 1;
    }
    return true;
}

static bool load_tables(struct knowledge *knowledge, const char *directory, struct error *error) {
    for (int t = 0; t < TABLES; t++) {
        char path[4096];
        if (!path_join(path, sizeof path, directory, table_forms[t].file)) return error_set(error, "%s: path too long", directory);
        struct tsv *table = &knowledge->tables[t];
        if (!tsv_load(table, path, error)) return false;
        for (size_t c = 0; c < table->columns || (c < 4 && table_forms[t].columns[c] != NULL); c++) {
            const char *wanted = c < 4 ? table_forms[t].columns[c] : NULL;
            if (wanted == NULL || c >= table->columns || strcmp(table->header[c], wanted) != 0) {
                return error_set(error, "%s: column %zu is not \"%s\"", path, c + 1, wanted == NULL ? "(none)" : wanted);
            }
        }
    }
    return true;
}

/* The conditions.tsv row whose code is the longest prefix of this one; -1 if none is. */
static int64_t find_condition(const struct knowledge *knowledge, const char *code) {
    const struct tsv *table = &knowledge->tables[TABLE_CONDITIONS];
    int64_t best = -1;
    size_t longest = 0;
    for (size_t row = 0; row < table->rows; row++) {
        const char *prefix = tsv_cell(table, row, 0);
        const size_t length = strlen(prefix);
        if (length > longest && strncmp(code, prefix, length) == 0) {
            best = (int64_t)row;
            longest = length;
        }
    }
    return best;
}

/* Codes without a wording of their own: external causes and organisms stay silent, Z codes are status, others go by their level. */
static enum condition_kind default_kind(const char *code, enum cc_level level) {
    if (strchr("VWXY", code[0]) != NULL || strncmp(code, "B95", 3) == 0 || strncmp(code, "B96", 3) == 0 || strncmp(code, "B97", 3) == 0) {
        return KIND_SILENT;
    }
    if (code[0] == 'Z') return KIND_HISTORY;
    return level == LEVEL_NONE ? KIND_CHRONIC : KIND_ACTIVE;
}

static bool read_diagnosis(struct knowledge *knowledge, size_t row, struct error *error) {
    const struct tsv *table = &knowledge->tables[TABLE_DIAGNOSES], *conditions = &knowledge->tables[TABLE_CONDITIONS];
    struct diagnosis *diagnosis = &knowledge->diagnoses[row];
    const char *severity = tsv_cell(table, row, 1);
    int64_t group;
    if (!parse_int64(tsv_cell(table, row, 2), &group) || group < 0 || group > 1 << 16) return error_set(error, "no valid group");
    diagnosis->code = tsv_cell(table, row, 0);
    diagnosis->group = (int)group;
    diagnosis->level = strcmp(severity, "MCC") == 0 ? LEVEL_MCC : strcmp(severity, "CC") == 0 ? LEVEL_CC : LEVEL_NONE;
    const int64_t condition = find_condition(knowledge, diagnosis->code);
    bool existing;
    if (!hash_insert(&knowledge->diagnosis_ids, diagnosis->code, strlen(diagnosis->code), (int32_t)row, &existing, error)) return false;
    if (existing) return error_set(error, "%s stands twice", diagnosis->code);
    diagnosis->kind = default_kind(diagnosis->code, diagnosis->level);
    if (condition >= 0) {
        const char kind = tsv_cell(conditions, (size_t)condition, 1)[0];
        diagnosis->kind = kind == 'a' ? KIND_ACTIVE : kind == 'c' ? KIND_CHRONIC : KIND_HISTORY;
        if (!split_phrases(knowledge, tsv_cell(conditions, (size_t)condition, 2), &diagnosis->wordings, error)) return false;
        if (!split_phrases(knowledge, tsv_cell(conditions, (size_t)condition, 3), &diagnosis->clauses, error)) return false;
    }
    if (diagnosis->wordings.count == 0 && !split_phrases(knowledge, tsv_cell(table, row, 3), &diagnosis->wordings, error)) return false;
    return diagnosis->wordings.count > 0 || diagnosis->kind == KIND_SILENT || error_set(error, "every wording of %s holds a DRG title: give it one in conditions.tsv", diagnosis->code);
}

static bool read_diagnoses(struct knowledge *knowledge, struct error *error) {
    const struct tsv *table = &knowledge->tables[TABLE_DIAGNOSES];
    knowledge->diagnosis_count = table->rows;
    knowledge->diagnoses = arena_zero(&knowledge->arena, table->rows, sizeof *knowledge->diagnoses);
    if (knowledge->diagnoses == NULL) return memory_error(error, table->rows * sizeof *knowledge->diagnoses, "the diagnoses");
    for (size_t row = 0; row < table->rows; row++) {
        if (!read_diagnosis(knowledge, row, error)) return error_context(error, "diagnoses.tsv, line %u", table->lines[row]);
        if ((size_t)knowledge->diagnoses[row].group + 1 > knowledge->groups) knowledge->groups = (size_t)knowledge->diagnoses[row].group + 1;
    }
    knowledge->conditions = knowledge->tables[TABLE_CONDITIONS].rows;
    return true;
}

static bool read_exclusions(struct knowledge *knowledge, struct error *error) {
    const struct tsv *table = &knowledge->tables[TABLE_EXCLUSIONS];
    knowledge->excluded = memory_zero(knowledge->groups, knowledge->diagnosis_count);
    if (knowledge->excluded == NULL) return memory_error(error, knowledge->groups * knowledge->diagnosis_count, "the exclusions");
    for (size_t row = 0; row < table->rows; row++) {
        int64_t group;
        if (!parse_int64(tsv_cell(table, row, 0), &group) || group < 1) return error_set(error, "exclusions.tsv, line %u: no valid group", table->lines[row]);
        if ((size_t)group >= knowledge->groups) continue;
        for (const char *code = tsv_cell(table, row, 1); *code != '\0';) {
            const size_t length = strcspn(code, ",");
            const int32_t index = hash_find(&knowledge->diagnosis_ids, code, length, -1);
            if (index >= 0) knowledge->excluded[(size_t)group * knowledge->diagnosis_count + (size_t)index] = 1;
            code += length + (code[length] == ',');
        }
    }
    return true;
}

static bool read_procedures(struct knowledge *knowledge, struct error *error) {
    const struct tsv *table = &knowledge->tables[TABLE_PROCEDURES];
    knowledge->procedure_count = table->rows;
    knowledge->procedures = arena_zero(&knowledge->arena, table->rows, sizeof *knowledge->procedures);
    if (knowledge->procedures == NULL) return memory_error(error, table->rows * sizeof *knowledge->procedures, "the procedures");
    for (size_t row = 0; row < table->rows; row++) {
        struct procedure *procedure = &knowledge->procedures[row];
        procedure->code = tsv_cell(table, row, 0);
        if (!hash_insert(&knowledge->procedure_ids, procedure->code, strlen(procedure->code), (int32_t)row, NULL, error)) return false;
        if (!split_phrases(knowledge, tsv_cell(table, row, 1), &procedure->wordings, error)) return false;
        if (procedure->wordings.count == 0) {
            return error_set(error, "procedures.tsv, line %u: every wording of %s holds a DRG title", table->lines[row], procedure->code);
        }
    }
    return true;
}

static bool read_templates(struct knowledge *knowledge, struct error *error) {
    const struct tsv *table = &knowledge->tables[TABLE_TEMPLATES];
    for (int slot = 0; slot < SLOTS; slot++) {
        struct phrases *phrases = &knowledge->templates[slot];
        phrases->items = arena_alloc(&knowledge->arena, table->rows, sizeof *phrases->items);
        if (phrases->items == NULL) return memory_error(error, table->rows * sizeof *phrases->items, "the templates");
        for (size_t row = 0; row < table->rows; row++) {
            if (strcmp(tsv_cell(table, row, 0), slot_names[slot]) == 0) phrases->items[phrases->count++] = tsv_cell(table, row, 1);
        }
        if (phrases->count == 0) return error_set(error, "templates.tsv: no template for \"%s\"", slot_names[slot]);
    }
    return true;
}

static struct drg_profile *find_profile(struct knowledge *knowledge, int64_t code) {
    size_t low = 0, high = knowledge->profile_count;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (knowledge->profiles[middle].drg->code < code) low = middle + 1;
        else high = middle;
    }
    return low < knowledge->profile_count && knowledge->profiles[low].drg->code == code ? &knowledge->profiles[low] : NULL;
}

static bool list_allocate(struct knowledge *knowledge, struct code_list *list, size_t count, struct error *error) {
    list->index = arena_alloc(&knowledge->arena, count, sizeof *list->index);
    list->weight = arena_alloc(&knowledge->arena, count, sizeof *list->weight);
    list->cumulative = arena_alloc(&knowledge->arena, count, sizeof *list->cumulative);
    list->count = 0;
    return (list->index != NULL && list->weight != NULL && list->cumulative != NULL) || memory_error(error, count * 20, "the codes of a DRG");
}

static void list_add(struct code_list *list, int32_t index, double weight) {
    const double before = list->count == 0 ? 0 : list->cumulative[list->count - 1];
    list->index[list->count] = index;
    list->weight[list->count] = weight;
    list->cumulative[list->count++] = before + weight;
}

/* The procedures of a pair, a comma list of codes or "-". */
static bool read_pair_procedures(const struct knowledge *knowledge, struct principal_pair *pair, const char *codes) {
    while (strcmp(codes, "-") != 0 && *codes != '\0') {
        const size_t length = strcspn(codes, ",");
        const int32_t index = hash_find(&knowledge->procedure_ids, codes, length, -1);
        if (index < 0 || pair->procedure_count == PROCEDURE_LIMIT) return false;
        pair->procedures[pair->procedure_count++] = index;
        codes += length + (codes[length] == ',');
    }
    return true;
}

/* Pairs are listed under the lowest DRG of a base; every profile of that base gets the list. */
static bool read_principals(struct knowledge *knowledge, struct error *error) {
    const struct tsv *table = &knowledge->tables[TABLE_PRINCIPALS];
    const struct catalog *catalog = catalog_get(GROUPER_V43);
    knowledge->pairs = arena_zero(&knowledge->arena, table->rows, sizeof *knowledge->pairs);
    struct code_list *lists = arena_zero(&knowledge->arena, catalog->bases, sizeof *lists);
    if (knowledge->pairs == NULL || lists == NULL) return memory_error(error, table->rows * sizeof *knowledge->pairs, "the principal diagnoses");
    for (int pass = 0; pass < 2; pass++) {
        for (size_t row = 0; row < table->rows; row++) {
            struct principal_pair *pair = &knowledge->pairs[row];
            const char *code = tsv_cell(table, row, 1);
            int64_t number;
            double claims;
            const struct drg *drg = parse_int64(tsv_cell(table, row, 0), &number) ? catalog_find(catalog, (int)number) : NULL;
            *pair = (struct principal_pair){.principal = hash_find(&knowledge->diagnosis_ids, code, strlen(code), -1)};
            if (drg == NULL || pair->principal < 0 || !read_pair_procedures(knowledge, pair, tsv_cell(table, row, 2)) ||
                !parse_double(tsv_cell(table, row, 3), &claims) || !(claims > 0)) {
                return error_set(error, "principals.tsv, line %u: no valid DRG, diagnosis, procedures and claims", table->lines[row]);
            }
            if (pass == 0) lists[drg->base].count++;
            else list_add(&lists[drg->base], (int32_t)row, claims);
        }
        for (size_t base = 0; pass == 0 && base < catalog->bases; base++) {
            if (!list_allocate(knowledge, &lists[base], lists[base].count, error)) return false;
        }
    }
    knowledge->pair_count = table->rows;
    for (size_t p = 0; p < knowledge->profile_count; p++) {
        struct drg_profile *profile = &knowledge->profiles[p];
        profile->pairs = lists[profile->drg->base];
        if (profile->pairs.count == 0) return error_set(error, "principals.tsv: DRG %d has no principal diagnosis", profile->drg->code);
    }
    return true;
}

/* Two passes: counting, then filling. */
static bool read_secondaries(struct knowledge *knowledge, struct error *error) {
    const struct tsv *table = &knowledge->tables[TABLE_SECONDARIES];
    for (int pass = 0; pass < 2; pass++) {
        for (size_t row = 0; row < table->rows; row++) {
            int64_t drg;
            double weight;
            struct drg_profile *profile = parse_int64(tsv_cell(table, row, 0), &drg) ? find_profile(knowledge, drg) : NULL;
            const char *code = tsv_cell(table, row, 1);
            const int32_t index = hash_find(&knowledge->diagnosis_ids, code, strlen(code), -1);
            if (profile == NULL || index < 0 || !parse_double(tsv_cell(table, row, 2), &weight) || !(weight > 0)) {
                return error_set(error, "secondaries.tsv, line %u: no valid DRG, code and weight", table->lines[row]);
            }
            if (pass == 0) profile->secondary.count++;
            else list_add(&profile->secondary, index, weight);
        }
        for (size_t p = 0; pass == 0 && p < knowledge->profile_count; p++) {
            struct code_list *list = &knowledge->profiles[p].secondary;
            if (!list_allocate(knowledge, list, list->count, error)) return false;
        }
    }
    return true;
}

static int compare_uncounted(const void *a, const void *b) {
    const struct uncounted *left = a, *right = b;
    if (left->secondary != right->secondary) return left->secondary < right->secondary ? -1 : 1;
    if (left->principal != right->principal) return left->principal < right->principal ? -1 : 1;
    return (left->base > right->base) - (left->base < right->base);
}

static bool add_uncounted(struct knowledge *knowledge, struct uncounted entry, struct error *error) {
    if (!memory_grow(&knowledge->uncounted, &knowledge->uncounted_capacity, knowledge->uncounted_count + 1, sizeof entry, error)) return false;
    knowledge->uncounted[knowledge->uncounted_count++] = entry;
    return true;
}

static bool read_extra_exclusions(struct knowledge *knowledge, struct error *error) {
    const struct tsv *table = &knowledge->tables[TABLE_EXTRA];
    const struct catalog *catalog = catalog_get(GROUPER_V43);
    for (size_t row = 0; row < table->rows; row++) {
        const char *code = tsv_cell(table, row, 0);
        const int32_t secondary = hash_find(&knowledge->diagnosis_ids, code, strlen(code), -1);
        for (int column = 1; column < 3; column++) {
            for (const char *item = tsv_cell(table, row, (size_t)column); strcmp(item, "-") != 0 && *item != '\0';) {
                const size_t length = strcspn(item, ",");
                struct uncounted entry = {secondary, -1, -1};
                if (column == 1) {
                    entry.principal = hash_find(&knowledge->diagnosis_ids, item, length, -1);
                } else {
                    const struct drg *drg = catalog_find(catalog, atoi(item));
                    if (drg == NULL) return error_set(error, "exclusions-extra.tsv, line %u: \"%s\" is no DRG", table->lines[row], item);
                    entry.base = drg->base;
                }
                const bool known = secondary >= 0 && (entry.principal >= 0 || entry.base >= 0); /* a code that no stay has needs no rule */
                if (known && !add_uncounted(knowledge, entry, error)) return false;
                item += length + (item[length] == ',');
            }
        }
    }
    if (knowledge->uncounted_count > 0) qsort(knowledge->uncounted, knowledge->uncounted_count, sizeof *knowledge->uncounted, compare_uncounted);
    return true;
}

static bool is_uncounted(const struct knowledge *knowledge, struct uncounted entry) {
    return knowledge->uncounted_count > 0 &&
           bsearch(&entry, knowledge->uncounted, knowledge->uncounted_count, sizeof entry, compare_uncounted) != NULL;
}

static bool read_profiles(struct knowledge *knowledge, struct error *error) {
    const struct tsv *table = &knowledge->tables[TABLE_DRGS];
    const struct catalog *catalog = catalog_get(GROUPER_V43);
    knowledge->profiles = arena_zero(&knowledge->arena, table->rows, sizeof *knowledge->profiles);
    if (knowledge->profiles == NULL) return memory_error(error, table->rows * sizeof *knowledge->profiles, "the DRGs");
    for (size_t row = 0; row < table->rows; row++) {
        struct drg_profile *profile = &knowledge->profiles[knowledge->profile_count++];
        int64_t code;
        if (!parse_int64(tsv_cell(table, row, 0), &code) || !parse_double(tsv_cell(table, row, 1), &profile->claims) || !(profile->claims > 0) ||
            (profile->drg = catalog_find(catalog, (int)code)) == NULL || (row > 0 && profile[-1].drg->code >= code)) {
            return error_set(error, "drgs.tsv, line %u: expected a v43 DRG larger than the one before, and its claims", table->lines[row]);
        }
    }
    return true;
}

/* The CCs and MCCs of the cohort, each with its weight summed over the DRGs. */
static bool collect_serious(struct knowledge *knowledge, struct error *error) {
    double *sums = memory_zero(knowledge->diagnosis_count, sizeof *sums);
    if (sums == NULL) return memory_error(error, knowledge->diagnosis_count * sizeof *sums, "the common complications");
    for (size_t p = 0; p < knowledge->profile_count; p++) {
        const struct code_list *list = &knowledge->profiles[p].secondary;
        for (size_t i = 0; i < list->count; i++) sums[list->index[i]] += list->weight[i];
    }
    const bool allocated = list_allocate(knowledge, &knowledge->serious, knowledge->diagnosis_count, error);
    for (size_t d = 0; allocated && d < knowledge->diagnosis_count; d++) {
        const struct diagnosis *diagnosis = &knowledge->diagnoses[d];
        if (diagnosis->level != LEVEL_NONE && sums[d] > 0 && diagnosis->kind != KIND_SILENT) list_add(&knowledge->serious, (int32_t)d, sums[d]);
    }
    memory_free(sums);
    return allocated && (knowledge->serious.count > 0 || error_set(error, "diagnoses.tsv: no CC and no MCC"));
}

bool knowledge_load(struct knowledge *knowledge, const char *directory, struct error *error) {
    *knowledge = (struct knowledge){0};
    if (load_tables(knowledge, directory, error) && read_diagnoses(knowledge, error) && read_exclusions(knowledge, error) &&
        read_procedures(knowledge, error) && read_templates(knowledge, error) && read_profiles(knowledge, error) && read_principals(knowledge, error) &&
        read_secondaries(knowledge, error) && read_extra_exclusions(knowledge, error) && collect_serious(knowledge, error)) {
        for (size_t row = 0; row < knowledge->tables[TABLE_CONDITIONS].rows; row++) {
            knowledge->wordings++;
            for (const char *c = tsv_cell(&knowledge->tables[TABLE_CONDITIONS], row, 2); *c != '\0'; c++) knowledge->wordings += *c == '|';
        }
        return true;
    }
    knowledge_free(knowledge);
    return error_context(error, "%s", directory);
}

void knowledge_free(struct knowledge *knowledge) {
    for (int t = 0; t < TABLES; t++) tsv_free(&knowledge->tables[t]);
    hash_free(&knowledge->diagnosis_ids);
    hash_free(&knowledge->procedure_ids);
    memory_free(knowledge->excluded);
    memory_free(knowledge->uncounted);
    arena_free(&knowledge->arena);
    *knowledge = (struct knowledge){0};
}

enum cc_level knowledge_level(const struct knowledge *knowledge, int32_t secondary, int32_t principal, int base) {
    const struct diagnosis *diagnosis = &knowledge->diagnoses[secondary];
    if (diagnosis->level == LEVEL_NONE || secondary == principal) return LEVEL_NONE;
    const size_t at = (size_t)diagnosis->group * knowledge->diagnosis_count + (size_t)principal;
    if (knowledge->excluded[at] || is_uncounted(knowledge, (struct uncounted){secondary, principal, -1}) ||
        is_uncounted(knowledge, (struct uncounted){secondary, -1, base})) {
        return LEVEL_NONE;
    }
    return diagnosis->level;
}

bool knowledge_find(const char *given, char *directory, size_t capacity, struct error *error) {
    char program[4096];
    if (given != NULL) return (size_t)snprintf(directory, capacity, "%s", given) < capacity || error_set(error, "%s: path too long", given);
    if (path_is_directory("data/synth")) return (size_t)snprintf(directory, capacity, "data/synth") < capacity;
    const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length > 0) {
        program[length] = '\0';
        char *slash = strrchr(program, '/');
        if (slash != NULL) *slash = '\0';
        if (path_join(directory, capacity, program, "../data/synth") && path_is_directory(directory)) return true;
    }
    error_set(error, "the tables of the synthetic cohort (data/synth) are not here");
    return error_hint(error, "run from the root of casemix, or name them with --knowledge DIR");
}
