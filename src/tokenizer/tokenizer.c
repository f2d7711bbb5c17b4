/* Opening and closing a tokenizer, and the building blocks that the readers of the three kinds of file share. */
#include "tokenizer/tokenizer.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "tokenizer/characters.h"
#include "tokenizer/tokenizer_parts.h"
#include <stdio.h>
#include <string.h>

#define FILE_LIMIT ((size_t)256 << 20)

void token_list_free(struct token_list *list) {
    memory_free(list->ids);
    *list = (struct token_list){0};
}

bool token_list_add(struct token_list *list, const int32_t *ids, size_t count, struct error *error) {
    if (count == 0) return true;
    if (!memory_grow(&list->ids, &list->capacity, list->count + count, sizeof *list->ids, error)) return false;
    memcpy(list->ids + list->count, ids, count * sizeof *ids);
    list->count += count;
    return true;
}

static bool ends_with(const char *path, const char *name) {
    const size_t length = strlen(path), end = strlen(name);
    return length >= end && strcmp(path + length - end, name) == 0;
}

/* The file to read: in a directory the first of the three that is there. */
static bool find_file(const char *path, char *file, size_t capacity, struct error *error) {
    static const char *const names[] = {"tokenizer.json", "vocab.txt", "tokenizer.model"};
    if (!path_is_directory(path))
        return snprintf(file, capacity, "%s", path) < (int)capacity || error_set(error, "%.200s…: path too long", path);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (!path_join(file, capacity, path, names[i])) return error_set(error, "%.200s…: path too long", path);
        if (path_exists(file)) return true;
    }
    error_set(error, "%s: neither tokenizer.json nor vocab.txt nor tokenizer.model is there", path);
    return error_hint(error, "copy the tokenizer's files of the model into this directory");
}

/* tokenizer_config.json beside the file; *config stays NULL if there is none. */
static bool load_config(const char *file, struct json **config, struct error *error) {
    char path[4200];
    const char *slash = strrchr(file, '/');
    const int directory = slash == NULL ? 0 : (int)(slash - file) + 1;
    snprintf(path, sizeof path, "%.*stokenizer_config.json", directory, file);
    return !path_exists(path) || json_load(config, path, FILE_LIMIT, error);
}

static bool read_json(struct tokenizer *tokenizer, const char *file, struct error *error) {
    struct json *document;
    if (!json_load(&document, file, FILE_LIMIT, error)) return false;
    const bool read = tokenizer_read_json(tokenizer, document, error) || error_context(error, "%s", file);
    json_free(document);
    return read;
}

typedef bool bytes_reader(struct tokenizer *tokenizer, const char *bytes, size_t length, const struct json *config,
                          struct error *error);

static bool read_bytes(struct tokenizer *tokenizer, const char *file, bytes_reader *reader, struct error *error) {
    struct json *config = NULL;
    struct text bytes = {0};
    bool read = load_config(file, &config, error) && file_read(&bytes, file, FILE_LIMIT, error);
    if (read)
        read = reader(tokenizer, bytes.data == NULL ? "" : bytes.data, bytes.length, config, error) ||
               error_context(error, "%s", file);
    text_free(&bytes);
    json_free(config);
    return read;
}

bool tokenizer_open(struct tokenizer **out, const char *path, struct error *error) {
    char file[4096];
    if (!find_file(path, file, sizeof file, error)) return false;
    struct tokenizer *tokenizer = memory_zero(1, sizeof *tokenizer);
    if (tokenizer == NULL) return memory_error(error, sizeof *tokenizer, path);
    tokenizer->unknown = -1;
    bool read;
    if (ends_with(file, ".txt"))
        read = read_bytes(tokenizer, file, tokenizer_read_vocabulary, error);
    else if (ends_with(file, ".model"))
        read = read_bytes(tokenizer, file, tokenizer_read_sentencepiece, error);
    else
        read = read_json(tokenizer, file, error);
    if (!read) {
        tokenizer_close(tokenizer);
        return false;
    }
    *out = tokenizer;
    return true;
}

