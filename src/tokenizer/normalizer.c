/* Normalisation, step by step: see normalizer.h. */
#include "tokenizer/normalizer.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "tokenizer/characters.h"
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/* A step that makes more of a text than this many times its length is refused, or a few steps could fill the memory. */
enum { GROWTH_LIMIT = 256 };

static void free_step(struct normalizer_step *step) {
    memory_free(step->content);
    memory_free(step->literal);
    pattern_close(step->pattern);
}

bool normalizer_add(struct normalizer *normalizer, struct normalizer_step step, struct error *error) {
    if (!memory_grow(&normalizer->steps, &normalizer->capacity, normalizer->count + 1, sizeof step, error)) {
        free_step(&step);
        return false;
    }
    normalizer->steps[normalizer->count++] = step;
    return true;
}

void normalizer_free(struct normalizer *normalizer) {
    for (size_t i = 0; i < normalizer->count; i++) free_step(&normalizer->steps[i]);
    memory_free(normalizer->steps);
    *normalizer = (struct normalizer){0};
}

static size_t ascii_length(const char *bytes, size_t length) {
    size_t i = 0;
    for (uint64_t eight; length - i >= sizeof eight; i += sizeof eight) {
        memcpy(&eight, bytes + i, sizeof eight);
        if ((eight & 0x8080808080808080u) != 0) break;
    }
    while (i < length && (unsigned char)bytes[i] < 0x80) i++;
    return i;
}

/* Whether a text of such characters alone is in NFC: characters that neither decompose, nor compose with their
 * neighbours, nor are reordered. Every text whose characters lie under U+0300 is in NFC. */
static bool composed_always(int32_t code) {
    return code < 0x300 || (code >= 0x400 && code < 0x483) || (code >= 0x2002 && code < 0x20d0) ||
           (code >= 0x2190 && code < 0x2300) || (code >= 0x2400 && code < 0x2adc) ||
           (code >= 0x4e00 && code < 0xa000) || (code >= 0xff01 && code < 0xffbe) ||
           (code >= 0x1f300 && code < 0x1fb00);
}

static bool composed_already(const char *bytes, size_t length) {
    for (size_t i = ascii_length(bytes, length), step; i < length; i += step) {
        if (!composed_always(character_read(bytes + i, length - i, &step))) return false;
        if ((unsigned char)bytes[i] < 0x80) step = ascii_length(bytes + i, length - i);
    }
    return true;
}

bool normalizer_changes(const struct normalizer *normalizer, const char *bytes, size_t length) {
    bool ascii = false;
    for (size_t i = 0; i < normalizer->count; i++) {
        const enum normalizer_kind kind = normalizer->steps[i].kind;
        if (kind > NORMALIZE_NFKD) return true;
        ascii = ascii || ascii_length(bytes, length) == length;
        if (!ascii && !(kind == NORMALIZE_NFC && composed_already(bytes, length))) return true;
    }
    return false;
}

static void change_form(enum normalizer_kind kind, const char *bytes, size_t length, struct text *out) {
    static const utf8proc_option_t options[] = {
        [NORMALIZE_NFC] = UTF8PROC_COMPOSE,
        [NORMALIZE_NFD] = UTF8PROC_DECOMPOSE,
        [NORMALIZE_NFKC] = UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
        [NORMALIZE_NFKD] = UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
    };
    if (ascii_length(bytes, length) == length) {
        text_append(out, bytes, length);
        return;
    }
    utf8proc_uint8_t *changed = NULL;
    const utf8proc_ssize_t size = utf8proc_map((const utf8proc_uint8_t *)bytes, (utf8proc_ssize_t)length, &changed,
                                               UTF8PROC_STABLE | options[kind]);
    if (size < 0)
        out->failed = true;
    else
        text_append(out, (const char *)changed, (size_t)size);
    free(changed);
}

static void add_lower(struct text *out, int32_t code) {
    if (code < 0x80) {
        text_add_char(out, (char)(code >= 'A' && code <= 'Z' ? code + ('a' - 'A') : code));
    } else if (code == 0x130) { /* the only character whose lower case is two */
        text_add(out, "i\xcc\x87");
    } else {
        character_append(out, utf8proc_tolower(code));
    }
}

static void lower(const char *bytes, size_t length, struct text *out) {
    for (size_t i = 0, step; i < length; i += step) add_lower(out, character_read(bytes + i, length - i, &step));
}

/* Keeps the characters for which `dropped` is false. */
static void drop(bool (*dropped)(int32_t), const char *bytes, size_t length, struct text *out) {
    for (size_t i = 0, step; i < length; i += step) {
        if (!dropped(character_read(bytes + i, length - i, &step))) text_append(out, bytes + i, step);
    }
}

