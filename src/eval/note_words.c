/* Parting a note into words, then the words into clauses by what stands between them. */
#include "eval/note_words.h"
#include "base/error.h"
#include "base/memory.h"
#include "tokenizer/characters.h"
#include <ctype.h>
#include <string.h>

/* A comma ends a clause of so many words; a line of fewer bytes is a line by itself. */
enum { COMMA_WORDS = 4, SHORT_LINE = 60 };

static bool add_word(struct note_words *list, struct span word, struct error *error) {
    if (!memory_grow(&list->words, &list->word_capacity, list->count + 1, sizeof word, error)) return false;
    list->words[list->count++] = word;
    return true;
}

static bool ends_word(int32_t code) {
    return character_is_punctuation(code) && code != '+' && code != '%';
}

/* The stretch without the punctuation at its ends; empty if there is nothing else. */
static struct span trim(const char *text, struct span stretch) {
    size_t step;
    while (stretch.start < stretch.end &&
           character_is_punctuation(character_read(text + stretch.start, stretch.end - stretch.start, &step)))
        stretch.start += step;
    while (stretch.start < stretch.end) {
        size_t last = stretch.end - 1;
        while (last > stretch.start && ((unsigned char)text[last] & 0xc0) == 0x80) last--;
        if (!ends_word(character_read(text + last, stretch.end - last, &step))) break;
        stretch.end = last;
    }
    return stretch;
}

static bool find_words(struct note_words *list, const char *text, size_t length, struct error *error) {
    for (size_t at = 0, step; at < length;) {
        struct span stretch = {at, at};
        while (stretch.end < length) {
            const int32_t code = character_read(text + stretch.end, length - stretch.end, &step);
            const bool alone = character_is_ideograph(code);
            if (character_is_space(code) || (alone && stretch.end > stretch.start)) break;
            stretch.end += step;
            if (alone) break;
        }
        if (stretch.end == stretch.start) {
            character_read(text + at, length - at, &step);
            at += step;
            continue;
        }
        at = stretch.end;
        stretch = trim(text, stretch);
        if (stretch.start < stretch.end && !add_word(list, stretch, error)) return false;
    }
    return true;
}

/* "1." or "2)" at the start of a line. */
static bool is_list_number(const char *text, size_t length, struct span word) {
    for (size_t i = word.start; i < word.end; i++) {
        if (!isdigit((unsigned char)text[i])) return false;
    }
    return word.end - word.start <= 2 && word.end < length && (text[word.end] == '.' || text[word.end] == ')');
}

/* Whether a clause ends between two words that follow each other. */
static bool clause_ends(const char *text, size_t length, struct span before, struct span behind, size_t words) {
    size_t feeds = 0, line_start = before.end;
    bool bullet = false;
    /* No further than a short line goes: a note may be a single line of megabytes. */
    while (line_start > 0 && before.end - line_start < SHORT_LINE && text[line_start - 1] != '\n') line_start--;
    if (line_start == before.start && is_list_number(text, length, before)) return false;
    for (size_t i = before.end; i < behind.start; i++) {
        if (strchr(".;:?!", text[i]) != NULL && text[i] != '\0') return true;
        if (text[i] == ',' && words >= COMMA_WORDS) return true;
        if (text[i] == '\n' && feeds++ == 0 && i - line_start < SHORT_LINE) return true;
        bullet = bullet || (feeds > 0 && strchr("#-*=", text[i]) != NULL);
    }
    return feeds > 1 || bullet || (feeds > 0 && is_list_number(text, length, behind));
}

static bool find_clauses(struct note_words *list, const char *text, size_t length, struct error *error) {
    size_t first = 0;
    if (!memory_grow(&list->clause_of, &list->of_capacity, list->count, sizeof *list->clause_of, error)) return false;
    for (size_t i = 0; i < list->count; i++) {
        list->clause_of[i] = list->clause_count;
        const bool last = i + 1 == list->count;
        if (!last && !clause_ends(text, length, list->words[i], list->words[i + 1], i + 1 - first)) continue;
        if (!memory_grow(&list->clauses, &list->clause_capacity, list->clause_count + 1, sizeof *list->clauses, error))
            return false;
        list->clauses[list->clause_count++] = (struct span){list->words[first].start, list->words[i].end};
        first = i + 1;
    }
    return true;
}

bool note_words_find(struct note_words *list, const char *text, size_t length, struct error *error) {
    list->count = list->clause_count = 0;
    return find_words(list, text, length, error) && find_clauses(list, text, length, error);
}

void note_words_free(struct note_words *list) {
    memory_free(list->words);
    memory_free(list->clause_of);
    memory_free(list->clauses);
    *list = (struct note_words){0};
}
