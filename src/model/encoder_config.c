/* config.json of BERT: defaults as transformers has them, and refusal by name of what casemix does not compute. */
#include "model/encoder_config.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "model/config.h"
#include "tensor/attention.h"
#include <stdio.h>
#include <string.h>

/* Checkpoints of before 2020 name no architecture; the fields of a BERT tell them. */
static bool check_architecture(const json_node *root, bool *classifier, struct error *error) {
    static const char *const known[] = {"BertForSequenceClassification", "BertModel", "BertForPreTraining",
                                        "BertForMaskedLM"};
    const json_node *list = json_member(root, "architectures");
    *classifier = false;
    if (json_is_null(list)) {
        const char *type = "bert";
        if (!json_get_string(root, "model_type", false, &type, error)) return false;
        return strcmp(type, "bert") == 0 || error_set(error, "model_type \"%s\" is not supported, bert is", type);
    }
    const char *name = json_string(json_first(list));
    if (!json_is_array(list) || name == NULL) return error_set(error, "\"architectures\" is not a list of one name");
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(known[i], name) != 0) continue;
        *classifier = i == 0;
        return true;
    }
    error_set(error, "architecture \"%s\" is not supported", name);
    return error_hint(error, "casemix reads BertForSequenceClassification, BertModel, BertForPreTraining and "
                             "BertForMaskedLM");
}

static bool read_sizes(struct encoder_config *config, const json_node *root, struct error *error) {
    if (!json_get_int(root, "vocab_size", true, 1, INT32_MAX, &config->V, error) ||
        !json_get_int(root, "hidden_size", true, 1, 1 << 20, &config->C, error) ||
        !json_get_int(root, "num_hidden_layers", true, 1, 4096, &config->L, error) ||
        !json_get_int(root, "num_attention_heads", true, 1, 4096, &config->H, error) ||
        !json_get_int(root, "intermediate_size", true, 1, 1 << 22, &config->F, error) ||
        !json_get_int(root, "max_position_embeddings", true, 1, 1 << 20, &config->positions, error) ||
        !json_get_int(root, "type_vocab_size", false, 1, 1 << 20, &config->types, error)) {
        return false;
    }
    if (config->C % config->H != 0) {
        return error_set(error, "hidden_size %lld is not a multiple of num_attention_heads %lld", (long long)config->C,
                         (long long)config->H);
    }
    config->D = config->C / config->H;
    return config->D <= ATTENTION_HEAD_LIMIT || error_set(error, "head size %lld is not supported: sizes up to %d are",
                                                          (long long)config->D, ATTENTION_HEAD_LIMIT);
}

static bool read_rate(const json_node *root, const char *name, double *rate, struct error *error) {
    if (!json_get_double(root, name, false, rate, error)) return false;
    return (*rate >= 0 && *rate < 1) || error_set(error, "%s %g is not between 0 and 1", name, *rate);
}

static bool read_training(struct encoder_config *config, const json_node *root, struct error *error) {
    double eps = 1e-12, range = 0.02;
    config->hidden_dropout = config->attention_dropout = 0.1;
    if (!read_rate(root, "hidden_dropout_prob", &config->hidden_dropout, error) ||
        !read_rate(root, "attention_probs_dropout_prob", &config->attention_dropout, error)) {
        return false;
    }
    config->classifier_dropout = config->hidden_dropout;
    if (!read_rate(root, "classifier_dropout", &config->classifier_dropout, error)) return false;
    if (!json_get_double(root, "layer_norm_eps", false, &eps, error) ||
        !json_get_double(root, "initializer_range", false, &range, error)) {
        return false;
    }
    config->norm_eps = (float)eps; /* which may round to 0 */
    if (!(config->norm_eps > 0) || eps > 1) return error_set(error, "layer_norm_eps %g is not between 0 and 1", eps);
    config->initializer_range = (float)range;
    return true;
}

static bool refuse_unsupported(const json_node *root, struct error *error) {
    const char *activation = "gelu", *position = "absolute";
    bool decoder = false, cross = false;
    if (!json_get_string(root, "hidden_act", false, &activation, error) ||
        !json_get_string(root, "position_embedding_type", false, &position, error) ||
        !json_get_bool(root, "is_decoder", false, &decoder, error) ||
        !json_get_bool(root, "add_cross_attention", false, &cross, error)) {
        return false;
    }
    if (strcmp(activation, "gelu") != 0)
        return error_set(error, "hidden_act \"%s\" is not supported, only gelu (the exact one) is", activation);
    if (strcmp(position, "absolute") != 0)
        return error_set(error, "position_embedding_type \"%s\" is not supported, only absolute is", position);
    return !(decoder || cross) || error_set(error, "\"%s\": a BERT that decodes is not supported",
                                            decoder ? "is_decoder" : "add_cross_attention");
}

