/* Base64 (RFC 4648) as it stands in JSON and HL7 fields. */
#ifndef CASEMIX_BASE_BASE64_H
#define CASEMIX_BASE_BASE64_H

#include <stdbool.h>
#include <stddef.h>

struct text;

/* Appends what the characters stand for. White space between them is passed over; the padding may be missing. False,
 * with part of the bytes appended, when there is another character, something behind the padding, or a lone last
 * character. */
bool base64_decode(struct text *out, const char *characters, size_t length);

#endif
