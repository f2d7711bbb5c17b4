/* Loading data/synth: what conditions and procedures are called, and how sentences are built. */
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
    [TABLE_FINDINGS] = {"findings.tsv", {"kind", "code", "items"}},
    [TABLE_TEMPLATES] = {"templates.tsv", {"slot", "template"}},
    [TABLE_ABBREVIATIONS] = {"abbreviations.tsv", {"full", "short"}},
};

static const char *const slot_names[SLOTS] = {
    [SLOT_OPENING] = "opening",
    [SLOT_OPENING_LATE] = "opening_late",
    [SLOT_OPENING_SYMPTOM] = "opening_symptom",
    [SLOT_OPENING_SYMPTOM_LATE] = "opening_symptom_late",
    [SLOT_OPENING_PLANNED] = "opening_planned",
    [SLOT_ED] = "ed",
    [SLOT_PRINCIPAL_LATE] = "principal_late",
    [SLOT_CLAUSE] = "clause",
    [SLOT_CARE] = "care",
    [SLOT_FILLER] = "filler",
    [SLOT_PROCEDURE] = "procedure",
    [SLOT_PROCEDURE_MINOR] = "procedure_minor",
    [SLOT_PROCEDURE_PROBLEM] = "procedure_problem",
    [SLOT_PROCEDURE_PAST] = "procedure_past",
    [SLOT_ACTIVE] = "active",
    [SLOT_ACTIVE_BARE] = "active_bare",
    [SLOT_CHRONIC] = "chronic",
    [SLOT_NEGATED] = "negated",
    [SLOT_HISTORICAL] = "historical",
    [SLOT_FAMILY] = "family",
    [SLOT_PROBLEM_PRINCIPAL] = "problem_principal",
    [SLOT_PROBLEM_ACTIVE] = "problem_active",
    [SLOT_PROBLEM_CHRONIC] = "problem_chronic",
    [SLOT_PROBLEM_NEGATED] = "problem_negated",
    [SLOT_HEADING_ACUTE] = "heading_acute",
    [SLOT_HEADING_CHRONIC] = "heading_chronic",
    [SLOT_HEADING_TRANSITION] = "heading_transition",
    [SLOT_HOUSEKEEPING] = "housekeeping",
    [SLOT_TRANSITION] = "transition",
    [SLOT_COPY] = "copy",
    [SLOT_END] = "end",
    [SLOT_HISTORY_NONE] = "history_none",
    [SLOT_GENERIC] = "generic",
};

static const char *const finding_names[FINDINGS] = {"symptom", "lab", "med", "exam", "imaging"};

static bool word_byte(char byte) {
    return isalnum((unsigned char)byte) != 0;
}

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
static bool split_phrases(struct knowledge *knowledge, const char *joined, struct phrases *phrases,
                          struct error *error) {
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
        if (!path_join(path, sizeof path, directory, table_forms[t].file))
            return error_set(error, "%s: path too long", directory);
        struct tsv *table = &knowledge->tables[t];
        if (!tsv_load(table, path, error)) return false;
        for (size_t c = 0; c < table->columns || (c < 4 && table_forms[t].columns[c] != NULL); c++) {
            const char *wanted = c < 4 ? table_forms[t].columns[c] : NULL;
            if (wanted == NULL || c >= table->columns || strcmp(table->header[c], wanted) != 0) {
                return error_set(error, "%s: column %zu is not \"%s\"", path, c + 1,
                                 wanted == NULL ? "(none)" : wanted);
            }
        }
    }
    return true;
}

/* The row whose prefix, in this column, is the longest one of the code; -1 if none is. `kind`: only rows with this in
 * the first column; NULL: all. */
static int64_t find_prefix(const struct tsv *table, size_t column, const char *kind, const char *code) {
    int64_t best = -1;
    size_t longest = 0;
    for (size_t row = 0; row < table->rows; row++) {
        const char *prefix = tsv_cell(table, row, column);
        const size_t length = strlen(prefix);
        if (length <= longest || strncmp(code, prefix, length) != 0) continue;
        if (kind != NULL && strcmp(tsv_cell(table, row, 0), kind) != 0) continue;
        best = (int64_t)row;
        longest = length;
    }
    return best;
}

/* Codes without a wording of their own: external causes and organisms stay silent, Z codes are status, others go by
 * their level. */
static enum condition_kind default_kind(const char *code, enum cc_level level) {
    if (strchr("VWXY", code[0]) != NULL || strncmp(code, "B95", 3) == 0 || strncmp(code, "B96", 3) == 0 ||
        strncmp(code, "B97", 3) == 0) {
        return KIND_SILENT;
    }
    if (code[0] == 'Z') return KIND_HISTORY;
    return level == LEVEL_NONE ? KIND_CHRONIC : KIND_ACTIVE;
}

