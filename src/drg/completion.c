/* Completions put together and taken apart: see completion.h. */
#include "drg/completion.h"
#include <string.h>

static const char *const tags[] = {"<think>", "</think>", "<answer>", "</answer>"};

/* Bytes of the tag that the text begins with; 0 if it begins with none. */
static size_t tag_length(const char *text, size_t length) {
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++) {
        const size_t size = strlen(tags[i]);
        if (length >= size && memcmp(text, tags[i], size) == 0) return size;
    }
    return 0;
}

/* Blanks at both ends cut off. */
static const char *strip(const char *text, size_t *length) {
    while (*length > 0 && strchr(" \t\r\n", *text) != NULL) text++, --*length;
    while (*length > 0 && strchr(" \t\r\n", text[*length - 1]) != NULL) --*length;
    return text;
}

/* Taking a tag out may bring the halves of another together: what was written is looked at, not what was read. */
static void append_without_tags(struct text *out, const char *text, size_t length) {
    const size_t start = out->length;
    for (size_t i = 0; i < length; i++) {
        text_add_char(out, text[i]);
        for (size_t t = 0; !out->failed && text[i] == '>' && t < sizeof tags / sizeof tags[0]; t++) {
            const size_t size = strlen(tags[t]);
            if (out->length - start >= size && memcmp(out->data + out->length - size, tags[t], size) == 0)
                out->length -= size;
        }
    }
}

void completion_write(struct text *out, const char *reasoning, size_t length, const char *answer) {
    struct text plain = {0};
    append_without_tags(&plain, reasoning, length);
    size_t size = plain.length;
    const char *stripped = size == 0 ? "" : strip(plain.data, &size);
    text_add(out, "<think>\n");
    text_append(out, stripped, size);
    text_add(out, "\n</think>\n<answer>\n");
    text_add(out, answer);
    text_add(out, "\n</answer>");
    out->failed = out->failed || plain.failed;
    text_free(&plain);
}

const char *completion_reasoning(const char *completion, size_t length, size_t *reasoning_length) {
    const char *start = strip(completion, &length), *end = start + length;
    if (tag_length(start, length) == strlen("<think>")) start += strlen("<think>");
    const char *close = memmem(start, (size_t)(end - start), "</think>", strlen("</think>"));
    if (close == NULL) close = memmem(start, (size_t)(end - start), "<answer>", strlen("<answer>"));
    *reasoning_length = (size_t)((close == NULL ? end : close) - start);
    return strip(start, reasoning_length);
}
