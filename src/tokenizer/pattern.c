/* Patterns: see pattern.h. */
#include "tokenizer/pattern.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include <string.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

const char pattern_gpt2[] = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

const char pattern_qwen2[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|"
    "\\s+(?!\\S)|\\s+";

/* JIT code that needs more than the 32 KiB it finds on the machine's stack gets one of its own, up to this size. */
enum { STACK_START = 32 << 10, STACK_LIMIT = 64 << 20, HEAP_LIMIT_KIB = 1 << 20 };

struct pattern {
    pcre2_code *code;
    bool jit;
};

/* \s and \w spelt out as members of a class; PCRE2's \s would hold U+180E too, and its \w would lack the marks. */
#define SPACE_MEMBERS "\\t-\\r\\x{85}\\p{Z}"
#define WORD_MEMBERS "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{200c}\\x{200d}"

static void add_class(struct text *out, char letter, bool inside) {
    const char *members = letter == 's' || letter == 'S' ? SPACE_MEMBERS : WORD_MEMBERS;
    if (!inside) text_add(out, letter == 'S' || letter == 'W' ? "[^" : "[");
    text_add(out, members);
    if (!inside) text_add_char(out, ']');
}

static void translate(struct text *out, const char *expression) {
    bool inside = false;
    for (const char *at = expression; *at != '\0'; at++) {
        if (*at == '\\' && at[1] != '\0') {
            at++;
            /* A negated class inside a class cannot be spelt as members: PCRE2's own is near enough. */
            const bool spelt = *at == 's' || *at == 'w' || (!inside && (*at == 'S' || *at == 'W'));
            if (spelt) {
                add_class(out, *at, inside);
                continue;
            }
            text_add_char(out, '\\');
        } else if (*at == '[') {
            inside = true;
        } else if (*at == ']') {
            inside = false;
        }
        text_add_char(out, *at);
    }
}

bool pattern_open(struct pattern **out, const char *expression, bool literal, struct error *error) {
    int number;
    PCRE2_SIZE offset;
    struct text translated = {0};
    struct pattern *pattern = memory_zero(1, sizeof *pattern);
    if (pattern == NULL) return memory_error(error, sizeof *pattern, "a pattern");
    if (literal)
        text_add(&translated, expression);
    else
        translate(&translated, expression);
    if (!text_ok(&translated, error)) {
        text_free(&translated);
        pattern_close(pattern);
        return false;
    }
    /* PCRE2_LITERAL forbids PCRE2_UCP; \C would cut characters in two. */
    const uint32_t options = PCRE2_UTF | (literal ? PCRE2_LITERAL : PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C);
    pattern->code = pcre2_compile((PCRE2_SPTR)(translated.data == NULL ? "" : translated.data), translated.length,
                                  options, &number, &offset, NULL);
    text_free(&translated);
    if (pattern->code == NULL) {
        PCRE2_UCHAR message[128];
        pcre2_get_error_message(number, message, sizeof message);
        pattern_close(pattern);
        return error_set(error, "the pattern \"%.200s\" is no regular expression (%s)", expression,
                         (const char *)message);
    }
    pattern->jit = pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE) == 0; /* without it: slower, not wrong */
    *out = pattern;
    return true;
}

void pattern_close(struct pattern *pattern) {
    if (pattern == NULL) return;
    pcre2_code_free(pattern->code);
    memory_free(pattern);
}

void matcher_free(struct matcher *matcher) {
    pcre2_match_data_free(matcher->data);
    pcre2_match_context_free(matcher->context);
    pcre2_jit_stack_free(matcher->stack);
    *matcher = (struct matcher){0};
}

static bool matcher_prepare(struct matcher *matcher, struct error *error) {
    matcher->data = pcre2_match_data_create(1, NULL);
    matcher->context = pcre2_match_context_create(NULL);
    if (matcher->data == NULL || matcher->context == NULL) {
        matcher_free(matcher);
        return memory_error(error, STACK_START, "a match");
    }
    pcre2_set_heap_limit(matcher->context, HEAP_LIMIT_KIB);
    return true;
}

