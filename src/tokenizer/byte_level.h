/* The alphabet of byte-level BPE (GPT-2): each byte has a printable character; those that print stand for themselves,
 * the rest are U+0100 and up. */
#ifndef CASEMIX_TOKENIZER_BYTE_LEVEL_H
#define CASEMIX_TOKENIZER_BYTE_LEVEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text;

/* Appends the characters of the bytes. */
void byte_level_encode(struct text *out, const char *bytes, size_t length);

/* Appends the bytes of the characters; false (and nothing lost) at a character that stands for no byte. */
bool byte_level_decode(struct text *out, const char *characters, size_t length);

#endif
