/* adapter_config.json: read with a check of every field that matters, and written as PEFT writes it. */
#include "model/adapter.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "model/names.h"
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>
#include <string.h>

/* Modules that a list of targets may name. */
static bool is_projection(const char *target) {
    const char *dot = strrchr(target, '.'), *last = dot == NULL ? target : dot + 1;
    for (int kind = 0; kind < PROJECTIONS; kind++) {
        if (strcmp(last, projection_short_name((enum projection_kind)kind)) == 0) return true;
    }
    return false;
}

static const char *keep_string(struct adapter_config *config, const char *string, struct error *error) {
    const char *kept = arena_string(&config->owned, string, strlen(string));
    if (kept == NULL) memory_error(error, strlen(string), "adapter_config.json");
    return kept;
}

static bool read_targets(struct adapter_config *config, const json_node *root, struct error *error) {
    const json_node *list = json_member(root, "target_modules");
    if (json_is_string(list)) {
        config->expression = keep_string(config, json_string(list), error);
        return config->expression != NULL;
    }
    if (!json_is_array(list) || json_first(list) == NULL)
        return error_set(error, "\"target_modules\" is neither a list of names nor an expression");
    config->targets = arena_alloc(&config->owned, json_count(list), sizeof *config->targets);
    if (config->targets == NULL) return memory_error(error, json_count(list) * sizeof *config->targets, "the targets");
    for (const json_node *item = json_first(list); item != NULL; item = json_next(item)) {
        const char *name = json_string(item);
        if (name == NULL) return error_set(error, "\"target_modules\" holds something that is no name");
        if (!is_projection(name)) {
            error_set(error, "target module \"%s\" is not supported", name);
            return error_hint(error, "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj and down_proj are");
        }
        if ((config->targets[config->target_count++] = keep_string(config, name, error)) == NULL) return false;
    }
    return true;
}

static bool read_layers(struct adapter_config *config, const json_node *root, struct error *error) {
    const json_node *node = json_member(root, "layers_to_transform");
    if (json_is_null(node)) return true;
    const size_t count = json_is_array(node) ? json_count(node) : 1;
    config->layers = arena_alloc(&config->owned, count, sizeof *config->layers);
    if (config->layers == NULL) return memory_error(error, count * sizeof *config->layers, "layers_to_transform");
    const json_node *item = json_is_array(node) ? json_first(node) : node;
    for (size_t i = 0; i < count; i++, item = json_next(item)) {
        if (!json_integer(item, &config->layers[i]) || config->layers[i] < 0)
            return error_set(error, "\"layers_to_transform\" is no number of a layer and no list of them");
    }
    config->layer_count = count;
    return true;
}

static bool read_overrides(struct adapter_config *config, const json_node *root, const char *name,
                           struct adapter_override **overrides, size_t *count, struct error *error) {
    const json_node *node = json_member(root, name);
    if (json_is_null(node)) return true;
    if (!json_is_object(node)) return error_set(error, "\"%s\" is no object", name);
    *overrides = arena_alloc(&config->owned, json_count(node), sizeof **overrides);
    if (*overrides == NULL) return memory_error(error, json_count(node) * sizeof **overrides, name);
    for (const json_node *member = json_first(node); member != NULL; member = json_next(member)) {
        const double value = json_number(member);
        const char *pattern = keep_string(config, json_name(member), error);
        if (pattern == NULL) return false;
        if (!(value > 0 && value <= 1 << 14))
            return error_set(error, "\"%s\": the value of \"%s\" is no number from 1 to 16384", name, pattern);
        (*overrides)[(*count)++] = (struct adapter_override){pattern, value};
    }
    return true;
}

static bool read_saved(struct adapter_config *config, const json_node *root, struct error *error) {
    for (const json_node *name = json_first(json_member(root, "modules_to_save")); name != NULL;
         name = json_next(name)) {
        const char *module = json_string(name);
        if (module != NULL && strcmp(module, "score") == 0)
            config->saves_score = true;
        else if (module == NULL || strcmp(module, "classifier") != 0) {
            return error_set(error, "modules_to_save \"%s\" is not supported, only score is",
                             module == NULL ? "" : module);
        }
    }
    return true;
}

static bool refuse_unsupported(const json_node *root, struct error *error) {
    static const char *const must_be_false[] = {"use_dora", "fan_in_fan_out", "lora_bias", "use_qalora", "use_bdlora"};
    static const char *const must_be_empty[] = {"layers_pattern",          "layer_replication", "exclude_modules",
                                                "trainable_token_indices", "target_parameters", "arrow_config",
                                                "alora_invocation_tokens"};
    for (size_t i = 0; i < sizeof must_be_false / sizeof must_be_false[0]; i++) {
        if (json_bool(json_member(root, must_be_false[i]), false))
            return error_set(error, "\"%s\": true is not supported", must_be_false[i]);
    }
    for (size_t i = 0; i < sizeof must_be_empty / sizeof must_be_empty[0]; i++) {
        const json_node *member = json_member(root, must_be_empty[i]);
        if (!json_is_null(member) &&
            (json_first(member) != NULL || !(json_is_array(member) || json_is_object(member)))) {
            return error_set(error, "\"%s\" is not supported", must_be_empty[i]);
        }
    }
    const char *bias = "none";
    if (!json_get_string(root, "bias", false, &bias, error)) return false;
    return strcmp(bias, "none") == 0 || error_set(error, "bias \"%s\" is not supported, only none is", bias);
}

