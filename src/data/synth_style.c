/* How an author types: short forms for usual words, and slips of the keyboard. */
#include "data/synth_writer.h"
#include <ctype.h>
#include <string.h>

enum { LONGEST = 24, PHRASE_WORDS = 3 };

static bool word_byte(char byte) {
    return isalpha((unsigned char)byte) != 0;
}

/* The short form of the words at `at`, the longest phrase first, and the length of what it replaces; NULL if there is
 * none. */
static const char *short_form(const struct knowledge *knowledge, const char *at, const char *end, size_t *length) {
    char lower[PHRASE_WORDS * LONGEST];
    size_t ends[PHRASE_WORDS], words = 0, i = 0;
    while (words < PHRASE_WORDS && i < sizeof lower && at + i < end && word_byte(at[i])) {
        while (i < sizeof lower && at + i < end && word_byte(at[i])) {
            lower[i] = (char)tolower((unsigned char)at[i]);
            i++;
        }
        ends[words++] = i;
        if (i >= sizeof lower || at + i >= end || at[i] != ' ') break;
        lower[i++] = ' ';
    }
    while (words-- > 0) {
        const int32_t found = hash_find(&knowledge->abbreviations, lower, ends[words], -1);
        *length = ends[words];
        if (found >= 0) return knowledge->short_forms[found];
    }
    return NULL;
}

/* One slip: two letters swapped, one left out, one doubled. Words keep their first letter. */
static void add_misspelt(struct writer *writer, const char *word, size_t length) {
    const size_t at = 1 + rng_below(writer->rng, length - 2);
    switch (rng_below(writer->rng, 3)) {
    case 0:
        text_append(writer->out, word, at);
        text_add_char(writer->out, word[at + 1]);
        text_add_char(writer->out, word[at]);
        text_append(writer->out, word + at + 2, length - at - 2);
        break;
    case 1:
        text_append(writer->out, word, at);
        text_append(writer->out, word + at + 1, length - at - 1);
        break;
    default:
        text_append(writer->out, word, at + 1);
        text_append(writer->out, word + at, length - at);
    }
}

void style_apply(struct writer *writer, size_t start) {
    enum { SHORTEST = 5 };
    const struct author *author = &writer->author;
    if (writer->out->failed || (author->abbreviates <= 0 && author->misspells <= 0)) return;
    struct text plain = {0};
    text_append(&plain, writer->out->data + start, writer->out->length - start);
    if (plain.failed) {
        writer->out->failed = true;
        return;
    }
    const char *end = plain.data + plain.length;
    writer->out->length = start;
    for (const char *at = plain.data; at < end;) {
        size_t length = 0;
        if (!word_byte(*at)) {
            text_add_char(writer->out, *at++);
            continue;
        }
        const bool capitals = at + 1 < end && isupper((unsigned char)at[0]) &&
                              isupper((unsigned char)at[1]); /* headings and acronyms stay */
        const char *shorter = author->abbreviates > 0 && !capitals && chance(writer->rng, author->abbreviates)
                                  ? short_form(writer->knowledge, at, end, &length)
                                  : NULL;
        if (shorter != NULL) {
            text_add(writer->out, shorter);
            at += length;
            continue;
        }
        while (at + length < end && word_byte(at[length])) length++;
        if (length >= SHORTEST && chance(writer->rng, author->misspells))
            add_misspelt(writer, at, length);
        else
            text_append(writer->out, at, length);
        at += length;
    }
    text_free(&plain);
}