/* Phrases of a table as they were split the first time: rows serve many codes. */
struct split_table {
    struct phrases *rows[2]; /* [rows] of up to two columns */
};

static bool split_table(struct knowledge *knowledge, int number, size_t first_column, size_t columns,
                        struct split_table *split, struct error *error) {
    const struct tsv *table = &knowledge->tables[number];
    for (size_t c = 0; c < columns; c++) {
        split->rows[c] = arena_zero(&knowledge->arena, table->rows, sizeof *split->rows[c]);
        if (split->rows[c] == NULL)
            return memory_error(error, table->rows * sizeof *split->rows[c], table_forms[number].file);
        for (size_t row = 0; row < table->rows; row++) {
            if (!split_phrases(knowledge, tsv_cell(table, row, first_column + c), &split->rows[c][row], error))
                return false;
        }
    }
    return true;
}

/* A lab is a name and a range: "CREAT 1.9-5.8". */
static bool check_labs(const struct knowledge *knowledge, const struct split_table *findings, struct error *error) {
    const struct tsv *table = &knowledge->tables[TABLE_FINDINGS];
    for (size_t row = 0; row < table->rows; row++) {
        for (size_t i = 0; strcmp(tsv_cell(table, row, 0), "lab") == 0 && i < findings->rows[0][row].count; i++) {
            char name[16];
            double low, high;
            if (sscanf(findings->rows[0][row].items[i], "%15s %lf-%lf", name, &low, &high) != 3 || !(low < high)) {
                return error_set(error,
                                 "findings.tsv, line %u: \"%s\" is not a lab and its range, such as CREAT 1.9-5.8",
                                 table->lines[row], findings->rows[0][row].items[i]);
            }
        }
    }
    return true;
}

static bool read_diagnosis(struct knowledge *knowledge, size_t row, const struct split_table *phrases,
                           const struct split_table *findings, struct error *error) {
    const struct tsv *table = &knowledge->tables[TABLE_DIAGNOSES], *conditions = &knowledge->tables[TABLE_CONDITIONS];
    struct diagnosis *diagnosis = &knowledge->diagnoses[row];
    const char *severity = tsv_cell(table, row, 1);
    int64_t group;
    if (!parse_int64(tsv_cell(table, row, 2), &group) || group < 0 || group > 1 << 16)
        return error_set(error, "no valid group");
    diagnosis->code = tsv_cell(table, row, 0);
    diagnosis->group = (int)group;
    diagnosis->level = strcmp(severity, "MCC") == 0 ? LEVEL_MCC : strcmp(severity, "CC") == 0 ? LEVEL_CC : LEVEL_NONE;
    const int64_t condition = find_prefix(conditions, 0, NULL, diagnosis->code);
    bool existing;
    if (!hash_insert(&knowledge->diagnosis_ids, diagnosis->code, strlen(diagnosis->code), (int32_t)row, &existing,
                     error))
        return false;
    if (existing) return error_set(error, "%s stands twice", diagnosis->code);
    diagnosis->kind = default_kind(diagnosis->code, diagnosis->level);
    if (condition >= 0) {
        const char kind = tsv_cell(conditions, (size_t)condition, 1)[0];
        diagnosis->kind = kind == 'a' ? KIND_ACTIVE : kind == 'c' ? KIND_CHRONIC : KIND_HISTORY;
        diagnosis->wordings = phrases->rows[0][condition];
        diagnosis->clauses = phrases->rows[1][condition];
    }
    /* What counts must be told. */
    if (diagnosis->kind == KIND_SILENT && diagnosis->level != LEVEL_NONE) diagnosis->kind = KIND_ACTIVE;
    for (int kind = 0; kind < FINDINGS; kind++) {
        const int64_t found = find_prefix(&knowledge->tables[TABLE_FINDINGS], 1, finding_names[kind], diagnosis->code);
        if (found >= 0) diagnosis->findings[kind] = findings->rows[0][found];
    }
    if (diagnosis->wordings.count == 0 &&
        !split_phrases(knowledge, tsv_cell(table, row, 3), &diagnosis->wordings, error))
        return false;
    return diagnosis->wordings.count > 0 || diagnosis->kind == KIND_SILENT ||
           error_set(error, "every wording of %s holds a DRG title: give it one in conditions.tsv", diagnosis->code);
}

