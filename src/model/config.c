/* config.json: defaults as transformers 4.46 has them, and refusal by name of what casemix does not compute. */
#include "model/config.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "tensor/attention.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    enum architecture architecture;
    bool classifier;
} architectures[] = {
    {"LlamaForCausalLM", ARCHITECTURE_LLAMA, false},
    {"LlamaForSequenceClassification", ARCHITECTURE_LLAMA, true},
    {"Qwen2ForCausalLM", ARCHITECTURE_QWEN2, false},
    {"Qwen2ForSequenceClassification", ARCHITECTURE_QWEN2, true},
    {"MistralForCausalLM", ARCHITECTURE_MISTRAL, false},
    {"MistralForSequenceClassification", ARCHITECTURE_MISTRAL, true},
};
enum { ARCHITECTURES = sizeof architectures / sizeof architectures[0] };

/* model_type, and what transformers takes where a member is absent; KV heads 0: as many as heads. */
static const struct {
    const char *model_type;
    int64_t positions, kv_heads, window;
} families[] = {
    [ARCHITECTURE_LLAMA] = {"llama", 2048, 0, 0},
    [ARCHITECTURE_QWEN2] = {"qwen2", 32768, 32, 4096},
    [ARCHITECTURE_MISTRAL] = {"mistral", 131072, 8, 4096},
};

const char *architecture_name(const struct model_config *config) {
    for (int i = 0; i < ARCHITECTURES; i++) {
        if (architectures[i].architecture == config->architecture && architectures[i].classifier == config->classifier)
            return architectures[i].name;
    }
    return "";
}

static bool read_architecture(struct model_config *config, const json_node *root, struct error *error) {
    const json_node *list = json_member(root, "architectures");
    const char *name = json_string(json_first(list));
    if (!json_is_array(list) || name == NULL) return error_set(error, "\"architectures\" is not a list of one name");
    for (int i = 0; i < ARCHITECTURES; i++) {
        if (strcmp(architectures[i].name, name) != 0) continue;
        config->architecture = architectures[i].architecture;
        config->classifier = architectures[i].classifier;
        return true;
    }
    error_set(error, "architecture \"%s\" is not supported", name);
    return error_hint(error, "casemix reads LlamaForCausalLM, Qwen2ForCausalLM, MistralForCausalLM and their "
                             "ForSequenceClassification twins");
}

static bool read_sizes(struct model_config *config, const json_node *root, struct error *error) {
    const int64_t most = INT32_MAX;
    if (!json_get_int(root, "vocab_size", true, 1, most, &config->V, error)) return false;
    if (!json_get_int(root, "hidden_size", true, 1, 1 << 20, &config->C, error)) return false;
    if (!json_get_int(root, "num_hidden_layers", true, 1, 4096, &config->L, error)) return false;
    if (!json_get_int(root, "num_attention_heads", true, 1, 4096, &config->H, error)) return false;
    if (!json_get_int(root, "intermediate_size", true, 1, 1 << 22, &config->F, error)) return false;
    const int64_t kv_heads = families[config->architecture].kv_heads;
    config->K = kv_heads == 0 || json_member(root, "num_key_value_heads") != NULL ? config->H : kv_heads;
    if (!json_get_int(root, "num_key_value_heads", false, 1, 4096, &config->K, error)) return false;
    config->D = config->C / config->H;
    if (json_is_null(json_member(root, "head_dim")) && config->C % config->H != 0) {
        return error_set(error, "hidden_size %lld is not a multiple of num_attention_heads %lld", (long long)config->C,
                         (long long)config->H);
    }
    if (!json_get_int(root, "head_dim", false, 2, ATTENTION_HEAD_LIMIT, &config->D, error)) return false;
    if (config->D % 2 != 0 || config->D < 2 || config->D > ATTENTION_HEAD_LIMIT) {
        return error_set(error, "head size %lld is not supported: even numbers up to %d are", (long long)config->D,
                         ATTENTION_HEAD_LIMIT);
    }
    if (config->H % config->K != 0 || config->H / config->K > ATTENTION_GROUP_LIMIT) {
        return error_set(error, "num_attention_heads %lld is not a multiple (up to %d) of num_key_value_heads %lld",
                         (long long)config->H, ATTENTION_GROUP_LIMIT, (long long)config->K);
    }
    config->positions = families[config->architecture].positions;
    return json_get_int(root, "max_position_embeddings", false, 1, most, &config->positions, error);
}

