/* The linear bag of words: its config.json, its tensors and the weights of its features. */
#include "model/linear_bag.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "model/config.h"
#include "model/safetensors.h"
#include <math.h>
#include <string.h>

static bool read_config(struct linear_bag_config *config, const json_node *root, struct error *error) {
    const char *type = NULL;
    *config = (struct linear_bag_config){0};
    if (!json_is_object(root)) return error_set(error, "not a JSON object");
    if (!json_get_string(root, "model_type", true, &type, error)) return false;
    if (strcmp(type, "linear_bag") != 0) return error_set(error, "model_type is \"%s\", expected \"linear_bag\"", type);
    return json_get_int(root, "vocab_size", true, 1, 1 << 30, &config->V, error) &&
           json_get_int(root, "pair_buckets", true, 0, 1 << 28, &config->buckets, error) &&
           json_get_int(root, "num_labels", true, 1, 1 << 20, &config->labels, error);
}

bool linear_bag_config_parse(struct linear_bag_config *config, const char *name, const char *json, uint64_t length,
                             struct error *error) {
    struct json *document;
    if (!json_parse(&document, name, json, length, error)) return false;
    const bool read = read_config(config, json_root(document), error);
    json_free(document);
    return read || error_context(error, "%s", name);
}

static bool load_config(struct linear_bag_config *config, const char *directory, struct error *error) {
    char path[4096];
    struct text text = {0};
    if (!path_join(path, sizeof path, directory, "config.json"))
        return error_set(error, "%s: path too long", directory);
    const bool done = file_read(&text, path, (size_t)16 << 20, error) &&
                      linear_bag_config_parse(config, path, text.data == NULL ? "" : text.data, text.length, error);
    text_free(&text);
    return done;
}

bool linear_bag_config_write(const struct linear_bag_config *config, const char *directory, const char *dtype,
                             const char *const *label_names, struct error *error) {
    struct text text = {0};
    char path[4096];
    text_printf(&text,
                "{\n  \"architectures\": [\"LinearBagOfWords\"],\n  \"model_type\": \"linear_bag\",\n  "
                "\"vocab_size\": %lld,\n  \"pair_buckets\": %lld,\n  \"num_labels\": %lld",
                (long long)config->V, (long long)config->buckets, (long long)config->labels);
    config_add_labels(&text, config->labels, label_names);
    text_printf(&text, ",\n  \"torch_dtype\": \"%s\"\n}\n", dtype);
    bool done = text_ok(&text, error) && (path_join(path, sizeof path, directory, "config.json") ||
                                          error_set(error, "%s: path too long", directory));
    done = done && file_write(path, text.data, text.length, error);
    text_free(&text);
    return done;
}

static int64_t feature_count(const struct linear_bag_config *config) {
    return config->V + config->buckets;
}

static bool allocate_tensors(struct linear_bag *bag, struct error *error) {
    const int64_t features = feature_count(&bag->config), labels = bag->config.labels;
    size_t weight, bias;
    if (!parameters_declare(&bag->parameters, "weight", features, labels, false, &weight, error) ||
        !parameters_declare(&bag->parameters, "bias", 1, labels, true, &bias, error) ||
        !parameters_allocate(&bag->parameters, error))
        return false;
    bag->weight = parameter_value(&bag->parameters, weight);
    bag->d_weight = parameter_gradient(&bag->parameters, weight);
    bag->bias = parameter_value(&bag->parameters, bias);
    bag->d_bias = parameter_gradient(&bag->parameters, bias);
    bag->idf = memory_alloc((size_t)features, sizeof *bag->idf);
    return bag->idf != NULL || memory_error(error, (size_t)features * sizeof *bag->idf, "the weights of words");
}

