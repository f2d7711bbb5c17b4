/* HL7 version 2: see hl7.h. A message is converted to UTF-8 as a whole, then read segment by segment without copies;
 * only what becomes part of the note is unescaped. */
#include "data/hl7.h"
#include "base/base64.h"
#include "base/charset.h"
#include "base/error.h"
#include "base/text.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* A stretch of the message; the five characters that part it. */
struct piece {
    const char *data;
    size_t length;
};
struct delimiters {
    char field, component, repetition, escape, part;
};

struct message {
    struct delimiters delimiters;
    const char *charset; /* iconv's name; NULL: UTF-8 */
    struct text note, document, visit, control;
    bool has_document; /* a TXA has been seen */
    size_t lines;      /* pieces of text taken; the second begins a line */
};

enum { HEADER = 8 }; /* bytes of "MSH|^~\&" */

/* Takes what stands before the next `separator` off the front of `rest`; false at the end. */
static bool piece_next(struct piece *rest, char separator, struct piece *out) {
    if (rest->data == NULL) return false;
    const char *end = rest->length == 0 ? NULL : memchr(rest->data, separator, rest->length);
    out->data = rest->data;
    out->length = end == NULL ? rest->length : (size_t)(end - rest->data);
    rest->data = end == NULL ? NULL : end + 1;
    rest->length -= end == NULL ? rest->length : out->length + 1;
    return true;
}

/* The n-th piece from 0; empty where there are fewer. */
static struct piece piece_at(struct piece whole, char separator, int n) {
    struct piece piece = {"", 0};
    for (int i = 0; i <= n; i++) {
        if (!piece_next(&whole, separator, &piece)) return (struct piece){"", 0};
    }
    return piece;
}

static bool piece_is(struct piece piece, const char *string) {
    return piece.length == strlen(string) && strncasecmp(piece.data, string, piece.length) == 0;
}

/* Field n of a segment as the standard counts: of MSH the first is the separator itself. */
static struct piece field_of(struct piece segment, const struct delimiters *delimiters, int n) {
    return piece_at(segment, delimiters->field, segment.length >= 3 && memcmp(segment.data, "MSH", 3) == 0 ? n - 1 : n);
}

static int hex_digit(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    const int small = tolower((unsigned char)digit);
    return small >= 'a' && small <= 'f' ? small - 'a' + 10 : -1;
}

/* \Xhh…\: bytes in the message's character set. */
static bool add_hex(struct text *out, const struct message *message, struct piece digits, struct error *error) {
    struct text bytes = {0};
    bool done = digits.length % 2 == 0 || error_set(error, "an escape \\X…\\ has an odd number of digits");
    for (size_t i = 0; done && i + 1 < digits.length; i += 2) {
        const int high = hex_digit(digits.data[i]), low = hex_digit(digits.data[i + 1]);
        if (high < 0 || low < 0 || high + low == 0)
            done = error_set(error, "an escape \\X…\\ holds something that is no byte of text");
        else
            text_add_char(&bytes, (char)(high << 4 | low));
    }
    done = done && text_ok(&bytes, error);
    if (done && message->charset != NULL)
        done = charset_to_utf8(out, message->charset, bytes.data == NULL ? "" : bytes.data, bytes.length, error);
    else if (done && bytes.length > 0)
        text_append(out, bytes.data, bytes.length);
    text_free(&bytes);
    return done;
}

/* Formatting commands that begin a line or leave some out (\.sp3\). The others move text about, and are left out. */
static void add_format(struct text *out, struct piece command) {
    int lines = 0;
    if (piece_is(command, ".br") || piece_is(command, ".ce")) lines = 1;
    if (command.length >= 3 && strncasecmp(command.data, ".sp", 3) == 0) {
        const char count =
            command.length > 3 ? command.data[command.data[3] == '+' && command.length > 4 ? 4 : 3] : '1';
        lines = count >= '1' && count <= '9' ? count - '0' : 1;
    }
    for (; lines > 0; lines--) text_add_char(out, '\n');
}

