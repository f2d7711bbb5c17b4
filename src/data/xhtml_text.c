/* XHTML to text: see xhtml_text.h. One pass; white space runs together except within pre, and line ends that
 * elements ask for are written before the next word, so that the text neither begins nor ends with any. */
#include "data/xhtml_text.h"
#include "base/text.h"
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

struct xhtml {
    struct text *out;
    size_t start; /* of our text in `out` */
    int lines;    /* line ends that are due before the next word */
    bool blank;   /* so is a blank */
    int verbatim; /* depth of pre */
};

static bool is_blank(char byte) {
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n' || byte == '\f';
}

static void add_bytes(struct xhtml *xhtml, const char *bytes, size_t length) {
    if (xhtml->out->length > xhtml->start) {
        for (int i = 0; i < xhtml->lines; i++) text_add_char(xhtml->out, '\n');
        if (xhtml->lines == 0 && xhtml->blank) text_add_char(xhtml->out, ' ');
    }
    xhtml->lines = 0;
    xhtml->blank = false;
    text_append(xhtml->out, bytes, length);
}

static void want_lines(struct xhtml *xhtml, int lines) {
    if (lines > xhtml->lines) xhtml->lines = lines;
    xhtml->blank = false;
}

/* UTF-8 of a character reference; nothing for what is no character. */
static void add_character(struct xhtml *xhtml, uint32_t code) {
    char bytes[4];
    size_t length = 0;
    if (code == 0 || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return;
    if (code == 0xa0 || code < 0x20) {
        xhtml->blank = true;
        return;
    }
    if (code < 0x80) {
        bytes[length++] = (char)code;
    } else if (code < 0x800) {
        bytes[length++] = (char)(0xc0 | code >> 6);
    } else {
        if (code < 0x10000) {
            bytes[length++] = (char)(0xe0 | code >> 12);
        } else {
            bytes[length++] = (char)(0xf0 | code >> 18);
            bytes[length++] = (char)(0x80 | (code >> 12 & 0x3f));
        }
        bytes[length++] = (char)(0x80 | (code >> 6 & 0x3f));
    }
    if (code >= 0x80) bytes[length++] = (char)(0x80 | (code & 0x3f));
    add_bytes(xhtml, bytes, length);
}

static bool read_number(const char *digits, size_t length, unsigned base, uint32_t *code) {
    *code = 0;
    if (length == 0 || length > 8) return false;
    for (size_t i = 0; i < length; i++) {
        const char digit = digits[i];
        unsigned value = 99;
        if (digit >= '0' && digit <= '9') value = (unsigned)(digit - '0');
        if (digit >= 'a' && digit <= 'f') value = (unsigned)(digit - 'a' + 10);
        if (digit >= 'A' && digit <= 'F') value = (unsigned)(digit - 'A' + 10);
        if (value >= base) return false;
        *code = *code * base + value;
    }
    return true;
}

/* Bytes of a reference that begins at `at` ('&'), with its character; 0 where there is none. */
static size_t read_reference(const char *at, const char *end, uint32_t *code) {
    static const struct {
        const char *name;
        uint32_t code;
    } names[] = {{"amp", '&'},      {"lt", '<'},       {"gt", '>'},        {"quot", '"'},     {"apos", '\''},
                 {"nbsp", 0xa0},    {"ndash", 0x2013}, {"mdash", 0x2014},  {"deg", 0xb0},     {"micro", 0xb5},
                 {"plusmn", 0xb1},  {"bull", 0x2022},  {"hellip", 0x2026}, {"rsquo", 0x2019}, {"lsquo", 0x2018},
                 {"rdquo", 0x201d}, {"ldquo", 0x201c}, {"ge", 0x2265},     {"le", 0x2264},    {"times", 0xd7},
                 {"frac12", 0xbd},  {"middot", 0xb7},  {"eacute", 0xe9},   {"uuml", 0xfc},    {"ouml", 0xf6},
                 {"auml", 0xe4},    {"alpha", 0x3b1},  {"beta", 0x3b2},    {"mu", 0x3bc},     {"rarr", 0x2192}};
    const char *close = memchr(at, ';', (size_t)(end - at) < 12 ? (size_t)(end - at) : 12);
    if (close == NULL) return 0;
    const char *name = at + 1;
    const size_t length = (size_t)(close - name);
    if (length > 1 && name[0] == '#') {
        const bool hex = name[1] == 'x' || name[1] == 'X';
        return read_number(name + 1 + hex, length - 1 - hex, hex ? 16 : 10, code) ? length + 2 : 0;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strlen(names[i].name) != length || strncmp(names[i].name, name, length) != 0) continue;
        *code = names[i].code;
        return length + 2;
    }
    return 0;
}

