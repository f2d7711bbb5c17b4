/* Growing strings, JSON and CSV quoting, UTF-8. */
#include "base/text.h"
#include "base/error.h"
#include "base/memory.h"
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static bool text_reserve(struct text *text, size_t more) {
    if (text->failed) return false;
    if (more >= SIZE_MAX / 2 - text->length ||
        !memory_grow(&text->data, &text->capacity, text->length + more + 1, 1, NULL)) {
        text->failed = true;
        return false;
    }
    return true;
}

void text_append(struct text *text, const char *bytes, size_t length) {
    if (!text_reserve(text, length)) return;
    if (length > 0) memcpy(text->data + text->length, bytes, length);
    text->length += length;
    text->data[text->length] = '\0';
}

void text_add(struct text *text, const char *string) {
    text_append(text, string, strlen(string));
}

void text_add_char(struct text *text, char byte) {
    text_append(text, &byte, 1);
}

void text_printf(struct text *text, const char *format, ...) {
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length >= 0 && text_reserve(text, (size_t)length)) {
        vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    }
    va_end(again);
}

void text_clear(struct text *text) {
    text->length = 0;
    if (text->data != NULL) text->data[0] = '\0';
}

void text_free(struct text *text) {
    memory_free(text->data);
    *text = (struct text){0};
}

bool text_ok(const struct text *text, struct error *error) {
    return !text->failed || error_set(error, "out of memory: a text of more than %zu bytes", text->length);
}

/* Length of the UTF-8 sequence at bytes (Unicode 15, table 3-7); 0 if it is not valid. */
static size_t utf8_sequence(const unsigned char *bytes, size_t length) {
    const unsigned char first = bytes[0];
    if (first < 0x80) return 1;
    const size_t wanted = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || length < wanted) return 0;
    for (size_t i = 1; i < wanted; i++) {
        if ((bytes[i] & 0xc0) != 0x80) return 0;
    }
    const unsigned char second = bytes[1];
    if ((first == 0xe0 && second < 0xa0) || (first == 0xed && second > 0x9f)) return 0;
    if ((first == 0xf0 && second < 0x90) || (first == 0xf4 && second > 0x8f)) return 0;
    return wanted;
}

bool utf8_valid(const char *bytes, size_t length, size_t *bad) {
    size_t i = 0;
    while (i < length) {
        uint64_t eight;
        if (length - i >= sizeof eight) {
            memcpy(&eight, bytes + i, sizeof eight);
            if ((eight & 0x8080808080808080u) == 0) {
                i += sizeof eight;
                continue;
            }
        }
        const size_t step = utf8_sequence((const unsigned char *)bytes + i, length - i);
        if (step == 0) {
            if (bad != NULL) *bad = i;
            return false;
        }
        i += step;
    }
    return true;
}

void utf8_repair(struct text *out, const char *bytes, size_t length) {
    for (size_t i = 0; i < length;) {
        const size_t step = utf8_sequence((const unsigned char *)bytes + i, length - i);
        if (step == 0)
            text_append(out, "\xef\xbf\xbd", 3);
        else
            text_append(out, bytes + i, step);
        i += step == 0 ? 1 : step;
    }
}

size_t utf8_columns(const char *bytes, size_t length) {
    size_t columns = 0;
    for (size_t i = 0; i < length;) {
        utf8proc_int32_t code = 0xfffd;
        const utf8proc_ssize_t step =
            utf8proc_iterate((const utf8proc_uint8_t *)bytes + i, (utf8proc_ssize_t)(length - i), &code);
        i += step > 0 ? (size_t)step : 1;
        const int width = utf8proc_charwidth(step > 0 ? code : 0xfffd);
        columns += width > 0 ? (size_t)width : 0;
    }
    return columns;
}

static void json_escape(struct text *text, unsigned char byte) {
    static const char short_forms[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (size_t i = 0; i + 1 < sizeof short_forms; i += 2) {
        if ((unsigned char)short_forms[i] != byte) continue;
        text_add_char(text, '\\');
        text_add_char(text, short_forms[i + 1]);
        return;
    }
    text_printf(text, "\\u%04x", byte);
}

/* Whether eight bytes all stand for themselves in a JSON string: printable ASCII but quote and backslash (Mycroft's
 * tests of a word for a byte that is zero or small). */
static bool eight_are_plain(const char *bytes) {
    const uint64_t ones = 0x0101010101010101u, highs = 0x8080808080808080u;
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    const uint64_t quote = word ^ ones * '"', backslash = word ^ ones * '\\', del = word ^ ones * 0x7f;
    const uint64_t special = (quote - ones) | (backslash - ones) | (del - ones) | (word - ones * 0x20) | word;
    return (special & highs) == 0;
}

void text_add_json(struct text *text, const char *bytes, size_t length) {
    text_add_char(text, '"');
    size_t from = 0;
    for (size_t i = 0; i < length;) {
        if (length - i >= sizeof(uint64_t) && eight_are_plain(bytes + i)) {
            i += sizeof(uint64_t);
            continue;
        }
        const unsigned char byte = (unsigned char)bytes[i];
        const size_t step = utf8_sequence((const unsigned char *)bytes + i, length - i);
        if (step > 0 && byte >= 0x20 && byte != '"' && byte != '\\' && byte != 0x7f) {
            i += step;
            continue;
        }
        text_append(text, bytes + from, i - from);
        if (step == 0)
            text_append(text, "\xef\xbf\xbd", 3);
        else
            json_escape(text, byte);
        from = ++i;
    }
    text_append(text, bytes + from, length - from);
    text_add_char(text, '"');
}

/* The shortest of the usual precisions that reads back to the same value. */
void text_add_json_double(struct text *text, double value) {
    char digits[64];
    if (!isfinite(value)) {
        text_add(text, "null");
        return;
    }
    for (int precision = 15; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (!(strtod(digits, NULL) < value) && !(strtod(digits, NULL) > value)) break;
    }
    text_add(text, digits);
}

void text_add_json_float(struct text *text, float value) {
    char digits[64];
    if (!isfinite(value)) {
        text_add(text, "null");
        return;
    }
    for (int precision = 6; precision <= 9; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, (double)value);
        if (!(strtof(digits, NULL) < value) && !(strtof(digits, NULL) > value)) break;
    }
    text_add(text, digits);
}

void text_add_csv(struct text *text, const char *bytes, size_t length) {
    bool quoted = false;
    for (size_t i = 0; i < length && !quoted; i++) quoted = strchr("\",\n\r", bytes[i]) != NULL && bytes[i] != '\0';
    if (!quoted) {
        text_append(text, bytes, length);
        return;
    }
    text_add_char(text, '"');
    size_t from = 0;
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] != '"') continue;
        text_append(text, bytes + from, i + 1 - from);
        text_add_char(text, '"');
        from = i + 1;
    }
    text_append(text, bytes + from, length - from);
    text_add_char(text, '"');
}

bool parse_int64(const char *string, int64_t *value) {
    char *end;
    errno = 0;
    const long long number = strtoll(string, &end, 10);
    if (errno != 0 || end == string || *end != '\0' || (*string != '-' && (*string < '0' || *string > '9')))
        return false;
    *value = number;
    return true;
}

bool parse_double(const char *string, double *value) {
    char *end;
    errno = 0;
    const double number = strtod(string, &end);
    if (end == string || *end != '\0' || !isfinite(number) || strchr(" \t\n\r\v\f", *string) != NULL) return false;
    *value = number;
    return true;
}
