/* The alphabet of byte-level BPE. */
#include "tokenizer/byte_level.h"
#include "base/text.h"

/* Bytes that print as themselves: ! to ~, ¡ to ¬, ® to ÿ. */
static bool prints(unsigned int byte) {
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

/* Number of bytes under this one that do not print: their characters count up from U+0100. */
static unsigned int hidden_before(unsigned int byte) {
    unsigned int count = 0;
    for (unsigned int b = 0; b < byte; b++) count += !prints(b);
    return count;
}

void byte_level_encode(struct text *out, const char *bytes, size_t length) {
    for (size_t i = 0; i < length; i++) {
        const unsigned int byte = (unsigned char)bytes[i], code = prints(byte) ? byte : 0x100 + hidden_before(byte);
        if (code < 0x80) {
            text_add_char(out, (char)code);
        } else {
            const char two[2] = {(char)(0xc0 | code >> 6), (char)(0x80 | (code & 0x3f))};
            text_append(out, two, 2);
        }
    }
}

static int byte_of(unsigned int code) {
    if (code < 0x100) return prints(code) ? (int)code : -1;
    for (unsigned int byte = 0; byte < 0x100; byte++) {
        if (!prints(byte) && 0x100 + hidden_before(byte) == code) return (int)byte;
    }
    return -1;
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
