/* Cutting text into words by the regular expression of a tokenizer.json, through PCRE2 (Unicode classes, JIT). */
#ifndef CASEMIX_TOKENIZER_PRETOKENIZER_H
#define CASEMIX_TOKENIZER_PRETOKENIZER_H

#include <stdbool.h>
#include <stddef.h>

struct error;
struct pretokenizer;

/* The patterns of GPT-2 and of Qwen2. */
extern const char pretokenizer_gpt2[];
extern const char pretokenizer_qwen2[];

bool pretokenizer_open(struct pretokenizer **pretokenizer, const char *pattern, struct error *error);
void pretokenizer_close(struct pretokenizer *pretokenizer);

/* Calls back for each word in order: each match, and each stretch between matches. `text` is valid UTF-8. Stops at the
 * first false. */
typedef bool word_function(void *context, const char *word, size_t length, struct error *error);
bool pretokenizer_split(const struct pretokenizer *pretokenizer, const char *text, size_t length,
                        word_function *function, void *context, struct error *error);

#endif