static bool name_is_among(const char *name, size_t length, const char *const *names) {
    for (; *names != NULL; names++) {
        if (strlen(*names) == length && strncasecmp(*names, name, length) == 0) return true;
    }
    return false;
}

/* What an element does to the lines. */
static void take_element(struct xhtml *xhtml, const char *name, size_t length, bool closes) {
    static const char *const blocks[] = {"div", "tr", "li", "dt", "dd", "section", "br", "hr", "caption", NULL},
                             *const paragraphs[] = {"p",  "h1", "h2",  "h3",    "h4",         "h5", "h6",
                                                    "ul", "ol", "pre", "table", "blockquote", "dl", NULL},
                             *const cells[] = {"td", "th", NULL}, *const verbatim[] = {"pre", NULL},
                             *const breaks[] = {"br", NULL}, *const items[] = {"li", NULL};
    if (name_is_among(name, length, breaks))
        want_lines(xhtml, xhtml->lines + 1 > 2 ? 2 : xhtml->lines + 1);
    else if (name_is_among(name, length, blocks))
        want_lines(xhtml, 1);
    else if (name_is_among(name, length, paragraphs))
        want_lines(xhtml, 2);
    else if (name_is_among(name, length, cells))
        xhtml->blank = true;
    if (!closes && name_is_among(name, length, items)) add_bytes(xhtml, "- ", 2);
    if (name_is_among(name, length, verbatim)) xhtml->verbatim += closes ? (xhtml->verbatim > 0 ? -1 : 0) : 1;
}

/* The end of what begins with "<": behind its ">"; a comment ends with "-->". NULL: it never ends. */
static const char *markup_end(const char *at, const char *end) {
    if (end - at >= 4 && memcmp(at, "<!--", 4) == 0) {
        const char *close = memmem(at + 4, (size_t)(end - at - 4), "-->", 3);
        return close == NULL ? NULL : close + 3;
    }
    char quote = '\0';
    for (at++; at < end; at++) {
        if (quote != '\0') {
            if (*at == quote) quote = '\0';
        } else if (*at == '"' || *at == '\'') {
            quote = *at;
        } else if (*at == '>') {
            return at + 1;
        }
    }
    return NULL;
}

/* Passes over the content of an element that is not for readers: from behind its tag to its closing tag. */
static const char *skip_content(const char *at, const char *end, const char *name, size_t length) {
    for (; end - at > (ptrdiff_t)length + 2; at++) {
        if (at[0] == '<' && at[1] == '/' && strncasecmp(at + 2, name, length) == 0) return at;
    }
    return end;
}

static const char *take_markup(struct xhtml *xhtml, const char *at, const char *end) {
    static const char *const unread[] = {"script", "style", "head", "template", NULL};
    const char *behind = markup_end(at, end);
    if (behind == NULL) { /* a lone "<": text */
        add_bytes(xhtml, at, 1);
        return at + 1;
    }
    const bool closes = at + 1 < end && at[1] == '/';
    const char *name = at + 1 + closes;
    size_t length = 0;
    while (name + length < behind - 1 && length < 16 && !is_blank(name[length]) && name[length] != '/') length++;
    take_element(xhtml, name, length, closes);
    if (!closes && behind[-2] != '/' && name_is_among(name, length, unread))
        return skip_content(behind, end, name, length);
    return behind;
}

/* White space within pre stands as it is. */
static void take_byte(struct xhtml *xhtml, char byte) {
    if (!is_blank(byte))
        add_bytes(xhtml, &byte, 1);
    else if (xhtml->verbatim > 0 && byte == '\n')
        xhtml->lines++;
    else if (xhtml->verbatim > 0 && byte != '\r')
        add_bytes(xhtml, " ", 1);
    else
        xhtml->blank = true;
}

void xhtml_add_text(struct text *out, const char *html, size_t length) {
    struct xhtml xhtml = {.out = out, .start = out->length};
    const char *end = html + length;
    for (const char *at = html; at < end;) {
        uint32_t code = 0;
        size_t reference;
        if (*at == '<' && at + 1 < end && !is_blank(at[1])) {
            at = take_markup(&xhtml, at, end);
        } else if (*at == '&' && (reference = read_reference(at, end, &code)) > 0) {
            add_character(&xhtml, code);
            at += reference;
        } else {
            take_byte(&xhtml, *at++);
        }
    }
}
