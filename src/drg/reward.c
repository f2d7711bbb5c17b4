/* Completions taken apart by hand-written scanning: the published regular expressions would backtrack on hostile text.
 */
#include "drg/reward.h"
#include "base/error.h"
#include "base/text.h"
#include <string.h>

bool reward_kind_parse(const char *name, enum reward_kind *kind, struct error *error) {
    static const char *const names[] = {"dense", "balanced", "strict"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *kind = (enum reward_kind)i;
        return true;
    }
    return error_usage(error, "there is no reward \"%s\": dense, balanced and strict are known", name);
}

static size_t skip_space(const char *text, size_t length, size_t at) {
    for (size_t space; at < length && (space = utf8_space(text + at, length - at)) > 0;) at += space;
    return at;
}

static bool has_at(const char *text, size_t length, size_t at, const char *tag) {
    const size_t size = strlen(tag);
    return at <= length && length - at >= size && memcmp(text + at, tag, size) == 0;
}

/* Where the tag begins at or after `at`; length when it does not come again. */
static size_t find_tag(const char *text, size_t length, size_t at, const char *tag) {
    const char *found = at >= length ? NULL : memmem(text + at, length - at, tag, strlen(tag));
    return found == NULL ? length : (size_t)(found - text);
}

/* Where the next <answer> or </answer> begins; length without one. */
static size_t next_answer_tag(const char *text, size_t length, size_t at) {
    for (const char *found; at < length && (found = memchr(text + at, '<', length - at)) != NULL;) {
        at = (size_t)(found - text);
        if (has_at(text, length, at, "<answer>") || has_at(text, length, at, "</answer>")) return at;
        at++;
    }
    return length;
}

/* Whether what follows an answer lets it be the last one. */
static bool ends_here(const char *text, size_t length, size_t at, bool to_line_end) {
    const size_t end = skip_space(text, length, at);
    return end == length || (to_line_end && memchr(text + at, '\n', end - at) != NULL);
}

bool completion_has_format(const char *completion, size_t length, bool to_line_end) {
    const char *const close_think = "</think>", *const open = "<answer>", *const close = "</answer>";
    size_t at = skip_space(completion, length, 0);
    if (!has_at(completion, length, at, "<think>")) return false;
    at += strlen("<think>");
    /* Any end of thinking may be the one before the last answer. */
    while ((at = find_tag(completion, length, at, close_think)) < length) {
        at += strlen(close_think);
        const size_t answer = skip_space(completion, length, at);
        if (!has_at(completion, length, answer, open)) continue;
        const size_t inside = answer + strlen(open), end = next_answer_tag(completion, length, inside);
        if (!has_at(completion, length, end, close)) continue;
        if (ends_here(completion, length, end + strlen(close), to_line_end)) return true;
    }
    return false;
}

/* Bytes that a tag in any case takes at `at`, 0 if it is not there. The long s folds to s. */
static size_t tag_at(const char *text, size_t length, size_t at, const char *tag) {
    size_t place = at;
    for (; *tag != '\0'; tag++) {
        if (place >= length) return 0;
        if (*tag == 's' && has_at(text, length, place, "\xC5\xBF")) {
            place += 2;
            continue;
        }
        const char byte = text[place];
        if ((byte >= 'A' && byte <= 'Z' ? byte + ('a' - 'A') : byte) != *tag) return 0;
        place++;
    }
    return place - at;
}

/* The bytes between the first <answer> that is closed and its end, in any case of the tags. */
static bool first_answer(const char *text, size_t length, size_t *start, size_t *end) {
    size_t at = 0, size = 0;
    while (at < length && (size = tag_at(text, length, at, "<answer>")) == 0) at++;
    *start = at + size;
    for (*end = *start; *end < length; ++*end) {
        if (tag_at(text, length, *end, "</answer>") > 0) return true;
    }
    return false;
}

/* Characters beyond ASCII whose upper case is ASCII: the only ones that can make a title. */
static const struct {
    const char *bytes, *upper;
} capitals[] = {{"\xC3\x9F", "SS"},     {"\xC4\xB1", "I"},      {"\xC5\xBF", "S"},       {"\xEF\xAC\x80", "FF"},
                {"\xEF\xAC\x81", "FI"}, {"\xEF\xAC\x82", "FL"}, {"\xEF\xAC\x83", "FFI"}, {"\xEF\xAC\x84", "FFL"},
                {"\xEF\xAC\x85", "ST"}, {"\xEF\xAC\x86", "ST"}};

/* Upper case of the character at `text`: how many bytes it takes, and its capital. Others stay as they are, since no
 * title has them in either case. */
static size_t capital(const char *text, size_t length, char plain[2], const char **upper) {
    for (size_t i = 0; (unsigned char)text[0] >= 0x80 && i < sizeof capitals / sizeof capitals[0]; i++) {
        *upper = capitals[i].upper;
        if (has_at(text, length, 0, capitals[i].bytes)) return strlen(capitals[i].bytes);
    }
    plain[0] = (char)(text[0] >= 'a' && text[0] <= 'z' ? text[0] - ('a' - 'A') : text[0]);
    plain[1] = '\0';
    *upper = plain;
    return 1;
}

