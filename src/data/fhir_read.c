/* Reading FHIR documents: see fhir.h. */
#include "base/base64.h"
#include "base/charset.h"
#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "data/fhir.h"
#include "data/xhtml_text.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Sections within sections; more is no document that a person wrote. */
enum { SECTION_DEPTH = 32 };

struct reading {
    const json_node *bundle; /* NULL: a resource by itself */
    struct fhir_note *notes; /* [limit] */
    size_t count, limit;
};

void fhir_note_free(struct fhir_note *note) {
    text_free(&note->text);
}

static const char *string_member(const json_node *object, const char *name) {
    return json_string(json_member(object, name));
}

static bool resource_is(const json_node *resource, const char *type) {
    const char *name = string_member(resource, "resourceType");
    return name != NULL && strcmp(name, type) == 0;
}

static struct fhir_reference read_reference(const json_node *node) {
    const json_node *identifier = json_member(node, "identifier");
    return (struct fhir_reference){string_member(node, "reference"), string_member(node, "type"),
                                   string_member(node, "display"), string_member(identifier, "system"),
                                   string_member(identifier, "value")};
}

/* Encounter: of a Composition itself, of a DocumentReference the first of its context. */
static struct fhir_reference read_encounter(const json_node *resource) {
    const json_node *own = json_member(resource, "encounter"),
                    *context = json_member(json_member(resource, "context"), "encounter");
    return read_reference(own != NULL ? own : json_first(context));
}

/* Of an Attachment, with its type in lower case less its parameters, and the charset of those. */
struct content {
    const char *data; /* base64 */
    bool html;
    char charset[40];
};

/* A type that is read: text/plain, text/html, application/xhtml+xml; nothing said is taken for plain text. */
static bool read_type(const char *type, struct content *content) {
    content->charset[0] = '\0';
    content->html = false;
    if (type == NULL) return true;
    const size_t length = strcspn(type, "; \t");
    const char *charset = strcasestr(type, "charset=");
    if (charset != NULL) {
        charset += strlen("charset=");
        charset += *charset == '"';
        snprintf(content->charset, sizeof content->charset, "%.*s", (int)strcspn(charset, "\"; \t") % 40, charset);
    }
    content->html = (length == 9 && strncasecmp(type, "text/html", 9) == 0) ||
                    (length == 21 && strncasecmp(type, "application/xhtml+xml", 21) == 0);
    return content->html || (length == 10 && strncasecmp(type, "text/plain", 10) == 0);
}

static const json_node *find_contained(const json_node *resource, const char *id) {
    for (const json_node *item = json_first(json_member(resource, "contained")); item != NULL; item = json_next(item)) {
        const char *name = string_member(item, "id");
        if (name != NULL && strcmp(name, id) == 0 && resource_is(item, "Binary")) return item;
    }
    return NULL;
}

/* The Binary that a url means: "#id" contained, else an entry of the Bundle by fullUrl or as Binary/id. */
static const json_node *find_binary(const struct reading *reading, const json_node *resource, const char *url) {
    if (url[0] == '#') return find_contained(resource, url + 1);
    const char *slash = strrchr(url, '/');
    for (const json_node *entry = json_first(json_member(reading->bundle, "entry")); entry != NULL;
         entry = json_next(entry)) {
        const json_node *binary = json_member(entry, "resource");
        const char *full = string_member(entry, "fullUrl"), *id = string_member(binary, "id");
        if (!resource_is(binary, "Binary")) continue;
        if (full != NULL && strcmp(full, url) == 0) return binary;
        if (id != NULL && slash != NULL && slash - url == 6 && strncmp(url, "Binary", 6) == 0 &&
            strcmp(slash + 1, id) == 0)
            return binary;
    }
    return NULL;
}

/* False: the attachment is no text, or is not here. */
static bool find_content(const struct reading *reading, const json_node *resource, const json_node *attachment,
                         struct content *content) {
    const char *url = string_member(attachment, "url");
    if (!read_type(string_member(attachment, "contentType"), content)) return false;
    content->data = string_member(attachment, "data");
    if (content->data != NULL || url == NULL) return content->data != NULL;
    const json_node *binary = find_binary(reading, resource, url);
    if (!read_type(string_member(binary, "contentType"), content)) return false;
    content->data = string_member(binary, "data");
    return content->data != NULL;
}

static bool is_utf8(const char *charset) {
    return charset[0] == '\0' || strcasecmp(charset, "utf-8") == 0 || strcasecmp(charset, "utf8") == 0 ||
           strcasecmp(charset, "us-ascii") == 0;
}

static bool add_content(struct text *out, const struct content *content, struct error *error) {
    struct text bytes = {0}, converted = {0};
    bool done =
        base64_decode(&bytes, content->data, strlen(content->data)) || error_set(error, "the data is not base64");
    done = done && text_ok(&bytes, error);
    if (done && !is_utf8(content->charset) && bytes.length > 0)
        done = charset_to_utf8(&converted, content->charset, bytes.data, bytes.length, error);
    const struct text *text = converted.length > 0 ? &converted : &bytes;
    if (done && text->length > 0) {
        if (content->html)
            xhtml_add_text(out, text->data, text->length);
        else
            text_append(out, text->data, text->length);
    }
    text_free(&bytes);
    text_free(&converted);
    return done && text_ok(out, error);
}

