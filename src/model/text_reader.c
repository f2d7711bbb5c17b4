/* Reading texts: see text_reader.h. */
#include "model/text_reader.h"
#include "base/error.h"
#include "base/memory.h"

bool text_reader_of_decoder(struct text_reader *reader, const struct tokenizer *tokenizer, struct error *error) {
    struct token_list frame = {0};
    *reader = (struct text_reader){.tokenizer = tokenizer, .first = -1, .last = -1};
    const bool done = tokenizer_encode(tokenizer, "", 0, true, &frame, error);
    if (done && frame.count > 0) reader->first = frame.ids[0];
    token_list_free(&frame);
    return done;
}

struct text_reader text_reader_of_words(const struct words *words) {
    return (struct text_reader){.words = words, .first = -1, .last = -1};
}

bool text_reader_of_bert(struct text_reader *reader, const struct tokenizer *tokenizer, struct error *error) {
    *reader = (struct text_reader){.tokenizer = tokenizer, .first = -1, .last = -1};
    reader->first = tokenizer_token_id(tokenizer, "[CLS]");
    reader->last = tokenizer_token_id(tokenizer, "[SEP]");
    if (reader->first >= 0) return true;
    reader->first = tokenizer_token_id(tokenizer, "<|endoftext|>");
    if (reader->first >= 0) return true;
    error_set(error, "the tokenizer has neither [CLS] nor <|endoftext|>, one of which BERT reads a text by");
    return error_hint(error, "take the tokenizer that belongs to the model");
}

size_t text_reader_vocabulary(const struct text_reader *reader) {
    return reader->words != NULL ? words_count(reader->words) : tokenizer_vocabulary(reader->tokenizer);
}

static bool append(struct token_list *out, int32_t id, struct error *error) {
    if (id < 0) return true;
    if (!memory_grow(&out->ids, &out->capacity, out->count + 1, sizeof *out->ids, error)) return false;
    out->ids[out->count++] = id;
    return true;
}

bool text_reader_encode(const struct text_reader *reader, const char *bytes, size_t length, int64_t limit,
                        struct token_list *out, bool *truncated, struct error *error) {
    const int64_t frame = (reader->first >= 0) + (reader->last >= 0), room = limit > frame ? limit - frame : 1;
    if (!append(out, reader->first, error)) return false;
    const size_t before = out->count;
    /* A note cannot write special tokens, whatever it contains. */
    const bool done = reader->words != NULL
                          ? words_encode(reader->words, bytes, length, out, error)
                          : tokenizer_encode_content(reader->tokenizer, bytes, length, true, out, error);
    if (!done) return false;
    if (out->count == before) {
        return error_set(error, "the text holds no %s", reader->words != NULL ? "words" : "tokens");
    }
    *truncated = out->count - before > (size_t)room;
    if (*truncated) out->count = before + (size_t)room;
    return append(out, reader->last, error);
}
