/* Facts about the knowledge: which sex a code goes with, and how much there is of everything. */
#include "data/synth_knowledge.h"
#include <string.h>

enum code_sex diagnosis_sex(const char *code) {
    static const char female[] =
        "O,A3402,B373,C51,C52,C53,C54,C55,C56,C57,C58,C796,D06,D070,D071,D072,D073,D25,D26,D27,D28,D39,E28,F53,N70,N71,"
        "N72,N73,N74,N75,N76,N77,N80,N81,N82,N83,N84,N85,N86,N87,N88,N89,N90,N91,N92,N93,N94,N95,N96,N97,N98,N992,N993,"
        "N9983,Q50,Q51,Q52,R87,S374,S375,S376,Z124,Z33,Z34,Z36,Z37,Z39,Z8041,Z854,Z874,Z9071,Z79890";
    static const char male[] =
        "B260,C60,C61,C62,C63,D074,D075,D076,D29,D40,E29,F5221,I861,N40,N41,N42,N43,N44,N45,N46,N47,N48,N49,N50,N51,"
        "N52,"
        "N53,N9911,Q53,Q54,Q55,R86,R972,S312,S313,S3782,Z125,Z8042,Z8545,Z8546,Z8547,Z8548,Z8549,Z87430,Z90791,Z9079";
    if (code_begins(male, code)) return SEX_MALE;
    return code_begins(female, code) ? SEX_FEMALE : SEX_ANY;
}

enum code_sex procedure_sex(const char *code) {
    return code_begins("0U,10", code) ? SEX_FEMALE : code_begins("0V", code) ? SEX_MALE : SEX_ANY;
}

static size_t count_items(const char *joined) {
    size_t count = *joined != '\0';
    for (const char *c = joined; *c != '\0'; c++) count += *c == '|';
    return count;
}

/* Phrases in a column of a table; *three (may be NULL): rows with three or more. */
static size_t count_column(const struct tsv *table, size_t column, size_t *three) {
    size_t count = 0;
    for (size_t row = 0; row < table->rows; row++) {
        const size_t items = count_items(tsv_cell(table, row, column));
        count += items;
        if (three != NULL) *three += items >= 3;
    }
    return count;
}

/* Diagnoses for which conditions.tsv has no row. */
static size_t count_reworded(const struct knowledge *knowledge) {
    const struct tsv *conditions = &knowledge->tables[TABLE_CONDITIONS];
    size_t count = 0;
    for (size_t d = 0; d < knowledge->diagnosis_count; d++) {
        bool own = false;
        for (size_t row = 0; row < conditions->rows && !own; row++) {
            const char *prefix = tsv_cell(conditions, row, 0);
            own = strncmp(knowledge->diagnoses[d].code, prefix, strlen(prefix)) == 0;
        }
        count += !own;
    }
    return count;
}

struct knowledge_counts knowledge_count(const struct knowledge *knowledge) {
    const struct tsv *tables = knowledge->tables;
    struct knowledge_counts counts = {.drgs = knowledge->profile_count,
                                      .pairs = knowledge->pair_count,
                                      .diagnoses = knowledge->diagnosis_count,
                                      .procedures = knowledge->procedure_count,
                                      .conditions = tables[TABLE_CONDITIONS].rows,
                                      .sentences = tables[TABLE_TEMPLATES].rows,
                                      .reworded = count_reworded(knowledge)};
    for (size_t d = 0; d < knowledge->diagnosis_count; d++) {
        counts.cc += knowledge->diagnoses[d].level == LEVEL_CC;
        counts.mcc += knowledge->diagnoses[d].level == LEVEL_MCC;
    }
    counts.wordings = count_column(&tables[TABLE_CONDITIONS], 2, &counts.conditions_three);
    counts.clauses = count_column(&tables[TABLE_CONDITIONS], 3, NULL);
    counts.findings = count_column(&tables[TABLE_FINDINGS], 2, NULL);
    counts.procedure_wordings = count_column(&tables[TABLE_PROCEDURES], 1, &counts.procedures_three);
    return counts;
}