static bool read_document(const struct reading *reading, const json_node *resource, struct fhir_note *note,
                          struct error *error) {
    for (const json_node *item = json_first(json_member(resource, "content")); item != NULL; item = json_next(item)) {
        struct content content;
        if (!find_content(reading, resource, json_member(item, "attachment"), &content)) continue;
        if (!add_content(&note->text, &content, error)) return error_context(error, "content.attachment");
        if (note->text.length > 0) return true;
    }
    error_set(error, "no content.attachment holds text");
    return error_hint(error, "text/plain or text/html as base64 in data, or in a Binary that is contained or in the "
                             "Bundle; nothing is fetched");
}

/* A section: its title as a header line, its narrative, the sections within. */
static bool add_section(struct text *out, const json_node *section, int depth, struct error *error) {
    const char *title = string_member(section, "title"),
               *narrative = string_member(json_member(section, "text"), "div");
    if (depth > SECTION_DEPTH) return error_set(error, "sections are nested over %d deep", SECTION_DEPTH);
    if (title != NULL && title[0] != '\0') {
        text_printf(out, "%s%s", out->length == 0 ? "" : "\n\n", title);
        text_add(out, title[strlen(title) - 1] == ':' ? "\n" : ":\n");
    } else if (narrative != NULL && out->length > 0) {
        text_add(out, "\n\n");
    }
    if (narrative != NULL) xhtml_add_text(out, narrative, strlen(narrative));
    for (const json_node *inner = json_first(json_member(section, "section")); inner != NULL;
         inner = json_next(inner)) {
        if (!add_section(out, inner, depth + 1, error)) return false;
    }
    return true;
}

static bool read_composition(const json_node *resource, struct fhir_note *note, struct error *error) {
    bool narrated = false;
    for (const json_node *section = json_first(json_member(resource, "section")); section != NULL;
         section = json_next(section)) {
        narrated = true;
        if (!add_section(&note->text, section, 1, error)) return false;
    }
    if (!narrated) { /* its own narrative, if that is all there is */
        const char *narrative = string_member(json_member(resource, "text"), "div");
        if (narrative != NULL) xhtml_add_text(&note->text, narrative, strlen(narrative));
    }
    return text_ok(&note->text, error) &&
           (note->text.length > 0 || error_set(error, "neither section.text nor text holds words"));
}

/* Composition.identifier is one, DocumentReference.identifier a list, before masterIdentifier. */
static void name_note(struct fhir_note *note, const json_node *resource, const char *full_url, size_t number) {
    const json_node *identifier = json_member(resource, "identifier");
    const char *id = string_member(resource, "id");
    if (json_is_array(identifier)) identifier = json_first(identifier);
    if (identifier == NULL) identifier = json_member(resource, "masterIdentifier");
    const char *value = string_member(identifier, "value");
    if (id != NULL || value != NULL)
        snprintf(note->id, sizeof note->id, "%.200s", id != NULL ? id : value);
    else
        snprintf(note->id, sizeof note->id, "%zu", number);
    if (full_url != NULL && strlen(full_url) < sizeof note->reference)
        snprintf(note->reference, sizeof note->reference, "%s", full_url);
    else if (id != NULL && strlen(id) <= 64)
        snprintf(note->reference, sizeof note->reference, "%s/%s", note->type, id);
}

static bool read_resource(struct reading *reading, const json_node *resource, const char *full_url,
                          struct error *error) {
    const bool document = resource_is(resource, "DocumentReference");
    if (!document && !resource_is(resource, "Composition")) return true;
    if (reading->count == reading->limit) return error_set(error, "more than %zu documents", reading->limit);
    struct fhir_note *note = &reading->notes[reading->count++];
    *note = (struct fhir_note){.type = document ? "DocumentReference" : "Composition"};
    name_note(note, resource, full_url, reading->count);
    note->subject = read_reference(json_member(resource, "subject"));
    note->encounter = read_encounter(resource);
    if (document ? read_document(reading, resource, note, error) : read_composition(resource, note, error)) return true;
    return error_context(error, "%s %zu", note->type, reading->count);
}

static bool read_bundle(struct reading *reading, struct error *error) {
    for (const json_node *entry = json_first(json_member(reading->bundle, "entry")); entry != NULL;
         entry = json_next(entry)) {
        if (!read_resource(reading, json_member(entry, "resource"), string_member(entry, "fullUrl"), error))
            return false;
    }
    return true;
}

bool fhir_read(const struct cJSON *root, size_t limit, struct fhir_note **notes, size_t *count, struct error *error) {
    const bool bundle = resource_is(root, "Bundle");
    struct reading reading = {.bundle = bundle ? root : NULL, .limit = limit};
    reading.notes = memory_zero(limit, sizeof *reading.notes);
    if (reading.notes == NULL) return memory_error(error, limit * sizeof *reading.notes, "documents");
    bool done = bundle ? read_bundle(&reading, error) : read_resource(&reading, root, NULL, error);
    if (done && reading.count == 0) {
        error_set(error, "there is no DocumentReference and no Composition");
        done = error_hint(error, "one of the two, or a Bundle that holds them, as FHIR R4 JSON");
    }
    if (done) {
        *notes = reading.notes;
        *count = reading.count;
        return true;
    }
    for (size_t i = 0; i < reading.count; i++) fhir_note_free(&reading.notes[i]);
    memory_free(reading.notes);
    return false;
}
