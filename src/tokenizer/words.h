/* Whole words as tokens, as CAML reads a text: runs of letters, marks and digits of any script, in lower case; what
 * stands between them is dropped. Words that the training texts do not hold often enough are one unknown word. */
#ifndef CASEMIX_TOKENIZER_WORDS_H
#define CASEMIX_TOKENIZER_WORDS_H

#include "tokenizer/tokenizer.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct token_spans;

/* A vocabulary: id 0 is the padding, id 1 the unknown word, then the words by falling frequency. */
struct words;
enum { WORD_PADDING = 0, WORD_UNKNOWN = 1 };

/* How often each word occurs in the texts seen so far. */
struct word_counts;
bool word_counts_open(struct word_counts **counts, struct error *error);
/* Invalid UTF-8 is an error that gives the byte offset. */
bool word_counts_add(struct word_counts *counts, const char *bytes, size_t length, struct error *error);
void word_counts_close(struct word_counts *counts);

/* The words that occur at least `minimum` times; equally frequent ones in the order of their bytes. */
bool words_learn(struct words **words, const struct word_counts *counts, int64_t minimum, struct error *error);

/* words.txt: a word a line, its number from 0 the id; the first two are <pad> and <unk>. Release with words_close. */
bool words_open(struct words **words, const char *path, struct error *error);
bool words_write(const struct words *words, const char *path, struct error *error);
void words_close(struct words *words);

size_t words_count(const struct words *words); /* ids */

/* Appends the ids of a text's words. */
bool words_encode(const struct words *words, const char *bytes, size_t length, struct token_list *out,
                  struct error *error);

/* The same ids, and for each the bytes of its word; spans may be NULL. */
bool words_encode_spans(const struct words *words, const char *bytes, size_t length, struct token_list *out,
                        struct token_spans *spans, struct error *error);

#endif
