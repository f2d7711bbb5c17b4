/* What a tokenizer.json does to a text before it is cut into words: Unicode forms, BERT's cleaning, prepended and
 * replaced strings. The steps follow Hugging Face tokenizers. */
#ifndef CASEMIX_TOKENIZER_NORMALIZER_H
#define CASEMIX_TOKENIZER_NORMALIZER_H

#include "tokenizer/pattern.h"
#include <stdbool.h>
#include <stddef.h>

struct error;
struct text;

enum normalizer_kind {
    NORMALIZE_NFC,
    NORMALIZE_NFD,
    NORMALIZE_NFKC,
    NORMALIZE_NFKD,
    NORMALIZE_LOWERCASE,
    NORMALIZE_STRIP_ACCENTS, /* combining marks go; of use behind NFD */
    NORMALIZE_STRIP,         /* white space at the ends */
    NORMALIZE_PREPEND,       /* content before a text that is not empty */
    NORMALIZE_REPLACE,       /* pattern becomes content */
    NORMALIZE_BERT,
};

struct normalizer_step {
    enum normalizer_kind kind;
    char *content;                                             /* owned */
    struct pattern *pattern;                                   /* owned */
    char *literal;                                             /* owned; instead of the pattern: a string to replace */
    bool strip_left, strip_right;                              /* STRIP */
    bool clean_text, separate_ideographs, accents_off, lowers; /* BERT */
};

/* The steps in order. Zero-initialise; release with normalizer_free. */
struct normalizer {
    struct normalizer_step *steps;
    size_t count, capacity;
};

/* Takes the step's members over, on failure too. */
bool normalizer_add(struct normalizer *normalizer, struct normalizer_step step, struct error *error);
void normalizer_free(struct normalizer *normalizer);

/* False when the text certainly stays as it is: no steps, or Unicode forms only and a text already in them (ASCII, and
 * for NFC everything that a quick check passes). */
bool normalizer_changes(const struct normalizer *normalizer, const char *bytes, size_t length);

/* Replaces the contents of `out` by the normalised text. `bytes` may not lie in `out`. */
bool normalizer_apply(const struct normalizer *normalizer, struct matcher *matcher, const char *bytes, size_t length,
                      struct text *out, struct error *error);

#endif
