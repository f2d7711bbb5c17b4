/* Reading tokenizer.json: vocabulary, merges, added tokens, normaliser, pre-tokenisers and post-processor. What casemix
 * does not compute is refused by naming it. */
#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/tokenizer_parts.h"
#include <stdlib.h>
#include <string.h>

enum { ID_LIMIT = 1 << 22 };

static const char *type_of(const json_node *node) {
    const char *type = json_string(json_member(node, "type"));
    return type == NULL ? "(none)" : type;
}

static bool unsupported(const char *member, const json_node *node, struct error *error) {
    return error_set(error, "%s of type \"%s\" is not supported", member, type_of(node));
}

/* The largest id of vocabulary and added tokens sizes the table. */
static bool measure_ids(const json_node *vocabulary, const json_node *added, int64_t *largest, struct error *error) {
    *largest = -1;
    for (const json_node *entry = json_first(vocabulary); entry != NULL; entry = json_next(entry)) {
        int64_t id;
        if (!json_integer(entry, &id) || id < 0 || id >= ID_LIMIT)
            return error_set(error, "model.vocab: \"%s\" has no valid id", json_name(entry));
        if (id > *largest) *largest = id;
    }
    for (const json_node *entry = json_first(added); entry != NULL; entry = json_next(entry)) {
        int64_t id;
        if (!json_get_int(entry, "id", true, 0, ID_LIMIT - 1, &id, error)) return error_context(error, "added_tokens");
        if (id > *largest) *largest = id;
    }
    return *largest >= 0 || error_set(error, "model.vocab is empty");
}

static bool read_vocabulary(struct tokenizer *tokenizer, const json_node *vocabulary, struct error *error) {
    struct text bytes = {0};
    bool read = true;
    for (const json_node *entry = json_first(vocabulary); read && entry != NULL; entry = json_next(entry)) {
        int64_t id = 0;
        json_integer(entry, &id);
        const char *name = json_name(entry);
        text_clear(&bytes);
        /* Special tokens may stand in the vocabulary with characters outside the byte alphabet: they stand for
         * themselves. */
        if (!byte_level_decode(&bytes, name, strlen(name))) {
            text_clear(&bytes);
            text_add(&bytes, name);
        }
        struct piece *piece = &tokenizer->pieces[id];
        bool existing = false;
        if (piece->bytes != NULL) read = error_set(error, "model.vocab: id %lld stands twice", (long long)id);
        if (read) {
            *piece = (struct piece){
                .bytes = arena_string(&tokenizer->arena, bytes.data == NULL ? "" : bytes.data, bytes.length),
                .length = (uint32_t)bytes.length};
            read = (piece->bytes != NULL && !bytes.failed) || memory_error(error, bytes.length, "the vocabulary");
        }
        read = read && hash_insert(&tokenizer->ids, piece->bytes, piece->length, (int32_t)id, &existing, error);
        if (read && existing)
            read = error_set(error, "model.vocab: two pieces stand for the same bytes (id %lld)", (long long)id);
    }
    text_free(&bytes);
    for (int byte = 0; read && byte < 256; byte++) {
        const char one = (char)byte;
        tokenizer->byte_ids[byte] = hash_find(&tokenizer->ids, &one, 1, -1);
        if (tokenizer->byte_ids[byte] < 0)
            read = error_set(error, "model.vocab has no piece for byte 0x%02x: not a byte-level vocabulary", byte);
    }
    return read;
}

static int32_t piece_id(struct tokenizer *tokenizer, struct text *bytes, const char *name, size_t length) {
    text_clear(bytes);
    if (!byte_level_decode(bytes, name, length) || bytes->data == NULL) return -1;
    return hash_find(&tokenizer->ids, bytes->data, bytes->length, -1);
}

/* A merge is "left right", or ["left", "right"] in newer files. */
static bool read_merge(struct tokenizer *tokenizer, const json_node *entry, int32_t rank, struct text *bytes,
                       struct error *error) {
    const char *left = json_string(entry), *right = NULL;
    size_t left_length = 0;
    if (left != NULL) {
        const char *blank = strchr(left, ' ');
        if (blank != NULL) {
            left_length = (size_t)(blank - left);
            right = blank + 1;
        }
    } else {
        left = json_string(json_first(entry));
        right = json_string(json_next(json_first(entry)));
        left_length = left == NULL ? 0 : strlen(left);
    }
    if (left == NULL || right == NULL) return error_set(error, "model.merges: entry %d is no pair", rank);
    const int32_t first = piece_id(tokenizer, bytes, left, left_length),
                  second = piece_id(tokenizer, bytes, right, strlen(right));
    if (bytes->failed) return text_ok(bytes, error);
    if (first < 0 || second < 0)
        return error_set(error, "model.merges: entry %d names a piece that is not in the vocabulary", rank);
    text_clear(bytes);
    text_append(bytes, tokenizer->pieces[first].bytes, tokenizer->pieces[first].length);
    text_append(bytes, tokenizer->pieces[second].bytes, tokenizer->pieces[second].length);
    if (bytes->failed) return text_ok(bytes, error);
    const int32_t id = hash_find(&tokenizer->ids, bytes->data, bytes->length, -1);
    if (id < 0) return error_set(error, "model.merges: what entry %d makes is not in the vocabulary", rank);
    merge_table_add(&tokenizer->merges, first, second, rank, id);
    return true;
}

