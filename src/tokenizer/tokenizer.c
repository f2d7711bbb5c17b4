/* Encoding and decoding with an open tokenizer: added tokens are cut out first, the rest is normalised, split into
 * words and merged. */
#include "tokenizer/tokenizer.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "tokenizer/tokenizer_parts.h"
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define FILE_LIMIT ((size_t)256 << 20)

void token_list_free(struct token_list *list) {
    memory_free(list->ids);
    *list = (struct token_list){0};
}

bool tokenizer_open(struct tokenizer **out, const char *path, struct error *error) {
    char file[4096];
    if (path_is_directory(path)) {
        if (!path_join(file, sizeof file, path, "tokenizer.json")) return error_set(error, "%s: path too long", path);
        path = file;
    }
    struct json *document;
    if (!json_load(&document, path, FILE_LIMIT, error)) return false;
    struct tokenizer *tokenizer = memory_zero(1, sizeof *tokenizer);
    const bool read =
        tokenizer != NULL ? tokenizer_read(tokenizer, document, error) : memory_error(error, sizeof *tokenizer, path);
    json_free(document);
    if (!read) {
        tokenizer_close(tokenizer);
        return error_context(error, "%s", path);
    }
    *out = tokenizer;
    return true;
}

void tokenizer_close(struct tokenizer *tokenizer) {
    if (tokenizer == NULL) return;
    pretokenizer_close(tokenizer->pretokenizer);
    merge_table_close(&tokenizer->merges);
    hash_free(&tokenizer->ids);
    hash_free(&tokenizer->added_ids);
    token_list_free(&tokenizer->before);
    token_list_free(&tokenizer->after);
    memory_free(tokenizer->pieces);
    memory_free(tokenizer->added);
    arena_free(&tokenizer->arena);
    memory_free(tokenizer);
}

size_t tokenizer_vocabulary(const struct tokenizer *tokenizer) {
    return tokenizer->vocabulary;
}

int32_t tokenizer_token_id(const struct tokenizer *tokenizer, const char *token) {
    const int32_t added = hash_find(&tokenizer->added_ids, token, strlen(token), -1);
    return added >= 0 ? added : hash_find(&tokenizer->ids, token, strlen(token), -1);
}

/* One call of encode. */
struct encoding {
    const struct tokenizer *tokenizer;
    struct token_list *out;
};

/* The bytes of a word go straight to the end of the output and are merged there. */
static bool encode_word(void *context, const char *word, size_t length, struct error *error) {
    struct encoding *encoding = context;
    const struct tokenizer *tokenizer = encoding->tokenizer;
    struct token_list *out = encoding->out;
    if (!memory_grow(&out->ids, &out->capacity, out->count + length, sizeof *out->ids, error)) return false;
    if (tokenizer->whole_words) {
        const int32_t id = hash_find(&tokenizer->ids, word, length, -1);
        if (id >= 0) {
            out->ids[out->count++] = id;
            return true;
        }
    }
    int32_t *ids = out->ids + out->count;
    for (size_t i = 0; i < length; i++) ids[i] = tokenizer->byte_ids[(unsigned char)word[i]];
    size_t count = length;
    if (!bpe_merge(&tokenizer->merges, ids, &count, error)) return false;
    out->count += count;
    return true;
}

static bool is_ascii(const char *bytes, size_t length) {
    unsigned char any = 0;
    for (size_t i = 0; i < length; i++) any |= (unsigned char)bytes[i];
    return any < 0x80;
}

static bool split_words(struct encoding *encoding, const char *text, size_t length, struct error *error) {
    const struct tokenizer *tokenizer = encoding->tokenizer;
    if (tokenizer->pretokenizer == NULL) return encode_word(encoding, text, length, error);
    return pretokenizer_split(tokenizer->pretokenizer, text, length, encode_word, encoding, error);
}

/* Text without added tokens. */
static bool encode_plain(struct encoding *encoding, const char *text, size_t length, struct error *error) {
    const struct tokenizer *tokenizer = encoding->tokenizer;
    if (length == 0) return true;
    const bool prefix = tokenizer->prefix_space && text[0] != ' ', compose = tokenizer->nfc && !is_ascii(text, length);
    if (!prefix && !compose) return split_words(encoding, text, length, error);
    struct text changed = {0};
    if (prefix) text_add_char(&changed, ' ');
    if (compose) {
        utf8proc_uint8_t *composed = NULL;
        const utf8proc_ssize_t bytes = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)length, &composed,
                                                    UTF8PROC_STABLE | UTF8PROC_COMPOSE);
        if (bytes < 0)
            changed.failed = true;
        else
            text_append(&changed, (const char *)composed, (size_t)bytes);
        free(composed);
    } else {
        text_append(&changed, text, length);
    }
    const bool done = text_ok(&changed, error) && split_words(encoding, changed.data, changed.length, error);
    text_free(&changed);
    return done;
}

/* The added token that begins at `text`, longest first; -1 if there is none. */
static int32_t added_at(const struct tokenizer *tokenizer, const char *text, size_t length) {
    if (!tokenizer->added_first[(unsigned char)text[0]]) return -1;
    for (size_t i = 0; i < tokenizer->added_count; i++) {
        const struct piece *piece = &tokenizer->pieces[tokenizer->added[i]];
        if (piece->length <= length && memcmp(piece->bytes, text, piece->length) == 0) return tokenizer->added[i];
    }
    return -1;
}

static bool append_ids(struct token_list *out, const int32_t *ids, size_t count, struct error *error) {
    if (count == 0) return true;
    if (!memory_grow(&out->ids, &out->capacity, out->count + count, sizeof *out->ids, error)) return false;
    memcpy(out->ids + out->count, ids, count * sizeof *ids);
    out->count += count;
    return true;
}

bool tokenizer_encode(const struct tokenizer *tokenizer, const char *bytes, size_t length, bool special,
                      struct token_list *out, struct error *error) {
    size_t bad, from = 0;
    if (!utf8_valid(bytes, length, &bad)) return error_set(error, "invalid UTF-8 at byte %zu of the text", bad);
    if (special && !append_ids(out, tokenizer->before.ids, tokenizer->before.count, error)) return false;
    struct encoding encoding = {tokenizer, out};
    for (size_t i = 0; i < length;) {
        const int32_t id = added_at(tokenizer, bytes + i, length - i);
        if (id < 0) {
            i++;
            continue;
        }
        if (!encode_plain(&encoding, bytes + from, i - from, error) || !append_ids(out, &id, 1, error)) return false;
        i += tokenizer->pieces[id].length;
        from = i;
    }
    if (!encode_plain(&encoding, bytes + from, length - from, error)) return false;
    return !special || append_ids(out, tokenizer->after.ids, tokenizer->after.count, error);
}

bool tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t count, bool skip_special,
                      struct text *out, struct error *error) {
    for (size_t i = 0; i < count; i++) {
        const bool known =
            ids[i] >= 0 && (size_t)ids[i] < tokenizer->vocabulary && tokenizer->pieces[ids[i]].bytes != NULL;
        if (!known) return error_set(error, "id %d is not in the vocabulary", ids[i]);
        const struct piece *piece = &tokenizer->pieces[ids[i]];
        if (!(skip_special && piece->special)) text_append(out, piece->bytes, piece->length);
    }
    return text_ok(out, error);
}
