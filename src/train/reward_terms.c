/* Terms of the reward of a sampled completion. */
#include "train/reward_terms.h"
#include "base/error.h"
#include "base/hash.h"
#include "drg/completion.h"
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static int compare_hashes(const void *a, const void *b) {
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

double repeated_share(const int32_t *ids, int64_t count, int64_t n) {
    enum { MOST = 1 << 16 };
    static _Thread_local uint64_t hashes[MOST];
    if (count < n || n < 1) return 0;
    const int64_t grams = count - n + 1 < MOST ? count - n + 1 : MOST;
    for (int64_t i = 0; i < grams; i++) hashes[i] = hash_bytes(ids + i, (size_t)n * sizeof *ids, 0);
    qsort(hashes, (size_t)grams, sizeof *hashes, compare_hashes);
    int64_t repeated = 0;
    for (int64_t i = 1; i < grams; i++) repeated += hashes[i] == hashes[i - 1];
    return (double)repeated / (double)grams;
}

/* Upper case of ASCII letters: titles have no others. */
static void capitals(char *out, const char *text, size_t length) {
    for (size_t i = 0; i < length; i++) out[i] = (char)toupper((unsigned char)text[i]);
}

static bool is_word(char byte) {
    return isalnum((unsigned char)byte) != 0;
}

/* Whether the title stands in the text as words of its own. */
static bool stands_in(const char *text, size_t length, const char *title, size_t size) {
    for (size_t at = 0; at + size <= length;) {
        const char *found = memmem(text + at, length - at, title, size);
        if (found == NULL) return false;
        const size_t first = (size_t)(found - text), end = first + size;
        if ((first == 0 || !is_word(text[first - 1])) && (end == length || !is_word(text[end]))) return true;
        at = first + 1;
    }
    return false;
}

/* "DRG 291", "MS-DRG: 291". */
static bool names_number(const char *upper, size_t length) {
    for (size_t at = 0; at + 4 < length; at++) {
        if (memcmp(upper + at, "DRG", 3) != 0) continue;
        size_t digit = at + 3;
        while (digit < length && strchr(" :#", upper[digit]) != NULL && upper[digit] != '\0') digit++;
        if (digit < length && isdigit((unsigned char)upper[digit])) return true;
    }
    return false;
}

static size_t word_count(const char *title) {
    size_t words = 1;
    for (const char *c = title; *c != '\0'; c++) words += *c == ' ';
    return words;
}

bool reasoning_names_drg(const struct catalog *catalog, const struct rollout *rollout, int64_t tokens) {
    enum { LONG_TITLE = 4, WINDOW = 4096 };
    char upper[WINDOW];
    size_t length;
    if (rollout->text.data == NULL || rollout->ids.count == 0) return false;
    const char *reasoning = completion_reasoning(rollout->text.data, rollout->text.length, &length);
    const size_t start = (size_t)(reasoning - rollout->text.data);
    /* The reasoning's first token is the first behind whose end it has begun. */
    size_t first = 0;
    while (first < rollout->ids.count && (size_t)rollout->text_ends[first] <= start) first++;
    size_t last = first + (size_t)tokens;
    if (last > rollout->ids.count) last = rollout->ids.count;
    const size_t end = last == 0 ? 0 : (size_t)rollout->text_ends[last - 1];
    if (end <= start) return false;
    if (length > end - start) length = end - start;
    if (length > sizeof upper) length = sizeof upper;
    capitals(upper, reasoning, length);
    if (names_number(upper, length)) return true;
    for (size_t i = 0; i < catalog->count; i++) {
        const char *title = catalog->drgs[i].title;
        const bool long_enough = word_count(title) >= LONG_TITLE;
        if (stands_in(long_enough ? upper : reasoning, length, title, strlen(title))) return true;
    }
    return false;
}

/* From -1 at the limit to 0 at `soft` tokens below. */
static double length_term(int64_t count, int64_t most, int64_t soft) {
    const int64_t free = most - soft;
    if (count <= free) return 0;
    return count >= most ? -1 : -(double)(count - free) / (double)soft;
}

bool reward_terms(struct reward_parts *parts, const struct reward_settings *settings, const struct catalog *catalog,
                  const struct rollout *rollout, const char *gold, struct error *error) {
    const char *text = rollout->text.data == NULL ? "" : rollout->text.data;
    const size_t length = rollout->text.length;
    const int64_t count = (int64_t)rollout->ids.count;
    struct reward reward;
    if (!reward_score_paid(&reward, &settings->pay, settings->compat, catalog, text, length, gold, strlen(gold), error))
        return false;
    *parts = (struct reward_parts){.accuracy = settings->accuracy * reward.accuracy,
                                   .format = settings->format * reward.format,
                                   .answer = reward.accuracy + reward.format,
                                   .has_format = completion_has_format(text, length, false)};
    const struct drg *named = parts->has_format ? completion_drg(catalog, text, length) : NULL;
    parts->is_right = named != NULL && strcmp(named->title, gold) == 0;
    if (settings->length > 0)
        parts->length = settings->length * length_term(count, settings->max_tokens, settings->length_soft);
    if (settings->repetition > 0)
        parts->repetition = -settings->repetition * repeated_share(rollout->ids.ids, count, settings->repetition_ngram);
    if (settings->cot_first > 0 && reasoning_names_drg(catalog, rollout, settings->cot_first_tokens))
        parts->cot_first = -settings->cot_first;
    parts->total = parts->accuracy + parts->format + parts->length + parts->repetition + parts->cot_first;
    return true;
}