static bool read_config(struct adapter_config *config, const json_node *root, struct error *error) {
    const char *type = NULL, *base = "";
    if (!json_is_object(root)) return error_set(error, "not a JSON object");
    if (!json_get_string(root, "peft_type", true, &type, error)) return false;
    if (strcmp(type, "LORA") != 0) return error_set(error, "peft_type \"%s\" is not supported, only LORA is", type);
    if (!json_get_int(root, "r", true, 1, 1 << 14, &config->rank, error)) return false;
    if (!json_get_double(root, "lora_alpha", true, &config->alpha, error)) return false;
    if (!json_get_double(root, "lora_dropout", false, &config->dropout, error)) return false;
    if (!(config->dropout >= 0 && config->dropout < 1))
        return error_set(error, "lora_dropout %g is not in [0, 1)", config->dropout);
    if (!json_get_bool(root, "use_rslora", false, &config->rank_stable, error)) return false;
    if (!json_get_string(root, "base_model_name_or_path", false, &base, error)) return false;
    if (strlen(base) >= sizeof config->base) return error_set(error, "\"base_model_name_or_path\" is too long");
    strcpy(config->base, base);
    return refuse_unsupported(root, error) && read_targets(config, root, error) && read_layers(config, root, error) &&
           read_overrides(config, root, "rank_pattern", &config->ranks, &config->rank_count, error) &&
           read_overrides(config, root, "alpha_pattern", &config->alphas, &config->alpha_count, error) &&
           read_saved(config, root, error);
}

bool adapter_config_load(struct adapter_config *config, const char *directory, struct error *error) {
    char path[4096];
    struct json *document;
    *config = (struct adapter_config){0};
    if (!path_join(path, sizeof path, directory, "adapter_config.json"))
        return error_set(error, "%s: path too long", directory);
    if (!json_load(&document, path, (size_t)16 << 20, error)) return false;
    const bool read = read_config(config, json_root(document), error);
    json_free(document);
    if (read) return true;
    adapter_config_free(config);
    return error_context(error, "%s", path);
}

void adapter_config_free(struct adapter_config *config) {
    arena_free(&config->owned);
    *config = (struct adapter_config){0};
}

bool adapter_config_make(struct adapter_config *config, const struct lora_settings *settings, bool saves_score,
                         struct error *error) {
    *config = (struct adapter_config){.rank = settings->rank,
                                      .alpha = settings->alpha,
                                      .dropout = settings->dropout,
                                      .rank_stable = settings->rank_stable,
                                      .saves_score = saves_score};
    config->targets = arena_alloc(&config->owned, PROJECTIONS, sizeof *config->targets);
    if (config->targets == NULL) return memory_error(error, PROJECTIONS * sizeof *config->targets, "the targets");
    for (int kind = 0; kind < PROJECTIONS; kind++) {
        if (settings->targets[kind])
            config->targets[config->target_count++] = projection_short_name((enum projection_kind)kind);
    }
    return true;
}

/* Whether the whole name matches the expression, or, with `end`, an end of it that begins at its start or behind a dot.
 */
static bool name_matches(const char *expression, const char *name, bool end, bool *matches, struct error *error) {
    enum { STEPS = 100000 }; /* far more than an honest expression takes on so short a name */
    char anchored[2048];
    int code;
    PCRE2_SIZE at;
    if ((size_t)snprintf(anchored, sizeof anchored, end ? "\\A(?:.*\\.)?(?:%s)\\z" : "\\A(?:%s)\\z", expression) >=
        sizeof anchored)
        return error_set(error, "the expression \"%.40s…\" is too long", expression);
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)anchored, PCRE2_ZERO_TERMINATED, 0, &code, &at, NULL);
    if (compiled == NULL) return error_set(error, "\"%s\" is no regular expression", expression);
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(compiled, NULL);
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    int found = PCRE2_ERROR_NOMEMORY;
    if (data != NULL && context != NULL) {
        pcre2_set_match_limit(context, STEPS);
        found = pcre2_match(compiled, (PCRE2_SPTR)name, strlen(name), 0, 0, data, context);
    }
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
    pcre2_code_free(compiled);
    *matches = found >= 0;
    return found >= 0 || found == PCRE2_ERROR_NOMATCH ||
           error_set(error, "matching \"%s\" against %s goes too far", expression, name);
}

