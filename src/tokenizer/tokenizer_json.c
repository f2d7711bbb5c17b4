/* Reading tokenizer.json: vocabulary, merges and added tokens; pipeline_json.c reads what surrounds the model. What
 * casemix does not compute is refused by naming it. */
#include "tokenizer/tokenizer_json.h"
#include "base/error.h"
#include "base/text.h"
#include "tokenizer/byte_level.h"
#include <string.h>

const char *json_type(const json_node *node) {
    const char *type = json_string(json_member(node, "type"));
    return type == NULL ? "(none)" : type;
}

bool json_unsupported(const char *member, const json_node *node, struct error *error) {
    return error_set(error, "%s of type \"%.100s\" is not supported", member, json_type(node));
}

/* The largest id of vocabulary and added tokens sizes the table, the names' bytes the spellings. */
static bool measure(const json_node *vocabulary, const json_node *added, int64_t *largest, size_t *bytes,
                    struct error *error) {
    *largest = -1;
    *bytes = 0;
    for (const json_node *entry = json_first(vocabulary); entry != NULL; entry = json_next(entry)) {
        int64_t id;
        if (!json_integer(entry, &id) || id < 0 || id >= ID_LIMIT)
            return error_set(error, "model.vocab: \"%.100s\" has no valid id (0 to %d)", json_name(entry),
                             ID_LIMIT - 1);
        if (id > *largest) *largest = id;
        *bytes += strlen(json_name(entry));
    }
    if (*largest < 0) return error_set(error, "model.vocab is empty");
    for (const json_node *entry = json_first(added); entry != NULL; entry = json_next(entry)) {
        int64_t id;
        if (!json_get_int(entry, "id", true, 0, ID_LIMIT - 1, &id, error)) return error_context(error, "added_tokens");
        if (id > *largest) *largest = id;
    }
    return true;
}

/* A name as it is looked up: of a byte-level vocabulary the bytes it stands for. False: it stands for none. */
static bool spell(const struct tokenizer *tokenizer, struct text *out, const char *name, size_t length) {
    if (tokenizer->model == MODEL_BYTE_BPE) return byte_level_decode(out, name, length);
    text_append(out, name, length);
    return true;
}

static bool read_vocabulary(struct tokenizer *tokenizer, const json_node *vocabulary, struct error *error) {
    char *spellings = tokenizer->spellings;
    struct text bytes = {0};
    bool read = true;
    for (const json_node *entry = json_first(vocabulary); read && entry != NULL; entry = json_next(entry)) {
        int64_t id = 0;
        json_integer(entry, &id);
        const char *name = json_name(entry);
        const size_t length = strlen(name);
        text_clear(&bytes);
        /* A name with characters outside the alphabet of bytes (a special token) stands for itself, and no text has it.
         */
        const bool spelt = spell(tokenizer, &bytes, name, length);
        read = text_ok(&bytes, error) &&
               tokenizer_add_piece(tokenizer, &spellings, (int32_t)id, spelt && length > 0 ? bytes.data : name,
                                   spelt ? bytes.length : length, spelt ? PIECE_ONCE : PIECE_UNLISTED, error);
        if (spelt && bytes.length > tokenizer->wordpiece.longest) tokenizer->wordpiece.longest = bytes.length;
    }
    text_free(&bytes);
    return read || error_context(error, "model.vocab");
}

/* A merge is "left right", or ["left", "right"] in newer files. */
static bool merge_names(const json_node *entry, const char **left, size_t *left_length, const char **right) {
    *left = json_string(entry);
    if (*left == NULL) {
        *left = json_string(json_first(entry));
        *right = json_string(json_next(json_first(entry)));
        *left_length = *left == NULL ? 0 : strlen(*left);
        return json_is_array(entry) && *left != NULL && *right != NULL &&
               json_next(json_next(json_first(entry))) == NULL;
    }
    const char *blank = strchr(*left, ' ');
    if (blank == NULL || strchr(blank + 1, ' ') != NULL) return false;
    *left_length = (size_t)(blank - *left);
    *right = blank + 1;
    return true;
}

/* The id of a spelling that is likely to be `guess` or the one behind it: vocabularies number their pieces in the order
 * of the merges, and a look costs less than a search of the hash. */
