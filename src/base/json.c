/* JSON through cJSON. An object with many members gets a hash of them, kept in the `valuestring` field that cJSON
 * leaves unused for objects and frees with the node. */
#include "base/json.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/text.h"
#include <cjson/cJSON.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

enum { DEEPEST = 256, INDEXED = 24, LINE_LIMIT = 64 << 20 };

struct json {
    cJSON *root;
};

/* Members by name: open addressing over a power of two of slots. */
struct member_index {
    size_t mask;
    const cJSON *slots[];
};

static void install_hooks(void) {
    cJSON_Hooks hooks = {memory_alloc_small, memory_free};
    cJSON_InitHooks(&hooks);
}

static const cJSON **index_slot(struct member_index *index, const char *name) {
    size_t i = hash_bytes(name, strlen(name), 1) & index->mask;
    while (index->slots[i] != NULL && strcmp(index->slots[i]->string, name) != 0) i = (i + 1) & index->mask;
    return &index->slots[i];
}

static bool duplicate(const char *document, const char *name, struct error *error) {
    return error_set(error, "%s: member \"%s\" stands twice in one object", document, name);
}

static bool index_object(const char *document, cJSON *object, size_t members, struct error *error) {
    size_t slots = 64;
    while (slots < members * 2) slots *= 2;
    struct member_index *index = memory_zero(1, sizeof *index + slots * sizeof index->slots[0]);
    if (index == NULL) return memory_error(error, slots * sizeof index->slots[0], document);
    index->mask = slots - 1;
    object->valuestring = (char *)index;
    for (const cJSON *member = object->child; member != NULL; member = member->next) {
        const cJSON **slot = index_slot(index, member->string);
        if (*slot != NULL) return duplicate(document, member->string, error);
        *slot = member;
    }
    return true;
}

static bool check_small_object(const char *document, const cJSON *object, struct error *error) {
    for (const cJSON *member = object->child; member != NULL; member = member->next) {
        for (const cJSON *other = object->child; other != member; other = other->next) {
            if (strcmp(other->string, member->string) == 0) return duplicate(document, member->string, error);
        }
    }
    return true;
}

/* Depth, duplicate members and indexes of the whole tree. */
static bool check_tree(const char *document, cJSON *node, int depth, struct error *error) {
    if (depth > DEEPEST) return error_set(error, "%s: JSON nested over %d levels", document, DEEPEST);
    size_t children = 0;
    for (cJSON *child = node->child; child != NULL; child = child->next, children++) {
        if (child->child != NULL && !check_tree(document, child, depth + 1, error)) return false;
    }
    if (!cJSON_IsObject(node)) return true;
    return children >= INDEXED ? index_object(document, node, children, error)
                               : check_small_object(document, node, error);
}

/* cJSON ends a string at an escaped NUL; what would be lost is refused. */
static bool has_escaped_nul(const char *bytes, size_t length) {
    const char *end = bytes + length;
    for (const char *at = bytes; (at = memchr(at, '\\', (size_t)(end - at))) != NULL; at += 2) {
        if (end - at >= 6 && memcmp(at, "\\u0000", 6) == 0) return true;
        if (end - at < 2) return false;
    }
    return false;
}

static size_t line_of(const char *bytes, const char *at) {
    size_t line = 1;
    for (; bytes < at; bytes++) line += *bytes == '\n';
    return line;
}

static bool parse(struct json *document, const char *name, const char *bytes, size_t length, struct error *error) {
    size_t bad;
    if (!utf8_valid(bytes, length, &bad)) return error_set(error, "%s: invalid UTF-8 at byte %zu", name, bad);
    if (memchr(bytes, '\0', length) != NULL || has_escaped_nul(bytes, length))
        return error_set(error, "%s: NUL character in JSON", name);
    const char *end = NULL;
    document->root = cJSON_ParseWithLengthOpts(bytes, length, &end, false);
    if (document->root == NULL) {
        if (end == NULL || end < bytes || end > bytes + length) end = bytes;
        return error_set(error, "%s: not valid JSON (line %zu, byte %zu)", name, line_of(bytes, end),
                         (size_t)(end - bytes));
    }
    for (; end < bytes + length; end++) {
        if (strchr(" \t\r\n", *end) == NULL)
            return error_set(error, "%s: text behind the JSON value (byte %zu)", name, (size_t)(end - bytes));
    }
    return check_tree(name, document->root, 0, error);
}

bool json_parse(struct json **out, const char *name, const char *bytes, size_t length, struct error *error) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, install_hooks);
    if (length == 0) return error_set(error, "%s: empty, expected JSON", name);
    struct json *document = memory_zero(1, sizeof *document);
    if (document == NULL) return memory_error(error, sizeof *document, name);
    if (!parse(document, name, bytes, length, error)) {
        json_free(document);
        return false;
    }
    *out = document;
    return true;
}

bool json_load(struct json **document, const char *path, size_t limit, struct error *error) {
    struct text text = {0};
    const bool done = file_read(&text, path, limit, error) &&
                      json_parse(document, path, text.data == NULL ? "" : text.data, text.length, error);
    text_free(&text);
    return done;
}

void json_free(struct json *document) {
    if (document == NULL) return;
    cJSON_Delete(document->root);
    memory_free(document);
}

const json_node *json_root(const struct json *document) {
    return document->root;
}
bool json_is_object(const json_node *node) {
    return cJSON_IsObject(node) != 0;
}
bool json_is_array(const json_node *node) {
    return cJSON_IsArray(node) != 0;
}
bool json_is_string(const json_node *node) {
    return cJSON_IsString(node) != 0;
}
bool json_is_number(const json_node *node) {
    return cJSON_IsNumber(node) != 0;
}
bool json_is_bool(const json_node *node) {
    return cJSON_IsBool(node) != 0;
}
bool json_is_null(const json_node *node) {
    return node == NULL || cJSON_IsNull(node) != 0;
}