static bool read_llama3(struct model_config *config, const json_node *rope, struct error *error) {
    config->rope_scaling = ROPE_LLAMA3;
    if (!json_get_double(rope, "low_freq_factor", true, &config->rope_low, error) ||
        !json_get_double(rope, "high_freq_factor", true, &config->rope_high, error) ||
        !json_get_int(rope, "original_max_position_embeddings", true, 1, INT32_MAX, &config->rope_original, error)) {
        return false;
    }
    return (config->rope_low > 0 && config->rope_high > config->rope_low) ||
           error_set(error, "low_freq_factor %g and high_freq_factor %g are not rising", config->rope_low,
                     config->rope_high);
}

/* "rope_type", in older files "type". */
static bool read_scaling(struct model_config *config, const json_node *rope, const char *type, struct error *error) {
    if (strcmp(type, "default") == 0) return true;
    if (strcmp(type, "linear") != 0 && strcmp(type, "llama3") != 0) {
        error_set(error, "type \"%s\" is not supported", type);
        return error_hint(error, "default, linear and llama3 are");
    }
    if (!json_get_double(rope, "factor", true, &config->rope_factor, error)) return false;
    if (!(config->rope_factor >= 1))
        return error_set(error, "\"factor\" is %g, expected 1 or more", config->rope_factor);
    if (strcmp(type, "llama3") == 0) return read_llama3(config, rope, error);
    config->rope_scaling = ROPE_LINEAR;
    return true;
}

/* transformers 4 has "rope_theta" and "rope_scaling" (or null), transformers 5 both in one object "rope_parameters". */
static bool read_rope(struct model_config *config, const json_node *root, struct error *error) {
    double share = 1;
    const bool newer = !json_is_null(json_member(root, "rope_parameters"));
    const char *name = newer ? "rope_parameters" : "rope_scaling";
    const json_node *rope = json_member(root, name);
    if (!json_get_double(root, "rope_theta", false, &config->rope_theta, error) ||
        !json_get_double(root, "partial_rotary_factor", false, &share, error)) {
        return false;
    }
    if (!json_is_null(rope)) {
        const char *type = newer ? "default" : NULL;
        if (!json_is_object(rope)) return error_set(error, "\"%s\" is not an object", name);
        if (!json_get_string(rope, "type", false, &type, error) ||
            !json_get_string(rope, "rope_type", false, &type, error) ||
            !json_get_double(rope, "partial_rotary_factor", false, &share, error) ||
            !json_get_double(rope, "rope_theta", false, &config->rope_theta, error)) {
            return error_context(error, "%s", name);
        }
        if (type == NULL) return error_set(error, "\"%s\" names no \"rope_type\"", name);
        for (const json_node *member = json_first(rope); member != NULL; member = json_next(member)) {
            if (json_is_object(member))
                return error_set(error, "%s: parameters of their own for \"%s\" are not supported", name,
                                 json_name(member));
        }
        if (!read_scaling(config, rope, type, error)) return error_context(error, "%s", name);
    }
    if (share < 1 || share > 1) return error_set(error, "partial_rotary_factor %g is not supported, only 1 is", share);
    return config->rope_theta >= 1 || error_set(error, "rope_theta %g is not 1 or more", config->rope_theta);
}

/* bos_token_id and such: absent, null, an integer, or a list whose first counts. */
static bool read_id(const json_node *root, const char *name, int32_t *id, struct error *error) {
    const json_node *member = json_member(root, name);
    if (json_is_array(member)) member = json_first(member);
    *id = -1;
    int64_t value;
    if (json_is_null(member)) return true;
    if (!json_integer(member, &value) || value < -1 || value > INT32_MAX)
        return error_set(error, "\"%s\" is no token id", name);
    *id = (int32_t)value;
    return true;
}

static bool read_biases(struct model_config *config, const json_node *root, struct error *error) {
    config->qkv_bias = config->architecture == ARCHITECTURE_QWEN2;
    if (config->architecture != ARCHITECTURE_LLAMA) return true;
    bool attention = false;
    if (!json_get_bool(root, "attention_bias", false, &attention, error)) return false;
    config->qkv_bias = config->o_bias = attention;
    return json_get_bool(root, "mlp_bias", false, &config->mlp_bias, error);
}

/* Whether any layer attends through a window. Newer files list the layers' kinds; older Qwen2 files have a switch, and
 * a Mistral model has a window wherever its width is not null. Llama has none, whatever its file says. */
static bool window_in_use(const struct model_config *config, const json_node *root, bool *used, struct error *error) {
    *used = config->architecture == ARCHITECTURE_MISTRAL;
    if (config->architecture == ARCHITECTURE_QWEN2) {
        int64_t full_layers = 28;
        if (!json_get_bool(root, "use_sliding_window", false, used, error) ||
            !json_get_int(root, "max_window_layers", false, 0, INT32_MAX, &full_layers, error)) {
            return false;
        }
        *used = *used && full_layers < config->L;
    }
    const json_node *kinds = json_member(root, "layer_types");
    if (json_is_null(kinds) || config->architecture == ARCHITECTURE_LLAMA) return true;
    *used = false;
    for (const json_node *kind = json_first(kinds); kind != NULL; kind = json_next(kind)) {
        const char *name = json_string(kind);
        if (name != NULL && strcmp(name, "sliding_attention") == 0)
            *used = true;
        else if (name == NULL || strcmp(name, "full_attention") != 0)
            return error_set(error, "layer_types: \"%s\" is not supported", name == NULL ? "" : name);
    }
    return true;
}