static int32_t find_near(const struct tokenizer *tokenizer, int32_t guess, const char *bytes, size_t length) {
    for (int32_t id = guess; id <= guess + 1 && (size_t)id < tokenizer->vocabulary; id++) {
        const struct piece *piece = &tokenizer->pieces[id];
        if (piece->bytes != NULL && piece->length == length && piece->listed &&
            memcmp(piece->bytes, bytes, length) == 0)
            return id;
    }
    return hash_find(&tokenizer->ids, bytes, length, -1);
}

/* Merges go through three loops, some at a time: spelling, finding the ids, entering. Each touches memory far apart,
 * which the loop before has asked for: this halves the time for the hundreds of thousands of merges of Llama 3. */
struct spelt_merge {
    size_t start, middle, end; /* left and right piece, end to end in the text */
    int32_t left, right, id;
};

static void prefetch_id(const struct tokenizer *tokenizer, const char *bytes, size_t length) {
    if (tokenizer->ids.capacity == 0) return;
    __builtin_prefetch(&tokenizer->ids.entries[hash_bytes(bytes, length, 0) & (tokenizer->ids.capacity - 1)]);
}

static bool spell_merge(const struct tokenizer *tokenizer, const json_node *entry, size_t rank, struct text *bytes,
                        struct spelt_merge *merge, struct error *error) {
    const char *left, *right;
    size_t left_length;
    if (!merge_names(entry, &left, &left_length, &right))
        return error_set(error, "model.merges: entry %zu is no pair", rank);
    merge->start = bytes->length;
    bool known = spell(tokenizer, bytes, left, left_length);
    merge->middle = bytes->length;
    known = known && spell(tokenizer, bytes, right, strlen(right));
    merge->end = bytes->length;
    if (!text_ok(bytes, error)) return false;
    if (!known || merge->start == merge->middle || merge->middle == merge->end)
        return error_set(error, "model.merges: entry %zu names a piece that is not in the vocabulary", rank);
    return true;
}

static bool find_merge(const struct tokenizer *tokenizer, const char *bytes, int32_t guess, size_t rank,
                       struct spelt_merge *merge, struct error *error) {
    merge->left = hash_find(&tokenizer->ids, bytes + merge->start, merge->middle - merge->start, -1);
    merge->right = hash_find(&tokenizer->ids, bytes + merge->middle, merge->end - merge->middle, -1);
    if (merge->left < 0 || merge->right < 0)
        return error_set(error, "model.merges: entry %zu names a piece that is not in the vocabulary", rank);
    merge->id = find_near(tokenizer, guess, bytes + merge->start, merge->end - merge->start);
    return merge->id >= 0 || error_set(error, "model.merges: what entry %zu makes is not in the vocabulary", rank);
}

static bool read_merges(struct tokenizer *tokenizer, const json_node *merges, struct error *error) {
    enum { BLOCK = 32 };
    struct spelt_merge block[BLOCK];
    if (!json_is_array(merges)) return error_set(error, "model.merges is not a list");
    const size_t total = json_count(merges);
    if (total > INT32_MAX) return error_set(error, "model.merges has %zu entries", total);
    if (!merge_table_open(&tokenizer->merges, total, error)) return false;
    struct text bytes = {0};
    int32_t made = 0;
    bool read = true;
    const json_node *entry = json_first(merges);
    for (size_t rank = 0; read && entry != NULL; rank += BLOCK) {
        size_t count = 0;
        text_clear(&bytes);
        for (; read && entry != NULL && count < BLOCK; entry = json_next(entry), count++)
            read = spell_merge(tokenizer, entry, rank + count, &bytes, &block[count], error);
        for (size_t i = 0; read && i < count; i++) {
            prefetch_id(tokenizer, bytes.data + block[i].start, block[i].middle - block[i].start);
            prefetch_id(tokenizer, bytes.data + block[i].middle, block[i].end - block[i].middle);
        }
        for (size_t i = 0; read && i < count; i++) {
            read = find_merge(tokenizer, bytes.data, made, rank + i, &block[i], error);
            made = block[i].id;
            if (read) merge_table_prefetch(&tokenizer->merges, block[i].left, block[i].right);
        }
        for (size_t i = 0; read && i < count; i++)
            merge_table_add(&tokenizer->merges, block[i].left, block[i].right, (int32_t)(rank + i), block[i].id);
    }
    text_free(&bytes);
    return read;
}

