/* adapter_config.json: read with a check of every field that matters, and written as PEFT writes it. */
#include "model/adapter.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "model/names.h"
#include <stdio.h>
#include <string.h>

static bool read_target(struct adapter_config *config, const char *name, struct error *error) {
    if (name == NULL) return error_set(error, "\"target_modules\" holds something that is no name");
    /* A head that is trained whole needs no low-rank term; DRG-LLaMA lists it all the same. */
    for (int kind = 0; kind < PROJECTIONS; kind++) {
        if (strcmp(name, projection_short_name((enum projection_kind)kind)) != 0) continue;
        config->targets[kind] = true;
        return true;
    }
    error_set(error, "target module \"%s\" is not supported", name);
    return error_hint(error, "q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj and down_proj are");
}

static bool read_targets(struct adapter_config *config, const json_node *root, struct error *error) {
    const json_node *list = json_member(root, "target_modules");
    if (json_is_string(list)) return read_target(config, json_string(list), error);
    if (!json_is_array(list) || json_first(list) == NULL)
        return error_set(error, "\"target_modules\" is not a list of names");
    for (const json_node *name = json_first(list); name != NULL; name = json_next(name)) {
        if (!read_target(config, json_string(name), error)) return false;
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
    static const char *const must_be_false[] = {"use_dora", "fan_in_fan_out", "lora_bias"};
    static const char *const must_be_empty[] = {"rank_pattern",   "alpha_pattern",     "layers_to_transform",
                                                "layers_pattern", "layer_replication", "trainable_token_indices"};
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
    *config = (struct adapter_config){0};
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
    return refuse_unsupported(root, error) && read_targets(config, root, error) && read_saved(config, root, error);
}

bool adapter_config_load(struct adapter_config *config, const char *directory, struct error *error) {
    char path[4096];
    struct json *document;
    if (!path_join(path, sizeof path, directory, "adapter_config.json"))
        return error_set(error, "%s: path too long", directory);
    if (!json_load(&document, path, (size_t)16 << 20, error)) return false;
    const bool read = read_config(config, json_root(document), error);
    json_free(document);
    return read || error_context(error, "%s", path);
}

bool adapter_config_write(const struct adapter_config *config, const char *directory, int64_t labels,
                          struct error *error) {
    struct text text = {0};
    text_add(&text, "{\n  \"peft_type\": \"LORA\",\n  \"base_model_name_or_path\": ");
    text_add_json(&text, config->base, strlen(config->base));
    text_printf(&text,
                ",\n  \"task_type\": \"%s\",\n  \"r\": %lld,\n  \"lora_alpha\": ", labels > 0 ? "SEQ_CLS" : "CAUSAL_LM",
                (long long)config->rank);
    text_add_json_double(&text, config->alpha);
    text_add(&text, ",\n  \"lora_dropout\": ");
    text_add_json_double(&text, config->dropout);
    text_printf(&text,
                ",\n  \"use_rslora\": %s,\n  \"bias\": \"none\",\n  \"fan_in_fan_out\": false,\n  \"inference_mode\": "
                "true,\n  \"target_modules\": [",
                config->rank_stable ? "true" : "false");
    bool first = true;
    for (int kind = 0; kind < PROJECTIONS; kind++) {
        if (!config->targets[kind]) continue;
        text_printf(&text, "%s\"%s\"", first ? "" : ", ", projection_short_name((enum projection_kind)kind));
        first = false;
    }
    text_printf(&text, "],\n  \"modules_to_save\": %s\n}\n", config->saves_score ? "[\"score\"]" : "null");
    char path[4096];
    bool done = text_ok(&text, error) && (path_join(path, sizeof path, directory, "adapter_config.json") ||
                                          error_set(error, "%s: path too long", directory));
    done = done && file_write(path, text.data, text.length, error);
    text_free(&text);
    return done;
}