static bool read_diagnoses(struct knowledge *knowledge, struct error *error) {
    const struct tsv *table = &knowledge->tables[TABLE_DIAGNOSES];
    knowledge->diagnosis_count = table->rows;
    knowledge->diagnoses = arena_zero(&knowledge->arena, table->rows, sizeof *knowledge->diagnoses);
    if (knowledge->diagnoses == NULL)
        return memory_error(error, table->rows * sizeof *knowledge->diagnoses, "the diagnoses");
    struct split_table phrases, findings;
    if (!split_table(knowledge, TABLE_CONDITIONS, 2, 2, &phrases, error) ||
        !split_table(knowledge, TABLE_FINDINGS, 2, 1, &findings, error))
        return false;
    if (!check_labs(knowledge, &findings, error)) return false;
    for (size_t row = 0; row < table->rows; row++) {
        if (!read_diagnosis(knowledge, row, &phrases, &findings, error))
            return error_context(error, "diagnoses.tsv, line %u", table->lines[row]);
        if ((size_t)knowledge->diagnoses[row].group + 1 > knowledge->groups)
            knowledge->groups = (size_t)knowledge->diagnoses[row].group + 1;
    }
    knowledge->conditions = knowledge->tables[TABLE_CONDITIONS].rows;
    return true;
}

static bool read_procedures(struct knowledge *knowledge, struct error *error) {
    const struct tsv *table = &knowledge->tables[TABLE_PROCEDURES];
    knowledge->procedure_count = table->rows;
    knowledge->procedures = arena_zero(&knowledge->arena, table->rows, sizeof *knowledge->procedures);
    if (knowledge->procedures == NULL)
        return memory_error(error, table->rows * sizeof *knowledge->procedures, "the procedures");
    for (size_t row = 0; row < table->rows; row++) {
        struct procedure *procedure = &knowledge->procedures[row];
        procedure->code = tsv_cell(table, row, 0);
        if (!hash_insert(&knowledge->procedure_ids, procedure->code, strlen(procedure->code), (int32_t)row, NULL,
                         error))
            return false;
        if (!split_phrases(knowledge, tsv_cell(table, row, 1), &procedure->wordings, error)) return false;
        if (procedure->wordings.count == 0) {
            return error_set(error, "procedures.tsv, line %u: every wording of %s holds a DRG title", table->lines[row],
                             procedure->code);
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
            if (strcmp(tsv_cell(table, row, 0), slot_names[slot]) == 0)
                phrases->items[phrases->count++] = tsv_cell(table, row, 1);
        }
        if (phrases->count == 0) return error_set(error, "templates.tsv: no template for \"%s\"", slot_names[slot]);
    }
    return true;
}

static bool read_abbreviations(struct knowledge *knowledge, struct error *error) {
    const struct tsv *table = &knowledge->tables[TABLE_ABBREVIATIONS];
    knowledge->short_forms = arena_alloc(&knowledge->arena, table->rows, sizeof *knowledge->short_forms);
    if (knowledge->short_forms == NULL)
        return memory_error(error, table->rows * sizeof *knowledge->short_forms, "the abbreviations");
    for (size_t row = 0; row < table->rows; row++) {
        const char *full = tsv_cell(table, row, 0);
        if (!hash_insert(&knowledge->abbreviations, full, strlen(full), (int32_t)row, NULL, error)) return false;
        knowledge->short_forms[row] = tsv_cell(table, row, 1);
    }
    knowledge->abbreviation_count = table->rows;
    return true;
}

static void count_wordings(struct knowledge *knowledge) {
    for (size_t row = 0; row < knowledge->tables[TABLE_CONDITIONS].rows; row++) {
        knowledge->wordings++;
        for (const char *c = tsv_cell(&knowledge->tables[TABLE_CONDITIONS], row, 2); *c != '\0'; c++)
            knowledge->wordings += *c == '|';
    }
}

bool knowledge_load(struct knowledge *knowledge, const char *directory, struct error *error) {
    *knowledge = (struct knowledge){0};
    if (load_tables(knowledge, directory, error) && read_diagnoses(knowledge, error) &&
        read_procedures(knowledge, error) && read_templates(knowledge, error) && read_abbreviations(knowledge, error) &&
        knowledge_read_profiles(knowledge, error)) {
        count_wordings(knowledge);
        return true;
    }
    knowledge_free(knowledge);
    return error_context(error, "%s", directory);
}

void knowledge_free(struct knowledge *knowledge) {
    for (int t = 0; t < TABLES; t++) tsv_free(&knowledge->tables[t]);
    hash_free(&knowledge->diagnosis_ids);
    hash_free(&knowledge->procedure_ids);
    hash_free(&knowledge->abbreviations);
    memory_free(knowledge->excluded);
    memory_free(knowledge->uncounted);
    arena_free(&knowledge->arena);
    *knowledge = (struct knowledge){0};
}

bool knowledge_find(const char *given, char *directory, size_t capacity, struct error *error) {
    char program[4096];
    if (given != NULL)
        return (size_t)snprintf(directory, capacity, "%s", given) < capacity ||
               error_set(error, "%s: path too long", given);
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