static bool add_escape(struct text *out, const struct message *message, struct piece escape, struct error *error) {
    const struct delimiters *delimiters = &message->delimiters;
    if (escape.length == 1) {
        switch (escape.data[0]) {
        case 'F':
            text_add_char(out, delimiters->field);
            break;
        case 'S':
            text_add_char(out, delimiters->component);
            break;
        case 'T':
            text_add_char(out, delimiters->part);
            break;
        case 'R':
            text_add_char(out, delimiters->repetition);
            break;
        case 'E':
            text_add_char(out, delimiters->escape);
            break;
        default: /* H and N: highlighting; others are nobody's */
            break;
        }
        return true;
    }
    if (escape.data[0] == 'X') return add_hex(out, message, (struct piece){escape.data + 1, escape.length - 1}, error);
    if (escape.data[0] == '.') add_format(out, escape);
    return true; /* C, M and Z: other character sets within the text, and private ones */
}

/* Whether the text between two escape characters is an escape: "AC\T\BC" has one, "C:\new\x" none. */
static bool is_escape(struct piece inside) {
    if (inside.length == 0 || inside.length > 4096) return false;
    if (inside.length == 1) return strchr("FSTREHNP", inside.data[0]) != NULL;
    if (inside.data[0] == '.') return isalpha((unsigned char)inside.data[1]) != 0 && inside.length <= 8;
    if (strchr("XCMZ", inside.data[0]) == NULL) return false;
    for (size_t i = 1; i < inside.length; i++) {
        if (inside.data[0] != 'Z' && hex_digit(inside.data[i]) < 0) return false;
    }
    return true;
}

/* The escape character's own text stays where it begins no escape: senders forget to write \E\. */
static bool add_unescaped(struct text *out, const struct message *message, struct piece from, struct error *error) {
    const char *at = from.data, *end = from.data + from.length;
    while (at < end) {
        const char *escape = memchr(at, message->delimiters.escape, (size_t)(end - at));
        text_append(out, at, (size_t)((escape == NULL ? end : escape) - at));
        if (escape == NULL) break;
        const char *close = memchr(escape + 1, message->delimiters.escape, (size_t)(end - escape - 1));
        const struct piece inside = {escape + 1, close == NULL ? 0 : (size_t)(close - escape - 1)};
        if (close == NULL || !is_escape(inside)) {
            text_add_char(out, *escape);
            at = escape + 1;
            continue;
        }
        if (!add_escape(out, message, inside, error)) return false;
        at = close + 1;
    }
    return true;
}

/* iconv's name of a set in HL7's table 0211; *known false for one that no byte of text can be read in here. */
static const char *charset_of(struct piece field, char number[16], bool *known) {
    static const struct {
        const char *hl7, *iconv;
    } names[] = {{"", NULL},
                 {"ASCII", NULL},
                 {"UNICODE UTF-8", NULL},
                 {"UTF-8", NULL},
                 {"UNICODE", NULL},
                 {"ISO IR6", NULL},
                 {"ISO IR100", "LATIN1"},
                 {"WINDOWS-1252", "CP1252"},
                 {"BIG-5", "BIG5"},
                 {"GB 18030-2000", "GB18030"}};
    *known = true;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (piece_is(field, names[i].hl7)) return names[i].iconv;
    }
    if ((field.length == 6 || field.length == 7) && strncasecmp(field.data, "8859/", 5) == 0) {
        snprintf(number, 16, "ISO-8859-%.*s", (int)field.length - 5, field.data + 5);
        return number;
    }
    *known = false;
    return NULL;
}

/* The header of a message, as bytes: they are ASCII in every set that is read. */
static bool read_delimiters(struct delimiters *delimiters, struct piece header, struct error *error) {
    if (header.length < HEADER) return error_set(error, "MSH is cut short");
    const char *h = header.data;
    *delimiters = (struct delimiters){h[3], h[4], h[5], h[6], h[7]};
    for (int i = 3; i < HEADER; i++) {
        if (isalnum((unsigned char)h[i]) || !isgraph((unsigned char)h[i]) ||
            memchr(h + i + 1, h[i], (size_t)(HEADER - 1 - i)) != NULL)
            return error_set(error, "MSH-1 and MSH-2 are not five different separators, as in MSH|^~\\&");
    }
    return true;
}

