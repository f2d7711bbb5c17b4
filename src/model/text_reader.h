/* How a classifier reads a text: the tokens of a tokenizer, those in the frame that BERT wants, or CAML's words. One
 * way in training and in prediction. */
#ifndef CASEMIX_MODEL_TEXT_READER_H
#define CASEMIX_MODEL_TEXT_READER_H

#include "model/text_window.h"
#include "tokenizer/token_spans.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/words.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

/* Either a tokenizer or words; borrowed. */
struct text_reader {
    const struct tokenizer *tokenizer;
    const struct words *words;
    int32_t first, last;       /* stand before and behind the text and survive its cutting; -1: none */
    struct text_window window; /* what is kept of a text that is too long; as it is made: its head */
};

/* For a decoder: the token that the tokenizer's own rules put before a text (Llama's BOS, as DRG-LLaMA has it; Qwen has
 * none). */
bool text_reader_of_decoder(struct text_reader *reader, const struct tokenizer *tokenizer, struct error *error);
struct text_reader text_reader_of_words(const struct words *words);

/* [CLS] and [SEP]; with a tokenizer that has none (as the shipped one), <|endoftext|> before the text and nothing
 * behind it. A tokenizer with neither is an error. */
bool text_reader_of_bert(struct text_reader *reader, const struct tokenizer *tokenizer, struct error *error);

/* Ids reach up to this less one. */
size_t text_reader_vocabulary(const struct text_reader *reader);

/* Appends the ids of a text, at most `limit` of them, the frame included (but at least one of the text), chosen by the
 * window where there are more. Sections are encoded each by itself, in the order of the note. *truncated says whether
 * some were dropped. A text without tokens is an error. */
bool text_reader_encode(const struct text_reader *reader, const char *bytes, size_t length, int64_t limit,
                        struct token_list *out, bool *truncated, struct error *error);

/* The same ids, and for each the bytes of the text that it stands for; the frame's spans are empty. spans may be NULL.
 */
bool text_reader_encode_spans(const struct text_reader *reader, const char *bytes, size_t length, int64_t limit,
                              struct token_list *out, struct token_spans *spans, bool *truncated, struct error *error);

#endif
