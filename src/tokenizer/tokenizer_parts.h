/* The inside of an open tokenizer, shared by the readers of its files and by encoding and decoding. */
#ifndef CASEMIX_TOKENIZER_TOKENIZER_PARTS_H
#define CASEMIX_TOKENIZER_TOKENIZER_PARTS_H

#include "base/hash.h"
#include "base/memory.h"
#include "base/text.h"
#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/pretokenizer.h"
#include "tokenizer/tokenizer.h"
#include <stdatomic.h>

/* Larger ids are refused: no vocabulary of today has a tenth of this. */
enum { ID_LIMIT = 1 << 22 };

struct piece {
    const char *bytes; /* spelling, of a byte-level vocabulary the bytes it stands for; NULL: no such id */
    uint32_t length;
    bool listed;         /* its spelling leads to it in `ids` */
    bool added, special; /* an added token is found in the text before it is cut; special: may be left out of a text */
    bool is_byte;        /* a <0x…> piece of byte fallback: stands for `byte` */
    unsigned char byte;
};

enum model_kind {
    MODEL_BYTE_BPE,      /* symbols are bytes */
    MODEL_CHARACTER_BPE, /* symbols are characters, perhaps with bytes to fall back on */
    MODEL_WORDPIECE,
};

struct wordpiece {
    const char *prefix; /* of a piece that continues a word */
    size_t longest;     /* length of the longest piece */
    size_t characters;  /* longer words become the unknown token */
};

/* What decoding does with each token, in this order. */
enum { REPLACE_LIMIT = 4 };
struct decoder_steps {
    bool byte_level;                   /* U+FFFD stands for what is not UTF-8 */
    const char *marks[REPLACE_LIMIT];  /* each becomes… */
    const char *blanks[REPLACE_LIMIT]; /* …this */
    size_t replacements;
    const char *first_dropped; /* Metaspace: the mark goes wherever it stands in the first token; NULL: it stays */
    bool byte_fallback;
    const char *strip; /* this character goes, up to strip_count times, from the start of the whole; NULL: none */
    size_t strip_count;
    const char *continued; /* WordPiece: this prefix goes, and tokens without it follow a blank; NULL: no WordPiece */
    bool cleanup;          /* WordPiece: the blank before punctuation goes */
    bool blanks_between;   /* no decoder in the file */
};

struct tokenizer {
    struct piece *pieces; /* [vocabulary] by id */
    size_t vocabulary;
    char *spellings;               /* of the vocabulary's pieces, end to end */
    struct hash ids;               /* spelling of a vocabulary piece → id */
    struct hash added;             /* content of an added token → id */
    _Atomic(unsigned char) *whole; /* [vocabulary] whether merging a piece's symbols gives the piece: see encode.c */
    enum model_kind model;
    struct merge_table merges;
    bool ignore_merges;      /* a word that is in the vocabulary is not merged */
    int32_t symbol_ids[256]; /* of a byte (byte-level), or of an ASCII character; -1: none */
    int32_t byte_ids[256];   /* byte fallback; -1: none */
    bool byte_fallback;
    int32_t unknown; /* -1: none */
    bool fuse_unknown;
    struct wordpiece wordpiece;
    struct added_tokens raw_added, normalized_added; /* looked for before, after normalisation */
    struct normalizer normalizer;
    struct pretokenizer pretokenizer;
    struct decoder_steps decoder;
    struct token_list before, after; /* what `special` adds */
    struct arena arena;              /* strings of everything but the vocabulary */
};

struct json;
/* Each fills a zeroed tokenizer. On failure the caller closes it. */
bool tokenizer_read_json(struct tokenizer *tokenizer, const struct json *document, struct error *error);
/* vocab.txt; `config` is tokenizer_config.json, or NULL. */
bool tokenizer_read_vocabulary(struct tokenizer *tokenizer, const char *bytes, size_t length, const struct json *config,
                               struct error *error);
/* A SentencePiece model. */
bool tokenizer_read_sentencepiece(struct tokenizer *tokenizer, const char *bytes, size_t length,
                                  const struct json *config, struct error *error);

/* Building blocks of the readers. */
bool tokenizer_make_pieces(struct tokenizer *tokenizer, size_t vocabulary, size_t spelling_bytes, struct error *error);
/* Whether words of a text may become the piece: it must have its spelling for itself, or takes it from an earlier
 * piece, or only ids may name it. */
enum piece_listing { PIECE_ONCE, PIECE_LAST, PIECE_UNLISTED };
/* Copies the id's spelling to *free_spellings, the unused part of tokenizer->spellings. */
bool tokenizer_add_piece(struct tokenizer *tokenizer, char **free_spellings, int32_t id, const char *bytes,
                         size_t length, enum piece_listing listing, struct error *error);
/* Fills symbol_ids, byte_ids and the pieces' is_byte once the vocabulary stands. */
bool tokenizer_index_symbols(struct tokenizer *tokenizer, struct error *error);
/* An added token; with `normalized` it is looked for in the normalised text, so the normalizer must stand. */
bool tokenizer_add_added(struct tokenizer *tokenizer, struct added_token token, bool special, bool normalized,
                         struct error *error);
/* Lets words be cut before each run of the mark where no merge reaches across it: same ids, shorter words. */
bool tokenizer_cut_at_marks(struct tokenizer *tokenizer, const char *mark, struct error *error);
bool token_list_add(struct token_list *list, const int32_t *ids, size_t count, struct error *error);
/* A copy that lives as long as the tokenizer; NULL and the error filled when memory is short. */
const char *tokenizer_string(struct tokenizer *tokenizer, const char *string, struct error *error);

/* Appends the ids of one word: longest pieces first, or the unknown token for the whole. `scratch` is overwritten. */
bool wordpiece_encode(const struct tokenizer *tokenizer, struct text *scratch, const char *word, size_t length,
                      struct token_list *out, struct error *error);

#endif