static bool read_header(struct message *message, struct piece header, struct error *error) {
    const struct delimiters *delimiters = &message->delimiters;
    const struct piece type = field_of(header, delimiters, 9);
    const struct piece code = piece_at(type, delimiters->component, 0),
                       event = piece_at(type, delimiters->component, 1);
    static const char *const events[] = {"T02", "T04", "T06", "T08", "T10"};
    bool known = false;
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) known = known || piece_is(event, events[i]);
    if (!piece_is(code, "MDM") || !known) {
        error_set(error, "MSH-9 is not the type of a message that carries a document");
        return error_hint(error, "MDM^T02 is read, and MDM^T04, T06, T08 and T10");
    }
    return add_unescaped(&message->control, message, field_of(header, delimiters, 10), error);
}

/* Encapsulated data: source ^ type ^ subtype ^ encoding ^ data. Documents that are no plain text are not for us. */
static bool add_encapsulated(struct message *message, struct piece value, struct error *error) {
    const char separator = message->delimiters.component;
    const struct piece type = piece_at(value, separator, 1), subtype = piece_at(value, separator, 2),
                       encoding = piece_at(value, separator, 3), data = piece_at(value, separator, 4);
    if (!piece_is(type, "TEXT") && !piece_is(type, "TX") && !piece_is(type, "FT")) return true;
    if (subtype.length > 0 && !piece_is(subtype, "PLAIN")) return true;
    if (message->lines++ > 0) text_add_char(&message->note, '\n');
    if (!piece_is(encoding, "BASE64")) return add_unescaped(&message->note, message, data, error);
    struct text bytes = {0};
    bool done = base64_decode(&bytes, data.data, data.length) || error_set(error, "OBX-5 is not base64");
    done = done && text_ok(&bytes, error);
    if (done && message->charset != NULL && bytes.length > 0)
        done = charset_to_utf8(&message->note, message->charset, bytes.data, bytes.length, error);
    else if (done && bytes.length > 0)
        text_append(&message->note, bytes.data, bytes.length);
    text_free(&bytes);
    return done;
}

static bool read_observation(struct message *message, struct piece segment, struct error *error) {
    const struct delimiters *delimiters = &message->delimiters;
    const struct piece type = field_of(segment, delimiters, 2);
    struct piece values = field_of(segment, delimiters, 5), value;
    const bool encapsulated = piece_is(type, "ED");
    if (!encapsulated && !piece_is(type, "TX") && !piece_is(type, "FT") && !piece_is(type, "ST")) return true;
    while (piece_next(&values, delimiters->repetition, &value)) {
        if (encapsulated) {
            if (!add_encapsulated(message, value, error)) return false;
            continue;
        }
        if (message->lines++ > 0) text_add_char(&message->note, '\n');
        if (!add_unescaped(&message->note, message, value, error)) return false;
    }
    return true;
}

static bool read_segment(struct message *message, struct piece segment, struct error *error) {
    const struct delimiters *delimiters = &message->delimiters;
    const struct piece name = piece_at(segment, delimiters->field, 0);
    if (piece_is(name, "PV1"))
        return add_unescaped(&message->visit, message,
                             piece_at(field_of(segment, delimiters, 19), delimiters->component, 0), error);
    if (piece_is(name, "TXA")) { /* observations before it belong to orders, not to the document */
        text_clear(&message->note);
        message->lines = 0;
        message->has_document = true;
        return add_unescaped(&message->document, message,
                             piece_at(field_of(segment, delimiters, 12), delimiters->component, 0), error);
    }
    return !piece_is(name, "OBX") || read_observation(message, segment, error);
}

static const char *name_of(const struct message *message) {
    const struct text *const names[] = {&message->document, &message->visit, &message->control};
    for (size_t i = 0; i < 3; i++) {
        if (names[i]->length > 0) return names[i]->data;
    }
    return NULL;
}

/* The segments of a message in UTF-8. */
static bool read_segments(struct message *message, struct piece rest, struct error *error) {
    /* A sender that ends its segments with CR may have left line feeds within a field. */
    const char end = memchr(rest.data, '\r', rest.length) != NULL ? '\r' : '\n';
    struct piece segment;
    for (size_t n = 1; piece_next(&rest, end, &segment); n++) {
        while (segment.length > 0 && segment.data[0] == '\n') {
            segment.data++;
            segment.length--;
        }
        if (segment.length == 0) continue;
        if (!(n == 1 ? read_header(message, segment, error) : read_segment(message, segment, error)))
            return error_context(error, "segment %zu", n);
    }
    if (!message->has_document) return error_set(error, "there is no TXA segment");
    if (message->lines > 0) return true;
    error_set(error, "no OBX segment behind TXA holds text");
    return error_hint(error, "OBX-2 is TX, FT, ST or ED with plain text; other documents are not read");
}

