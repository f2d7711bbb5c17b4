/* JSON read through cJSON, with a hash over the members of large objects and typed access that says what is wrong. */
#ifndef CASEMIX_BASE_JSON_H
#define CASEMIX_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct cJSON;

/* A parsed document; owns its tree. */
struct json;

/* Nodes are borrowed pointers into the document. */
typedef struct cJSON json_node;

/* Parses exactly one value; bytes behind it other than white space are an error, as are nesting over 256 levels,
 * invalid UTF-8 and duplicate members of an object under 65,536 members. `name` stands in messages. */
bool json_parse(struct json **document, const char *name, const char *bytes, size_t length, struct error *error);
bool json_load(struct json **document, const char *path, size_t limit, struct error *error);
void json_free(struct json *document);
const json_node *json_root(const struct json *document);

bool json_is_object(const json_node *node);
bool json_is_array(const json_node *node);
bool json_is_string(const json_node *node);
bool json_is_number(const json_node *node);
bool json_is_bool(const json_node *node);
bool json_is_null(const json_node *node); /* true for NULL and for null */

/* Member of an object, case-sensitive; NULL if absent or not an object. */
const json_node *json_member(const json_node *object, const char *name);
/* Iteration: first child of an array or object, next sibling, member name of a child of an object. */
const json_node *json_first(const json_node *node);
const json_node *json_next(const json_node *node);
const char *json_name(const json_node *node);
size_t json_count(const json_node *node);

const char *json_string(const json_node *node); /* NULL if not a string */
double json_number(const json_node *node);      /* NaN if not a number */
bool json_integer(const json_node *node,
                  int64_t *value); /* false if not a number with an exact integer value within 2^53 */
bool json_bool(const json_node *node, bool otherwise);

/* Typed members with defaults; a member of the wrong type is an error that names it. `required` false and member absent
 * or null: value untouched. */
bool json_get_int(const json_node *object, const char *name, bool required, int64_t low, int64_t high, int64_t *value,
                  struct error *error);
bool json_get_double(const json_node *object, const char *name, bool required, double *value, struct error *error);
bool json_get_bool(const json_node *object, const char *name, bool required, bool *value, struct error *error);
bool json_get_string(const json_node *object, const char *name, bool required, const char **value, struct error *error);

/* JSON lines: calls back for each non-empty line of a file (plain or gzip, "-" stdin), split at LF only, lines up to 64
 * MiB. Stops at the first false. Errors say file and line. */
typedef bool json_line_function(void *context, uint64_t line, const json_node *root, struct error *error);
bool json_lines(const char *path, json_line_function *function, void *context, struct error *error);

#endif
