/* Why string search gives what the regular expressions give: the header line is taken to its end, then all but the last
 * of the line feeds that follow; the lazy group behind it swallows whole lines to the end of the note, and only then
 * gives back, so the last delimiter ends the section. A header that fails (no delimiter behind its line) fails for
 * every later header too. */
#include "drg/published_section.h"
#include <stdbool.h>
#include <string.h>

#define BLANKS "                        " /* 24, of a continued line in the published source */

/* First `word` in note[from, length); NULL if absent. */
static const char *find_first(const char *note, size_t from, size_t length, const char *word) {
    return from >= length ? NULL : memmem(note + from, length - from, word, strlen(word));
}

/* Start of the last place at or after `from` where one of the words stands with `blanks` before it; false if none. */
static bool find_last(const char *note, size_t from, size_t length, const char *const *words, const char *blanks,
                      size_t *place) {
    bool found = false;
    const size_t before = strlen(blanks);
    for (const char *const *word = words; *word != NULL; word++) {
        const size_t size = strlen(*word);
        const size_t least = found ? *place + 1 : from; /* only a later place is news */
        if (size + before > length) continue;
        for (size_t at = length - size - before + 1; at-- > least;) {
            const char *start = memrchr(note + least, blanks[0] != '\0' ? blanks[0] : **word, at + 1 - least);
            if (start == NULL) break;
            at = (size_t)(start - note);
            if (memcmp(start, blanks, before) != 0 || memcmp(start + before, *word, size) != 0) continue;
            *place = at;
            found = true;
            break;
        }
    }
    return found;
}

/* The section behind a header that ends at `behind`: from the last of the line feeds after the header's line. */
static bool cut(const char *note, size_t behind, size_t length, const char *const *delimiters, const char *blanks,
                struct span *section) {
    const char *line_end = find_first(note, behind, length, "\n");
    if (line_end == NULL) return false;
    size_t start = (size_t)(line_end - note), end;
    while (start + 1 < length && note[start + 1] == '\n') start++;
    if (!find_last(note, start + 1, length, delimiters, blanks, &end)) return false;
    *section = (struct span){start, end};
    return true;
}

/* Behind the first of the headers, each followed by `blanks`; false if there is none. */
static bool find_header(const char *note, size_t length, const char *const *headers, size_t *behind) {
    const char *first = NULL;
    for (const char *const *header = headers; *header != NULL; header++) {
        const char *found = find_first(note, 0, length, *header);
        if (found == NULL || (first != NULL && found >= first)) continue;
        first = found;
        *behind = (size_t)(found - note) + strlen(*header);
    }
    return first != NULL;
}

/* Bytes of the UTF-8 character at `at`, 0 for a line feed or the end: what "." takes. */
static size_t dot(const char *note, size_t at, size_t length) {
    if (at >= length || note[at] == '\n') return 0;
    const unsigned char first = (unsigned char)note[at];
    const size_t bytes = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    return at + bytes <= length ? bytes : 0;
}

/* Pattern 4's header: "(Mg-[12].|LACTATE-[12].|Epi-|Gap-|COUNT-|TRF-)___". True if it stands before `underscores`. */
static bool laboratory_before(const char *note, size_t underscores, size_t length) {
    static const char *const names[] = {"Epi-", "Gap-", "COUNT-", "TRF-"}, *const numbered[] = {"Mg-", "LACTATE-"};
    for (size_t i = 0; i < 4; i++) {
        const size_t size = strlen(names[i]);
        if (underscores >= size && memcmp(note + underscores - size, names[i], size) == 0) return true;
    }
    for (size_t i = 0; i < 2; i++) {
        const size_t size = strlen(numbered[i]);
        for (size_t last = 1; last <= 4; last++) { /* bytes of the character behind the digit */
            if (underscores < size + 1 + last) continue;
            const size_t at = underscores - last - 1 - size, digit = at + size;
            if (memcmp(note + at, numbered[i], size) == 0 && (note[digit] == '1' || note[digit] == '2') &&
                dot(note, digit + 1, length) == last)
                return true;
        }
    }
    return false;
}

static bool cut_laboratory(const char *note, size_t length, struct span *section) {
    static const char *const delimiter[] = {"Medications on Admission", NULL};
    struct span lines;
    for (const char *found = find_first(note, 0, length, "___"); found != NULL;
         found = find_first(note, (size_t)(found - note) + 1, length, "___")) {
        const size_t at = (size_t)(found - note);
        if (!laboratory_before(note, at, length)) continue;
        if (!cut(note, at + 3, length, delimiter, "", &lines)) return false;
        *section = (struct span){at + 3, lines.end};
        return true;
    }
    return false;
}

int published_section(const char *note, size_t length, struct span *section) {
    static const char *const header[] = {"Brief Hospital Course", NULL};
    static const char *const admission[] = {"Medications on Admission", "___  on Admission", "___ on Admission", NULL};
    static const char *const discharge[] = {"Discharge Medications", NULL};
    static const char *const blank_headers[] = {"Brief Hospital Course" BLANKS, "rief Hospital Course" BLANKS,
                                                "HOSPITAL COURSE" BLANKS, NULL};
    static const char *const blank_delimiters[] = {
        "Medications on Admission", "Discharge Medications",  "DISCHARGE MEDICATIONS",
        "DISCHARGE DIAGNOSIS",      "Discharge Disposition",  "___ Disposition",
        "CONDITION ON DISCHARGE",   "DISCHARGE INSTRUCTIONS", NULL};
    size_t behind;
    if (find_header(note, length, header, &behind)) {
        if (cut(note, behind, length, admission, "", section)) return 1;
        if (cut(note, behind, length, discharge, "", section)) return 2;
    }
    if (find_header(note, length, blank_headers, &behind) &&
        cut(note, behind, length, blank_delimiters, BLANKS, section))
        return 3;
    return cut_laboratory(note, length, section) ? 4 : 0;
}

/* Bytes of the white space at `at`, 0 if there is none. */
static size_t white_space(const unsigned char *text, size_t at, size_t length) {
    const unsigned char c = text[at];
    if ((c >= 9 && c <= 13) || (c >= 28 && c <= 32)) return 1;
    if (c < 0xc2) return 0;
    if (c == 0xc2 && at + 1 < length) return text[at + 1] == 0x85 || text[at + 1] == 0xa0 ? 2 : 0;
    if (at + 2 >= length || c < 0xe1 || c > 0xe3) return 0;
    const unsigned point = (c & 15u) << 12 | (text[at + 1] & 63u) << 6 | (text[at + 2] & 63u);
    const bool space = point == 5760 || (point >= 8192 && point <= 8202) || point == 8232 || point == 8233 ||
                       point == 8239 || point == 8287 || point == 12288;
    return space ? 3 : 0;
}

size_t count_words(const char *text, size_t length, size_t limit) {
    size_t words = 0;
    bool inside = false;
    for (size_t at = 0; at < length && words < limit;) {
        const size_t space = white_space((const unsigned char *)text, at, length);
        if (space == 0 && !inside) words++;
        inside = space == 0;
        at += space == 0 ? 1 : space;
    }
    return words;
}
