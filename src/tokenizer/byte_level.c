/* The alphabet of byte-level BPE: bytes that print stand for themselves; the others, 0x00 to 0x20, 0x7f to 0xa0 and
 * 0xad, have the characters from U+0100 in this order. */
#include "tokenizer/byte_level.h"
#include "base/text.h"

enum { LOW_HIDDEN = 0x21, MIDDLE_HIDDEN = 0x22 };

static unsigned int code_of(unsigned int byte) {
    if (byte < 0x21) return 0x100 + byte;
    if (byte >= 0x7f && byte <= 0xa0) return 0x100 + LOW_HIDDEN + (byte - 0x7f);
    return byte == 0xad ? 0x100 + LOW_HIDDEN + MIDDLE_HIDDEN : byte;
}

void byte_level_encode(struct text *out, const char *bytes, size_t length) {
    for (size_t i = 0; i < length; i++) {
        const unsigned int code = code_of((unsigned char)bytes[i]);
        if (code < 0x80) {
            text_add_char(out, (char)code);
        } else {
            const char two[2] = {(char)(0xc0 | code >> 6), (char)(0x80 | (code & 0x3f))};
            text_append(out, two, 2);
        }
    }
}

static int byte_of(unsigned int code) {
    if (code < 0x100) return code_of(code) == code ? (int)code : -1;
    const unsigned int hidden = code - 0x100;
    if (hidden < LOW_HIDDEN) return (int)hidden;
    if (hidden < LOW_HIDDEN + MIDDLE_HIDDEN) return (int)(0x7f + (hidden - LOW_HIDDEN));
    return hidden == LOW_HIDDEN + MIDDLE_HIDDEN ? 0xad : -1;
}

bool byte_level_decode(struct text *out, const char *characters, size_t length) {
    for (size_t i = 0; i < length;) {
        const unsigned char first = (unsigned char)characters[i];
        unsigned int code = first;
        size_t step = 1;
        if (first >= 0x80) {
            if (first < 0xc2 || first > 0xdf || i + 1 >= length) return false;
            code = (first & 0x1fu) << 6 | ((unsigned char)characters[i + 1] & 0x3fu);
            step = 2;
        }
        const int byte = byte_of(code);
        if (byte < 0) return false;
        text_add_char(out, (char)byte);
        i += step;
    }
    return true;
}
