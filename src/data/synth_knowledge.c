/* Loading data/synth: what conditions and procedures are called, and how sentences are built. */
#include "data/synth_knowledge.h"
#include "base/error.h"
#include "base/file.h"
#include "base/shipped.h"
#include "base/text.h"
#include "data/synth_title.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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
    [TABLE_MOVES] = {"moves.tsv", {"rule", "drgs", "principal", "secondary"}},
    [TABLE_PROCEDURE_PARTS] = {"procedure-parts.tsv", {"kind", "key", "wordings"}},
    [TABLE_ALL_DIAGNOSES] = {"icd10cm.tsv.gz", {"code", "severity", "group", "title"}},
    [TABLE_ALL_EXCLUSIONS] = {"exclusions-all.tsv.gz", {"group", "principal"}},
};

static const char *const slot_names[SLOTS] = {
    [SLOT_OPENING] = "opening",
    [SLOT_OPENING_LATE] = "opening_late",
    [SLOT_OPENING_SYMPTOM] = "opening_symptom",
    [SLOT_OPENING_SYMPTOM_LATE] = "opening_symptom_late",
    [SLOT_OPENING_PLANNED] = "opening_planned",
    [SLOT_ED] = "ed",
    [SLOT_ELECTIVE] = "elective",
    [SLOT_PRINCIPAL_LATE] = "principal_late",
    [SLOT_CLAUSE] = "clause",
    [SLOT_CARE] = "care",
    [SLOT_CARE_DIED] = "care_died",
    [SLOT_FILLER] = "filler",
    [SLOT_FILLER_RECOVERY] = "filler_recovery",
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
    [SLOT_END_HOME] = "end_home",
    [SLOT_END_SERVICES] = "end_services",
    [SLOT_END_NURSING] = "end_nursing",
    [SLOT_END_REHAB] = "end_rehab",
    [SLOT_END_LONG_TERM] = "end_long_term",
    [SLOT_END_HOSPICE] = "end_hospice",
    [SLOT_END_PSYCHIATRIC] = "end_psychiatric",
    [SLOT_END_AGAINST] = "end_against",
    [SLOT_END_ACUTE] = "end_acute",
    [SLOT_END_DIED] = "end_died",
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

static bool load_tables(struct knowledge *knowledge, const char *directory, bool all, struct error *error) {
    for (int t = 0; t < (all ? TABLES : TABLE_ALL_DIAGNOSES); t++) {
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

/* What is written of the codes of a table: split once, used by many. */
struct phrase_tables {
    struct split_table conditions, findings;
};

/* A diagnosis without wordings of its own is called by its title, reworded. */
static bool reword_title(struct knowledge *knowledge, struct diagnosis *diagnosis, const char *title,
                         struct error *error) {
    struct text joined = {0};
    title_reword(&joined, title);
    const bool done =
        text_ok(&joined, error) && split_phrases(knowledge, joined.data, &diagnosis->wordings, error) &&
        (diagnosis->wordings.count > 0 || diagnosis->kind == KIND_SILENT ||
         error_set(error, "every wording of %s holds a DRG title: give it one in conditions.tsv", diagnosis->code));
    text_free(&joined);
    return done;
}

/* The phrases of the longest prefixes of the code. */
static void find_phrases(struct knowledge *knowledge, struct diagnosis *diagnosis, const struct phrase_tables *split) {
    const struct tsv *conditions = &knowledge->tables[TABLE_CONDITIONS];
    const int64_t condition = find_prefix(conditions, 0, NULL, diagnosis->code);
    if (condition >= 0) {
        const char kind = tsv_cell(conditions, (size_t)condition, 1)[0];
        diagnosis->kind = kind == 'a' ? KIND_ACTIVE : kind == 'c' ? KIND_CHRONIC : KIND_HISTORY;
        diagnosis->wordings = split->conditions.rows[0][condition];
        diagnosis->clauses = split->conditions.rows[1][condition];
    }
    for (int kind = 0; kind < FINDINGS; kind++) {
        const int64_t found = find_prefix(&knowledge->tables[TABLE_FINDINGS], 1, finding_names[kind], diagnosis->code);
        if (found >= 0) diagnosis->findings[kind] = split->findings.rows[0][found];
    }
}

/* The next diagnosis, from a row of this table. */
static bool read_diagnosis(struct knowledge *knowledge, const struct tsv *table, size_t row,
                           const struct phrase_tables *split, struct error *error) {
    const size_t index = knowledge->diagnosis_count++;
    struct diagnosis *diagnosis = &knowledge->diagnoses[index];
    const char *severity = tsv_cell(table, row, 1);
    int64_t group;
    if (!parse_int64(tsv_cell(table, row, 2), &group) || group < 0 || group > 1 << 16)
        return error_set(error, "no valid group");
    diagnosis->code = tsv_cell(table, row, 0);
    diagnosis->group = (int)group;
    diagnosis->sex = diagnosis_sex(diagnosis->code);
    diagnosis->level = strcmp(severity, "MCC") == 0 ? LEVEL_MCC : strcmp(severity, "CC") == 0 ? LEVEL_CC : LEVEL_NONE;
    bool existing;
    if (!hash_insert(&knowledge->diagnosis_ids, diagnosis->code, strlen(diagnosis->code), (int32_t)index, &existing,
                     error))
        return false;
    if (existing) return error_set(error, "%s stands twice", diagnosis->code);
    diagnosis->kind = default_kind(diagnosis->code, diagnosis->level);
    find_phrases(knowledge, diagnosis, split);
    /* What counts must be told. */
    if (diagnosis->kind == KIND_SILENT && diagnosis->level != LEVEL_NONE) diagnosis->kind = KIND_ACTIVE;
    if ((size_t)group + 1 > knowledge->groups) knowledge->groups = (size_t)group + 1;
    return diagnosis->wordings.count > 0 || reword_title(knowledge, diagnosis, tsv_cell(table, row, 3), error);
}

static bool is_wished(const struct hash *wishes, const struct hash *known, const char *code) {
    return hash_find(wishes, code, strlen(code), -1) >= 0 && hash_find(known, code, strlen(code), -1) < 0;
}

static bool read_diagnoses(struct knowledge *knowledge, const struct code_wishes *wishes, struct error *error) {
    const struct tsv *table = &knowledge->tables[TABLE_DIAGNOSES], *all = &knowledge->tables[TABLE_ALL_DIAGNOSES];
    const size_t most = table->rows + (wishes == NULL ? 0 : wishes->diagnoses.count);
    struct phrase_tables split;
    knowledge->diagnoses = arena_zero(&knowledge->arena, most, sizeof *knowledge->diagnoses);
    if (knowledge->diagnoses == NULL) return memory_error(error, most * sizeof *knowledge->diagnoses, "the diagnoses");
    if (!split_table(knowledge, TABLE_CONDITIONS, 2, 2, &split.conditions, error) ||
        !split_table(knowledge, TABLE_FINDINGS, 2, 1, &split.findings, error))
        return false;
    if (!check_labs(knowledge, &split.findings, error)) return false;
    for (size_t row = 0; row < table->rows; row++) {
        if (!read_diagnosis(knowledge, table, row, &split, error))
            return error_context(error, "diagnoses.tsv, line %u", table->lines[row]);
    }
    for (size_t row = 0; wishes != NULL && row < all->rows; row++) {
        if (is_wished(&wishes->diagnoses, &knowledge->diagnosis_ids, tsv_cell(all, row, 0)) &&
            !read_diagnosis(knowledge, all, row, &split, error))
            return error_context(error, "icd10cm.tsv.gz, line %u", all->lines[row]);
    }
    return true;
}

static bool read_procedure(struct knowledge *knowledge, const char *code, const char *wordings, struct error *error) {
    const size_t index = knowledge->procedure_count++;
    struct procedure *procedure = &knowledge->procedures[index];
    procedure->code = code;
    procedure->sex = procedure_sex(code);
    return hash_insert(&knowledge->procedure_ids, code, strlen(code), (int32_t)index, NULL, error) &&
           split_phrases(knowledge, wordings, &procedure->wordings, error) &&
           (procedure->wordings.count > 0 || error_set(error, "every wording of %s holds a DRG title", code));
}

/* A procedure of given claims, named from the characters of its code; one of an unknown section stays unknown. */
static bool compose_procedure(struct knowledge *knowledge, const char *code, struct error *error) {
    struct text joined = {0};
    bool done = true;
    if (procedure_compose(knowledge, code, &joined))
        done = text_ok(&joined, error) && read_procedure(knowledge, code, joined.data, error);
    text_free(&joined);
    return done;
}

static bool read_procedures(struct knowledge *knowledge, const struct code_wishes *wishes, struct error *error) {
    const struct tsv *table = &knowledge->tables[TABLE_PROCEDURES];
    const size_t most = table->rows + (wishes == NULL ? 0 : wishes->procedures.count);
    knowledge->procedures = arena_zero(&knowledge->arena, most, sizeof *knowledge->procedures);
    if (knowledge->procedures == NULL)
        return memory_error(error, most * sizeof *knowledge->procedures, "the procedures");
    for (size_t row = 0; row < table->rows; row++) {
        if (!read_procedure(knowledge, tsv_cell(table, row, 0), tsv_cell(table, row, 1), error))
            return error_context(error, "procedures.tsv, line %u", table->lines[row]);
    }
    for (size_t i = 0; wishes != NULL && i < wishes->procedures.capacity; i++) {
        const char *code = wishes->procedures.entries[i].key;
        if (code != NULL && is_wished(&wishes->procedures, &knowledge->procedure_ids, code) &&
            !compose_procedure(knowledge, code, error))
            return false;
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

bool knowledge_load(struct knowledge *knowledge, const char *directory, const struct code_wishes *wishes,
                    struct error *error) {
    *knowledge = (struct knowledge){0};
    if (load_tables(knowledge, directory, wishes != NULL, error) && read_diagnoses(knowledge, wishes, error) &&
        read_procedures(knowledge, wishes, error) && read_templates(knowledge, error) &&
        read_abbreviations(knowledge, error) && knowledge_read_moves(knowledge, error) &&
        knowledge_read_profiles(knowledge, wishes, error))
        return true;
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
    if (given != NULL)
        return (size_t)snprintf(directory, capacity, "%s", given) < capacity ||
               error_set(error, "%s: path too long", given);
    if (shipped_find(directory, capacity, "data/synth")) return true;
    error_set(error, "the tables of the synthetic cohort (data/synth) are not here");
    return error_hint(error, "run from the root of casemix, or name them with --knowledge DIR");
}
