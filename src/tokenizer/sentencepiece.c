/* Reading tokenizer.model, a SentencePiece model of type BPE (Kudo and Richardson 2018; sentencepiece_model.proto).
 * SentencePiece joins the neighbours whose piece has the best score, the leftmost of equals: every way to split a piece
 * into two pieces is a merge, ranked by the score of the whole. */
#include "base/error.h"
#include "tokenizer/characters.h"
#include "tokenizer/tokenizer_config.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Protocol buffers: a field is a number, a type of wire, and a value. */
enum wire { WIRE_VARINT = 0, WIRE_EIGHT = 1, WIRE_BYTES = 2, WIRE_FOUR = 5 };

struct message {
    const unsigned char *at, *end;
};

struct field {
    uint64_t number, value; /* value of VARINT, EIGHT and FOUR */
    enum wire wire;
    const unsigned char *bytes; /* of BYTES */
    size_t length;
};

static bool read_varint(struct message *message, uint64_t *value) {
    *value = 0;
    for (int shift = 0; shift < 64 && message->at < message->end; shift += 7) {
        const unsigned char byte = *message->at++;
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) return true;
    }
    return false;
}

static bool read_fixed(struct message *message, int size, uint64_t *value) {
    *value = 0;
    if (message->end - message->at < size) return false;
    for (int i = 0; i < size; i++) *value |= (uint64_t)*message->at++ << (8 * i);
    return true;
}

/* False at the end (message->at is then its end) and where the bytes are no field. */
static bool next_field(struct message *message, struct field *field) {
    const struct message start = *message;
    uint64_t key;
    bool read = read_varint(message, &key);
    field->number = key >> 3;
    field->wire = (enum wire)(key & 7);
    if (read && field->wire == WIRE_VARINT) {
        read = read_varint(message, &field->value);
    } else if (read && field->wire == WIRE_BYTES) {
        read = read_varint(message, &field->value) && field->value <= (uint64_t)(message->end - message->at);
        field->bytes = message->at;
        field->length = read ? (size_t)field->value : 0;
        message->at += field->length;
    } else {
        read = read && (field->wire == WIRE_EIGHT || field->wire == WIRE_FOUR) &&
               read_fixed(message, field->wire == WIRE_EIGHT ? 8 : 4, &field->value);
    }
    if (!read) *message = start;
    return read;
}

static struct message submessage(const struct field *field) {
    return (struct message){field->bytes, field->bytes + field->length};
}

enum piece_type { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5, BYTE = 6 };

struct sentence_piece {
    const char *bytes;
    size_t length;
    float score;
    uint64_t type;
};

struct sentencepiece {
    struct sentence_piece *pieces;
    size_t count, capacity, bytes;
    uint64_t model_type;
    int64_t bos, eos;
    bool dummy_prefix, remove_extra_blanks, escape_blanks, charsmap;
};

static bool damaged(struct error *error) {
    return error_set(error, "not a SentencePiece model, or a damaged one");
}

static bool read_piece(struct sentencepiece *model, struct message message, struct error *error) {
    struct sentence_piece piece = {.bytes = "", .type = NORMAL};
    for (struct field field; message.at < message.end;) {
        if (!next_field(&message, &field)) return damaged(error);
        if (field.number == 1 && field.wire == WIRE_BYTES) {
            piece.bytes = (const char *)field.bytes;
            piece.length = field.length;
        } else if (field.number == 2 && field.wire == WIRE_FOUR) {
            const uint32_t bits = (uint32_t)field.value;
            memcpy(&piece.score, &bits, sizeof bits);
        } else if (field.number == 3 && field.wire == WIRE_VARINT) {
            piece.type = field.value;
        }
    }
    if (piece.length == 0 || !utf8_valid(piece.bytes, piece.length, NULL) || !isfinite(piece.score) ||
        piece.type < NORMAL || piece.type > BYTE)
        return error_set(error, "piece %zu is damaged", model->count);
    if (model->count == ID_LIMIT) return error_set(error, "more than %d pieces", ID_LIMIT);
    if (!memory_grow(&model->pieces, &model->capacity, model->count + 1, sizeof piece, error)) return false;
    model->bytes += piece.length;
    model->pieces[model->count++] = piece;
    return true;
}

static bool read_trainer(struct sentencepiece *model, struct message message, struct error *error) {
    for (struct field field; message.at < message.end;) {
        if (!next_field(&message, &field)) return damaged(error);
        if (field.wire != WIRE_VARINT) continue;
        if (field.number == 3) model->model_type = field.value;
        if (field.number == 41) model->bos = (int64_t)field.value;
        if (field.number == 42) model->eos = (int64_t)field.value;
    }
    return true;
}