static bool read_model(struct tokenizer *tokenizer, const json_node *model, const json_node *added,
                       struct error *error) {
    int64_t largest;
    const json_node *vocabulary = json_member(model, "vocab"), *merges = json_member(model, "merges");
    if (strcmp(type_of(model), "BPE") != 0) return unsupported("model", model, error);
    static const char *const must_be_false[] = {"byte_fallback", "fuse_unk"};
    for (size_t i = 0; i < sizeof must_be_false / sizeof must_be_false[0]; i++) {
        if (json_bool(json_member(model, must_be_false[i]), false))
            return error_set(error, "model: \"%s\": true is not supported", must_be_false[i]);
    }
    if (!json_is_object(vocabulary)) return error_set(error, "model.vocab is not an object");
    if (!json_is_array(merges)) return error_set(error, "model.merges is not a list");
    tokenizer->whole_words = json_bool(json_member(model, "ignore_merges"), false);
    if (!measure_ids(vocabulary, added, &largest, error)) return false;
    tokenizer->vocabulary = (size_t)largest + 1;
    tokenizer->pieces = memory_zero(tokenizer->vocabulary, sizeof *tokenizer->pieces);
    if (tokenizer->pieces == NULL)
        return memory_error(error, tokenizer->vocabulary * sizeof *tokenizer->pieces, "the vocabulary");
    if (!read_vocabulary(tokenizer, vocabulary, error)) return false;
    if (!merge_table_open(&tokenizer->merges, json_count(merges), error)) return false;
    struct text bytes = {0};
    int32_t rank = 0;
    bool read = true;
    for (const json_node *entry = json_first(merges); read && entry != NULL; entry = json_next(entry)) {
        read = read_merge(tokenizer, entry, rank++, &bytes, error);
    }
    text_free(&bytes);
    return read;
}

static bool read_added_token(struct tokenizer *tokenizer, const json_node *entry, struct error *error) {
    static const char *const flags[] = {"single_word", "lstrip", "rstrip"};
    const char *content = NULL;
    int64_t id = 0;
    bool special = false;
    if (!json_get_int(entry, "id", true, 0, ID_LIMIT - 1, &id, error) ||
        !json_get_string(entry, "content", true, &content, error) ||
        !json_get_bool(entry, "special", false, &special, error)) {
        return false;
    }
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (json_bool(json_member(entry, flags[i]), false))
            return error_set(error, "\"%s\": true is not supported (token \"%s\")", flags[i], content);
    }
    if (content[0] == '\0') return error_set(error, "id %lld has no content", (long long)id);
    struct piece *piece = &tokenizer->pieces[id];
    bool existing;
    *piece = (struct piece){arena_string(&tokenizer->arena, content, strlen(content)), (uint32_t)strlen(content), true,
                            special};
    if (piece->bytes == NULL) return memory_error(error, strlen(content), "the added tokens");
    if (!hash_insert(&tokenizer->added_ids, piece->bytes, piece->length, (int32_t)id, &existing, error)) return false;
    if (existing) return error_set(error, "\"%s\" stands twice", content);
    tokenizer->added_first[(unsigned char)content[0]] = true;
    tokenizer->added[tokenizer->added_count++] = (int32_t)id;
    return true;
}

static bool read_added(struct tokenizer *tokenizer, const json_node *list, struct error *error) {
    const size_t count = json_count(list);
    tokenizer->added = memory_alloc(count, sizeof *tokenizer->added);
    if (tokenizer->added == NULL) return memory_error(error, count * sizeof *tokenizer->added, "the added tokens");
    for (const json_node *entry = json_first(list); entry != NULL; entry = json_next(entry)) {
        if (!read_added_token(tokenizer, entry, error)) return error_context(error, "added_tokens");
    }
    /* Longest first, so that the longest token that fits is taken. */
    for (size_t i = 1; i < tokenizer->added_count; i++) {
        const int32_t id = tokenizer->added[i];
        size_t j = i;
        for (; j > 0 && tokenizer->pieces[tokenizer->added[j - 1]].length < tokenizer->pieces[id].length; j--)
            tokenizer->added[j] = tokenizer->added[j - 1];
        tokenizer->added[j] = id;
    }
    return true;
}

