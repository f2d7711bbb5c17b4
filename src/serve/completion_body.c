/* OpenAI's members: those that are granted, those that may only be neutral, and no others. */
#include "serve/completion_body.h"
#include "base/error.h"
#include "base/memory.h"
#include "serve/body.h"
#include <string.h>

static const char *const granted[] = {
    "model", "messages", "prompt", "max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "min_p",
    "repetition_penalty", "n", "seed", "stop", "stream", "stream_options", "user", "answer_trie",
    /* neutral only */
    "logprobs", "top_logprobs", "presence_penalty", "frequency_penalty", "logit_bias", "best_of", "echo", "suffix",
    "tools", "tool_choice", "functions", "response_format", "parallel_tool_calls", "store", "metadata", NULL};

static const char *const neutral_only[] = {"logprobs",
                                           "top_logprobs",
                                           "presence_penalty",
                                           "frequency_penalty",
                                           "logit_bias",
                                           "best_of",
                                           "echo",
                                           "suffix",
                                           "tools",
                                           "tool_choice",
                                           "functions",
                                           "response_format",
                                           "parallel_tool_calls",
                                           "store",
                                           "metadata",
                                           NULL};

/* A member that asks for nothing: null, false, 0, one alternative, "none", an empty list, or plain text. */
static bool is_neutral(const char *name, const json_node *node) {
    const char *string = json_string(node);
    if (json_is_null(node) || (json_is_bool(node) && !json_bool(node, false))) return true;
    if (json_is_number(node))
        return strcmp(name, "best_of") == 0 ? !(json_number(node) > 1)
                                            : !(json_number(node) > 0 || json_number(node) < 0);
    if (string != NULL) return strcmp(string, "none") == 0 || strcmp(string, "auto") == 0 || string[0] == '\0';
    if (strcmp(name, "parallel_tool_calls") == 0) return true;
    if (strcmp(name, "response_format") == 0) {
        const char *type = json_string(json_member(node, "type"));
        return type != NULL && strcmp(type, "text") == 0;
    }
    return json_count(node) == 0 || strcmp(name, "metadata") == 0;
}

static bool check_neutral(const json_node *root, struct error *error) {
    for (const char *const *name = neutral_only; *name != NULL; name++) {
        if (!is_neutral(*name, json_member(root, *name))) return error_set(error, "\"%s\" is not supported", *name);
    }
    return true;
}

static bool read_messages(struct completion_body *body, const json_node *list, struct error *error) {
    const size_t count = json_count(list);
    if (!json_is_array(list) || count == 0 || count > COMPLETION_MESSAGES)
        return error_set(error, "\"messages\" is not a list of 1 to %d messages", COMPLETION_MESSAGES);
    body->messages = memory_zero(count, sizeof *body->messages);
    if (body->messages == NULL) return memory_error(error, count * sizeof *body->messages, "the messages");
    for (const json_node *item = json_first(list); item != NULL; item = json_next(item)) {
        struct chat_message *message = &body->messages[body->message_count++];
        message->role = json_string(json_member(item, "role"));
        message->content = json_string(json_member(item, "content"));
        if (message->role == NULL || message->content == NULL) {
            error_set(error, "message %zu has no \"role\" or no \"content\" that is a string", body->message_count);
            return error_hint(error, "content in parts, tools and images are not supported");
        }
        if (strcmp(message->role, "system") != 0 && strcmp(message->role, "user") != 0 &&
            strcmp(message->role, "assistant") != 0)
            return error_set(error, "the role of message %zu is none of system, user, assistant", body->message_count);
        message->length = strlen(message->content);
    }
    return true;
}

static bool read_stops(struct completion_body *body, const json_node *stop, struct error *error) {
    const json_node *item = json_is_array(stop) ? json_first(stop) : stop;
    if (json_is_null(stop)) return true;
    for (; item != NULL; item = json_is_array(stop) ? json_next(item) : NULL) {
        const char *string = json_string(item);
        if (string == NULL || string[0] == '\0' || strlen(string) > 1000 || body->stop_count == COMPLETION_STOPS)
            return error_set(error, "\"stop\" is not one to %d strings of 1 to 1000 bytes", COMPLETION_STOPS);
        body->stops[body->stop_count++] = string;
    }
    return true;
}

static bool read_sampling(struct completion_body *body, const json_node *root, struct error *error) {
    struct sampling *sampling = &body->sampling;
    *sampling = (struct sampling){.temperature = 0.7, .top_p = 0.95, .repetition_penalty = 1};
    return json_get_double(root, "temperature", false, &sampling->temperature, error) &&
           json_get_double(root, "top_p", false, &sampling->top_p, error) &&
           json_get_int(root, "top_k", false, 0, INT32_MAX, &sampling->top_k, error) &&
           json_get_double(root, "min_p", false, &sampling->min_p, error) &&
           json_get_double(root, "repetition_penalty", false, &sampling->repetition_penalty, error) &&
           sampling_check(sampling, error);
}

static bool read_body(struct completion_body *body, const json_node *root, bool chat, struct error *error) {
    const json_node *options = json_member(root, "stream_options");
    *body = (struct completion_body){.max_tokens = 512, .samples = 1, .seed = -1};
    if (!json_is_null(options) && !json_get_bool(options, "include_usage", false, &body->include_usage, error))
        return false;
    if (chat ? !read_messages(body, json_member(root, "messages"), error)
             : !json_get_string(root, "prompt", true, &body->prompt, error))
        return false;
    return json_get_string(root, "model", false, &body->model, error) &&
           json_get_int(root, "max_tokens", false, 1, 1 << 20, &body->max_tokens, error) &&
           json_get_int(root, "max_completion_tokens", false, 1, 1 << 20, &body->max_tokens, error) &&
           json_get_int(root, "n", false, 1, COMPLETION_SAMPLES, &body->samples, error) &&
           json_get_int(root, "seed", false, -(INT64_C(1) << 53), INT64_C(1) << 53, &body->seed, error) &&
           json_get_bool(root, "stream", false, &body->stream, error) &&
           json_get_bool(root, "answer_trie", false, &body->answer_trie, error) &&
           read_stops(body, json_member(root, "stop"), error) && read_sampling(body, root, error);
}

bool completion_body_parse(struct completion_body *body, struct json **document, const char *bytes, size_t length,
                           bool chat, bool *unsupported, struct error *error) {
    *unsupported = false;
    *body = (struct completion_body){0};
    if (!body_parse(document, bytes, length, granted, error)) return false;
    if (!check_neutral(json_root(*document), error))
        *unsupported = true;
    else if (read_body(body, json_root(*document), chat, error))
        return true;
    completion_body_free(body);
    json_free(*document);
    *document = NULL;
    return false;
}

void completion_body_free(struct completion_body *body) {
    memory_free(body->messages);
    *body = (struct completion_body){0};
}