/* "unk_token" of the vocabulary. */
static bool read_unknown(struct tokenizer *tokenizer, const json_node *model, struct error *error) {
    const char *name = NULL;
    struct text bytes = {0};
    if (!json_get_string(model, "unk_token", false, &name, error)) return error_context(error, "model");
    if (name == NULL) return true;
    if (spell(tokenizer, &bytes, name, strlen(name)) && bytes.length > 0)
        tokenizer->unknown = hash_find(&tokenizer->ids, bytes.data, bytes.length, -1);
    text_free(&bytes);
    return tokenizer->unknown >= 0 || error_set(error, "model.unk_token \"%.100s\" is not in the vocabulary", name);
}

static bool read_bpe(struct tokenizer *tokenizer, const json_node *model, struct error *error) {
    static const char *const must_be_empty[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    double dropout = 0;
    for (size_t i = 0; i < sizeof must_be_empty / sizeof must_be_empty[0]; i++) {
        const char *value = NULL;
        if (!json_get_string(model, must_be_empty[i], false, &value, error)) return error_context(error, "model");
        if (value != NULL && value[0] != '\0')
            return error_set(error, "model: \"%s\": \"%.50s\" is not supported", must_be_empty[i], value);
    }
    if (!json_get_double(model, "dropout", false, &dropout, error) ||
        !json_get_bool(model, "ignore_merges", false, &tokenizer->ignore_merges, error) ||
        !json_get_bool(model, "byte_fallback", false, &tokenizer->byte_fallback, error) ||
        !json_get_bool(model, "fuse_unk", false, &tokenizer->fuse_unknown, error))
        return error_context(error, "model");
    if (dropout > 0) return error_set(error, "model: \"dropout\": %g would give other ids each time", dropout);
    return read_unknown(tokenizer, model, error) && read_merges(tokenizer, json_member(model, "merges"), error) &&
           (tokenizer_index_symbols(tokenizer, error) || error_context(error, "model"));
}

static bool read_wordpiece(struct tokenizer *tokenizer, const json_node *model, struct error *error) {
    const char *prefix = "##";
    int64_t characters = 100;
    if (!json_get_string(model, "continuing_subword_prefix", false, &prefix, error) ||
        !json_get_int(model, "max_input_chars_per_word", false, 0, INT32_MAX, &characters, error))
        return error_context(error, "model");
    tokenizer->wordpiece.characters = (size_t)characters;
    tokenizer->wordpiece.prefix = tokenizer_string(tokenizer, prefix, error);
    if (tokenizer->wordpiece.prefix == NULL || !read_unknown(tokenizer, model, error)) return false;
    return tokenizer->unknown >= 0 || error_set(error, "model: WordPiece without \"unk_token\"");
}

/* Files of before 2020 leave the type out. */
static bool model_is(const json_node *model, const char *type) {
    if (json_member(model, "type") != NULL) return strcmp(json_type(model), type) == 0;
    return (json_member(model, "merges") != NULL) == (strcmp(type, "BPE") == 0);
}

static bool read_model(struct tokenizer *tokenizer, const json_node *model, const json_node *added,
                       struct error *error) {
    int64_t largest;
    size_t bytes;
    const json_node *vocabulary = json_member(model, "vocab");
    const bool wordpiece = model_is(model, "WordPiece");
    if (!json_is_object(model)) return error_set(error, "model is not an object");
    if (!wordpiece && !model_is(model, "BPE")) return json_unsupported("model", model, error);
    if (!json_is_object(vocabulary)) return error_set(error, "model.vocab is not an object");
    if (wordpiece && tokenizer->model == MODEL_BYTE_BPE)
        return error_set(error, "pre_tokenizer ByteLevel with a WordPiece model is not supported");
    if (wordpiece) tokenizer->model = MODEL_WORDPIECE;
    return measure(vocabulary, added, &largest, &bytes, error) &&
           tokenizer_make_pieces(tokenizer, (size_t)largest + 1, bytes, error) &&
           read_vocabulary(tokenizer, vocabulary, error) &&
           (wordpiece ? read_wordpiece(tokenizer, model, error) : read_bpe(tokenizer, model, error));
}

/* The id of a content that the vocabulary has; -1. */
static int32_t vocabulary_id(const struct tokenizer *tokenizer, const char *content) {
    struct text bytes = {0};
    int32_t id = -1;
    if (spell(tokenizer, &bytes, content, strlen(content)) && bytes.length > 0)
        id = hash_find(&tokenizer->ids, bytes.data, bytes.length, -1);
    text_free(&bytes);
    return id;
}

bool tokenizer_read_added_token(struct tokenizer *tokenizer, const json_node *entry, int64_t id, struct error *error) {
    const char *content = NULL;
    bool special = false, normalized = true;
    struct added_token token = {.id = (int32_t)id};
    if (!json_get_string(entry, "content", true, &content, error) ||
        !json_get_bool(entry, "special", false, &special, error) ||
        !json_get_bool(entry, "single_word", false, &token.single_word, error) ||
        !json_get_bool(entry, "lstrip", false, &token.lstrip, error) ||
        !json_get_bool(entry, "rstrip", false, &token.rstrip, error))
        return false;
    normalized = !special;
    if (!json_get_bool(entry, "normalized", false, &normalized, error)) return false;
    /* Where file and vocabulary disagree, the vocabulary's id is the one that counts, as in Hugging Face tokenizers. */
    const int32_t known = vocabulary_id(tokenizer, content);
    if (known >= 0) token.id = known;
    const struct piece *piece = &tokenizer->pieces[token.id];
    token.content = content;
    token.length = strlen(content);
    const bool taken = known < 0 && piece->bytes != NULL &&
                       (piece->length != token.length || memcmp(piece->bytes, content, token.length) != 0);
    if (taken)
        return error_set(error, "\"%.100s\" has id %d, which is another piece of the vocabulary", content, token.id);
    return tokenizer_add_added(tokenizer, token, special, normalized, error);
}

static bool read_added(struct tokenizer *tokenizer, const json_node *list, struct error *error) {
    for (const json_node *entry = json_first(list); entry != NULL; entry = json_next(entry)) {
        int64_t id = 0;
        if (!json_get_int(entry, "id", true, 0, ID_LIMIT - 1, &id, error) ||
            !tokenizer_read_added_token(tokenizer, entry, id, error))
            return error_context(error, "added_tokens");
    }
    return true;
}

/* The mark of SentencePiece-style vocabularies, U+2581. */
static const char metaspace[] = "\xe2\x96\x81";

static bool whole_text_is_a_word(const struct tokenizer *tokenizer) {
    for (size_t i = 0; i < tokenizer->pretokenizer.count; i++) {
        const struct cut *cut = &tokenizer->pretokenizer.cuts[i];
        if (cut->kind != CUT_METASPACE || cut->splits) return false;
    }
    return true;
}

bool tokenizer_read_json(struct tokenizer *tokenizer, const struct json *document, struct error *error) {
    const json_node *root = json_root(document), *added = json_member(root, "added_tokens");
    if (!json_is_object(root)) return error_set(error, "not a JSON object");
    if (!json_is_null(added) && !json_is_array(added)) return error_set(error, "added_tokens is not a list");
    tokenizer->model = MODEL_CHARACTER_BPE;
    if (!tokenizer_read_pretokenizer(tokenizer, json_member(root, "pre_tokenizer"), error) ||
        !tokenizer_read_normalizer(tokenizer, json_member(root, "normalizer"), error) ||
        !read_model(tokenizer, json_member(root, "model"), added, error) || !read_added(tokenizer, added, error) ||
        !tokenizer_read_postprocessor(tokenizer, json_member(root, "post_processor"), error) ||
        !tokenizer_read_decoder(tokenizer, json_member(root, "decoder"), error))
        return false;
    return tokenizer->model != MODEL_CHARACTER_BPE || !whole_text_is_a_word(tokenizer) ||
           tokenizer_cut_at_marks(tokenizer, metaspace, error);
}
