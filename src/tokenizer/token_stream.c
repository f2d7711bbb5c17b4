/* Decoding: each token goes through the steps of the file's decoder, then bytes wait until they make characters. */
#include "tokenizer/token_stream.h"
#include "base/error.h"
#include "base/text.h"
#include "tokenizer/characters.h"
#include "tokenizer/tokenizer_parts.h"
#include <string.h>

static const char replacement[] = "\xef\xbf\xbd";

void token_stream_start(struct token_stream *stream, const struct tokenizer *tokenizer, bool skip_special) {
    *stream = (struct token_stream){
        .tokenizer = tokenizer, .skip_special = skip_special, .first = true, .strip = tokenizer->decoder.strip_count};
}

/* What is the end of the decoder: the whole text, whose first blanks may have to go. */
static void add_out(struct token_stream *stream, struct text *out, const char *bytes, size_t length) {
    const char *strip = stream->tokenizer->decoder.strip;
    while (stream->strip > 0 && length > 0) {
        const size_t size = strlen(strip);
        if (length < size || memcmp(bytes, strip, size) != 0) {
            stream->strip = 0;
            break;
        }
        bytes += size;
        length -= size;
        stream->strip--;
    }
    text_append(out, bytes, length);
}

/* Whether the held bytes may be the beginning of a character: Unicode 15, table 3-7. */
static bool may_continue(const char *held, size_t count) {
    const unsigned char first = (unsigned char)held[0], second = count > 1 ? (unsigned char)held[1] : 0;
    if (first < 0xc2 || first > 0xf4) return false;
    for (size_t i = 1; i < count; i++) {
        if (((unsigned char)held[i] & 0xc0) != 0x80) return false;
    }
    if (count < 2) return true;
    return !(first == 0xe0 && second < 0xa0) && !(first == 0xed && second > 0x9f) &&
           !(first == 0xf0 && second < 0x90) && !(first == 0xf4 && second > 0x8f);
}

static void give_up_held(struct token_stream *stream, struct text *out) {
    const size_t marks = stream->tokenizer->decoder.byte_level ? stream->held_count > 0 : stream->held_count;
    for (size_t i = 0; i < marks; i++) add_out(stream, out, replacement, sizeof replacement - 1);
    stream->held_count = 0;
}

static void add_byte(struct token_stream *stream, struct text *out, char byte) {
    stream->held[stream->held_count] = byte;
    if (stream->held_count > 0 && !may_continue(stream->held, stream->held_count + 1)) {
        give_up_held(stream, out);
        stream->held[0] = byte;
    }
    stream->held_count++;
    if ((unsigned char)stream->held[0] >= 0x80 && !may_continue(stream->held, 1)) {
        give_up_held(stream, out);
    } else if (stream->held_count == character_length(stream->held[0])) {
        add_out(stream, out, stream->held, stream->held_count);
        stream->held_count = 0;
    }
}

static void add_bytes(struct token_stream *stream, struct text *out, const char *bytes, size_t length) {
    for (size_t i = 0; i < length;) {
        size_t plain = i;
        while (stream->held_count == 0 && plain < length && (unsigned char)bytes[plain] < 0x80) plain++;
        if (plain > i) add_out(stream, out, bytes + i, plain - i);
        i = plain;
        if (i < length) add_byte(stream, out, bytes[i++]);
    }
}

/* Replaces every mark; NULL as its blank drops it. */
static void add_replaced(struct text *out, const char *mark, const char *blank, const char *bytes, size_t length) {
    const size_t mark_length = strlen(mark);
    for (const char *found;
         length > 0 && mark_length > 0 && (found = memmem(bytes, length, mark, mark_length)) != NULL;) {
        text_append(out, bytes, (size_t)(found - bytes));
        if (blank != NULL) text_add(out, blank);
        length -= (size_t)(found - bytes) + mark_length;
        bytes = found + mark_length;
    }
    text_append(out, bytes, length);
}