void tokenizer_close(struct tokenizer *tokenizer) {
    if (tokenizer == NULL) return;
    pretokenizer_free(&tokenizer->pretokenizer);
    normalizer_free(&tokenizer->normalizer);
    added_tokens_free(&tokenizer->raw_added);
    added_tokens_free(&tokenizer->normalized_added);
    merge_table_close(&tokenizer->merges);
    hash_free(&tokenizer->ids);
    hash_free(&tokenizer->added);
    token_list_free(&tokenizer->before);
    token_list_free(&tokenizer->after);
    memory_free(tokenizer->pieces);
    memory_free(tokenizer->spellings);
    memory_free(tokenizer->whole);
    arena_free(&tokenizer->arena);
    memory_free(tokenizer);
}

size_t tokenizer_vocabulary(const struct tokenizer *tokenizer) {
    return tokenizer->vocabulary;
}

int32_t tokenizer_token_id(const struct tokenizer *tokenizer, const char *token) {
    const int32_t added = hash_find(&tokenizer->added, token, strlen(token), -1);
    return added >= 0 ? added : hash_find(&tokenizer->ids, token, strlen(token), -1);
}

bool tokenizer_make_pieces(struct tokenizer *tokenizer, size_t vocabulary, size_t spelling_bytes, struct error *error) {
    tokenizer->vocabulary = vocabulary;
    tokenizer->pieces = memory_zero(vocabulary, sizeof *tokenizer->pieces);
    tokenizer->spellings = memory_alloc(spelling_bytes, 1);
    tokenizer->whole = memory_zero(vocabulary, sizeof *tokenizer->whole);
    return (tokenizer->pieces != NULL && tokenizer->spellings != NULL && tokenizer->whole != NULL) ||
           memory_error(error, vocabulary * sizeof *tokenizer->pieces + spelling_bytes, "the vocabulary");
}

bool tokenizer_add_piece(struct tokenizer *tokenizer, char **free_spellings, int32_t id, const char *bytes,
                         size_t length, enum piece_listing listing, struct error *error) {
    struct piece *piece = &tokenizer->pieces[id];
    if (piece->bytes != NULL) return error_set(error, "id %d stands twice", id);
    if (length > UINT32_MAX) return error_set(error, "the piece of id %d is too long", id);
    char *spelling = *free_spellings;
    *free_spellings += length;
    if (length > 0) memcpy(spelling, bytes, length);
    *piece = (struct piece){.bytes = spelling, .length = (uint32_t)length};
    if (listing == PIECE_UNLISTED) return true;
    bool existing = false;
    if (!hash_insert(&tokenizer->ids, spelling, length, id, &existing, error)) return false;
    if (existing && listing == PIECE_ONCE)
        return error_set(error, "ids %d and %d stand for the same piece",
                         hash_find(&tokenizer->ids, spelling, length, -1), id);
    if (existing) {
        int32_t *value = hash_value(&tokenizer->ids, spelling, length);
        tokenizer->pieces[*value].listed = false;
        *value = id;
    }
    piece->listed = true;
    return true;
}

bool tokenizer_index_symbols(struct tokenizer *tokenizer, struct error *error) {
    const int symbols = tokenizer->model == MODEL_BYTE_BPE ? 256 : 128;
    size_t byte_pieces = 0;
    for (int byte = 0; byte < 256; byte++) {
        const char one = (char)byte;
        char name[8];
        tokenizer->symbol_ids[byte] = byte < symbols ? hash_find(&tokenizer->ids, &one, 1, -1) : -1;
        if (tokenizer->model == MODEL_BYTE_BPE && tokenizer->symbol_ids[byte] < 0 && tokenizer->unknown < 0)
            return error_set(error, "model.vocab has no piece for byte 0x%02x: not a byte-level vocabulary", byte);
        snprintf(name, sizeof name, "<0x%02X>", (unsigned int)byte);
        const int32_t id = tokenizer->model == MODEL_CHARACTER_BPE ? hash_find(&tokenizer->ids, name, 6, -1) : -1;
        tokenizer->byte_ids[byte] = id;
        if (id < 0) continue;
        tokenizer->pieces[id].is_byte = true;
        tokenizer->pieces[id].byte = (unsigned char)byte;
        byte_pieces++;
    }
    if (tokenizer->byte_fallback && byte_pieces == 0)
        return error_set(error, "byte_fallback is set, but the vocabulary has no pieces <0x00> to <0xFF>");
    return true;
}

