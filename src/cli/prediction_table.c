/* Tables for people. */
#include "cli/prediction_table.h"
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { TITLE_COLUMNS = 47 };

void table_fit(char *out, size_t capacity, const char *string, size_t columns) {
    const size_t length = strlen(string), width = utf8_columns(string, length);
    size_t kept = length;
    if (width > columns) {
        /* Cut at a character, leaving a column for the ellipsis. */
        while (kept > 0 && (utf8_columns(string, kept) > columns - 1 || ((unsigned char)string[kept] & 0xc0) == 0x80))
            kept--;
    }
    size_t used = (size_t)snprintf(out, capacity, "%.*s%s", (int)kept, string, width > columns ? "…" : "");
    size_t shown = utf8_columns(out, strlen(out));
    for (; shown < columns && used + 1 < capacity; shown++) out[used++] = ' ';
    if (used < capacity) out[used] = '\0';
}

void table_add_bar(struct text *out, double p) {
    static const char *const eighths[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
    const int filled = (int)(p * BAR_COLUMNS * 8 + 0.5);
    for (int i = 0; i < BAR_COLUMNS; i++)
        text_add(out, filled >= 8 * (i + 1) ? "█" : filled > 8 * i ? eighths[filled - 8 * i] : " ");
}

void table_add_note(struct text *out, const char *name, int tokens, bool truncated, bool whole_note,
                    const struct table_row *rows, size_t count) {
    char title[512], heading[512];
    snprintf(heading, sizeof heading, "%s  (%d tokens%s%s)", name, tokens, truncated ? ", the rest cut off" : "",
             whole_note ? "; whole note read: no hospital course section found" : "");
    table_fit(title, sizeof title, heading,
              utf8_columns(heading, strlen(heading)) > TABLE_COLUMNS ? TABLE_COLUMNS
                                                                     : utf8_columns(heading, strlen(heading)));
    text_printf(out, "%s\n", title);
    text_printf(out, "  %3s  %6s %-8s  %-47s %7s %5s  %s\n", "DRG", "p", "", "title", "weight", "GMLOS", "severity");
    for (size_t i = 0; i < count; i++) {
        const struct drg *drg = rows[i].drg;
        table_fit(title, sizeof title, drg->title, TITLE_COLUMNS);
        text_printf(out, "  %03d  %5.1f%% ", drg->code, 100 * rows[i].p);
        table_add_bar(out, rows[i].p);
        text_printf(out, "  %s %7.4f %5.1f  %s\n", title, drg->weight, drg->gmlos, severity_name(drg->severity));
    }
}

/* Bytes of the blank or control character at the beginning: those of ASCII, and U+0080 to U+009F in UTF-8; 0 when there
 * is none. */
static size_t blank_length(const char *bytes, size_t length) {
    const unsigned char first = (unsigned char)bytes[0];
    if (first <= ' ' || first == 0x7f) return 1;
    return length > 1 && first == 0xc2 && (unsigned char)bytes[1] >= 0x80 && (unsigned char)bytes[1] <= 0x9f ? 2 : 0;
}

void table_add_words(struct text *out, const char *label, const char *words, size_t length) {
    const size_t start = utf8_columns(label, strlen(label)) + 3;
    size_t column = start;
    text_printf(out, "  %s:", label);
    for (size_t at = 0; at < length;) {
        bool broken = false;
        for (size_t blank; at < length && (blank = blank_length(words + at, length - at)) > 0; at += blank)
            broken = broken || words[at] == '\n';
        size_t end = at;
        while (end < length && blank_length(words + end, length - end) == 0) end++;
        if (end == at) break;
        const size_t columns = utf8_columns(words + at, end - at);
        if (column > start && (broken || column + 1 + columns > TABLE_COLUMNS)) {
            text_add(out, "\n   ");
            column = 3;
        }
        text_add_char(out, ' ');
        text_append(out, words + at, end - at);
        column += 1 + columns;
        at = end;
    }
    text_add_char(out, '\n');
}