static bool add_marked(struct token_stream *stream, struct text *out, const char *bytes, size_t length,
                       struct error *error) {
    const struct decoder_steps *steps = &stream->tokenizer->decoder;
    struct text texts[2] = {{0}, {0}};
    const bool drops = stream->first && steps->first_dropped != NULL;
    for (size_t i = 0; i < steps->replacements; i++) {
        struct text *to = &texts[i % 2];
        text_clear(to);
        const bool dropped = drops && strcmp(steps->first_dropped, steps->marks[i]) == 0;
        add_replaced(to, steps->marks[i], dropped ? NULL : steps->blanks[i], bytes, length);
        bytes = to->data == NULL ? "" : to->data;
        length = to->length;
    }
    const bool done = text_ok(&texts[0], error) && text_ok(&texts[1], error);
    if (done) add_out(stream, out, bytes, length);
    text_free(&texts[0]);
    text_free(&texts[1]);
    return done;
}

/* The blanks and clippings that BERT's clean-up takes back, in its order. */
static bool add_cleaned(struct token_stream *stream, struct text *out, const char *bytes, size_t length,
                        struct error *error) {
    static const char *const pairs[][2] = {
        {" .", "."},   {" ?", "?"},           {" !", "!"},   {" ,", ","},     {" ' ", "'"},    {" n't", "n't"},
        {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"},
    };
    struct text texts[2] = {{0}, {0}};
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        struct text *to = &texts[i % 2];
        text_clear(to);
        add_replaced(to, pairs[i][0], pairs[i][1], bytes, length);
        bytes = to->data == NULL ? "" : to->data;
        length = to->length;
    }
    const bool done = text_ok(&texts[0], error) && text_ok(&texts[1], error);
    if (done) add_out(stream, out, bytes, length);
    text_free(&texts[0]);
    text_free(&texts[1]);
    return done;
}

static bool add_wordpiece(struct token_stream *stream, struct text *out, const struct piece *piece,
                          struct error *error) {
    const struct decoder_steps *steps = &stream->tokenizer->decoder;
    const size_t prefix = strlen(steps->continued);
    struct text word = {0};
    if (!stream->first && piece->length >= prefix && memcmp(piece->bytes, steps->continued, prefix) == 0) {
        text_append(&word, piece->bytes + prefix, piece->length - prefix);
    } else {
        if (!stream->first) text_add_char(&word, ' ');
        text_append(&word, piece->bytes, piece->length);
    }
    bool done = text_ok(&word, error);
    if (done && steps->cleanup)
        done = add_cleaned(stream, out, word.data, word.length, error);
    else if (done)
        add_out(stream, out, word.data, word.length);
    text_free(&word);
    return done;
}

bool token_stream_push(struct token_stream *stream, int32_t id, struct text *out, struct error *error) {
    const struct tokenizer *tokenizer = stream->tokenizer;
    const struct decoder_steps *steps = &tokenizer->decoder;
    if (id < 0 || (size_t)id >= tokenizer->vocabulary || tokenizer->pieces[id].bytes == NULL)
        return error_set(error, "id %d is not in the vocabulary", id);
    const struct piece *piece = &tokenizer->pieces[id];
    if (stream->skip_special && piece->special) return true;
    bool done = true;
    if (steps->byte_level) {
        add_bytes(stream, out, piece->bytes, piece->length);
    } else if (steps->byte_fallback && piece->is_byte) {
        add_byte(stream, out, (char)piece->byte);
    } else {
        give_up_held(stream, out);
        if (steps->continued != NULL) {
            done = add_wordpiece(stream, out, piece, error);
        } else {
            if (steps->blanks_between && !stream->first) add_out(stream, out, " ", 1);
            done = add_marked(stream, out, piece->bytes, piece->length, error);
        }
    }
    stream->first = false;
    return done && text_ok(out, error);
}

bool token_stream_flush(struct token_stream *stream, struct text *out, struct error *error) {
    give_up_held(stream, out);
    return text_ok(out, error);
}

bool tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t count, bool skip_special,
                      struct text *out, struct error *error) {
    struct token_stream stream;
    token_stream_start(&stream, tokenizer, skip_special);
    for (size_t i = 0; i < count; i++) {
        if (!token_stream_push(&stream, ids[i], out, error)) return false;
    }
    return token_stream_flush(&stream, out, error);
}
