/* Where the bytes of a normalised text come from: each step is done once more, character by character, and what comes
 * out of a character is known to come from it. Characters that may act on one another are kept together. */
#include "base/error.h"
#include "base/memory.h"
#include "tokenizer/characters.h"
#include "tokenizer/token_spans.h"
#include <string.h>

/* A text on its way through the steps, and the source of each of its bytes. */
struct traced {
    struct text text;
    struct token_spans origin;
};

static void traced_free(struct traced *traced) {
    text_free(&traced->text);
    token_spans_free(&traced->origin);
}

/* One step at work. */
struct tracing {
    const struct normalizer *step; /* a normalizer of this step alone */
    struct matcher *matcher;
    const struct traced *from;
    struct traced *to;
    struct text made; /* scratch */
};

/* The source of bytes first … end - 1 of the text before the step; of none, the place where they would stand. */
static struct byte_span origin_of(const struct traced *from, size_t first, size_t end) {
    const struct byte_span *origin = from->origin.items;
    if (first < end) return (struct byte_span){origin[first].start, origin[end - 1].end};
    const size_t place = from->origin.count == 0      ? 0
                         : first < from->origin.count ? origin[first].start
                                                      : origin[first - 1].end;
    return (struct byte_span){place, place};
}

/* Adds bytes that came of bytes first … end - 1. */
static bool add_made(struct tracing *tracing, const char *bytes, size_t length, size_t first, size_t end,
                     struct error *error) {
    const bool same = length == end - first && memcmp(bytes, tracing->from->text.data + first, length) == 0;
    text_append(&tracing->to->text, bytes, length);
    for (size_t i = 0; i < length; i++) {
        const struct byte_span span =
            same ? origin_of(tracing->from, first + i, first + i + 1) : origin_of(tracing->from, first, end);
        if (!token_spans_add(&tracing->to->origin, span, error)) return false;
    }
    return true;
}

/* Whether the step may be cut before this character: it neither joins what stands before it nor changes places with it.
 * Latin letters and their accented forms never do, ideographs never do. */
static bool stands_alone(int32_t code) {
    return code < 0x300 || (code >= 0x4e00 && code < 0xa000);
}

static bool trace_characters(struct tracing *tracing, struct error *error) {
    const char *text = tracing->from->text.data;
    const size_t length = tracing->from->text.length;
    for (size_t first = 0, end; first < length; first = end) {
        size_t step;
        character_read(text + first, length - first, &step);
        for (end = first + step; end < length; end += step) {
            if (stands_alone(character_read(text + end, length - end, &step))) break;
        }
        if (!normalizer_apply(tracing->step, tracing->matcher, text + first, end - first, &tracing->made, error) ||
            !add_made(tracing, tracing->made.length == 0 ? "" : tracing->made.data, tracing->made.length, first, end,
                      error))
            return false;
    }
    return true;
}

/* What stays as it is, byte for byte. */
static bool keep(struct tracing *tracing, size_t first, size_t end, struct error *error) {
    return add_made(tracing, tracing->from->text.data + first, end - first, first, end, error);
}

static bool trace_replacements(struct tracing *tracing, struct error *error) {
    const struct normalizer_step *step = &tracing->step->steps[0];
    const struct text *text = &tracing->from->text;
    const size_t literal = step->literal == NULL ? 0 : strlen(step->literal);
    for (size_t from = 0, start, end; from < text->length; from = end) {
        if (step->literal != NULL) {
            const char *found = memmem(text->data + from, text->length - from, step->literal, literal);
            start = found == NULL ? 0 : (size_t)(found - text->data);
            end = found == NULL ? 0 : start + literal;
        } else if (!pattern_find(step->pattern, tracing->matcher, text->data, text->length, from, &start, &end,
                                 error)) {
            return false;
        }
        if (end == 0) return keep(tracing, from, text->length, error);
        if (!keep(tracing, from, start, error) ||
            !add_made(tracing, step->content, strlen(step->content), start, end, error))
            return false;
    }
    return true;
}

/* White space is taken from the ends alone: what is left lies within the text. */
static bool trace_strip(struct tracing *tracing, struct error *error) {
    const struct text *text = &tracing->from->text;
    if (!normalizer_apply(tracing->step, tracing->matcher, text->data, text->length, &tracing->made, error))
        return false;
    const size_t left = tracing->made.length;
    const char *found = left == 0 ? NULL : memmem(text->data, text->length, tracing->made.data, left);
    if (found == NULL) return true;
    const size_t first = (size_t)(found - text->data);
    return keep(tracing, first, first + left, error);
}

static bool trace_step(struct tracing *tracing, struct error *error) {
    const struct normalizer_step *step = &tracing->step->steps[0];
    const size_t length = tracing->from->text.length;
    if (length == 0) return true;
    switch (step->kind) {
    case NORMALIZE_PREPEND:
        return add_made(tracing, step->content, strlen(step->content), 0, 0, error) && keep(tracing, 0, length, error);
    case NORMALIZE_REPLACE:
        return trace_replacements(tracing, error);
    case NORMALIZE_STRIP:
        return trace_strip(tracing, error);
    default:
        return trace_characters(tracing, error);
    }
}

/* The trace is of the text that was encoded: should characters have acted on one another after all, the stretch between
 * the first and the last difference comes from all that stands there. */
static bool adopt(struct token_spans *trace, const struct traced *traced, const struct text *normalized,
                  struct error *error) {
    const size_t ours = traced->text.length, theirs = normalized->length, both = ours < theirs ? ours : theirs;
    size_t before = 0, behind = 0;
    while (before < both && traced->text.data[before] == normalized->data[before]) before++;
    while (behind < both - before && traced->text.data[ours - 1 - behind] == normalized->data[theirs - 1 - behind])
        behind++;
    const struct byte_span middle = origin_of(traced, before, ours - behind);
    for (size_t i = 0; i < theirs; i++) {
        const struct byte_span span = i < before             ? traced->origin.items[i]
                                       : i >= theirs - behind ? traced->origin.items[i + ours - theirs]
                                                              : middle;
        if (!token_spans_add(trace, span, error)) return false;
    }
    return true;
}

bool normalizer_trace(const struct normalizer *normalizer, struct matcher *matcher, const char *source, size_t length,
                      const struct text *normalized, struct token_spans *trace, struct error *error) {
    struct traced from = {0}, to = {0};
    bool done = true;
    text_append(&from.text, source, length);
    for (size_t i = 0; done && i < length; i++)
        done = token_spans_add(&from.origin, (struct byte_span){i, i + 1}, error);
    for (size_t i = 0; done && i < normalizer->count; i++) {
        const struct normalizer step = {.steps = normalizer->steps + i, .count = 1};
        struct tracing tracing = {.step = &step, .matcher = matcher, .from = &from, .to = &to};
        done = text_ok(&from.text, error) && trace_step(&tracing, error) && text_ok(&to.text, error);
        text_free(&tracing.made);
        const struct traced swapped = from;
        from = to;
        to = swapped;
        text_clear(&to.text);
        to.origin.count = 0;
    }
    done = done && text_ok(&from.text, error) && adopt(trace, &from, normalized, error);
    traced_free(&from);
    traced_free(&to);
    return done;
}