static void strip(const struct normalizer_step *step, const char *bytes, size_t length, struct text *out) {
    size_t start = 0, size;
    while (step->strip_left && start < length &&
           character_is_space(character_read(bytes + start, length - start, &size)))
        start += size;
    while (step->strip_right && length > start) {
        size_t last = length - 1;
        while (last > start && ((unsigned char)bytes[last] & 0xc0) == 0x80) last--;
        if (!character_is_space(character_read(bytes + last, length - last, &size))) break;
        length = last;
    }
    text_append(out, bytes + start, length - start);
}

static bool replace(const struct normalizer_step *step, struct matcher *matcher, const char *bytes, size_t length,
                    struct text *out, struct error *error) {
    const size_t literal = step->literal == NULL ? 0 : strlen(step->literal);
    for (size_t from = 0; from < length;) {
        size_t start, end = 0;
        if (step->literal != NULL) {
            const char *found = memmem(bytes + from, length - from, step->literal, literal);
            start = found == NULL ? 0 : (size_t)(found - bytes);
            end = found == NULL ? 0 : start + literal;
        } else if (!pattern_find(step->pattern, matcher, bytes, length, from, &start, &end, error)) {
            return false;
        }
        if (end == 0) {
            text_append(out, bytes + from, length - from);
            break;
        }
        text_append(out, bytes + from, start - from);
        text_add(out, step->content);
        from = end;
    }
    return true;
}

/* The cleaning, the blanks around ideographs, and, where no accents are to be found, the lower case in one pass. */
static void clean(const struct normalizer_step *step, bool lowers, const char *bytes, size_t length, struct text *out) {
    for (size_t i = 0, size; i < length; i += size) {
        int32_t code = character_read(bytes + i, length - i, &size);
        if (step->clean_text) {
            if (code == 0 || code == 0xfffd || character_is_control(code)) continue;
            if (character_is_space(code)) code = ' ';
        }
        const bool separate = step->separate_ideographs && character_is_ideograph(code);
        if (separate) text_add_char(out, ' ');
        if (lowers)
            add_lower(out, code);
        else
            character_append(out, code);
        if (separate) text_add_char(out, ' ');
    }
}

static void normalize_bert(const struct normalizer_step *step, const char *bytes, size_t length, struct text *out) {
    const bool ascii = ascii_length(bytes, length) == length;
    if (!step->accents_off || ascii) {
        clean(step, step->lowers, bytes, length, out);
        return;
    }
    struct text cleaned = {0}, decomposed = {0};
    clean(step, false, bytes, length, &cleaned);
    if (cleaned.length > 0) change_form(NORMALIZE_NFD, cleaned.data, cleaned.length, &decomposed);
    for (size_t i = 0, size; i < decomposed.length; i += size) {
        const int32_t code = character_read(decomposed.data + i, decomposed.length - i, &size);
        if (character_is_accent(code)) continue;
        if (step->lowers)
            add_lower(out, code);
        else
            character_append(out, code);
    }
    out->failed = out->failed || cleaned.failed || decomposed.failed;
    text_free(&cleaned);
    text_free(&decomposed);
}

static bool apply_step(const struct normalizer_step *step, struct matcher *matcher, const char *bytes, size_t length,
                       struct text *out, struct error *error) {
    switch (step->kind) {
    case NORMALIZE_NFC:
    case NORMALIZE_NFD:
    case NORMALIZE_NFKC:
    case NORMALIZE_NFKD:
        change_form(step->kind, bytes, length, out);
        break;
    case NORMALIZE_LOWERCASE:
        lower(bytes, length, out);
        break;
    case NORMALIZE_STRIP_ACCENTS:
        drop(character_is_mark, bytes, length, out);
        break;
    case NORMALIZE_STRIP:
        strip(step, bytes, length, out);
        break;
    case NORMALIZE_PREPEND:
        if (length > 0) text_add(out, step->content);
        text_append(out, bytes, length);
        break;
    case NORMALIZE_REPLACE:
        return replace(step, matcher, bytes, length, out, error);
    case NORMALIZE_BERT:
        normalize_bert(step, bytes, length, out);
        break;
    }
    return true;
}

bool normalizer_apply(const struct normalizer *normalizer, struct matcher *matcher, const char *bytes, size_t length,
                      struct text *out, struct error *error) {
    struct text before = {0};
    bool done = true;
    text_clear(out);
    if (normalizer->count == 0) text_append(out, bytes, length);
    for (size_t i = 0; done && i < normalizer->count; i++) {
        if (i > 0) {
            const struct text swapped = before;
            before = *out;
            *out = swapped;
            text_clear(out);
            bytes = before.data == NULL ? "" : before.data;
            length = before.length;
        }
        done = apply_step(&normalizer->steps[i], matcher, bytes, length, out, error) && text_ok(out, error);
        if (done && out->length / GROWTH_LIMIT > length + GROWTH_LIMIT)
            done = error_set(error, "the tokenizer's normalizer makes %zu bytes of %zu", out->length, length);
    }
    text_free(&before);
    return done;
}
