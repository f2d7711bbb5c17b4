/* Growing strings, UTF-8 checks and small scanning functions. */
#ifndef CASEMIX_BASE_TEXT_H
#define CASEMIX_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

/* A growing byte string; data is NUL-terminated whenever it is not NULL. Zero-initialise; release with text_free.
 * When memory runs short, `failed` is set, later appends do nothing, and text_ok reports it once at the end. */
struct text {
    char *data;
    size_t length, capacity;
    bool failed;
};

void text_append(struct text *text, const char *bytes, size_t length);
void text_add(struct text *text, const char *string);
void text_add_char(struct text *text, char byte);
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_clear(struct text *text); /* length 0, memory kept */
void text_free(struct text *text);
bool text_ok(const struct text *text, struct error *error); /* false and error filled if an append failed */

/* Appends the bytes as a JSON string in quotes. Invalid UTF-8 becomes U+FFFD. */
void text_add_json(struct text *text, const char *bytes, size_t length);

/* Appends a number in JSON that reads back to the same value of its type; NaN and infinities become null. */
void text_add_json_double(struct text *text, double value);
void text_add_json_float(struct text *text, float value);

/* Appends the bytes as one CSV field (RFC 4180), quoted only where needed. */
void text_add_csv(struct text *text, const char *bytes, size_t length);

/* True when the bytes are valid UTF-8 (no surrogates, no overlong forms); else *bad is the offset of the first bad
 * byte. */
bool utf8_valid(const char *bytes, size_t length, size_t *bad);

/* Copies with every invalid byte replaced by U+FFFD. */
void utf8_repair(struct text *out, const char *bytes, size_t length);

/* Columns that a UTF-8 string takes in a terminal (utf8proc_charwidth). */
size_t utf8_columns(const char *bytes, size_t length);

/* Bytes of the white space that a UTF-8 string begins with, 0 if it begins with none: one character of Unicode's, with
 * the separators 28 to 31, as Python's str.isspace has it. */
size_t utf8_space(const char *bytes, size_t length);

/* Strict numbers: the whole string must be the number. */
bool parse_int64(const char *string, int64_t *value);
bool parse_double(const char *string, double *value);

#endif