const json_node *json_member(const json_node *object, const char *name) {
    if (!cJSON_IsObject(object)) return NULL;
    if (object->valuestring != NULL) return *index_slot((struct member_index *)object->valuestring, name);
    for (const cJSON *member = object->child; member != NULL; member = member->next) {
        if (strcmp(member->string, name) == 0) return member;
    }
    return NULL;
}

const json_node *json_first(const json_node *node) {
    return node == NULL ? NULL : node->child;
}
const json_node *json_next(const json_node *node) {
    return node == NULL ? NULL : node->next;
}
const char *json_name(const json_node *node) {
    return node == NULL ? NULL : node->string;
}

size_t json_count(const json_node *node) {
    size_t count = 0;
    for (const cJSON *child = json_first(node); child != NULL; child = child->next) count++;
    return count;
}

const char *json_string(const json_node *node) {
    return json_is_string(node) ? node->valuestring : NULL;
}
double json_number(const json_node *node) {
    return json_is_number(node) ? node->valuedouble : (double)NAN;
}
bool json_bool(const json_node *node, bool otherwise) {
    return json_is_bool(node) ? cJSON_IsTrue(node) != 0 : otherwise;
}

bool json_integer(const json_node *node, int64_t *value) {
    const double number = json_number(node);
    if (!(fabs(number) <= 9007199254740992.0) || number < floor(number) || number > floor(number)) return false;
    *value = (int64_t)number;
    return true;
}

/* The member if it is there; *absent otherwise. False when it is required and missing. */
static bool find_member(const json_node *object, const char *name, bool required, const json_node **member,
                        struct error *error) {
    *member = json_member(object, name);
    if (json_is_null(*member)) *member = NULL;
    return *member != NULL || !required || error_set(error, "member \"%s\" is missing", name);
}

bool json_get_int(const json_node *object, const char *name, bool required, int64_t low, int64_t high, int64_t *value,
                  struct error *error) {
    const json_node *member;
    int64_t number;
    if (!find_member(object, name, required, &member, error)) return false;
    if (member == NULL) return true;
    if (!json_integer(member, &number)) return error_set(error, "\"%s\" is not an integer", name);
    if (number < low || number > high) {
        return error_set(error, "\"%s\" is %lld, expected %lld to %lld", name, (long long)number, (long long)low,
                         (long long)high);
    }
    *value = number;
    return true;
}

bool json_get_double(const json_node *object, const char *name, bool required, double *value, struct error *error) {
    const json_node *member;
    if (!find_member(object, name, required, &member, error)) return false;
    if (member == NULL) return true;
    if (!json_is_number(member) || !isfinite(member->valuedouble))
        return error_set(error, "\"%s\" is not a number", name);
    *value = member->valuedouble;
    return true;
}

bool json_get_bool(const json_node *object, const char *name, bool required, bool *value, struct error *error) {
    const json_node *member;
    if (!find_member(object, name, required, &member, error)) return false;
    if (member == NULL) return true;
    if (!json_is_bool(member)) return error_set(error, "\"%s\" is neither true nor false", name);
    *value = json_bool(member, false);
    return true;
}

bool json_get_string(const json_node *object, const char *name, bool required, const char **value,
                     struct error *error) {
    const json_node *member;
    if (!find_member(object, name, required, &member, error)) return false;
    if (member == NULL) return true;
    if (!json_is_string(member)) return error_set(error, "\"%s\" is not a string", name);
    *value = member->valuestring;
    return true;
}

/* One line of a JSON lines file. */
static bool visit_line(const char *path, uint64_t line, const char *bytes, size_t length, json_line_function *function,
                       void *context, struct error *error) {
    while (length > 0 && strchr(" \t\r", bytes[length - 1]) != NULL) length--;
    if (length == 0) return true;
    struct json *document;
    bool done = json_parse(&document, "JSON", bytes, length, error);
    if (done) {
        done = function(context, line, document->root, error);
        json_free(document);
    }
    return done || error_context(error, "%s, line %llu", strcmp(path, "-") == 0 ? "standard input" : path,
                                 (unsigned long long)line);
}

bool json_lines(const char *path, json_line_function *function, void *context, struct error *error) {
    enum { PIECE = 1 << 18 };
    struct file_reader *reader;
    if (!file_reader_open(&reader, path, error)) return false;
    struct text line = {0};
    char *piece = memory_alloc(PIECE, 1);
    bool done = piece != NULL || memory_error(error, PIECE, path);
    uint64_t number = 1;
    for (size_t got = 1; done && got > 0;) {
        done = file_reader_read(reader, piece, PIECE, &got, error);
        for (size_t from = 0; done && from < got;) {
            const char *feed = memchr(piece + from, '\n', got - from);
            const size_t length = feed == NULL ? got - from : (size_t)(feed - piece) - from;
            text_append(&line, piece + from, length);
            done = text_ok(&line, error);
            if (done && line.length > LINE_LIMIT)
                done = error_set(error, "%s, line %llu: over 64 MiB", path, (unsigned long long)number);
            from += length + 1;
            if (!done || feed == NULL) continue;
            done = visit_line(path, number++, line.data, line.length, function, context, error);
            text_clear(&line);
        }
    }
    if (done && line.length > 0) done = visit_line(path, number, line.data, line.length, function, context, error);
    memory_free(piece);
    text_free(&line);
    file_reader_close(reader);
    return done;
}
