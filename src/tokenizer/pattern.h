/* Regular expressions and literal strings of a tokenizer.json, through PCRE2 (Unicode classes, JIT): finding matches,
 * and cutting a text at them in the five ways that Hugging Face tokenizers knows. */
#ifndef CASEMIX_TOKENIZER_PATTERN_H
#define CASEMIX_TOKENIZER_PATTERN_H

#include <stdbool.h>
#include <stddef.h>

struct error;
struct pattern;

/* The patterns of GPT-2 and of Qwen2. */
extern const char pattern_gpt2[];
extern const char pattern_qwen2[];

/* Compiles a regular expression, or (literal) a string that stands for itself. \s and \w mean Unicode's White_Space and
 * word characters, as in Oniguruma and Rust, which differ from PCRE2's. */
bool pattern_open(struct pattern **pattern, const char *expression, bool literal, struct error *error);
void pattern_close(struct pattern *pattern);

/* What matching needs and changes; one for each thread at work. Zero-initialise; release with matcher_free. */
struct matcher {
    void *data, *context, *stack;
};
void matcher_free(struct matcher *matcher);

/* The first non-empty match that begins at `from` or later in valid UTF-8: its start and end; *end 0: there is none. */
bool pattern_find(const struct pattern *pattern, struct matcher *matcher, const char *text, size_t length, size_t from,
                  size_t *start, size_t *end, struct error *error);

/* What becomes of the matches when a text is cut at them. */
enum split_behavior {
    SPLIT_REMOVED,
    SPLIT_ISOLATED,
    SPLIT_MERGED_WITH_PREVIOUS,
    SPLIT_MERGED_WITH_NEXT,
    SPLIT_CONTIGUOUS,
};

/* Calls back for each piece in order; with `invert` what lies between the matches counts as the matches. Stops at the
 * first false. */
typedef bool word_function(void *context, const char *word, size_t length, struct error *error);
bool pattern_split(const struct pattern *pattern, struct matcher *matcher, enum split_behavior behavior, bool invert,
                   const char *text, size_t length, word_function *function, void *context, struct error *error);

#endif
