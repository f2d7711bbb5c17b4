/* Examples as token ids: see examples.h. */
#include "train/examples.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include <string.h>

enum { BLOCK = 1024, PARTS = 1 + EXAMPLE_COMPLETIONS };

/* What a text became. */
struct encoding {
    struct token_list parts[PARTS];
    bool cut;     /* the note of a stay lost words */
    bool dropped; /* the completion leaves no room for the instruction */
};

struct examples_writer {
    struct examples *examples;
    struct example_reader reader;
    const char *path;
    struct example_text texts[BLOCK];
    struct encoding encodings[BLOCK];
    size_t waiting;
    size_t parts; /* written to the examples */
    bool failed;
    struct error failure; /* of a block, whose lines stand before the one that is being read */
    struct arena arena;
};

struct token_span examples_part(const struct examples *examples, size_t i, int64_t part) {
    const int64_t *start = examples->starts + (int64_t)i * (1 + examples->completions) + part;
    return (struct token_span){examples->tokens + start[0], start[1] - start[0]};
}

int64_t examples_length(const struct examples *examples, size_t i) {
    const int64_t *start = examples->starts + (int64_t)i * (1 + examples->completions);
    return start[1 + examples->completions] - start[0];
}

int64_t examples_longest(const struct examples *examples) {
    int64_t most = 1;
    for (size_t i = 0; i < examples->count; i++) {
        const int64_t length = examples_length(examples, i);
        if (length > most) most = length;
    }
    return most;
}

int64_t examples_positions(const struct examples *examples) {
    int64_t most = 1;
    for (size_t i = 0; i < examples->count; i++) {
        const int64_t prompt = examples_part(examples, i, 0).count;
        for (int64_t part = 1; part <= examples->completions; part++) {
            const int64_t length = prompt + examples_part(examples, i, part).count;
            if (length > most) most = length;
        }
    }
    return most;
}

static bool append_id(struct token_list *out, int32_t id, struct error *error) {
    if (!memory_grow(&out->ids, &out->capacity, out->count + 1, sizeof *out->ids, error)) return false;
    out->ids[out->count++] = id;
    return true;
}

static const struct prompt_encoder *encoder_of(const struct example_reader *reader, const struct example_text *text) {
    return text->encoder != NULL ? text->encoder : reader->encoder;
}

static bool encode_completion(const struct example_reader *reader, const struct example_text *text,
                              const char *completion, struct token_list *out, struct error *error) {
    const size_t length = strlen(completion);
    if (length == 0) return error_set(error, "the completion is empty");
    if (text->turns != NULL || text->values != NULL)
        return prompt_encode_completion(encoder_of(reader, text), completion, length, out, error);
    /* Behind text that is taken as it stands the completion is, too. */
    return tokenizer_encode(reader->encoder->tokenizer, completion, length, text->prompt == NULL, out, error) &&
           append_id(out, reader->end, error);
}

/* Tokens of the prompt without any note. */
static bool instruction_length(const struct prompt_encoder *encoder, const struct prompt_values *values, int64_t *count,
                               struct error *error) {
    struct prompt_values bare = *values;
    struct token_list list = {0};
    bare.note_length = 0;
    const bool done = prompt_encode(encoder, &bare, INT64_MAX, &list, NULL, error);
    *count = (int64_t)list.count;
    token_list_free(&list);
    return done;
}

/* A stay's prompt. With a completion so long that the instruction has no room beside it, the example is dropped. */
static bool encode_stay(const struct prompt_encoder *encoder, const struct example_text *text, int64_t limit,
                        struct encoding *encoding, struct error *error) {
    struct token_list *out = &encoding->parts[0];
    int64_t bare;
    if (!prompt_encode(encoder, text->values, INT64_MAX, out, NULL, error)) return false;
    if ((int64_t)out->count <= limit) return true;
    if (!instruction_length(encoder, text->values, &bare, error)) return false;
    out->count = 0;
    encoding->dropped = limit <= bare || text->values->note == NULL;
    return encoding->dropped || prompt_encode(encoder, text->values, limit, out, &encoding->cut, error);
}

static bool encode_prompt(const struct example_reader *reader, const struct example_text *text, int64_t limit,
                          struct encoding *encoding, struct error *error) {
    const struct prompt_encoder *encoder = encoder_of(reader, text);
    struct token_list *out = &encoding->parts[0];
    if (text->values != NULL) return encode_stay(encoder, text, limit, encoding, error);
    if (text->turns != NULL) return chat_encode(encoder->chat, text->turns, text->turn_count, true, out, error);
    if (text->prompt == NULL) return true;
    if (!tokenizer_encode(encoder->tokenizer, text->prompt, strlen(text->prompt), true, out, error)) return false;
    return out->count > 0 || error_set(error, "the prompt is empty");
}

static bool encode_text(const struct examples_writer *writer, const struct example_text *text,
                        struct encoding *encoding, struct error *error) {
    size_t longest = 0;
    encoding->cut = encoding->dropped = false;
    for (int part = 0; part < PARTS; part++) encoding->parts[part].count = 0;
    for (int64_t c = 0; c < writer->examples->completions; c++) {
        struct token_list *out = &encoding->parts[1 + c];
        if (!encode_completion(&writer->reader, text, text->completions[c], out, error)) return false;
        if (out->count > longest) longest = out->count;
    }
    return encode_prompt(&writer->reader, text, writer->reader.max_tokens - (int64_t)longest, encoding, error);
}