static bool read_normalizer(struct sentencepiece *model, struct message message, struct error *error) {
    for (struct field field; message.at < message.end;) {
        if (!next_field(&message, &field)) return damaged(error);
        if (field.number == 2 && field.wire == WIRE_BYTES) model->charsmap = field.length > 0;
        if (field.wire != WIRE_VARINT) continue;
        if (field.number == 3) model->dummy_prefix = field.value != 0;
        if (field.number == 4) model->remove_extra_blanks = field.value != 0;
        if (field.number == 5) model->escape_blanks = field.value != 0;
    }
    return true;
}

static bool read_model(struct sentencepiece *model, struct message message, struct error *error) {
    for (struct field field; message.at < message.end;) {
        if (!next_field(&message, &field)) return damaged(error);
        if (field.wire != WIRE_BYTES) continue;
        if (field.number == 1 && !read_piece(model, submessage(&field), error)) return false;
        if (field.number == 2 && !read_trainer(model, submessage(&field), error)) return false;
        if (field.number == 3 && !read_normalizer(model, submessage(&field), error)) return false;
    }
    if (model->count == 0) return damaged(error);
    if (model->model_type != 2) {
        error_set(error, "a SentencePiece model of type %s is not supported",
                  model->model_type == 1 ? "Unigram" : "other than BPE");
        return error_hint(error, "casemix reads SentencePiece models of type BPE, as of Llama 1 and 2 and Mistral");
    }
    if (model->charsmap) return error_set(error, "a SentencePiece model that normalises characters is not supported");
    return model->escape_blanks || error_set(error, "a SentencePiece model that keeps blanks is not supported");
}

static int compare_scores(const void *a, const void *b, void *context) {
    const struct sentence_piece *pieces = context;
    const float x = pieces[*(const int32_t *)a].score, y = pieces[*(const int32_t *)b].score;
    return (x < y) - (x > y);
}

/* Rank of each piece by falling score; equal scores share a rank. */
static bool rank_pieces(const struct sentencepiece *model, int32_t **ranks, struct error *error) {
    int32_t *order = memory_alloc(model->count, sizeof *order);
    *ranks = memory_alloc(model->count, sizeof **ranks);
    if (order == NULL || *ranks == NULL) {
        memory_free(order);
        return memory_error(error, model->count * sizeof *order, "the ranks of the pieces");
    }
    for (size_t i = 0; i < model->count; i++) order[i] = (int32_t)i;
    qsort_r(order, model->count, sizeof *order, compare_scores, model->pieces);
    int32_t rank = 0;
    for (size_t i = 0; i < model->count; i++) {
        if (i > 0 && compare_scores(&order[i - 1], &order[i], model->pieces) != 0) rank = (int32_t)i;
        (*ranks)[order[i]] = rank;
    }
    memory_free(order);
    return true;
}

static bool joins(const struct sentencepiece *model, int32_t id) {
    return id >= 0 && (model->pieces[id].type == NORMAL || model->pieces[id].type == USER_DEFINED);
}

static void add_splits(struct tokenizer *tokenizer, const struct sentencepiece *model, const int32_t *ranks,
                       int32_t id) {
    const struct sentence_piece *piece = &model->pieces[id];
    if (piece->type != NORMAL) return;
    for (size_t i = character_length(piece->bytes[0]); i < piece->length; i += character_length(piece->bytes[i])) {
        const int32_t left = hash_find(&tokenizer->ids, piece->bytes, i, -1),
                      right = hash_find(&tokenizer->ids, piece->bytes + i, piece->length - i, -1);
        if (joins(model, left) && joins(model, right)) merge_table_add(&tokenizer->merges, left, right, ranks[id], id);
    }
}

static bool make_merges(struct tokenizer *tokenizer, const struct sentencepiece *model, struct error *error) {
    size_t splits = 0;
    int32_t *ranks = NULL;
    for (size_t i = 0; i < model->count; i++) {
        for (size_t b = 1; b < model->pieces[i].length; b++) splits += (model->pieces[i].bytes[b] & 0xc0) != 0x80;
    }
    const bool ready = rank_pieces(model, &ranks, error) && merge_table_open(&tokenizer->merges, splits, error);
    for (size_t i = 0; ready && i < model->count; i++) add_splits(tokenizer, model, ranks, (int32_t)i);
    memory_free(ranks);
    return ready;
}