/* All shapes are checked before room is made, so that a hostile config.json cannot ask for more than the file holds. */
static bool read_tensors(struct linear_bag *bag, const struct safetensors *set, struct error *error) {
    const int64_t features = feature_count(&bag->config), labels = bag->config.labels;
    struct matrix weight, bias, idf;
    if (!safetensors_matrix(set, "weight", features, labels, &weight, error) ||
        !safetensors_matrix(set, "bias", 1, labels, &bias, error) ||
        !safetensors_matrix(set, "idf", 1, features, &idf, error) || !allocate_tensors(bag, error))
        return false;
    matrix_widen(bag->weight, &weight, 0, features * labels);
    matrix_widen(bag->bias, &bias, 0, labels);
    matrix_widen(bag->idf, &idf, 0, features);
    return true;
}

static bool open_parts(struct linear_bag *bag, const char *directory, struct error *error) {
    struct safetensors *set;
    if (!load_config(&bag->config, directory, error) || !safetensors_open(&set, directory, error)) return false;
    const bool read = read_tensors(bag, set, error);
    safetensors_close(set);
    return read;
}

bool linear_bag_open(struct linear_bag *bag, const char *directory, struct error *error) {
    *bag = (struct linear_bag){0};
    if (open_parts(bag, directory, error)) return true;
    linear_bag_close(bag);
    return false;
}

bool linear_bag_create(struct linear_bag *bag, const struct linear_bag_config *config, struct error *error) {
    *bag = (struct linear_bag){.config = *config};
    if (!allocate_tensors(bag, error)) {
        linear_bag_close(bag);
        return false;
    }
    for (int64_t f = 0; f < feature_count(config); f++) bag->idf[f] = 1;
    return true;
}

static int64_t longest(const int64_t *starts, size_t count) {
    int64_t most = 1;
    for (size_t i = 0; i < count; i++) most = starts[i + 1] - starts[i] > most ? starts[i + 1] - starts[i] : most;
    return most;
}

bool linear_bag_weigh(struct linear_bag *bag, const int32_t *tokens, const int64_t *starts, size_t count,
                      struct error *error) {
    const int64_t all = feature_count(&bag->config);
    const size_t room = 2 * (size_t)longest(starts, count);
    int32_t *features = memory_alloc(room, sizeof *features);
    float *counts = memory_alloc(room, sizeof *counts);
    uint32_t *holders = memory_zero((size_t)all, sizeof *holders);
    const bool done = (features != NULL && counts != NULL && holders != NULL) ||
                      memory_error(error, (size_t)all * sizeof *holders, "the weights of words");
    for (size_t i = 0; done && i < count; i++) {
        const int64_t found =
            linear_bag_features(&bag->config, tokens + starts[i], starts[i + 1] - starts[i], features, counts);
        for (int64_t f = 0; f < found; f++) holders[features[f]]++;
    }
    for (int64_t f = 0; done && f < all; f++)
        bag->idf[f] = (float)(log((1 + (double)count) / (1 + (double)holders[f])) + 1);
    memory_free(features);
    memory_free(counts);
    memory_free(holders);
    return done;
}

bool linear_bag_write(const struct linear_bag *bag, const char *directory, enum dtype dtype, struct error *error) {
    const int64_t features = feature_count(&bag->config), labels = bag->config.labels;
    const struct tensor_to_write tensors[] = {
        {.name = "weight", .dtype = dtype, .dims = 2, .shape = {features, labels}, .data = bag->weight},
        {.name = "bias", .dtype = dtype, .dims = 1, .shape = {labels}, .data = bag->bias},
        {.name = "idf", .dtype = dtype, .dims = 1, .shape = {features}, .data = bag->idf},
    };
    static const char *const metadata[] = {"format", "pt"};
    char path[4096];
    if (!path_join(path, sizeof path, directory, "model.safetensors"))
        return error_set(error, "%s: path too long", directory);
    return safetensors_write(path, tensors, sizeof tensors / sizeof tensors[0], metadata, 1, error);
}

void linear_bag_close(struct linear_bag *bag) {
    parameters_free(&bag->parameters);
    memory_free(bag->idf);
    *bag = (struct linear_bag){0};
}
