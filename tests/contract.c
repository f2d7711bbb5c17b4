/* As much of JSON Schema as openapi.json uses. */
#include "contract.h"
#include <regex.h>
#include <stdio.h>
#include <string.h>

struct checking {
    const json_node *root;
    char *why;
    size_t capacity;
};

static const json_node *follow(const json_node *root, const json_node *schema) {
    const char *reference = json_string(json_member(schema, "$ref"));
    if (reference == NULL) return schema;
    const json_node *components = json_member(json_member(root, "components"), "schemas");
    return json_member(components, strrchr(reference, '/') + 1);
}

static bool complain(const struct checking *checking, const char *at, const char *what) {
    snprintf(checking->why, checking->capacity, "%s: %s", at, what);
    return false;
}

static bool type_fits(const json_node *value, const char *type) {
    int64_t whole;
    if (strcmp(type, "object") == 0) return json_is_object(value);
    if (strcmp(type, "array") == 0) return json_is_array(value);
    if (strcmp(type, "string") == 0) return json_is_string(value);
    if (strcmp(type, "number") == 0) return json_is_number(value);
    if (strcmp(type, "integer") == 0) return json_integer(value, &whole);
    if (strcmp(type, "boolean") == 0) return json_is_bool(value);
    return strcmp(type, "null") == 0 && json_is_null(value);
}

static bool check_type(const struct checking *checking, const json_node *schema, const json_node *value,
                       const char *at) {
    const json_node *type = json_member(schema, "type");
    if (type == NULL || (json_is_string(type) && type_fits(value, json_string(type)))) return true;
    for (const json_node *one = json_is_array(type) ? json_first(type) : NULL; one != NULL; one = json_next(one)) {
        if (type_fits(value, json_string(one))) return true;
    }
    return complain(checking, at, "wrong type");
}

static bool check_plain(const struct checking *checking, const json_node *schema, const json_node *value,
                        const char *at) {
    const json_node *options = json_member(schema, "enum");
    const char *string = json_string(value), *pattern = json_string(json_member(schema, "pattern"));
    bool found = options == NULL || string == NULL;
    for (const json_node *one = json_first(options); !found && one != NULL; one = json_next(one))
        found = json_string(one) != NULL && strcmp(json_string(one), string) == 0;
    if (!found) return complain(checking, at, "none of the enum");
    if (json_is_number(value)) {
        const json_node *low = json_member(schema, "minimum"), *high = json_member(schema, "maximum");
        if ((low != NULL && json_number(value) < json_number(low)) ||
            (high != NULL && json_number(value) > json_number(high)))
            return complain(checking, at, "out of bounds");
    }
    if (string == NULL || pattern == NULL) return true;
    regex_t expression;
    if (regcomp(&expression, pattern, REG_EXTENDED | REG_NOSUB) != 0) return complain(checking, at, "bad pattern");
    const bool fits = regexec(&expression, string, 0, NULL, 0) == 0;
    regfree(&expression);
    return fits || complain(checking, at, "not of the pattern");
}

/* The schema of a member, which may stand in a part of an allOf. */
static const json_node *member_schema(const json_node *root, const json_node *schema, const char *name) {
    schema = follow(root, schema);
    const json_node *found = json_member(json_member(schema, "properties"), name);
    if (found != NULL) return found;
    for (const json_node *part = json_first(json_member(schema, "allOf")); part != NULL && found == NULL;
         part = json_next(part))
        found = member_schema(root, part, name);
    return found;
}

static bool check_required(const struct checking *checking, const json_node *schema, const json_node *value,
                           const char *at) {
    schema = follow(checking->root, schema);
    for (const json_node *name = json_first(json_member(schema, "required")); name != NULL; name = json_next(name)) {
        if (json_member(value, json_string(name)) == NULL) {
            snprintf(checking->why, checking->capacity, "%s: %s is missing", at, json_string(name));
            return false;
        }
    }
    for (const json_node *part = json_first(json_member(schema, "allOf")); part != NULL; part = json_next(part)) {
        if (!check_required(checking, part, value, at)) return false;
    }
    return true;
}

static bool check(const struct checking *checking, const json_node *schema, const json_node *value, const char *at) {
    char inner[512];
    schema = follow(checking->root, schema);
    if (!check_type(checking, schema, value, at) || !check_plain(checking, schema, value, at)) return false;
    if (json_is_array(value)) {
        const json_node *low = json_member(schema, "minItems"), *high = json_member(schema, "maxItems");
        const double count = (double)json_count(value);
        if ((low != NULL && count < json_number(low)) || (high != NULL && count > json_number(high)))
            return complain(checking, at, "too few or too many items");
        snprintf(inner, sizeof inner, "%.500s[]", at);
        for (const json_node *item = json_first(value); item != NULL; item = json_next(item)) {
            if (!check(checking, json_member(schema, "items"), item, inner)) return false;
        }
    }
    if (!json_is_object(value)) return true;
    for (const json_node *member = json_first(value); member != NULL; member = json_next(member)) {
        snprintf(inner, sizeof inner, "%.400s.%.100s", at, json_name(member));
        const json_node *known = member_schema(checking->root, schema, json_name(member));
        if (known == NULL) return complain(checking, inner, "is not in the contract");
        if (!check(checking, known, member, inner)) return false;
    }
    return check_required(checking, schema, value, at);
}

const json_node *contract_operation(const json_node *root, const char *method, const char *path) {
    return json_member(json_member(json_member(root, "paths"), path), method);
}

static bool check_lines(const struct checking *checking, const json_node *schema, const char *bytes, size_t length,
                        bool lines) {
    for (const char *at = bytes, *end = bytes + length; at < end;) {
        const char *feed = lines ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        const size_t size = (size_t)((feed == NULL ? end : feed) - at);
        struct json *document;
        if (!json_parse(&document, "answer", at, size, NULL)) return complain(checking, "body", "no JSON");
        const bool fits = check(checking, schema, json_root(document), "body");
        json_free(document);
        if (!fits) return false;
        at += size + 1;
    }
    return true;
}

bool contract_allows(const json_node *root, const json_node *operation, int status, const char *type,
                     const struct text *body, char *why, size_t capacity) {
    const struct checking checking = {root, why, capacity};
    char number[16], plain[128];
    snprintf(number, sizeof number, "%d", status);
    snprintf(plain, sizeof plain, "%.*s", (int)strcspn(type, ";"), type);
    const json_node *response = json_member(json_member(operation, "responses"), number);
    if (response == NULL) return complain(&checking, number, "the contract has no such status");
    const json_node *content = json_member(json_member(response, "content"), plain);
    if (content == NULL) return complain(&checking, plain, "the contract has no such type");
    const bool lines = strcmp(plain, "application/x-ndjson") == 0;
    if (!lines && strcmp(plain, "application/json") != 0) return true;
    return check_lines(&checking, json_member(content, "schema"), body->data, body->length, lines);
}
