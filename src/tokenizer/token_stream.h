/* Decoding as tokens arrive: each push gives the text that is complete by then, so that no character is ever split.
 *
 * Bytes that are no UTF-8, or that the tokens behind them do not complete, become U+FFFD: of a byte-level vocabulary
 * one for each longest part of a character (as Rust's and Python's decoders do), of byte-fallback pieces one for each
 * byte. */
#ifndef CASEMIX_TOKENIZER_TOKEN_STREAM_H
#define CASEMIX_TOKENIZER_TOKEN_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct text;
struct tokenizer;

/* No memory of its own; valid while the tokenizer is open. */
struct token_stream {
    const struct tokenizer *tokenizer;
    bool skip_special;
    bool first;   /* no token has been taken yet */
    size_t strip; /* blanks that may yet go from the start */
    char held[4]; /* bytes of a character not yet complete */
    size_t held_count;
};

/* With skip_special, special added tokens are left out. */
void token_stream_start(struct token_stream *stream, const struct tokenizer *tokenizer, bool skip_special);

/* Appends what the id completes, perhaps nothing. An id outside the vocabulary is an error and changes nothing. */
bool token_stream_push(struct token_stream *stream, int32_t id, struct text *out, struct error *error);

/* Appends U+FFFD for bytes still held. The stream may then begin anew with token_stream_start. */
bool token_stream_flush(struct token_stream *stream, struct text *out, struct error *error);

#endif