const char *tokenizer_string(struct tokenizer *tokenizer, const char *string, struct error *error) {
    const char *copy = arena_string(&tokenizer->arena, string, strlen(string));
    if (copy == NULL) memory_error(error, strlen(string), "the tokenizer's strings");
    return copy;
}

/* What is looked for in the normalised text is the normalised content. */
static bool normalize_content(struct tokenizer *tokenizer, struct added_token *token, struct error *error) {
    struct text normalized = {0};
    struct matcher matcher = {0};
    bool done = normalizer_apply(&tokenizer->normalizer, &matcher, token->content, token->length, &normalized, error);
    if (done) {
        token->length = normalized.length;
        token->content = arena_string(&tokenizer->arena, normalized.length == 0 ? "" : normalized.data, token->length);
        done = token->content != NULL || memory_error(error, token->length, "the added tokens");
    }
    text_free(&normalized);
    matcher_free(&matcher);
    return done;
}

bool tokenizer_add_added(struct tokenizer *tokenizer, struct added_token token, bool special, bool normalized,
                         struct error *error) {
    struct piece *piece = &tokenizer->pieces[token.id];
    bool existing = false;
    if (token.length == 0) return error_set(error, "id %d has no content", token.id);
    token.content = arena_string(&tokenizer->arena, token.content, token.length);
    if (token.content == NULL) return memory_error(error, token.length, "the added tokens");
    if (piece->bytes == NULL) *piece = (struct piece){.bytes = token.content, .length = (uint32_t)token.length};
    piece->added = true;
    piece->special = special;
    if (!hash_insert(&tokenizer->added, token.content, token.length, token.id, &existing, error)) return false;
    if (existing) return error_set(error, "\"%.100s\" stands twice", token.content);
    if (!normalized) return added_tokens_add(&tokenizer->raw_added, token, error);
    const struct added_token plain = token;
    if (!normalize_content(tokenizer, &token, error)) return false;
    /* What was found in the normalised text stands for that text. */
    if (token.length != plain.length || memcmp(token.content, plain.content, token.length) != 0) {
        piece->bytes = token.content;
        piece->length = (uint32_t)token.length;
    }
    return added_tokens_add(&tokenizer->normalized_added, token, error);
}

/* Whether the mark stands behind anything but the mark. */
static bool reaches_across(const struct piece *piece, const char *mark, size_t mark_length) {
    size_t i = 0;
    while (i + mark_length <= piece->length && memcmp(piece->bytes + i, mark, mark_length) == 0) i += mark_length;
    return memmem(piece->bytes + i, piece->length - i, mark, mark_length) != NULL;
}

bool tokenizer_cut_at_marks(struct tokenizer *tokenizer, const char *mark, struct error *error) {
    struct cut cut = {.kind = CUT_BEFORE_RUNS};
    const size_t length = strlen(mark);
    if (length == 0 || length >= sizeof cut.mark || tokenizer->ignore_merges) return true;
    /* A mark that is no piece could be fused with unknown characters around it. */
    if (tokenizer->pretokenizer.count == CUT_LIMIT || hash_find(&tokenizer->ids, mark, length, -1) < 0) return true;
    for (size_t i = 0; i < tokenizer->merges.capacity; i++) {
        const struct merge *merge = &tokenizer->merges.slots[i];
        if (merge->pair != UINT64_MAX && reaches_across(&tokenizer->pieces[merge->id], mark, length)) return true;
    }
    memcpy(cut.mark, mark, length);
    return pretokenizer_add(&tokenizer->pretokenizer, cut, error);
}
