/* Encoding: added tokens are cut out, the rest is normalised, cut into words, and each word becomes pieces. */
#include "base/error.h"
#include "tokenizer/characters.h"
#include "tokenizer/token_spans.h"
#include "tokenizer/tokenizer_parts.h"
#include <string.h>

/* One call. */
struct encoding {
    const struct tokenizer *tokenizer;
    struct token_list *out;
    struct workspace workspace;
    struct text normalized, scratch;
    struct word_tracker *tracker; /* NULL: nobody asks where the tokens stand */
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
        if (piece->length > 0 && piece->length <= LONGEST) {
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
    /* An added token may stand in the vocabulary; a text that is spelt like it is not the token for that. */
    if (id >= 0 && (tokenizer->ignore_merges ? !tokenizer->pieces[id].added : piece_is_whole(tokenizer, id))) {
        out->ids[out->count++] = id;
        return true;
    }
    int32_t *ids = out->ids + out->count;
    size_t count = word_cache_find(&tokenizer->words, word, length, ids);
    if (count == 0) {
        count = word_symbols(tokenizer, word, length, ids);
        if (!bpe_merge(&tokenizer->merges, ids, &count, error)) return false;
        word_cache_add(&tokenizer->words, word, length, ids, count);
    }
    out->count += count;
    return true;
}

static bool encode_wordpiece(void *context, const char *word, size_t length, struct error *error) {
    struct encoding *encoding = context;
    return wordpiece_encode(encoding->tokenizer, &encoding->scratch, word, length, encoding->out, error);
}

static bool encode_tracked(void *context, const char *word, size_t length, struct error *error) {
    struct encoding *encoding = context;
    const size_t before = encoding->out->count;
    const bool pieces = encoding->tokenizer->model == MODEL_WORDPIECE;
    return (pieces ? encode_wordpiece : encode_bpe)(context, word, length, error) &&
           word_tracker_add(encoding->tracker, word, length, encoding->out->ids + before, encoding->out->count - before,
                            error);
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
    word_function *encode = tokenizer->model == MODEL_WORDPIECE ? encode_wordpiece : encode_bpe;
    if (encoding->tracker != NULL) encode = encode_tracked;
    return pretokenizer_split(&tokenizer->pretokenizer, &encoding->workspace, text, length, first, encode, encoding,
                              error);
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

bool tokenizer_encode_content_spans(const struct tokenizer *tokenizer, const char *bytes, size_t length, bool first,
                                    struct token_list *out, struct token_spans *spans, struct error *error) {
    size_t bad;
    if (!utf8_valid(bytes, length, &bad)) return error_set(error, "invalid UTF-8 at byte %zu of the text", bad);
    struct word_tracker tracker = {.tokenizer = tokenizer, .spans = spans, .text = bytes, .length = length};
    struct encoding encoding = {.tokenizer = tokenizer, .out = out, .tracker = &tracker};
    struct token_spans trace = {0};
    bool done = normalize(&encoding, &tracker.text, &tracker.length, error);
    if (done && tracker.text != bytes) {
        done = normalizer_trace(&tokenizer->normalizer, &encoding.workspace.matcher, bytes, length,
                                &encoding.normalized, &trace, error);
        tracker.origin = trace.items;
    }
    done = done && encode_words(&encoding, tracker.text, tracker.length, first, error);
    encoding_free(&encoding);
    token_spans_free(&trace);
    token_spans_free(&tracker.word);
    return done;
}
