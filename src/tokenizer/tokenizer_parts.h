/* The inside of an open tokenizer, shared by the reader of tokenizer.json and by encoding and decoding. */
#ifndef CASEMIX_TOKENIZER_TOKENIZER_PARTS_H
#define CASEMIX_TOKENIZER_TOKENIZER_PARTS_H

#include "base/hash.h"
#include "base/memory.h"
#include "tokenizer/bpe.h"
#include "tokenizer/pretokenizer.h"
#include "tokenizer/tokenizer.h"

struct piece {
    const char *bytes; /* what the id decodes to; NULL: no such id */
    uint32_t length;
    bool added, special;
};

struct tokenizer {
    struct piece *pieces; /* [vocabulary] by id */
    size_t vocabulary;
    struct hash ids;       /* bytes of a vocabulary piece → id */
    struct hash added_ids; /* content of an added token → id */
    int32_t *added;        /* [added_count] ids, longest content first */
    size_t added_count;
    bool added_first[256]; /* bytes with which an added token begins */
    int32_t byte_ids[256];
    struct merge_table merges;
    struct pretokenizer *pretokenizer; /* NULL: the whole text is one word */
    bool nfc, prefix_space,
        whole_words;                 /* whole_words: a word that is in the vocabulary is not merged (ignore_merges) */
    struct token_list before, after; /* what `special` adds */
    struct arena arena;
};

/* Fills a zeroed tokenizer from tokenizer.json. On failure the caller closes it. */
struct json;
bool tokenizer_read(struct tokenizer *tokenizer, const struct json *document, struct error *error);

#endif
