/* Classes of characters: ASCII by comparison, the rest by utf8proc's categories. */
#include "tokenizer/characters.h"
#include "base/text.h"
#include <utf8proc.h>

size_t character_length(char first) {
    const unsigned char byte = (unsigned char)first;
    return byte < 0x80 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}

int32_t character_read(const char *bytes, size_t length, size_t *step) {
    const unsigned char first = (unsigned char)bytes[0];
    utf8proc_int32_t code = first;
    *step = 1;
    if (first >= 0x80) {
        const utf8proc_ssize_t taken =
            utf8proc_iterate((const utf8proc_uint8_t *)bytes, (utf8proc_ssize_t)length, &code);
        *step = taken > 0 ? (size_t)taken : 1;
    }
    return code;
}

void character_append(struct text *text, int32_t code) {
    utf8proc_uint8_t bytes[4];
    const utf8proc_ssize_t length = utf8proc_encode_char(code, bytes);
    if (length > 0) text_append(text, (const char *)bytes, (size_t)length);
}

bool character_is_space(int32_t code) {
    if (code < 0x80) return code == ' ' || (code >= '\t' && code <= '\r');
    const utf8proc_category_t category = utf8proc_category(code);
    return code == 0x85 || category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL ||
           category == UTF8PROC_CATEGORY_ZP;
}

static bool is_letter_or_digit(int32_t code) {
    return (code >= '0' && code <= '9') || (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z');
}

bool character_is_punctuation(int32_t code) {
    if (code < 0x80) return code > ' ' && code < 0x7f && !is_letter_or_digit(code);
    const utf8proc_category_t category = utf8proc_category(code);
    return category >= UTF8PROC_CATEGORY_PC && category <= UTF8PROC_CATEGORY_PO;
}

bool character_is_mark(int32_t code) {
    const utf8proc_category_t category = utf8proc_category(code);
    return category >= UTF8PROC_CATEGORY_MN && category <= UTF8PROC_CATEGORY_ME;
}

bool character_is_accent(int32_t code) {
    return code >= 0x80 && utf8proc_category(code) == UTF8PROC_CATEGORY_MN;
}

bool character_is_word(int32_t code) {
    if (code < 0x80) return code == '_' || is_letter_or_digit(code);
    const utf8proc_category_t category = utf8proc_category(code);
    return (category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_NL) || category == UTF8PROC_CATEGORY_PC ||
           code == 0x200c || code == 0x200d;
}

bool character_is_number(int32_t code) {
    if (code < 0x80) return code >= '0' && code <= '9';
    const utf8proc_category_t category = utf8proc_category(code);
    return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

bool character_is_control(int32_t code) {
    if (code < 0x80) return (code < ' ' && code != '\t' && code != '\n' && code != '\r') || code == 0x7f;
    const utf8proc_category_t category = utf8proc_category(code);
    return category == UTF8PROC_CATEGORY_CC || category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_CO;
}

bool character_is_ideograph(int32_t code) {
    return (code >= 0x4e00 && code <= 0x9fff) || (code >= 0x3400 && code <= 0x4dbf) ||
           (code >= 0x20000 && code <= 0x2a6df) || (code >= 0x2a700 && code <= 0x2b73f) ||
           (code >= 0x2b740 && code <= 0x2b81f) || (code >= 0x2b920 && code <= 0x2ceaf) ||
           (code >= 0xf900 && code <= 0xfaff) || (code >= 0x2f800 && code <= 0x2fa1f);
}
