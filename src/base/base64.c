/* Base64: see base64.h. */
#include "base/base64.h"
#include "base/text.h"
#include <stdint.h>

/* The six bits of a character; -1: it is none of the alphabet. */
static int six_bits(char character) {
    if (character >= 'A' && character <= 'Z') return character - 'A';
    if (character >= 'a' && character <= 'z') return character - 'a' + 26;
    if (character >= '0' && character <= '9') return character - '0' + 52;
    if (character == '+') return 62;
    return character == '/' ? 63 : -1;
}

bool base64_decode(struct text *out, const char *characters, size_t length) {
    uint32_t group = 0;
    int held = 0, padding = 0;
    for (size_t i = 0; i < length; i++) {
        const char character = characters[i];
        if (character == ' ' || character == '\t' || character == '\r' || character == '\n') continue;
        if (character == '=') {
            if (++padding > 2) return false;
            continue;
        }
        const int bits = six_bits(character);
        if (bits < 0 || padding > 0) return false;
        group = group << 6 | (uint32_t)bits;
        if (++held < 4) continue;
        text_add_char(out, (char)(group >> 16));
        text_add_char(out, (char)(group >> 8));
        text_add_char(out, (char)group);
        group = 0;
        held = 0;
    }
    if (held == 1 || (padding > 0 && held + padding != 4)) return false;
    if (held >= 2) text_add_char(out, (char)(group >> (held == 2 ? 4 : 10)));
    if (held == 3) text_add_char(out, (char)(group >> 2));
    return true;
}
