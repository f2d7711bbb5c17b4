/* Encoding: added tokens are cut out, the rest is normalised, cut into words, and each word becomes pieces. */
#include "base/error.h"
#include "tokenizer/characters.h"
#include "tokenizer/tokenizer_parts.h"
#include <string.h>

/* One call. */
struct encoding {
    const struct tokenizer *tokenizer;
    struct token_list *out;
    struct workspace workspace;
    struct text normalized, scratch;
};

/* The symbols of a word before any merge, and how many; ids has room for one a byte. */
static size_t word_symbols(const struct tokenizer *tokenizer, const char *word, size_t length, int32_t *ids) {
    const bool characters = tokenizer->model == MODEL_CHARACTER_BPE;
    size_t count = 0;
    bool unknown_before = false;
    for (size_t i = 0, step; i < length; i += step) {
        int32_t id = tokenizer->symbol_ids[(unsigned char)word[i]];
        step = characters ? character_length(word[i]) : 1;
        if (step > 1) id = hash_find(&tokenizer->ids, word + i, step, -1);
        bool fallback = id < 0 && tokenizer->byte_fallback;
        for (size_t b = 0; fallback && b < step; b++) fallback = tokenizer->byte_ids[(unsigned char)word[i + b]] >= 0;
        if (id >= 0) {
            ids[count++] = id;
        } else if (fallback) {
            for (size_t b = 0; b < step; b++) ids[count++] = tokenizer->byte_ids[(unsigned char)word[i + b]];
        } else if (tokenizer->unknown >= 0 && !(unknown_before && tokenizer->fuse_unknown)) {
            ids[count++] = tokenizer->unknown;
        }
        unknown_before = id < 0 && !fallback;
    }
    return count;
}

/* Whether merging the symbols of a piece gives the piece, as for nearly all it does: then a word that is spelt like the
 * piece needs no merging. Found out when it is first asked, and kept; threads that ask at once find the same. */
static bool piece_is_whole(const struct tokenizer *tokenizer, int32_t id) {
    enum { UNKNOWN, WHOLE, BROKEN, LONGEST = 64 };
    const struct piece *piece = &tokenizer->pieces[id];
    unsigned char known = atomic_load_explicit(&tokenizer->whole[id], memory_order_relaxed);
    if (known == UNKNOWN) {
        int32_t symbols[LONGEST];
        bool whole = false;
        /* An added token's piece is never made of a word: its text is cut out before, or must not be a token. */
        if (piece->length > 0 && piece->length <= LONGEST && !piece->added) {
            size_t count = word_symbols(tokenizer, piece->bytes, piece->length, symbols);
            whole = bpe_merge(&tokenizer->merges, symbols, &count, NULL) && count == 1 && symbols[0] == id;
        }
        known = whole ? WHOLE : BROKEN;
        atomic_store_explicit(&tokenizer->whole[id], known, memory_order_relaxed);
    }
    return known == WHOLE;
}

/* The symbols go straight to the end of the output and are merged there. */
static bool encode_bpe(void *context, const char *word, size_t length, struct error *error) {
    struct encoding *encoding = context;
    const struct tokenizer *tokenizer = encoding->tokenizer;
    struct token_list *out = encoding->out;
    if (!memory_grow(&out->ids, &out->capacity, out->count + length, sizeof *out->ids, error)) return false;
    const int32_t id = hash_find(&tokenizer->ids, word, length, -1);
    if (id >= 0 && (tokenizer->ignore_merges ? !tokenizer->pieces[id].added : piece_is_whole(tokenizer, id))) {
        out->ids[out->count++] = id;
        return true;
    }
    int32_t *ids = out->ids + out->count;
    size_t count = word_symbols(tokenizer, word, length, ids);
    if (!bpe_merge(&tokenizer->merges, ids, &count, error)) return false;
    out->count += count;
    return true;
}

static bool encode_wordpiece(void *context, const char *word, size_t length, struct error *error) {
    struct encoding *encoding = context;
    return wordpiece_encode(encoding->tokenizer, &encoding->scratch, word, length, encoding->out, error);
}

/* A stretch between added tokens; `first`: it stands at the very start. */
typedef bool stretch_function(struct encoding *encoding, const char *text, size_t length, bool first,
                              struct error *error);

static bool cut_added(struct encoding *encoding, const struct added_tokens *set, const char *text, size_t length,
                      bool first, stretch_function *function, struct error *error) {
    size_t from = 0, at, start, end;
    const struct added_token *token;
    for (size_t search = 0; (token = added_tokens_find(set, text, length, search, &at)) != NULL;
         search = at + token->length) {
        if (!added_token_extent(token, text, length, at, from, &start, &end)) continue;
        if (start > from && !function(encoding, text + from, start - from, first && from == 0, error)) return false;
        if (!token_list_add(encoding->out, &token->id, 1, error)) return false;
        from = end > from ? end : from;
    }
    return from == length || function(encoding, text + from, length - from, first && from == 0, error);
}

static bool encode_words(struct encoding *encoding, const char *text, size_t length, bool first, struct error *error) {
    const struct tokenizer *tokenizer = encoding->tokenizer;
    return pretokenizer_split(&tokenizer->pretokenizer, &encoding->workspace, text, length, first,
                              tokenizer->model == MODEL_WORDPIECE ? encode_wordpiece : encode_bpe, encoding, error);
}

static bool normalize(struct encoding *encoding, const char **text, size_t *length, struct error *error) {
    const struct normalizer *normalizer = &encoding->tokenizer->normalizer;
    if (!normalizer_changes(normalizer, *text, *length)) return true;
    if (!normalizer_apply(normalizer, &encoding->workspace.matcher, *text, *length, &encoding->normalized, error))
        return false;
    *text = encoding->normalized.data == NULL ? "" : encoding->normalized.data;
    *length = encoding->normalized.length;
    return true;
}

static bool encode_stretch(struct encoding *encoding, const char *text, size_t length, bool first,
                           struct error *error) {
    return normalize(encoding, &text, &length, error) &&
           cut_added(encoding, &encoding->tokenizer->normalized_added, text, length, first, encode_words, error);
}

static void encoding_free(struct encoding *encoding) {
    workspace_free(&encoding->workspace);
    text_free(&encoding->normalized);
    text_free(&encoding->scratch);
}

bool tokenizer_encode(const struct tokenizer *tokenizer, const char *bytes, size_t length, bool special,
                      struct token_list *out, struct error *error) {
    size_t bad;
    if (!utf8_valid(bytes, length, &bad)) return error_set(error, "invalid UTF-8 at byte %zu of the text", bad);
    if (special && !token_list_add(out, tokenizer->before.ids, tokenizer->before.count, error)) return false;
    struct encoding encoding = {.tokenizer = tokenizer, .out = out};
    const bool done = cut_added(&encoding, &tokenizer->raw_added, bytes, length, true, encode_stretch, error);
    encoding_free(&encoding);
    return done && (!special || token_list_add(out, tokenizer->after.ids, tokenizer->after.count, error));
}

bool tokenizer_encode_content(const struct tokenizer *tokenizer, const char *bytes, size_t length, bool first,
                              struct token_list *out, struct error *error) {
    size_t bad;
    if (!utf8_valid(bytes, length, &bad)) return error_set(error, "invalid UTF-8 at byte %zu of the text", bad);
    struct encoding encoding = {.tokenizer = tokenizer, .out = out};
    const bool done =
        normalize(&encoding, &bytes, &length, error) && encode_words(&encoding, bytes, length, first, error);
    encoding_free(&encoding);
    return done;
}
