/* Text to token ids and back, from the files of a Hugging Face directory: tokenizer.json (byte-level BPE as of GPT-2,
 * Qwen2 and Llama 3; SentencePiece-style BPE as of Llama 2 and Mistral; WordPiece as of BERT), vocab.txt, or
 * tokenizer.model.
 *
 * Encode and decode may be called from many threads at once; what a tokenizer learns about words on the way (see
 * word_cache.h) changes no id. */
#ifndef CASEMIX_TOKENIZER_TOKENIZER_H
#define CASEMIX_TOKENIZER_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct text;
struct token_spans;
struct tokenizer;

/* A growing list of ids. Zero-initialise; release with token_list_free. */
struct token_list {
    int32_t *ids;
    size_t count, capacity;
};
void token_list_free(struct token_list *list);

/* `path`: a tokenizer.json, vocab.txt or tokenizer.model (told apart by name), or a directory that holds one of them
 * (looked for in this order; with the last two tokenizer_config.json is heeded). Hostile input is refused with the
 * member that is wrong; what casemix does not compute is refused by naming it. */
bool tokenizer_open(struct tokenizer **tokenizer, const char *path, struct error *error);
void tokenizer_close(struct tokenizer *tokenizer);

/* Appends the ids of the text. Added tokens in the text (such as <|im_end|>) become their ids. With `special` the
 * tokens that the file's post-processor adds (BOS, …) are added. Invalid UTF-8 is an error that gives the byte offset.
 */
bool tokenizer_encode(const struct tokenizer *tokenizer, const char *bytes, size_t length, bool special,
                      struct token_list *out, struct error *error);

/* The same for text from outside that must not be able to write tokens: "<|im_end|>" in it is encoded as the characters
 * it consists of. `first`: the text stands at the start of the sequence (some SentencePiece-style files put a blank
 * there and nowhere else). */
bool tokenizer_encode_content(const struct tokenizer *tokenizer, const char *bytes, size_t length, bool first,
                              struct token_list *out, struct error *error);

/* The same ids, and for each the bytes of the text that it stands for (token_spans.h). */
bool tokenizer_encode_content_spans(const struct tokenizer *tokenizer, const char *bytes, size_t length, bool first,
                                    struct token_list *out, struct token_spans *spans, struct error *error);

/* Appends the text of the ids; with skip_special, special added tokens are left out. Ids outside the vocabulary are an
 * error. What comes out is valid UTF-8: see token_stream.h. */
bool tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t count, bool skip_special,
                      struct text *out, struct error *error);

size_t tokenizer_vocabulary(const struct tokenizer *tokenizer);                   /* largest id + 1 */
int32_t tokenizer_token_id(const struct tokenizer *tokenizer, const char *token); /* added token or piece; -1 if none */

#endif
