/* Titles in free text: see named_title.h. */
#include "drg/named_title.h"
#include <ctype.h>
#include <string.h>

static bool is_blank(char byte) {
    return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r';
}

/* Where the title ends that begins at `at`; 0 when it does not stand there. */
static size_t match_title(const char *text, size_t length, size_t at, const char *title) {
    for (; *title != '\0'; title++) {
        if (*title == ' ') {
            if (at == length || !is_blank(text[at])) return 0;
            while (at < length && is_blank(text[at])) at++;
            continue;
        }
        if (at == length || toupper((unsigned char)text[at]) != *title) return 0;
        at++;
    }
    return at < length && isalnum((unsigned char)text[at]) ? 0 : at;
}

const struct drg *named_title(const struct catalog *catalog, const char *text, size_t length) {
    const struct drg *named = NULL;
    size_t last = 0, size = 0;
    for (size_t at = 0; at < length; at++) {
        if (at > 0 && isalnum((unsigned char)text[at - 1])) continue;
        for (size_t d = 0; d < catalog->count; d++) {
            const char *title = catalog->drgs[d].title;
            if (toupper((unsigned char)text[at]) != title[0]) continue;
            const size_t end = match_title(text, length, at, title);
            if (end < last || end == 0 || (end == last && end - at <= size)) continue;
            named = &catalog->drgs[d];
            last = end;
            size = end - at;
        }
    }
    return named;
}
