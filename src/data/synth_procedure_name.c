/* Naming an ICD-10-PCS code that nobody wrote wordings for, from its characters: what is done, to which part, how. */
#include "data/synth_knowledge.h"
#include <string.h>

/* The wordings of the longest key of a kind that the code begins with; NULL if none does. */
static const char *longest_key(const struct tsv *table, const char *kind, const char *code) {
    const char *best = NULL;
    size_t longest = 0;
    for (size_t row = 0; row < table->rows; row++) {
        const char *key = tsv_cell(table, row, 1);
        const size_t length = strlen(key);
        size_t same = 0;
        while (same < length && code[same] != '\0' && (key[same] == code[same] || key[same] == '_')) same++;
        if (same < length || length <= longest || strcmp(tsv_cell(table, row, 0), kind) != 0) continue;
        best = tsv_cell(table, row, 2);
        longest = length;
    }
    return best;
}

bool procedure_compose(const struct knowledge *knowledge, const char *code, struct text *out) {
    const struct tsv *table = &knowledge->tables[TABLE_PROCEDURE_PARTS];
    const bool surgical = code[0] == '0';
    if (strlen(code) != 7) return false;
    /* In section 0 the operation means the same in every body system. */
    const char operation_key[] = {'0', code[2], '\0'}, part_key[] = {code[0], code[1], code[3], '\0'};
    const char *operation = longest_key(table, "operation", surgical ? operation_key : code);
    const char *part = surgical ? longest_key(table, "part", part_key) : NULL;
    if (part == NULL) part = longest_key(table, "system", code);
    const char *approach = surgical ? longest_key(table, "approach", code + 4) : NULL;
    if (operation == NULL) return false;
    for (const char *from = operation; *from != '\0';) {
        const size_t length = strcspn(from, "|");
        if (from != operation) text_add_char(out, '|');
        if (part != NULL) text_printf(out, "%.*s (%s)|", (int)length, from, part);
        if (approach != NULL) text_printf(out, "%s ", approach);
        text_append(out, from, length);
        if (part != NULL) text_printf(out, " of the %s", part);
        from += length + (from[length] == '|');
    }
    return true;
}
