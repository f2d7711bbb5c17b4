/* Character sets: see charset.h. */
#include "base/charset.h"
#include "base/error.h"
#include "base/text.h"
#include <errno.h>
#include <iconv.h>

bool charset_to_utf8(struct text *out, const char *charset, const char *bytes, size_t length, struct error *error) {
    iconv_t converter = iconv_open("UTF-8", charset);
    if (converter == (iconv_t)-1) return error_set(error, "the character set %.40s is not known here", charset);
    char buffer[4096], *from = (char *)(size_t)bytes; /* iconv's interface has no const, and it only reads */
    size_t left = length;
    bool done = true;
    while (done && left > 0) {
        char *to = buffer;
        size_t room = sizeof buffer;
        const size_t result = iconv(converter, &from, &left, &to, &room);
        text_append(out, buffer, sizeof buffer - room);
        if (result == (size_t)-1 && errno != E2BIG)
            done = error_set(error, "byte %zu is no text in %.40s", length - left + 1, charset);
    }
    iconv_close(converter);
    return done && text_ok(out, error);
}