static bool read_message(struct message *message, struct piece bytes, struct text *converted, struct error *error) {
    struct piece first = {bytes.data, 0};
    char number[16];
    bool known;
    while (first.length < bytes.length && strchr("\r\n", first.data[first.length]) == NULL) first.length++;
    if (!read_delimiters(&message->delimiters, first, error)) return false;
    message->charset = charset_of(
        piece_at(field_of(first, &message->delimiters, 18), message->delimiters.repetition, 0), number, &known);
    if (!known) return error_set(error, "MSH-18 names a character set that is not read here");
    if (message->charset != NULL) {
        if (!charset_to_utf8(converted, message->charset, bytes.data, bytes.length, error)) return false;
        bytes = (struct piece){converted->data, converted->length};
    } else if (!utf8_valid(bytes.data, bytes.length, NULL)) {
        error_set(error, "the message is not UTF-8, and MSH-18 says nothing else");
        return error_hint(error, "MSH-18 names the character set, such as 8859/1");
    }
    return read_segments(message, bytes, error) && text_ok(&message->note, error) &&
           text_ok(&message->document, error) && text_ok(&message->visit, error) && text_ok(&message->control, error);
}

/* Where the next message begins behind `at`: "MSH" at the start of a line or frame. */
static const char *next_message(const char *at, const char *end) {
    for (; at < end; at++) {
        if ((*at == '\r' || *at == '\n' || *at == '\v') && end - at > 4 && memcmp(at + 1, "MSH", 3) == 0 &&
            !isalnum((unsigned char)at[4]))
            return at + 1;
    }
    return end;
}

/* Ends of frames (FS), line ends, and the segments that close a batch (BTS, FTS) are none of the message. */
static struct piece trim_message(const char *start, const char *end) {
    for (;;) {
        while (end > start && strchr("\r\n\v\x1c", end[-1]) != NULL) end--;
        const char *line = end;
        while (line > start && line[-1] != '\r' && line[-1] != '\n') line--;
        if (line == start || end - line < 3 || (memcmp(line, "BTS", 3) != 0 && memcmp(line, "FTS", 3) != 0)) break;
        end = line;
    }
    return (struct piece){start, (size_t)(end - start)};
}

static bool take_message(size_t n, struct piece bytes, hl7_note_function *take, void *context, struct error *error) {
    struct message message = {0};
    struct text converted = {0};
    char number[32];
    bool done = read_message(&message, bytes, &converted, error);
    if (done) {
        const char *id = name_of(&message);
        snprintf(number, sizeof number, "%zu", n);
        done = take(context, id == NULL ? number : id, message.note.data == NULL ? "" : message.note.data,
                    message.note.length, error);
    }
    text_free(&converted);
    text_free(&message.note);
    text_free(&message.document);
    text_free(&message.visit);
    text_free(&message.control);
    return done;
}

/* What may stand before the first message: blanks, the start of a frame, the heads of a file and a batch. */
static const char *first_message(const char *at, const char *end) {
    while (at < end) {
        if (strchr(" \t\r\n\v", *at) != NULL) {
            at++;
        } else if (end - at > 3 && (memcmp(at, "FHS", 3) == 0 || memcmp(at, "BHS", 3) == 0)) {
            while (at < end && *at != '\r' && *at != '\n') at++;
        } else {
            break;
        }
    }
    return at;
}

bool hl7_read(const char *name, const char *bytes, size_t length, hl7_note_function *take, void *context,
              struct error *error) {
    const char *end = bytes + length, *at;
    if (length > 0 && memchr(bytes, '\0', length) != NULL) return error_set(error, "%s: holds NUL bytes", name);
    if (length >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) bytes += 3;
    at = first_message(bytes, end);
    if (end - at < 3 || memcmp(at, "MSH", 3) != 0) {
        error_set(error, "%s: does not begin with an MSH segment", name);
        return error_hint(error, "--hl7 reads HL7 version 2 messages of type MDM^T02");
    }
    for (size_t n = 1; at < end; n++) {
        const char *next = next_message(at, end);
        if (!take_message(n, trim_message(at, next), take, context, error))
            return error_context(error, "%s: message %zu", name, n);
        at = next;
    }
    return true;
}