static bool read_normalizer(struct tokenizer *tokenizer, const json_node *node, struct error *error) {
    if (json_is_null(node)) return true;
    if (strcmp(type_of(node), "NFC") == 0) {
        tokenizer->nfc = true;
        return true;
    }
    if (strcmp(type_of(node), "Sequence") != 0) return unsupported("normalizer", node, error);
    for (const json_node *part = json_first(json_member(node, "normalizers")); part != NULL; part = json_next(part)) {
        if (strcmp(type_of(part), "NFC") != 0) return unsupported("normalizer", part, error);
        tokenizer->nfc = true;
    }
    return true;
}

static bool set_pattern(struct tokenizer *tokenizer, const char *pattern, struct error *error) {
    if (tokenizer->pretokenizer != NULL)
        return error_set(error, "pre_tokenizer: more than one pattern is not supported");
    return pretokenizer_open(&tokenizer->pretokenizer, pattern, error);
}

static bool read_pretokenizer(struct tokenizer *tokenizer, const json_node *node, struct error *error) {
    const char *type = type_of(node);
    if (strcmp(type, "Sequence") == 0) {
        for (const json_node *part = json_first(json_member(node, "pretokenizers")); part != NULL;
             part = json_next(part)) {
            if (strcmp(type_of(part), "Sequence") == 0) return unsupported("pre_tokenizer", part, error);
            if (!read_pretokenizer(tokenizer, part, error)) return false;
        }
        return true;
    }
    if (strcmp(type, "ByteLevel") == 0) {
        tokenizer->prefix_space = json_bool(json_member(node, "add_prefix_space"), true);
        return !json_bool(json_member(node, "use_regex"), true) || set_pattern(tokenizer, pretokenizer_gpt2, error);
    }
    if (strcmp(type, "Split") != 0) return unsupported("pre_tokenizer", node, error);
    const char *pattern = json_string(json_member(json_member(node, "pattern"), "Regex")),
               *behavior = json_string(json_member(node, "behavior"));
    if (pattern == NULL) return error_set(error, "pre_tokenizer: Split without a pattern \"Regex\" is not supported");
    if (behavior == NULL || strcmp(behavior, "Isolated") != 0 || json_bool(json_member(node, "invert"), false)) {
        return error_set(error, "pre_tokenizer: Split other than \"Isolated\" and not inverted is not supported");
    }
    return set_pattern(tokenizer, pattern, error);
}

static bool add_special(struct tokenizer *tokenizer, struct token_list *list, const char *name, struct error *error) {
    const int32_t id = name == NULL ? -1 : tokenizer_token_id(tokenizer, name);
    if (id < 0)
        return error_set(error, "post_processor names token \"%s\", which is not in the vocabulary",
                         name == NULL ? "" : name);
    if (!memory_grow(&list->ids, &list->capacity, list->count + 1, sizeof *list->ids, error)) return false;
    list->ids[list->count++] = id;
    return true;
}

static bool read_postprocessor(struct tokenizer *tokenizer, const json_node *node, struct error *error) {
    if (json_is_null(node) || strcmp(type_of(node), "ByteLevel") == 0) return true;
    if (strcmp(type_of(node), "Sequence") == 0) {
        for (const json_node *part = json_first(json_member(node, "processors")); part != NULL;
             part = json_next(part)) {
            if (strcmp(type_of(part), "Sequence") == 0) return unsupported("post_processor", part, error);
            if (!read_postprocessor(tokenizer, part, error)) return false;
        }
        return true;
    }
    if (strcmp(type_of(node), "TemplateProcessing") != 0) return unsupported("post_processor", node, error);
    struct token_list *list = &tokenizer->before;
    for (const json_node *part = json_first(json_member(node, "single")); part != NULL; part = json_next(part)) {
        if (json_member(part, "Sequence") != NULL)
            list = &tokenizer->after;
        else if (!add_special(tokenizer, list, json_string(json_member(json_member(part, "SpecialToken"), "id")),
                              error))
            return false;
    }
    return true;
}

bool tokenizer_read(struct tokenizer *tokenizer, const struct json *document, struct error *error) {
    const json_node *root = json_root(document), *added = json_member(root, "added_tokens");
    if (!json_is_object(root)) return error_set(error, "not a JSON object");
    if (!json_is_null(added) && !json_is_array(added)) return error_set(error, "added_tokens is not a list");
    return read_model(tokenizer, json_member(root, "model"), added, error) && read_added(tokenizer, added, error) &&
           read_normalizer(tokenizer, json_member(root, "normalizer"), error) &&
           (json_is_null(json_member(root, "pre_tokenizer")) ||
            read_pretokenizer(tokenizer, json_member(root, "pre_tokenizer"), error)) &&
           read_postprocessor(tokenizer, json_member(root, "post_processor"), error);
}
