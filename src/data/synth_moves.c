/* Secondary diagnoses that move a stay to another base DRG (data/synth/moves.tsv), and injuries of several sites, which
 * make a stay one of multiple significant trauma. */
#include "base/error.h"
#include "base/text.h"
#include "data/synth_knowledge.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool code_begins(const char *list, const char *code) {
    if (strcmp(list, "*") == 0) return true;
    while (*list != '\0') {
        const size_t length = strcspn(list, ",");
        if (strncmp(list, code, length) == 0) return true;
        list += length + (list[length] == ',');
    }
    return false;
}

/* Sets the DRGs of a list such as "1-968,978"; false when it is none. */
static bool read_drgs(struct base_move *move, const char *list) {
    while (*list != '\0') {
        char *end;
        const long first = strtol(list, &end, 10);
        const long last = *end == '-' ? strtol(end + 1, &end, 10) : first;
        if (first < 1 || last < first || last > 999 || (*end != ',' && *end != '\0')) return false;
        for (long code = first; code <= last; code++) move->drgs[code / 8] |= (uint8_t)(1 << code % 8);
        list = end + (*end == ',');
    }
    return true;
}

bool knowledge_read_moves(struct knowledge *knowledge, struct error *error) {
    const struct tsv *table = &knowledge->tables[TABLE_MOVES];
    knowledge->moves = arena_zero(&knowledge->arena, table->rows, sizeof *knowledge->moves);
    if (knowledge->moves == NULL) return memory_error(error, table->rows * sizeof *knowledge->moves, "moves.tsv");
    for (size_t row = 0; row < table->rows; row++) {
        struct base_move *move = &knowledge->moves[row];
        const char *rule = tsv_cell(table, row, 0), *principals = tsv_cell(table, row, 2);
        move->needed = strcmp(rule, "need") == 0;
        move->but = principals[0] == '!';
        move->principals = principals + move->but;
        move->secondaries = tsv_cell(table, row, 3);
        if ((!move->needed && strcmp(rule, "forbid") != 0) || !read_drgs(move, tsv_cell(table, row, 1)))
            return error_set(error, "moves.tsv, line %u: expected \"forbid\" or \"need\", and DRGs such as 1-968,978",
                             table->lines[row]);
    }
    knowledge->move_count = table->rows;
    return true;
}

static bool move_concerns(const struct base_move *move, int drg, const char *principal) {
    return (move->drgs[drg / 8] >> drg % 8 & 1) != 0 && code_begins(move->principals, principal) != move->but;
}

/* The body site of an injury that may count as significant trauma: 0 for what is none. Superficial injuries (S00, S10,
 * …) never do. */
static int trauma_site(const char *code) {
    if (code[0] != 'S' || code[2] == '0') return 0;
    switch (code[1]) {
    case '0':
        return 1;
    case '1':
    case '2':
        return code[1] == '1' && code[2] == '2' ? 7 : 2; /* the neck's spine goes with spine and pelvis */
    case '3':
        return code[2] == '6' ? 4 : code[2] == '7' ? 5 : 7;
    case '4':
    case '5':
    case '6':
        return 8;
    default:
        return 9;
    }
}

bool knowledge_moves(const struct knowledge *knowledge, const struct drg *drg, int32_t principal,
                     const int32_t *secondary, size_t count, int32_t added) {
    const char *first = knowledge->diagnoses[principal].code, *code = knowledge->diagnoses[added].code;
    for (size_t m = 0; m < knowledge->move_count; m++) {
        const struct base_move *move = &knowledge->moves[m];
        if (!move->needed && move_concerns(move, drg->code, first) && code_begins(move->secondaries, code)) return true;
    }
    const int site = trauma_site(code);
    if (first[0] != 'S' || site == 0) return false;
    bool several = trauma_site(first) != 0 && trauma_site(first) != site;
    for (size_t i = 0; i < count; i++) {
        const int other = trauma_site(knowledge->diagnoses[secondary[i]].code);
        several = several || (other != 0 && other != site);
    }
    return several;
}

const char *knowledge_needed(const struct knowledge *knowledge, const struct drg *drg, int32_t principal, size_t *at) {
    while (*at < knowledge->move_count) {
        const struct base_move *move = &knowledge->moves[(*at)++];
        if (move->needed && move_concerns(move, drg->code, knowledge->diagnoses[principal].code))
            return move->secondaries;
    }
    return NULL;
}