static int match(const struct pattern *pattern, struct matcher *matcher, const char *text, size_t length, size_t from) {
    const uint32_t options = PCRE2_NOTEMPTY;
    return pattern->jit ? pcre2_jit_match(pattern->code, (PCRE2_SPTR)text, length, from, options, matcher->data,
                                          matcher->context)
                        : pcre2_match(pattern->code, (PCRE2_SPTR)text, length, from, options | PCRE2_NO_UTF_CHECK,
                                      matcher->data, matcher->context);
}

/* A run of one kind of character may be megabytes long. */
static bool enlarge_stack(struct matcher *matcher) {
    if (matcher->stack != NULL) return false;
    matcher->stack = pcre2_jit_stack_create(STACK_START, STACK_LIMIT, NULL);
    if (matcher->stack != NULL) pcre2_jit_stack_assign(matcher->context, NULL, matcher->stack);
    return matcher->stack != NULL;
}

bool pattern_find(const struct pattern *pattern, struct matcher *matcher, const char *text, size_t length, size_t from,
                  size_t *start, size_t *end, struct error *error) {
    if (matcher->data == NULL && !matcher_prepare(matcher, error)) return false;
    int found = match(pattern, matcher, text, length, from);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT && enlarge_stack(matcher))
        found = match(pattern, matcher, text, length, from);
    if (found == PCRE2_ERROR_NOMATCH) {
        *start = *end = 0;
        return true;
    }
    if (found < 0) {
        PCRE2_UCHAR message[128];
        pcre2_get_error_message(found, message, sizeof message);
        return error_set(error, "the tokenizer's pattern gave up on the text: %s", (const char *)message);
    }
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(matcher->data);
    /* \K in a lookahead could turn them round; such a match is none. */
    const bool forward = at[0] >= from && at[1] > at[0] && at[1] <= length;
    *start = forward ? at[0] : 0;
    *end = forward ? at[1] : 0;
    return true;
}

/* A piece is held back until it is known whether the next one joins it. */
struct splitting {
    enum split_behavior behavior;
    word_function *function;
    void *context;
    const char *text;
    size_t start, end; /* the piece held back; nothing when equal */
    bool previous;     /* whether it ends in a match */
};

static bool emit(struct splitting *s, size_t start, size_t end, struct error *error) {
    return start == end || s->function(s->context, s->text + start, end - start, error);
}

static bool take(struct splitting *s, size_t start, size_t end, bool is_match, struct error *error) {
    bool joins = false;
    switch (s->behavior) {
    case SPLIT_REMOVED:
        return is_match || emit(s, start, end, error);
    case SPLIT_ISOLATED:
        return emit(s, start, end, error);
    case SPLIT_MERGED_WITH_PREVIOUS:
        joins = is_match && !s->previous;
        break;
    case SPLIT_MERGED_WITH_NEXT:
        joins = !is_match && s->previous;
        break;
    case SPLIT_CONTIGUOUS:
        joins = is_match == s->previous;
        break;
    }
    s->previous = is_match;
    if (joins && s->start < s->end) {
        s->end = end;
        return true;
    }
    const size_t held_start = s->start, held_end = s->end;
    s->start = start;
    s->end = end;
    return emit(s, held_start, held_end, error);
}

bool pattern_split(const struct pattern *pattern, struct matcher *matcher, enum split_behavior behavior, bool invert,
                   const char *text, size_t length, word_function *function, void *context, struct error *error) {
    struct splitting s = {.behavior = behavior, .function = function, .context = context, .text = text};
    for (size_t from = 0; from < length;) {
        size_t start = 0, end = 0;
        if (!pattern_find(pattern, matcher, text, length, from, &start, &end, error)) return false;
        if (end == 0) start = end = length;
        if (start > from && !take(&s, from, start, invert, error)) return false;
        if (end > start && !take(&s, start, end, !invert, error)) return false;
        from = end;
    }
    return emit(&s, s.start, s.end, error);
}
