/* Added tokens (<|im_end|>, [CLS], …): finding them in a text, leftmost first and longest among those. */
#ifndef CASEMIX_TOKENIZER_ADDED_TOKENS_H
#define CASEMIX_TOKENIZER_ADDED_TOKENS_H

#include "base/hash.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct added_token {
    const char *content; /* what is looked for; borrowed */
    size_t length;
    int32_t id;
    bool single_word;    /* not inside a word */
    bool lstrip, rstrip; /* the white space before, behind belongs to it */
};

/* Zero-initialise; release with added_tokens_free. */
struct added_tokens {
    struct added_token *tokens;
    size_t count, capacity;
    struct hash by_content; /* → index into tokens */
    size_t *lengths;        /* the different lengths, longest first */
    size_t length_count, length_capacity;
    bool begins[256]; /* bytes with which a token begins */
};

/* Of several tokens with one content the last one counts, as in Hugging Face tokenizers. */
bool added_tokens_add(struct added_tokens *set, struct added_token token, struct error *error);
void added_tokens_free(struct added_tokens *set);

/* The next token at `from` or later, and where it begins; NULL if there is none. */
const struct added_token *added_tokens_find(const struct added_tokens *set, const char *text, size_t length,
                                            size_t from, size_t *at);

/* The stretch that the token found at `at` takes, its white space included; false when it stands inside a word and may
 * not. Nothing before `from` is taken. */
bool added_token_extent(const struct added_token *token, const char *text, size_t length, size_t at, size_t from,
                        size_t *start, size_t *end);

#endif