static bool is_target(const struct adapter_config *config, int64_t layer, const char *name, bool *target,
                      struct error *error) {
    *target = false;
    for (size_t i = 0; i < config->layer_count && !*target; i++) *target = config->layers[i] == layer;
    if (config->layer_count > 0 && !*target) return true;
    *target = config->expression != NULL && strcmp(config->expression, "all-linear") == 0;
    if (config->expression != NULL) return *target || name_matches(config->expression, name, false, target, error);
    for (size_t i = 0; i < config->target_count && !*target; i++) {
        const size_t length = strlen(config->targets[i]), whole = strlen(name);
        *target = length <= whole && strcmp(name + whole - length, config->targets[i]) == 0 &&
                  (length == whole || name[whole - length - 1] == '.');
    }
    return true;
}

/* The first pattern that matches decides. */
static bool apply_overrides(const struct adapter_override *overrides, size_t count, const char *name, double *value,
                            struct error *error) {
    bool matches = false;
    for (size_t i = 0; i < count && !matches; i++) {
        if (!name_matches(overrides[i].pattern, name, true, &matches, error)) return false;
        if (matches) *value = overrides[i].value;
    }
    return true;
}

bool adapter_config_term(const struct adapter_config *config, int64_t layer, enum projection_kind kind, int64_t *rank,
                         double *alpha, struct error *error) {
    char name[128];
    bool target;
    double r = (double)config->rank;
    snprintf(name, sizeof name, "model.layers.%lld.%s", (long long)layer, projection_name(kind));
    *rank = 0;
    *alpha = config->alpha;
    if (!is_target(config, layer, name, &target, error)) return false;
    if (!target) return true;
    if (!apply_overrides(config->ranks, config->rank_count, name, &r, error) ||
        !apply_overrides(config->alphas, config->alpha_count, name, alpha, error))
        return false;
    *rank = (int64_t)r;
    return (double)*rank == r || error_set(error, "\"rank_pattern\": %g is no rank", r);
}

static void add_targets(struct text *text, const struct adapter_config *config) {
    text_add(text, ",\n  \"target_modules\": ");
    if (config->expression != NULL) {
        text_add_json(text, config->expression, strlen(config->expression));
        return;
    }
    for (size_t i = 0; i < config->target_count; i++) {
        text_add(text, i == 0 ? "[" : ", ");
        text_add_json(text, config->targets[i], strlen(config->targets[i]));
    }
    text_add_char(text, ']');
}

static void add_overrides(struct text *text, const char *name, const struct adapter_override *overrides, size_t count) {
    text_printf(text, ",\n  \"%s\": {", name);
    for (size_t i = 0; i < count; i++) {
        text_add(text, i == 0 ? "" : ", ");
        text_add_json(text, overrides[i].pattern, strlen(overrides[i].pattern));
        text_add(text, ": ");
        text_add_json_double(text, overrides[i].value);
    }
    text_add_char(text, '}');
}

static void add_layers(struct text *text, const struct adapter_config *config) {
    text_add(text, ",\n  \"layers_to_transform\": ");
    if (config->layer_count == 0) text_add(text, "null");
    for (size_t i = 0; i < config->layer_count; i++)
        text_printf(text, "%s%lld%s", i == 0 ? "[" : ", ", (long long)config->layers[i],
                    i + 1 == config->layer_count ? "]" : "");
}

bool adapter_config_write(const struct adapter_config *config, const char *directory, bool classifier,
                          struct error *error) {
    struct text text = {0};
    text_add(&text, "{\n  \"peft_type\": \"LORA\",\n  \"base_model_name_or_path\": ");
    text_add_json(&text, config->base, strlen(config->base));
    text_printf(&text,
                ",\n  \"task_type\": \"%s\",\n  \"r\": %lld,\n  \"lora_alpha\": ", classifier ? "SEQ_CLS" : "CAUSAL_LM",
                (long long)config->rank);
    text_add_json_double(&text, config->alpha);
    text_add(&text, ",\n  \"lora_dropout\": ");
    text_add_json_double(&text, config->dropout);
    text_printf(&text,
                ",\n  \"use_rslora\": %s,\n  \"bias\": \"none\",\n  \"fan_in_fan_out\": false,\n  \"inference_mode\": "
                "true",
                config->rank_stable ? "true" : "false");
    add_targets(&text, config);
    add_layers(&text, config);
    add_overrides(&text, "rank_pattern", config->ranks, config->rank_count);
    add_overrides(&text, "alpha_pattern", config->alphas, config->alpha_count);
    text_printf(&text, ",\n  \"modules_to_save\": %s\n}\n", config->saves_score ? "[\"score\"]" : "null");
    char path[4096];
    bool done = text_ok(&text, error) && (path_join(path, sizeof path, directory, "adapter_config.json") ||
                                          error_set(error, "%s: path too long", directory));
    done = done && file_write(path, text.data, text.length, error);
    text_free(&text);
    return done;
}