/* Encodes what waits. The error of the first line that has one is kept. */
static bool encode_block(struct examples_writer *writer, struct error *error) {
    size_t failed = writer->waiting;
    struct error first = {0};
#pragma omp parallel for schedule(dynamic, 8)
    for (size_t i = 0; i < writer->waiting; i++) {
        struct error own = {0};
        if (encode_text(writer, &writer->texts[i], &writer->encodings[i], &own)) continue;
#pragma omp critical
        if (i < failed) {
            failed = i;
            first = own;
        }
    }
    if (failed == writer->waiting) return true;
    if (error != NULL) *error = first;
    return error_context(error, "line %llu", (unsigned long long)writer->texts[failed].line);
}

static bool append_part(struct examples_writer *writer, const struct token_list *part, struct error *error) {
    struct examples *examples = writer->examples;
    const int64_t before = examples->starts[writer->parts];
    if (!memory_grow(&examples->tokens, &examples->token_capacity, (size_t)before + part->count,
                     sizeof *examples->tokens, error) ||
        !memory_grow(&examples->starts, &examples->start_capacity, writer->parts + 2, sizeof *examples->starts, error))
        return false;
    if (part->count > 0) memcpy(examples->tokens + before, part->ids, part->count * sizeof *part->ids);
    examples->starts[++writer->parts] = before + (int64_t)part->count;
    return true;
}

/* Plain text that is longer than a sequence goes on in the next one, which begins with the token that this one ended
 * with: every token but the first of the text is predicted once. */
static bool append_text(struct examples_writer *writer, const struct token_list *text, struct error *error) {
    const size_t most = (size_t)writer->reader.max_tokens;
    const struct token_list empty = {0};
    for (size_t first = 0; first + 1 < text->count; first += most - 1) {
        const size_t left = text->count - first;
        const struct token_list piece = {.ids = text->ids + first, .count = left < most ? left : most};
        if (!append_part(writer, &empty, error) || !append_part(writer, &piece, error)) return false;
        writer->examples->count++;
    }
    return true;
}

static bool append_example(struct examples_writer *writer, const struct example_text *text,
                           const struct encoding *encoding, struct error *error) {
    struct examples *examples = writer->examples;
    if (text->values == NULL && text->turns == NULL && text->prompt == NULL)
        return append_text(writer, &encoding->parts[1], error);
    size_t longest = 0;
    for (int64_t c = 1; c <= examples->completions; c++)
        longest = encoding->parts[c].count > longest ? encoding->parts[c].count : longest;
    if (encoding->dropped || encoding->parts[0].count + longest > (size_t)writer->reader.max_tokens) {
        examples->dropped++;
        return true;
    }
    examples->cut += encoding->cut;
    for (int64_t part = 0; part <= examples->completions; part++) {
        if (!append_part(writer, &encoding->parts[part], error)) return false;
    }
    examples->count++;
    return true;
}

static bool write_block(struct examples_writer *writer, struct error *error) {
    bool done = encode_block(writer, error);
    for (size_t i = 0; done && i < writer->waiting; i++)
        done = append_example(writer, &writer->texts[i], &writer->encodings[i], error);
    writer->waiting = 0;
    arena_free(&writer->arena);
    return done;
}

bool examples_writer_open(struct examples_writer **out, struct examples *examples, int64_t completions,
                          const struct example_reader *reader, const char *path, struct error *error) {
    *examples = (struct examples){.completions = completions};
    struct examples_writer *writer = memory_zero(1, sizeof *writer);
    if (writer == NULL ||
        !memory_grow(&examples->starts, &examples->start_capacity, 1, sizeof *examples->starts, NULL)) {
        memory_free(writer);
        return memory_error(error, sizeof *writer, "a block of examples");
    }
    examples->starts[0] = 0;
    writer->examples = examples;
    writer->reader = *reader;
    writer->path = path;
    *out = writer;
    return true;
}

struct arena *examples_writer_arena(struct examples_writer *writer) {
    return &writer->arena;
}

bool examples_writer_add(struct examples_writer *writer, const struct example_text *text, struct error *error) {
    writer->texts[writer->waiting++] = *text;
    if (writer->waiting < BLOCK || write_block(writer, error)) return true;
    writer->failed = true;
    writer->failure = *error;
    return false;
}

static bool check_count(const struct examples_writer *writer, struct error *error) {
    const struct examples *examples = writer->examples;
    if (examples->count > 0) return true;
    if (examples->dropped == 0) return error_set(error, "no examples");
    error_set(error, "all %zu examples are longer than %lld tokens", examples->dropped,
              (long long)writer->reader.max_tokens);
    return error_hint(error, "raise train.max_tokens");
}

bool examples_writer_finish(struct examples_writer *writer, bool done, struct error *error) {
    struct examples *examples = writer->examples;
    done = done &&
           ((write_block(writer, error) && check_count(writer, error)) || error_context(error, "%s", writer->path));
    if (done) {
        examples->fingerprint = hash_bytes(examples->tokens, (size_t)examples->starts[writer->parts] * sizeof(int32_t),
                                           hash_bytes(examples->starts, (writer->parts + 1) * sizeof(int64_t), 3));
        if (examples->dropped > 0)
            log_warning("%s: %zu of %zu examples are longer than %lld tokens and are left out", writer->path,
                        examples->dropped, examples->dropped + examples->count, (long long)writer->reader.max_tokens);
    } else {
        examples_free(examples);
    }
    for (size_t i = 0; i < BLOCK; i++) {
        for (int part = 0; part < PARTS; part++) token_list_free(&writer->encodings[i].parts[part]);
    }
    arena_free(&writer->arena);
    memory_free(writer);
    return done;
}

void examples_free(struct examples *examples) {
    memory_free(examples->tokens);
    memory_free(examples->starts);
    *examples = (struct examples){0};
}
