/* Prompts as token ids: see prompt_encoder.h. */
#include "model/prompt_encoder.h"
#include "base/error.h"
#include "base/memory.h"
#include "model/text_reader.h"
#include <stdio.h>
#include <string.h>

/* The chat form that the prompt names, or the one that the model's own files have. */
static bool open_chat(struct prompt_encoder *encoder, const char *directory, struct error *error) {
    char name[32];
    const struct prompt_part *template = &encoder->prompt->template;
    snprintf(name, sizeof name, "%.*s", (int)template->length, template->length == 0 ? "" : template->text);
    if (strcmp(name, "none") == 0) return true;
    if (template->length > 0 && strcmp(name, "auto") != 0)
        return chat_open_named(&encoder->chat, encoder->tokenizer, name, error) ||
               error_context(error, "the prompt's section [template]");
    bool given = false;
    return chat_is_given(directory, &given, error) &&
           (!given || chat_open(&encoder->chat, encoder->tokenizer, directory, error));
}

/* The token that ends a completion. */
static bool find_end(struct prompt_encoder *encoder, int32_t eos, struct error *error) {
    static const char *const usual[] = {"<|endoftext|>", "</s>", "<|end_of_text|>"};
    if (encoder->chat != NULL) {
        encoder->end = chat_end(encoder->chat);
        return true;
    }
    encoder->end = eos;
    for (size_t i = 0; i < sizeof usual / sizeof usual[0] && encoder->end < 0; i++)
        encoder->end = tokenizer_token_id(encoder->tokenizer, usual[i]);
    if (encoder->end >= 0) return true;
    error_set(error, "the model has no token that ends a text");
    return error_hint(error, "name it as \"eos_token_id\" in config.json");
}

bool prompt_encoder_open(struct prompt_encoder *encoder, const struct prompt *prompt, const struct tokenizer *tokenizer,
                         const char *directory, int32_t eos, struct error *error) {
    struct text_reader reader;
    *encoder = (struct prompt_encoder){.prompt = prompt, .tokenizer = tokenizer, .first = -1, .end = -1};
    const bool done = open_chat(encoder, directory, error) && find_end(encoder, eos, error) &&
                      text_reader_of_decoder(&reader, tokenizer, error);
    if (!done) {
        prompt_encoder_close(encoder);
        return false;
    }
    encoder->first = encoder->chat == NULL ? reader.first : -1;
    return true;
}

void prompt_encoder_close(struct prompt_encoder *encoder) {
    chat_close(encoder->chat);
    *encoder = (struct prompt_encoder){.first = -1, .end = -1};
}

static bool append_id(struct token_list *out, int32_t id, struct error *error) {
    if (!memory_grow(&out->ids, &out->capacity, out->count + 1, sizeof *out->ids, error)) return false;
    out->ids[out->count++] = id;
    return true;
}

/* One prompt while its note is cut. */
struct fitting {
    const struct prompt_encoder *encoder;
    struct prompt_values values;
    struct text system, user;
    struct token_list *out;
    size_t start; /* ids in *out before the prompt */
};

static bool encode_plain(struct fitting *fitting, struct error *error) {
    struct text whole = {0};
    if (fitting->system.length > 0) {
        text_append(&whole, fitting->system.data, fitting->system.length);
        text_add(&whole, "\n\n");
    }
    text_append(&whole, fitting->user.data, fitting->user.length);
    text_add_char(&whole, '\n');
    const bool done =
        text_ok(&whole, error) &&
        (fitting->encoder->first < 0 || append_id(fitting->out, fitting->encoder->first, error)) &&
        tokenizer_encode_content(fitting->encoder->tokenizer, whole.data, whole.length, true, fitting->out, error);
    text_free(&whole);
    return done;
}

static bool encode_chat(struct fitting *fitting, struct error *error) {
    const struct chat_message turns[] = {{"system", fitting->system.data, fitting->system.length},
                                         {"user", fitting->user.data, fitting->user.length}};
    const size_t first = fitting->system.length > 0 ? 0 : 1;
    return chat_encode(fitting->encoder->chat, turns + first, 2 - first, true, fitting->out, error);
}

/* The prompt with the first note_length bytes of the note, in place of what an earlier try has left. */
static bool encode_with(struct fitting *fitting, size_t note_length, int64_t *count, struct error *error) {
    struct prompt_values values = fitting->values;
    values.note_length = note_length;
    text_clear(&fitting->user);
    fitting->out->count = fitting->start;
    if (!prompt_fill(&fitting->encoder->prompt->user, &values, &fitting->user, error)) return false;
    if (fitting->encoder->chat != NULL ? !encode_chat(fitting, error) : !encode_plain(fitting, error)) return false;
    *count = (int64_t)(fitting->out->count - fitting->start);
    return true;
}