static bool add_pieces(struct tokenizer *tokenizer, const struct sentencepiece *model, struct error *error) {
    char *spellings = tokenizer->spellings;
    for (size_t i = 0; i < model->count; i++) {
        const struct sentence_piece *piece = &model->pieces[i];
        if (!tokenizer_add_piece(tokenizer, &spellings, (int32_t)i, piece->bytes, piece->length, PIECE_ONCE, error))
            return false;
        if (piece->type == UNKNOWN) tokenizer->unknown = (int32_t)i;
        if (piece->type == BYTE) tokenizer->byte_fallback = true;
    }
    for (size_t i = 0; i < model->count; i++) {
        const struct sentence_piece *piece = &model->pieces[i];
        const struct added_token token = {.content = piece->bytes, .length = piece->length, .id = (int32_t)i};
        const bool special = piece->type == CONTROL || piece->type == UNKNOWN;
        if ((special || piece->type == USER_DEFINED) && !tokenizer_add_added(tokenizer, token, special, false, error))
            return false;
    }
    return true;
}

static bool add_step(struct tokenizer *tokenizer, enum normalizer_kind kind, const char *literal, const char *pattern,
                     const char *content, struct error *error) {
    struct normalizer_step step = {.kind = kind, .content = memory_copy_string(content, strlen(content))};
    if (literal != NULL) step.literal = memory_copy_string(literal, strlen(literal));
    bool ready = (step.content != NULL && (literal == NULL || step.literal != NULL)) ||
                 memory_error(error, strlen(content), "the normalizer");
    ready = ready && (pattern == NULL || pattern_open(&step.pattern, pattern, false, error));
    if (ready) return normalizer_add(&tokenizer->normalizer, step, error);
    memory_free(step.content);
    memory_free(step.literal);
    return false;
}

static const char metaspace[] = "\xe2\x96\x81";

static bool set_steps(struct tokenizer *tokenizer, const struct sentencepiece *model, struct error *error) {
    if (model->remove_extra_blanks && (!add_step(tokenizer, NORMALIZE_REPLACE, NULL, "\\A +| +\\z", "", error) ||
                                       !add_step(tokenizer, NORMALIZE_REPLACE, NULL, " {2,}", " ", error)))
        return false;
    if (model->dummy_prefix && !add_step(tokenizer, NORMALIZE_PREPEND, NULL, NULL, metaspace, error)) return false;
    if (!add_step(tokenizer, NORMALIZE_REPLACE, " ", NULL, metaspace, error)) return false;
    struct decoder_steps *steps = &tokenizer->decoder;
    steps->marks[0] = metaspace;
    steps->blanks[0] = steps->strip = " ";
    steps->replacements = 1;
    steps->byte_fallback = tokenizer->byte_fallback;
    steps->strip_count = model->dummy_prefix;
    tokenizer->fuse_unknown = true;
    return true;
}

/* add_bos_token and add_eos_token of the config say whether `special` adds <s> and </s>. */
static bool set_special(struct tokenizer *tokenizer, const struct sentencepiece *model, const struct json *config,
                        struct error *error) {
    bool add_bos = true, add_eos = false;
    if (!config_flag(config, "add_bos_token", &add_bos, error) ||
        !config_flag(config, "add_eos_token", &add_eos, error))
        return false;
    const int32_t bos = (int32_t)model->bos, eos = (int32_t)model->eos;
    const bool has_bos = model->bos >= 0 && model->bos < (int64_t)model->count,
               has_eos = model->eos >= 0 && model->eos < (int64_t)model->count;
    return token_list_add(&tokenizer->before, &bos, add_bos && has_bos, error) &&
           token_list_add(&tokenizer->after, &eos, add_eos && has_eos, error);
}

static bool build(struct tokenizer *tokenizer, const struct sentencepiece *model, const struct json *config,
                  struct error *error) {
    size_t vocabulary = model->count;
    tokenizer->model = MODEL_CHARACTER_BPE;
    return config_measure_added(config, &vocabulary, error) &&
           tokenizer_make_pieces(tokenizer, vocabulary, model->bytes, error) && add_pieces(tokenizer, model, error) &&
           make_merges(tokenizer, model, error) && tokenizer_index_symbols(tokenizer, error) &&
           set_steps(tokenizer, model, error) && set_special(tokenizer, model, config, error) &&
           config_read_added(tokenizer, config, error) && tokenizer_cut_at_marks(tokenizer, metaspace, error);
}

bool tokenizer_read_sentencepiece(struct tokenizer *tokenizer, const char *bytes, size_t length,
                                  const struct json *config, struct error *error) {
    struct sentencepiece model = {
        .model_type = 1, .bos = 1, .eos = 2, .dummy_prefix = true, .remove_extra_blanks = true, .escape_blanks = true};
    const struct message whole = {(const unsigned char *)bytes, (const unsigned char *)bytes + length};
    const bool read = read_model(&model, whole, error) && build(tokenizer, &model, config, error);
    memory_free(model.pieces);
    return read;
}
