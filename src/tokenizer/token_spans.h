/* Where each token of an encoded text stands in that text, as bytes.
 *
 * Normalisation moves and replaces bytes; a token's span is then that of the characters it was made of, as a reader
 * would underline them. Characters that are normalised together (a letter and its combining accent) share a span. */
#ifndef CASEMIX_TOKENIZER_TOKEN_SPANS_H
#define CASEMIX_TOKENIZER_TOKEN_SPANS_H

#include "base/text.h"
#include "tokenizer/normalizer.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct tokenizer;

/* Bytes start … end - 1; empty for a token that stands for nothing in the text. */
struct byte_span {
    size_t start, end;
};

/* One for each token of a list. Zero-initialise; release with token_spans_free. */
struct token_spans {
    struct byte_span *items;
    size_t count, capacity;
};
bool token_spans_add(struct token_spans *spans, struct byte_span span, struct error *error);
void token_spans_free(struct token_spans *spans);

/* For each byte of a normalised text the bytes of the source that it was made of. Zero-initialise; release with
 * token_spans_free. `normalized` is what normalizer_apply made of the source. */
bool normalizer_trace(const struct normalizer *normalizer, struct matcher *matcher, const char *source, size_t length,
                      const struct text *normalized, struct token_spans *trace, struct error *error);

/* Follows the words of a normalised text as they are encoded, in order. */
struct word_tracker {
    const struct tokenizer *tokenizer;
    struct token_spans *spans;       /* filled */
    const char *text;                /* normalised */
    size_t length, at;               /* `at`: behind the last word */
    const struct byte_span *origin; /* [length] of each byte in the source; NULL: it is the source */
    struct token_spans word;         /* scratch: of each byte of a word, in the normalised text */
};

/* Adds the spans of the tokens that a word became. The word lies in the normalised text, or is a copy in which a blank
 * may have become the mark of the pre-tokenizer, or one been put before it. */
bool word_tracker_add(struct word_tracker *tracker, const char *word, size_t length, const int32_t *ids, size_t count,
                      struct error *error);

#endif
