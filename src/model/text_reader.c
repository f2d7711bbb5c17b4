/* Reading texts: see text_reader.h. */
#include "model/text_reader.h"
#include "base/error.h"
#include "base/memory.h"
#include "drg/sections.h"
#include <string.h>

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

static bool append_frame(struct token_list *out, struct token_spans *spans, int32_t id, size_t place,
                         struct error *error) {
    return append(out, id, error) &&
           (id < 0 || spans == NULL || token_spans_add(spans, (struct byte_span){place, place}, error));
}

/* A note cannot write special tokens, whatever it contains. */
static bool encode_content(const struct text_reader *reader, const char *bytes, size_t length, bool first,
                           struct token_list *out, struct token_spans *spans, struct error *error) {
    if (reader->words != NULL) return words_encode_spans(reader->words, bytes, length, out, spans, error);
    return spans == NULL ? tokenizer_encode_content(reader->tokenizer, bytes, length, first, out, error)
                         : tokenizer_encode_content_spans(reader->tokenizer, bytes, length, first, out, spans, error);
}

/* A text as its sections, each encoded by itself. */
struct encoded_sections {
    struct note_section *sections;
    size_t count;
    struct token_list tokens; /* of all sections, end to end */
    struct token_spans spans; /* likewise; empty where none are wanted */
    size_t *lengths, *kept;   /* [count] tokens */
    int *ranks;               /* [count] */
};

static bool sections_encode(struct encoded_sections *own, const struct text_reader *reader, const char *bytes,
                            size_t length, bool with_spans, struct error *error) {
    if (!sections_find(&own->sections, &own->count, bytes, length, error)) return false;
    own->lengths = memory_alloc(own->count, sizeof *own->lengths);
    own->kept = memory_alloc(own->count, sizeof *own->kept);
    own->ranks = memory_alloc(own->count, sizeof *own->ranks);
    if (own->lengths == NULL || own->kept == NULL || own->ranks == NULL)
        return memory_error(error, own->count * sizeof *own->kept, "the sections of a note");
    for (size_t i = 0; i < own->count; i++) {
        const struct note_section *section = &own->sections[i];
        const size_t before = own->tokens.count;
        if (!encode_content(reader, bytes + section->start, section->end - section->start, i == 0, &own->tokens,
                            with_spans ? &own->spans : NULL, error))
            return false;
        for (size_t t = before; with_spans && t < own->spans.count; t++) {
            own->spans.items[t].start += section->start;
            own->spans.items[t].end += section->start;
        }
        own->lengths[i] = own->tokens.count - before;
        own->ranks[i] = section->rank;
    }
    return true;
}

/* Appends what is kept of the sections; the whole text's tokens, which did not fit, have been taken back. */
static bool append_sections(const struct text_reader *reader, const char *bytes, size_t length, size_t room,
                            struct token_list *out, struct token_spans *spans, struct error *error) {
    struct encoded_sections own = {0};
    bool done = sections_encode(&own, reader, bytes, length, spans != NULL, error) &&
                memory_grow(&out->ids, &out->capacity, out->count + room, sizeof *out->ids, error);
    if (done) text_window_sections(own.lengths, own.ranks, own.count, room, own.kept);
    for (size_t i = 0, from = 0; done && i < own.count; from += own.lengths[i++]) {
        memcpy(out->ids + out->count, own.tokens.ids + from, own.kept[i] * sizeof *out->ids);
        out->count += own.kept[i];
        for (size_t t = from; done && spans != NULL && t < from + own.kept[i]; t++)
            done = token_spans_add(spans, own.spans.items[t], error);
    }
    token_list_free(&own.tokens);
    token_spans_free(&own.spans);
    memory_free(own.sections);
    memory_free(own.lengths);
    memory_free(own.kept);
    memory_free(own.ranks);
    return done;
}

bool text_reader_encode(const struct text_reader *reader, const char *bytes, size_t length, int64_t limit,
                        struct token_list *out, bool *truncated, struct error *error) {
    return text_reader_encode_spans(reader, bytes, length, limit, out, NULL, truncated, error);
}

bool text_reader_encode_spans(const struct text_reader *reader, const char *bytes, size_t length, int64_t limit,
                              struct token_list *out, struct token_spans *spans, bool *truncated, struct error *error) {
    const int64_t frame = (reader->first >= 0) + (reader->last >= 0);
    const size_t room = limit > frame ? (size_t)(limit - frame) : 1;
    if (!append_frame(out, spans, reader->first, 0, error)) return false;
    const size_t before = out->count, spans_before = spans == NULL ? 0 : spans->count;
    if (!encode_content(reader, bytes, length, true, out, spans, error)) return false;
    if (out->count == before) {
        return error_set(error, "the text holds no %s", reader->words != NULL ? "words" : "tokens");
    }
    *truncated = out->count - before > room;
    if (*truncated && reader->window.truncation == TRUNCATE_SECTIONS) {
        out->count = before;
        if (spans != NULL) spans->count = spans_before;
        if (!append_sections(reader, bytes, length, room, out, spans, error)) return false;
    }
    text_window_cut(&reader->window, out, before, room);
    if (spans != NULL) text_window_cut_spans(&reader->window, spans, spans_before, room);
    return append_frame(out, spans, reader->last, length, error);
}