static bool is_blank(char byte) {
    return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r';
}

/* Where a note may be cut: the last such place in (low, high) that is not behind `guess`, else the first behind it; 0
 * when there is none. */
typedef size_t place_function(const char *note, size_t low, size_t high, size_t guess);

static size_t word_end(const char *note, size_t low, size_t high, size_t guess) {
    for (size_t i = guess; i > low; i--) {
        if (is_blank(note[i]) && !is_blank(note[i - 1])) return i;
    }
    for (size_t i = guess + 1; i < high; i++) {
        if (is_blank(note[i]) && !is_blank(note[i - 1])) return i;
    }
    return 0;
}

static size_t character_end(const char *note, size_t low, size_t high, size_t guess) {
    for (size_t i = guess; i > low; i--) {
        if (((unsigned char)note[i] & 0xc0) != 0x80) return i;
    }
    for (size_t i = guess + 1; i < high; i++) {
        if (((unsigned char)note[i] & 0xc0) != 0x80) return i;
    }
    return 0;
}

/* Finds the longest beginning of the note with which the prompt has at most `limit` ids and leaves it encoded; *kept 0
 * when no place will do. Without the note there are `bare` ids (at most the limit), with all of it `whole` (more). Ids
 * are near enough to proportional to bytes that a few tries find it; every third one halves, so that a strange note
 * costs no more than a search by halves. */
static bool cut_note(struct fitting *fitting, place_function *place, int64_t limit, int64_t bare, int64_t whole,
                     size_t *kept, struct error *error) {
    const char *note = fitting->values.note;
    size_t low = 0, high = fitting->values.note_length, at;
    int64_t low_count = bare, high_count = whole, count;
    for (int try = 1; low_count < limit; try++) {
        const double share = try % 3 == 0 ? 0.5 : (double)(limit - low_count) / (double)(high_count - low_count);
        const size_t guess = low + (size_t)((double)(high - low) * share);
        if ((at = place(note, low, high, guess < high ? guess : high - 1)) == 0) break;
        if (!encode_with(fitting, at, &count, error)) return false;
        if (count <= limit) {
            low = at;
            low_count = count;
        } else {
            high = at;
            high_count = count;
        }
    }
    *kept = low;
    return low == 0 || encode_with(fitting, low, &count, error);
}

/* Cuts between words, or where a note has none that would fit, between characters. */
static bool fit_note(struct fitting *fitting, int64_t limit, int64_t whole, struct error *error) {
    int64_t bare = 0;
    size_t kept = 0;
    if (!prompt_part_has_note(&fitting->encoder->prompt->user))
        return error_set(error, "the prompt takes %lld tokens; there is room for %lld", (long long)whole,
                         (long long)limit);
    if (!encode_with(fitting, 0, &bare, error)) return false;
    if (bare <= limit && !cut_note(fitting, word_end, limit, bare, whole, &kept, error)) return false;
    if (bare <= limit && kept == 0 && !cut_note(fitting, character_end, limit, bare, whole, &kept, error)) return false;
    if (kept > 0) return true;
    error_set(error, "the instruction takes %lld tokens, which leaves no room for the note in %lld", (long long)bare,
              (long long)limit);
    return error_hint(error, "take the prompt answer-short, a model with more positions, or shorter completions");
}

bool prompt_encode(const struct prompt_encoder *encoder, const struct prompt_values *values, int64_t limit,
                   struct token_list *out, bool *cut, struct error *error) {
    struct fitting fitting = {.encoder = encoder, .values = *values, .out = out, .start = out->count};
    int64_t whole = 0;
    bool done = prompt_fill(&encoder->prompt->system, values, &fitting.system, error) &&
                encode_with(&fitting, values->note_length, &whole, error);
    const bool long_note = done && whole > limit;
    done = done && (!long_note || fit_note(&fitting, limit, whole, error));
    if (cut != NULL) *cut = long_note;
    if (!done) out->count = fitting.start;
    text_free(&fitting.system);
    text_free(&fitting.user);
    return done;
}

bool prompt_encode_completion(const struct prompt_encoder *encoder, const char *completion, size_t length,
                              struct token_list *out, struct error *error) {
    return tokenizer_encode_content(encoder->tokenizer, completion, length, false, out, error) &&
           append_id(out, encoder->end, error);
}