bool title_normalise(const char *title, size_t length, char *out, size_t *out_length) {
    size_t count = 0, solid = 0; /* solid: where the blanks at the end begin */
    char plain[2];
    for (size_t at = skip_space(title, length, 0); at < length;) {
        const size_t space = utf8_space(title + at, length - at);
        const char *upper;
        const size_t taken = space > 0 ? space : capital(title + at, length - at, plain, &upper);
        const size_t size = space > 0 ? space : strlen(upper);
        if (count + size > TITLE_LIMIT) {
            if (space == 0) return false;
        } else {
            memcpy(out + count, space > 0 ? title + at : upper, size);
        }
        count += size;
        if (space == 0) solid = count;
        at += taken;
    }
    out[solid] = '\0';
    *out_length = solid;
    return true;
}

const struct drg *completion_drg(const struct catalog *catalog, const char *completion, size_t length) {
    size_t start, end, size;
    char title[TITLE_LIMIT + 1];
    if (!first_answer(completion, length, &start, &end) ||
        !title_normalise(completion + start, end - start, title, &size) || size == 0)
        return NULL;
    return catalog_find_title(catalog, title, size);
}

const struct reward_pay *reward_pay_of(enum reward_kind kind) {
    static const struct reward_pay pays[] = {[REWARD_DENSE] = {2, 1.5, 0.5, -0.5, -1.5, -2},
                                             [REWARD_BALANCED] = {2, 1, 1, -0.5, -1.5, -2},
                                             [REWARD_STRICT] = {2, 0, 0, 0, -1.5, -2}};
    return &pays[kind];
}

static double score_exact(const struct reward_pay *pay, const struct drg *answer, const struct drg *gold) {
    if (answer == gold) return pay->full;
    if (gold == NULL) return pay->neither;
    if (answer->base == gold->base) return pay->base;
    const bool severity = severity_class(answer) == severity_class(gold) && gold->severity != SEVERITY_ANY;
    return severity ? pay->severity : pay->neither;
}

/* Cuts a normalised gold title at the first WITH or WITHOUT between blanks: the base with its NUL, and "WITH …" with a
 * single blank. False when there is none. */
static bool cut_gold(char *gold, size_t length, char **severity) {
    static const char *const words[] = {"WITHOUT", "WITH"};
    for (size_t at = 0; at < length;) {
        const size_t blanks = skip_space(gold, length, at);
        for (size_t w = 0; blanks > at && w < 2; w++) {
            const size_t size = strlen(words[w]), after = blanks + size;
            if (!has_at(gold, length, blanks, words[w])) continue;
            const size_t rest = skip_space(gold, length, after);
            if (rest == after) continue;
            gold[at] = '\0';
            *severity = gold + rest - size - 1;
            memmove(*severity, words[w], size);
            (*severity)[size] = ' ';
            return true;
        }
        at = blanks > at ? blanks : at + 1;
    }
    return false;
}

static double score_compat(const struct reward_pay *pay, const char *answer, char *gold, size_t length) {
    char *severity;
    if (strstr(answer, gold) != NULL) return pay->full;
    if (strcmp(gold, "NAN") == 0 || !cut_gold(gold, length, &severity)) return pay->neither;
    if (gold[0] != '\0' && strstr(answer, gold) != NULL) return pay->base;
    return strstr(answer, severity) != NULL ? pay->severity : pay->neither;
}

bool reward_score_paid(struct reward *reward, const struct reward_pay *pay, bool compat, const struct catalog *catalog,
                       const char *completion, size_t length, const char *gold, size_t gold_length,
                       struct error *error) {
    char title[TITLE_LIMIT + 1];
    size_t size;
    if (!title_normalise(gold, gold_length, title, &size)) {
        error_set(error, "\"gold\" has %zu bytes", gold_length);
        return error_hint(error, "\"gold\" takes the title of a DRG, such as HEART FAILURE AND SHOCK WITH MCC");
    }
    *reward = (struct reward){pay->no_format, 0};
    if (!completion_has_format(completion, length, false)) return true;
    reward->format = 0;
    const struct drg *answer = completion_drg(catalog, completion, length);
    if (answer == NULL)
        reward->accuracy = pay->invalid;
    else if (compat)
        reward->accuracy = score_compat(pay, answer->title, title, size);
    else
        reward->accuracy = score_exact(pay, answer, catalog_find_title(catalog, title, size));
    return true;
}

bool reward_score(struct reward *reward, enum reward_kind kind, bool compat, const struct catalog *catalog,
                  const char *completion, size_t length, const char *gold, size_t gold_length, struct error *error) {
    return reward_score_paid(reward, reward_pay_of(kind), compat, catalog, completion, length, gold, gold_length,
                             error);
}
