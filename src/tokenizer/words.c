/* Words: cut by the Unicode categories of utf8proc, counted and looked up in a hash. */
#include "tokenizer/words.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/text.h"
#include "tokenizer/token_spans.h"
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static const char *const reserved[] = {"<pad>", "<unk>"};
enum { RESERVED = sizeof reserved / sizeof reserved[0], FILE_LIMIT = 1 << 30 };

/* A word in the order in which it was met. */
struct counted_word {
    const char *bytes;
    size_t length;
    int64_t count;
};

struct word_counts {
    struct hash numbers; /* word → index into words */
    struct counted_word *words;
    size_t count, capacity;
    struct arena arena;
    struct text word; /* scratch */
};

struct words {
    struct hash ids;
    const char **spellings; /* [count] */
    size_t count;
    struct arena arena;
};

/* The lower-case form of a character of a word; 0 if it parts words. */
static utf8proc_int32_t word_character(utf8proc_int32_t character) {
    if (character < 128) {
        if (character >= 'A' && character <= 'Z') return character | 0x20;
        const bool kept = (character >= 'a' && character <= 'z') || (character >= '0' && character <= '9');
        return kept ? character : 0;
    }
    switch (utf8proc_category(character)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return utf8proc_tolower(character);
    default:
        return 0;
    }
}

/* The next word of valid UTF-8 into `word`, in lower case; empty at the end. Gives the bytes read, and where the word
 * stands in them. */
static size_t next_word(struct text *word, struct byte_span *place, const char *bytes, size_t length) {
    size_t at = 0;
    *place = (struct byte_span){0, 0};
    text_clear(word);
    while (at < length) {
        utf8proc_int32_t character;
        utf8proc_uint8_t encoded[4];
        const utf8proc_ssize_t size =
            utf8proc_iterate((const utf8proc_uint8_t *)bytes + at, (utf8proc_ssize_t)(length - at), &character);
        const size_t before = at;
        at += size > 0 ? (size_t)size : 1;
        const utf8proc_int32_t lower = size > 0 ? word_character(character) : 0;
        if (lower == 0 && word->length > 0) break;
        if (lower == 0) continue;
        if (word->length == 0) place->start = before;
        place->end = at;
        text_append(word, (const char *)encoded, (size_t)utf8proc_encode_char(lower, encoded));
    }
    return at;
}

static bool check_text(const char *bytes, size_t length, struct error *error) {
    size_t bad;
    return utf8_valid(bytes, length, &bad) || error_set(error, "invalid UTF-8 at byte %zu", bad);
}

bool word_counts_open(struct word_counts **counts, struct error *error) {
    *counts = memory_zero(1, sizeof **counts);
    return *counts != NULL || memory_error(error, sizeof **counts, "the words of the training texts");
}

static bool count_word(struct word_counts *counts, struct error *error) {
    const struct text *word = &counts->word;
    if (!text_ok(word, error)) return false;
    const int32_t known = hash_find(&counts->numbers, word->data, word->length, -1);
    if (known >= 0) {
        counts->words[known].count++;
        return true;
    }
    if (counts->count == INT32_MAX) return error_set(error, "more than two thousand million different words");
    const char *copy = arena_string(&counts->arena, word->data, word->length);
    if (copy == NULL) return memory_error(error, word->length, "the words of the training texts");
    if (!memory_grow(&counts->words, &counts->capacity, counts->count + 1, sizeof *counts->words, error) ||
        !hash_insert(&counts->numbers, copy, word->length, (int32_t)counts->count, NULL, error)) {
        return false;
    }
    counts->words[counts->count++] = (struct counted_word){copy, word->length, 1};
    return true;
}

bool word_counts_add(struct word_counts *counts, const char *bytes, size_t length, struct error *error) {
    if (!check_text(bytes, length, error)) return false;
    for (size_t at = 0; at < length;) {
        struct byte_span place;
        at += next_word(&counts->word, &place, bytes + at, length - at);
        if (counts->word.length > 0 && !count_word(counts, error)) return false;
    }
    return true;
}

void word_counts_close(struct word_counts *counts) {
    if (counts == NULL) return;
    hash_free(&counts->numbers);
    memory_free(counts->words);
    text_free(&counts->word);
    arena_free(&counts->arena);
    memory_free(counts);
}

static int compare_words(const void *a, const void *b) {
    const struct counted_word *x = *(const struct counted_word *const *)a, *y = *(const struct counted_word *const *)b;
    if (x->count != y->count) return x->count < y->count ? 1 : -1;
    const int order = memcmp(x->bytes, y->bytes, x->length < y->length ? x->length : y->length);
    return order != 0 ? order : (x->length > y->length) - (x->length < y->length);
}

/* Gives a word the next id. The spelling is copied. */
static bool add_word(struct words *words, const char *bytes, size_t length, struct error *error) {
    bool exists;
    const char *copy = arena_string(&words->arena, bytes, length);
    if (copy == NULL) return memory_error(error, length, "the vocabulary");
    if (!hash_insert(&words->ids, copy, length, (int32_t)words->count, &exists, error)) return false;
    if (exists) return error_set(error, "the word \"%.64s\" stands there twice", copy);
    words->spellings[words->count++] = copy;
    return true;
}