/* A token sees `sliding_window` tokens, itself among them: sequences up to that length know no window, and longer ones
 * are refused by the limit of positions. */
static bool read_window(struct model_config *config, const json_node *root, struct error *error) {
    bool used;
    if (!window_in_use(config, root, &used, error)) return false;
    const json_node *member = json_member(root, "sliding_window");
    int64_t width = member == NULL ? families[config->architecture].window : 0;
    if (!json_get_int(root, "sliding_window", false, 1, INT32_MAX, &width, error)) return false;
    if (used && width > 0 && width < config->positions) config->positions = width;
    return true;
}

static bool refuse_unsupported(const json_node *root, struct error *error) {
    const char *activation = "silu";
    if (!json_get_string(root, "hidden_act", false, &activation, error)) return false;
    if (strcmp(activation, "silu") != 0 && strcmp(activation, "swish") != 0)
        return error_set(error, "hidden_act \"%s\" is not supported, only silu is", activation);
    if (!json_is_null(json_member(root, "quantization_config"))) {
        error_set(error, "\"quantization_config\": quantised checkpoints are not supported");
        return error_hint(error, "take the bf16 or f16 checkpoint");
    }
    return true;
}

/* As in transformers, id2label says how many there are, and num_labels counts where it is absent. */
static bool read_labels(struct model_config *config, const json_node *root, struct error *error) {
    const json_node *names = json_member(root, "id2label");
    config->labels = config->classifier ? 2 : 0;
    if (!json_get_int(root, "num_labels", false, 1, 1 << 20, &config->labels, error)) return false;
    if (json_is_object(names)) config->labels = (int64_t)json_count(names);
    if (config->classifier && config->labels == 0) return error_set(error, "\"id2label\" is empty");
    return config->labels <= 1 << 20 || error_set(error, "\"id2label\" has more than a million labels");
}

static bool read_config(struct model_config *config, const json_node *root, struct error *error) {
    double eps = 1e-6, range = 0.02;
    *config = (struct model_config){.rope_theta = 10000};
    if (!json_is_object(root)) return error_set(error, "not a JSON object");
    if (!read_architecture(config, root, error) || !read_sizes(config, root, error)) return false;
    if (!json_get_double(root, "rms_norm_eps", false, &eps, error)) return false;
    config->norm_eps = (float)eps; /* which may round to 0 */
    if (!(config->norm_eps > 0) || eps > 1) return error_set(error, "rms_norm_eps %g is not between 0 and 1", eps);
    if (!json_get_double(root, "initializer_range", false, &range, error)) return false;
    config->initializer_range = (float)range;
    if (!json_get_bool(root, "tie_word_embeddings", false, &config->tied, error)) return false;
    return read_rope(config, root, error) && read_biases(config, root, error) && read_window(config, root, error) &&
           refuse_unsupported(root, error) && read_labels(config, root, error) &&
           read_id(root, "bos_token_id", &config->bos_id, error) &&
           read_id(root, "eos_token_id", &config->eos_id, error) &&
           read_id(root, "pad_token_id", &config->pad_id, error);
}

bool model_config_parse(struct model_config *config, const char *name, const char *json, uint64_t length,
                        struct error *error) {
    struct json *document;
    if (!json_parse(&document, name, json, length, error)) return false;
    const bool read = read_config(config, json_root(document), error);
    json_free(document);
    return read || error_context(error, "%s", name);
}

bool model_config_load(struct model_config *config, const char *directory, struct error *error) {
    char path[4096];
    if (!path_join(path, sizeof path, directory, "config.json"))
        return error_set(error, "%s: path too long", directory);
    struct text text = {0};
    const bool done = file_read(&text, path, (size_t)16 << 20, error) &&
                      model_config_parse(config, path, text.data == NULL ? "" : text.data, text.length, error);
    text_free(&text);
    return done;
}

static void add_number(struct text *text, const char *name, double value) {
    text_printf(text, ",\n  \"%s\": ", name);
    text_add_json_double(text, value);
}

static void add_id(struct text *text, const char *name, int32_t id) {
    if (id < 0)
        text_printf(text, ",\n  \"%s\": null", name);
    else
        text_printf(text, ",\n  \"%s\": %d", name, id);
}

