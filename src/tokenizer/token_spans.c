/* Spans of tokens: the words of a text are found again in it one behind the other, their pieces by their spelling. */
#include "tokenizer/token_spans.h"
#include "base/memory.h"
#include "tokenizer/tokenizer_parts.h"
#include <string.h>

bool token_spans_add(struct token_spans *spans, struct byte_span span, struct error *error) {
    if (!memory_grow(&spans->items, &spans->capacity, spans->count + 1, sizeof span, error)) return false;
    spans->items[spans->count++] = span;
    return true;
}

void token_spans_free(struct token_spans *spans) {
    memory_free(spans->items);
    *spans = (struct token_spans){0};
}

/* Length of the blank's mark that the bytes begin with; 0: none. */
static size_t mark_length(const struct tokenizer *tokenizer, const char *bytes, size_t length) {
    for (size_t i = 0; i < tokenizer->pretokenizer.count; i++) {
        const struct cut *cut = &tokenizer->pretokenizer.cuts[i];
        const size_t mark = cut->kind == CUT_METASPACE ? strlen(cut->mark) : 0;
        if (mark > 0 && mark <= length && memcmp(bytes, cut->mark, mark) == 0) return mark;
    }
    return 0;
}

/* The bytes of a word that is a copy: equal ones are met, a mark is met by a blank, a blank or mark that was put before
 * the word by nothing, and what was cut out of the text is passed over. */
static void follow_copy(struct word_tracker *tracker, const char *word, size_t length) {
    const char *text = tracker->text;
    size_t at = tracker->at;
    for (size_t i = 0, step; i < length; i += step) {
        const size_t mark = mark_length(tracker->tokenizer, word + i, length - i);
        struct byte_span span = {at, at};
        step = mark > 0 ? mark : 1;
        const bool equal = at + step <= tracker->length && memcmp(text + at, word + i, step) == 0;
        if (equal) {
            span.end = at += step;
        } else if (mark > 0 && at < tracker->length && text[at] == ' ') {
            span.end = ++at;
        } else if (i > 0 || !(mark > 0 || word[0] == ' ')) {
            const char *found = at < tracker->length ? memmem(text + at, tracker->length - at, word + i, step) : NULL;
            if (found != NULL) span = (struct byte_span){(size_t)(found - text), (size_t)(found - text) + step};
            at = span.end;
        }
        for (size_t b = 0; b < step; b++) tracker->word.items[i + b] = span;
    }
    tracker->at = at;
}

static bool follow_word(struct word_tracker *tracker, const char *word, size_t length, struct error *error) {
    struct token_spans *bytes = &tracker->word;
    if (!memory_grow(&bytes->items, &bytes->capacity, length, sizeof *bytes->items, error)) return false;
    const uintptr_t first = (uintptr_t)tracker->text, here = (uintptr_t)word;
    if (here < first || here + length > first + tracker->length) {
        follow_copy(tracker, word, length);
        return true;
    }
    const size_t at = (size_t)(here - first);
    for (size_t i = 0; i < length; i++) bytes->items[i] = (struct byte_span){at + i, at + i + 1};
    tracker->at = at + length;
    return true;
}

/* Bytes of the word that a token stands for; 0 if its spelling is not what stands there. */
static size_t piece_bytes(const struct tokenizer *tokenizer, int32_t id, const char *rest, size_t length, bool begins) {
    const struct piece *piece = &tokenizer->pieces[id];
    if (piece->is_byte) return length > 0;
    const size_t prefix = tokenizer->model == MODEL_WORDPIECE && !begins ? strlen(tokenizer->wordpiece.prefix) : 0;
    if (piece->length <= prefix || piece->length - prefix > length) return 0;
    return memcmp(piece->bytes + prefix, rest, piece->length - prefix) == 0 ? piece->length - prefix : 0;
}

/* Whether the tokens spell the word from end to end; an unknown token does not. */
static bool spells_word(const struct tokenizer *tokenizer, const char *word, size_t length, const int32_t *ids,
                        size_t count) {
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t taken = piece_bytes(tokenizer, ids[i], word + at, length - at, i == 0);
        if (taken == 0) return false;
        at += taken;
    }
    return at == length;
}

/* Of bytes first … end - 1 of the word, in the source. */
static struct byte_span source_span(const struct word_tracker *tracker, size_t first, size_t end) {
    const struct byte_span *bytes = tracker->word.items;
    struct byte_span whole = {0, 0};
    bool any = false;
    for (size_t i = first; i < end; i++) {
        if (bytes[i].start == bytes[i].end) continue;
        struct byte_span span = bytes[i];
        if (tracker->origin != NULL)
            span = (struct byte_span){tracker->origin[span.start].start, tracker->origin[span.end - 1].end};
        if (span.start == span.end) continue;
        if (!any) whole = span;
        if (span.start < whole.start) whole.start = span.start;
        if (span.end > whole.end) whole.end = span.end;
        any = true;
    }
    if (!any)
        whole.start = whole.end = tracker->spans->count == 0 ? 0 : tracker->spans->items[tracker->spans->count - 1].end;
    return whole;
}

bool word_tracker_add(struct word_tracker *tracker, const char *word, size_t length, const int32_t *ids, size_t count,
                      struct error *error) {
    if (!follow_word(tracker, word, length, error)) return false;
    const bool spelt = spells_word(tracker->tokenizer, word, length, ids, count);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const size_t taken = spelt ? piece_bytes(tracker->tokenizer, ids[i], word + at, length - at, i == 0) : length;
        if (!token_spans_add(tracker->spans, source_span(tracker, spelt ? at : 0, spelt ? at + taken : length), error))
            return false;
        at += spelt ? taken : 0;
    }
    return true;
}