/* As in transformers, id2label says how many there are, and num_labels counts where it is absent. */
static bool read_labels(struct encoder_config *config, const json_node *root, bool classifier, struct error *error) {
    if (!classifier) return true; /* the numbers would be of a task that the checkpoint was not trained for */
    const json_node *names = json_member(root, "id2label");
    config->labels = 2;
    if (!json_get_int(root, "num_labels", false, 1, 1 << 20, &config->labels, error)) return false;
    if (json_is_object(names)) config->labels = (int64_t)json_count(names);
    return (config->labels >= 1 && config->labels <= 1 << 20) ||
           error_set(error, "\"id2label\" has %lld labels, expected 1 to a million", (long long)config->labels);
}

static bool read_config(struct encoder_config *config, const json_node *root, struct error *error) {
    int64_t pad = -1;
    bool classifier;
    *config = (struct encoder_config){.types = 2};
    if (!json_is_object(root)) return error_set(error, "not a JSON object");
    if (!check_architecture(root, &classifier, error) || !read_sizes(config, root, error) ||
        !read_training(config, root, error) || !refuse_unsupported(root, error) ||
        !read_labels(config, root, classifier, error) ||
        !json_get_int(root, "pad_token_id", false, -1, INT32_MAX, &pad, error)) {
        return false;
    }
    config->pad_id = (int32_t)pad;
    return true;
}

bool encoder_config_parse(struct encoder_config *config, const char *name, const char *json, uint64_t length,
                          struct error *error) {
    struct json *document;
    if (!json_parse(&document, name, json, length, error)) return false;
    const bool read = read_config(config, json_root(document), error);
    json_free(document);
    return read || error_context(error, "%s", name);
}

bool encoder_config_load(struct encoder_config *config, const char *directory, struct error *error) {
    char path[4096];
    struct text text = {0};
    if (!path_join(path, sizeof path, directory, "config.json"))
        return error_set(error, "%s: path too long", directory);
    const bool done = file_read(&text, path, (size_t)16 << 20, error) &&
                      encoder_config_parse(config, path, text.data == NULL ? "" : text.data, text.length, error);
    text_free(&text);
    return done;
}

static void add_number(struct text *text, const char *name, double value) {
    text_printf(text, ",\n  \"%s\": ", name);
    text_add_json_double(text, value);
}

bool encoder_config_write(const struct encoder_config *config, const char *directory, const char *dtype,
                          const char *const *label_names, struct error *error) {
    struct text text = {0};
    char path[4096];
    text_add(&text, "{\n  \"architectures\": [\"BertForSequenceClassification\"],\n  \"model_type\": \"bert\"");
    const struct {
        const char *name;
        int64_t value;
    } sizes[] = {{"vocab_size", config->V},         {"hidden_size", config->C},
                 {"num_hidden_layers", config->L},  {"num_attention_heads", config->H},
                 {"intermediate_size", config->F},  {"max_position_embeddings", config->positions},
                 {"type_vocab_size", config->types}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        text_printf(&text, ",\n  \"%s\": %lld", sizes[i].name, (long long)sizes[i].value);
    if (config->pad_id >= 0) text_printf(&text, ",\n  \"pad_token_id\": %d", config->pad_id);
    add_number(&text, "layer_norm_eps", (double)config->norm_eps);
    add_number(&text, "initializer_range", (double)config->initializer_range);
    add_number(&text, "hidden_dropout_prob", config->hidden_dropout);
    add_number(&text, "attention_probs_dropout_prob", config->attention_dropout);
    add_number(&text, "classifier_dropout", config->classifier_dropout);
    text_add(&text, ",\n  \"hidden_act\": \"gelu\",\n  \"position_embedding_type\": \"absolute\"");
    config_add_labels(&text, config->labels, label_names);
    text_printf(&text, ",\n  \"torch_dtype\": \"%s\"\n}\n", dtype);
    bool done = text_ok(&text, error) && (path_join(path, sizeof path, directory, "config.json") ||
                                          error_set(error, "%s: path too long", directory));
    done = done && file_write(path, text.data, text.length, error);
    text_free(&text);
    return done;
}