static bool words_make(struct words **out, size_t capacity, struct error *error) {
    struct words *words = memory_zero(1, sizeof *words);
    if (words != NULL) words->spellings = memory_alloc(capacity, sizeof *words->spellings);
    if (words == NULL || words->spellings == NULL) {
        words_close(words);
        return memory_error(error, capacity * sizeof *words->spellings, "the vocabulary");
    }
    *out = words;
    return true;
}

bool words_learn(struct words **out, const struct word_counts *counts, int64_t minimum, struct error *error) {
    size_t kept = 0;
    struct words *words = NULL;
    const struct counted_word **sorted = memory_alloc(counts->count, sizeof(struct counted_word *));
    if (sorted == NULL) return memory_error(error, counts->count * sizeof *sorted, "the vocabulary");
    for (size_t i = 0; i < counts->count; i++) {
        if (counts->words[i].count >= minimum) sorted[kept++] = &counts->words[i];
    }
    qsort(sorted, kept, sizeof *sorted, compare_words);
    bool done = kept > 0 || error_set(error, "no word occurs %lld times in the training texts", (long long)minimum);
    done = done && words_make(&words, kept + RESERVED, error);
    for (size_t i = 0; done && i < RESERVED; i++) done = add_word(words, reserved[i], strlen(reserved[i]), error);
    for (size_t i = 0; done && i < kept; i++) done = add_word(words, sorted[i]->bytes, sorted[i]->length, error);
    memory_free(sorted);
    if (!done) {
        words_close(words);
        return false;
    }
    *out = words;
    return true;
}

static bool read_lines(struct words *words, const struct text *text, struct error *error) {
    for (size_t at = 0; at < text->length;) {
        const char *line = text->data + at, *feed = memchr(line, '\n', text->length - at);
        const size_t length = feed == NULL ? text->length - at : (size_t)(feed - line);
        const size_t id = words->count;
        if (id < RESERVED && (length != strlen(reserved[id]) || memcmp(line, reserved[id], length) != 0))
            return error_set(error, "line %zu is not %s", id + 1, reserved[id]);
        if (length == 0) return error_set(error, "line %zu is empty", id + 1);
        if (!add_word(words, line, length, error)) return error_context(error, "line %zu", id + 1);
        at += length + (feed != NULL);
    }
    return words->count > RESERVED || error_set(error, "%zu lines, expected <pad>, <unk> and words", words->count);
}

bool words_open(struct words **out, const char *path, struct error *error) {
    struct text text = {0};
    struct words *words = NULL;
    size_t lines = 1, bad;
    if (!file_read(&text, path, FILE_LIMIT, error)) {
        text_free(&text);
        return false;
    }
    for (size_t i = 0; i < text.length; i++) lines += text.data[i] == '\n';
    bool done = utf8_valid(text.data == NULL ? "" : text.data, text.length, &bad) ||
                error_set(error, "invalid UTF-8 at byte %zu", bad);
    done = done && (lines < INT32_MAX || error_set(error, "too many lines"));
    done = done && words_make(&words, lines, error) && read_lines(words, &text, error);
    text_free(&text);
    if (!done) {
        words_close(words);
        return error_context(error, "%s", path);
    }
    *out = words;
    return true;
}

bool words_write(const struct words *words, const char *path, struct error *error) {
    struct text text = {0};
    for (size_t i = 0; i < words->count; i++) {
        text_add(&text, words->spellings[i]);
        text_add_char(&text, '\n');
    }
    const bool done = text_ok(&text, error) && file_write(path, text.data, text.length, error);
    text_free(&text);
    return done;
}

void words_close(struct words *words) {
    if (words == NULL) return;
    hash_free(&words->ids);
    memory_free(words->spellings);
    arena_free(&words->arena);
    memory_free(words);
}

size_t words_count(const struct words *words) {
    return words->count;
}

bool words_encode(const struct words *words, const char *bytes, size_t length, struct token_list *out,
                  struct error *error) {
    return words_encode_spans(words, bytes, length, out, NULL, error);
}

bool words_encode_spans(const struct words *words, const char *bytes, size_t length, struct token_list *out,
                        struct token_spans *spans, struct error *error) {
    struct text word = {0};
    bool done = check_text(bytes, length, error);
    for (size_t at = 0; done && at < length;) {
        const size_t from = at;
        struct byte_span place;
        at += next_word(&word, &place, bytes + at, length - at);
        if (word.length == 0) break;
        place = (struct byte_span){from + place.start, from + place.end};
        done = text_ok(&word, error) && memory_grow(&out->ids, &out->capacity, out->count + 1, sizeof *out->ids, error);
        if (done) out->ids[out->count++] = hash_find(&words->ids, word.data, word.length, WORD_UNKNOWN);
        if (spans != NULL) done = done && token_spans_add(spans, place, error);
    }
    text_free(&word);
    return done;
}
