/* tokenizer_config.json: see tokenizer_config.h. */
#include "tokenizer/tokenizer_config.h"
#include "base/error.h"
#include "tokenizer/tokenizer_json.h"
#include <string.h>

static const char file[] = "tokenizer_config.json";

static const json_node *root_of(const struct json *config) {
    return config == NULL ? NULL : json_root(config);
}

bool config_token(const struct json *config, const char *name, const char *otherwise, const char **content,
                  struct error *error) {
    const json_node *member = json_member(root_of(config), name);
    *content = otherwise;
    if (json_is_null(member)) return true;
    *content = json_is_object(member) ? json_string(json_member(member, "content")) : json_string(member);
    return *content != NULL || error_set(error, "%s: \"%s\" is no token", file, name);
}

bool config_flag(const struct json *config, const char *name, bool *value, struct error *error) {
    return json_get_bool(root_of(config), name, false, value, error) || error_context(error, file);
}

/* The id that a member of added_tokens_decoder is named by. */
static bool added_id(const json_node *entry, int64_t *id, struct error *error) {
    return (parse_int64(json_name(entry), id) && *id >= 0 && *id < ID_LIMIT) ||
           error_set(error, "%s: added_tokens_decoder: \"%.50s\" is no id", file, json_name(entry));
}

static const json_node *first_added(const struct json *config) {
    const json_node *list = json_member(root_of(config), "added_tokens_decoder");
    return json_is_object(list) ? json_first(list) : NULL;
}

bool config_measure_added(const struct json *config, size_t *vocabulary, struct error *error) {
    for (const json_node *entry = first_added(config); entry != NULL; entry = json_next(entry)) {
        int64_t id;
        if (!added_id(entry, &id, error)) return false;
        if ((size_t)id >= *vocabulary) *vocabulary = (size_t)id + 1;
    }
    return true;
}

bool config_read_added(struct tokenizer *tokenizer, const struct json *config, struct error *error) {
    for (const json_node *entry = first_added(config); entry != NULL; entry = json_next(entry)) {
        int64_t id;
        const char *content = json_string(json_member(entry, "content"));
        if (!added_id(entry, &id, error)) return false;
        /* Special tokens of the vocabulary itself are there already. */
        if (content != NULL && hash_find(&tokenizer->added, content, strlen(content), -1) >= 0) continue;
        if (!tokenizer_read_added_token(tokenizer, entry, id, error))
            return error_context(error, "%s: added_tokens_decoder", file);
    }
    return true;
}
