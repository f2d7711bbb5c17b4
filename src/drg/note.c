/* The hospital course of a discharge summary: found by the headers that summaries use, with PCRE2. */
#include "drg/note.h"
#include "base/error.h"
#include "base/text.h"
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Begins the section: one of the usual headings at the start of a line, followed by a colon, by markup or by the end of
 * the line. */
static const char header_pattern[] =
    "(?im)^[ \\t#*=_]*(?:(?:summary[ \\t]+of[ \\t]+|brief[ \\t]+)?hospital[ \\t]+course(?:[ \\t]+by[ "
    "\\t]+(?:problem|system|issue)s?)?|"
    "course[ \\t]+(?:in|during)[ \\t]+(?:the[ \\t]+)?hospital(?:ization)?)[ \\t*]*(?::[ \\t*=_]*|(?=\\r?$))";

/* Ends it: the heading of what follows a hospital course in a discharge summary. */
static const char end_pattern[] =
    "(?im)^[ \\t#*=_]*(?:(?:(?:medications?|meds|___)[ \\t]+(?:on|at|prior[ \\t]+to)[ \\t]+(?:admission|discharge))|"
    "(?:(?:discharge|admission|home|outpatient)[ "
    "\\t]+(?:medications?|meds|disposition|diagnos[ie]s|condition|instructions?|labs?|exam|physical))|"
    "(?:(?:final|primary|secondary)[ \\t]+diagnos[ie]s)|disposition|condition[ \\t]+(?:on|at)[ \\t]+discharge|facility|"
    "follow[- ]?up(?:[ \\t]+instructions?)?|transitional[ \\t]+medication[ \\t]+list)[ \\t*]*(?::|(?=\\r?$))";

static pcre2_code *header, *end_of_section;

static pcre2_code *compile(const char *pattern) {
    int number;
    PCRE2_SIZE offset;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_NO_UTF_CHECK, &number, &offset, NULL);
    if (code == NULL) abort(); /* the patterns are ours */
    pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
    return code;
}

static void release(void) {
    pcre2_code_free(header);
    pcre2_code_free(end_of_section);
}

static void compile_once(void) {
    header = compile(header_pattern);
    end_of_section = compile(end_pattern);
    atexit(release);
}

/* First match from `from` on; false if there is none. */
static bool find(const pcre2_code *code, const char *note, size_t length, size_t from, struct span *match) {
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    if (data == NULL) return false;
    const int found = pcre2_match(code, (PCRE2_SPTR)note, length, from, 0, data, NULL);
    if (found > 0 || found == 0) {
        const PCRE2_SIZE *at = pcre2_get_ovector_pointer(data);
        *match = (struct span){at[0], at[1]};
    }
    pcre2_match_data_free(data);
    return found >= 0;
}

static bool blank(char byte) {
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static struct span trim(const char *note, struct span span) {
    while (span.start < span.end && blank(note[span.start])) span.start++;
    while (span.end > span.start && blank(note[span.end - 1])) span.end--;
    return span;
}

bool note_hospital_course(const char *note, size_t length, struct span *section) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, compile_once);
    struct span begin, end;
    for (size_t from = 0; find(header, note, length, from, &begin); from = begin.end > from ? begin.end : from + 1) {
        const size_t stop = find(end_of_section, note, length, begin.end, &end) ? end.start : length;
        *section = trim(note, (struct span){begin.end, stop});
        if (section->start < section->end) return true; /* an empty section is a heading in a table of contents */
    }
    *section = note_trim(note, length);
    return false;
}

struct span note_trim(const char *note, size_t length) {
    return trim(note, (struct span){0, length});
}

bool note_check(const char *name, const char *note, size_t length, struct error *error) {
    size_t bad;
    if (length > NOTE_LIMIT) {
        error_set(error, "%s: %zu bytes are more than a note may have (%zu)", name, length, NOTE_LIMIT);
        return error_hint(error, "one note a file; many notes go into a CSV or JSONL file");
    }
    if (!utf8_valid(note, length, &bad)) {
        error_set(error, "%s: invalid UTF-8 at byte %zu", name, bad);
        return error_hint(error, "convert it first, for example: iconv -f WINDOWS-1252 -t UTF-8");
    }
    if (length > 0 && memchr(note, '\0', length) != NULL)
        return error_set(error, "%s: a NUL byte, so this is no text", name);
    const struct span all = note_trim(note, length);
    return all.start < all.end || error_set(error, "%s: the note is empty", name);
}
