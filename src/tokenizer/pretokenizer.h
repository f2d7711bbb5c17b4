/* Cutting a normalised text into the words that the model then encodes one by one: the pre-tokenizers of Hugging Face
 * tokenizers, one behind the other. */
#ifndef CASEMIX_TOKENIZER_PRETOKENIZER_H
#define CASEMIX_TOKENIZER_PRETOKENIZER_H

#include "base/text.h"
#include "tokenizer/pattern.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

enum cut_kind {
    CUT_PATTERN,     /* at a pattern's matches */
    CUT_CHARACTERS,  /* at single characters of a class */
    CUT_METASPACE,   /* blanks become the mark; the text is cut before each mark */
    CUT_PREFIX,      /* a blank before a text that does not begin with one */
    CUT_BEFORE_RUNS, /* before each run of the mark; see tokenizer_json.c */
};

enum prepend_scheme { PREPEND_NEVER, PREPEND_FIRST, PREPEND_ALWAYS };

struct cut {
    enum cut_kind kind;
    struct pattern *pattern; /* owned */
    enum split_behavior behavior;
    bool invert;
    bool (*matches)(int32_t code); /* CHARACTERS */
    char mark[8];                  /* METASPACE, BEFORE_RUNS: one character in UTF-8 */
    enum prepend_scheme prepend;
    bool splits; /* METASPACE */
};

/* The cuts in order; a text without any is one word. Zero-initialise; release with pretokenizer_free. */
enum { CUT_LIMIT = 8 };
struct pretokenizer {
    struct cut cuts[CUT_LIMIT];
    size_t count;
};

/* Takes the cut's pattern over, on failure too. */
bool pretokenizer_add(struct pretokenizer *pretokenizer, struct cut cut, struct error *error);
void pretokenizer_free(struct pretokenizer *pretokenizer);

/* What cutting needs and changes; one for each thread at work. Zero-initialise; release with workspace_free. */
struct workspace {
    struct matcher matcher;
    struct text changed[CUT_LIMIT];
};
void workspace_free(struct workspace *workspace);

/* Calls back for each word in order, with bytes that last for the call alone. `first`: the text stands at the very
 * start of what is being encoded. `text` is valid UTF-8. Stops at the first false. */
bool pretokenizer_split(const struct pretokenizer *pretokenizer, struct workspace *workspace, const char *text,
                        size_t length, bool first, word_function *function, void *context, struct error *error);

#endif