static void add_scaling(struct text *text, const struct model_config *config) {
    if (config->rope_scaling == ROPE_PLAIN) {
        text_add(text, ",\n  \"rope_scaling\": null");
    } else if (config->rope_scaling == ROPE_LINEAR) {
        text_printf(text, ",\n  \"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": %.17g}", config->rope_factor);
    } else {
        text_printf(text,
                    ",\n  \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": %.17g, \"low_freq_factor\": %.17g, "
                    "\"high_freq_factor\": %.17g, "
                    "\"original_max_position_embeddings\": %lld}",
                    config->rope_factor, config->rope_low, config->rope_high, (long long)config->rope_original);
    }
}

void config_add_labels(struct text *text, int64_t labels, const char *const *names) {
    for (int way = 0; way < 2; way++) {
        text_add(text, way == 0 ? ",\n  \"id2label\": {" : "},\n  \"label2id\": {");
        for (int64_t i = 0; i < labels; i++) {
            char number[32], name[64];
            snprintf(number, sizeof number, "%lld", (long long)i);
            snprintf(name, sizeof name, "LABEL_%lld", (long long)i);
            const char *label = names == NULL ? name : names[i];
            text_add(text, i == 0 ? "" : ", ");
            if (way == 0) {
                text_printf(text, "\"%s\": ", number);
                text_add_json(text, label, strlen(label));
            } else {
                text_add_json(text, label, strlen(label));
                text_printf(text, ": %s", number);
            }
        }
    }
    text_add(text, "}");
}

bool model_config_write(const struct model_config *config, const char *directory, const char *dtype,
                        const char *const *label_names, struct error *error) {
    struct text text = {0};
    text_printf(&text, "{\n  \"architectures\": [\"%s\"],\n  \"model_type\": \"%s\"", architecture_name(config),
                families[config->architecture].model_type);
    const struct {
        const char *name;
        int64_t value;
    } sizes[] = {{"vocab_size", config->V},          {"hidden_size", config->C},
                 {"num_hidden_layers", config->L},   {"num_attention_heads", config->H},
                 {"num_key_value_heads", config->K}, {"head_dim", config->D},
                 {"intermediate_size", config->F},   {"max_position_embeddings", config->positions}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        text_printf(&text, ",\n  \"%s\": %lld", sizes[i].name, (long long)sizes[i].value);
    add_number(&text, "rms_norm_eps", (double)config->norm_eps);
    add_number(&text, "initializer_range", (double)config->initializer_range);
    add_number(&text, "rope_theta", config->rope_theta);
    add_scaling(&text, config);
    add_id(&text, "bos_token_id", config->bos_id);
    add_id(&text, "eos_token_id", config->eos_id);
    add_id(&text, "pad_token_id", config->pad_id);
    text_printf(&text,
                ",\n  \"hidden_act\": \"silu\",\n  \"attention_dropout\": 0.0,\n  \"use_sliding_window\": false,\n  "
                "\"sliding_window\": null,\n  \"tie_word_embeddings\": %s",
                config->tied ? "true" : "false");
    if (config->architecture == ARCHITECTURE_LLAMA) {
        text_printf(&text, ",\n  \"attention_bias\": %s,\n  \"mlp_bias\": %s", config->qkv_bias ? "true" : "false",
                    config->mlp_bias ? "true" : "false");
    }
    if (config->classifier) config_add_labels(&text, config->labels, label_names);
    text_printf(&text, ",\n  \"torch_dtype\": \"%s\"\n}\n", dtype);
    char path[4096];
    bool done = text_ok(&text, error) && (path_join(path, sizeof path, directory, "config.json") ||
                                          error_set(error, "%s: path too long", directory));
    done = done && file_write(path, text.data, text.length, error);
    text_free(&text);
    return done;
}

/* Llama 3.1's rule: long waves are stretched by the factor, short ones kept, those between blended. */
static double scale_llama3(const struct model_config *config, double frequency) {
    const double pi = 3.14159265358979323846, wave = 2 * pi / frequency, original = (double)config->rope_original;
    if (wave < original / config->rope_high) return frequency;
    if (wave > original / config->rope_low) return frequency / config->rope_factor;
    const double kept = (original / wave - config->rope_low) / (config->rope_high - config->rope_low);
    return (1 - kept) * frequency / config->rope_factor + kept * frequency;
}

void model_config_frequencies(const struct model_config *config, double *inverse_frequency) {
    for (int64_t j = 0; j < config->D / 2; j++) {
        double frequency = pow(config->rope_theta, -2.0 * (double)j / (double)config->D);
        if (config->rope_scaling == ROPE_LINEAR) frequency /= config->rope_factor;
        if (config->rope_scaling == ROPE_LLAMA3) frequency = scale_llama3(config, frequency);
        inverse_frequency[j] = frequency;
    }
}
