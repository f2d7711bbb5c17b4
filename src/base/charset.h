/* Bytes of older character sets as UTF-8, through iconv. */
#ifndef CASEMIX_BASE_CHARSET_H
#define CASEMIX_BASE_CHARSET_H

#include <stdbool.h>
#include <stddef.h>

struct error;
struct text;

/* Appends the bytes, which are in the character set that iconv knows as `charset`, as UTF-8. A set that iconv does not
 * know, or bytes that the set does not have, are an error that says which byte; never what stands there. */
bool charset_to_utf8(struct text *out, const char *charset, const char *bytes, size_t length, struct error *error);

#endif
