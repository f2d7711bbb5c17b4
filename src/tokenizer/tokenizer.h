/* Text to token ids and back, from a Hugging Face tokenizer.json.
 *
 * Byte-level BPE (GPT-2, Qwen2 and Llama 3 pre-tokenisers); further families join here. An open tokenizer is immutable:
 * encode and decode may be called from many threads at once. */
#ifndef CASEMIX_TOKENIZER_TOKENIZER_H
#define CASEMIX_TOKENIZER_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct text;
struct tokenizer;

/* A growing list of ids. Zero-initialise; release with token_list_free. */
struct token_list {
    int32_t *ids;
    size_t count, capacity;
};
void token_list_free(struct token_list *list);

/* `path`: tokenizer.json, or a directory that holds one. Hostile input is refused with the member that is wrong. */
bool tokenizer_open(struct tokenizer **tokenizer, const char *path, struct error *error);
void tokenizer_close(struct tokenizer *tokenizer);

/* Appends the ids of the text. Added tokens in the text (such as <|im_end|>) become their ids. With `special` the
 * tokens that the file's post-processor adds (BOS, …) are added. Invalid UTF-8 is an error that gives the byte offset.
 */
bool tokenizer_encode(const struct tokenizer *tokenizer, const char *bytes, size_t length, bool special,
                      struct token_list *out, struct error *error);

/* Appends the bytes of the ids; with skip_special, special added tokens are left out. Ids outside the vocabulary are an
 * error. */
bool tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t count, bool skip_special,
                      struct text *out, struct error *error);

size_t tokenizer_vocabulary(const struct tokenizer *tokenizer);                   /* largest id + 1 */
int32_t tokenizer_token_id(const struct tokenizer *tokenizer, const char *token); /* added token or piece; -1 if none */

#endif
