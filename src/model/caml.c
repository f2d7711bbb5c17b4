/* CAML's weights and its config.json: opening, making, writing. */
#include "model/caml.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/rng.h"
#include "base/text.h"
#include "model/config.h"
#include "model/safetensors.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static bool read_config(struct caml_config *config, const json_node *root, struct error *error) {
    const char *type = "caml";
    *config = (struct caml_config){.dropout = 0};
    if (!json_is_object(root)) return error_set(error, "not a JSON object");
    if (!json_get_string(root, "model_type", false, &type, error)) return false;
    if (strcmp(type, "caml") != 0) return error_set(error, "model_type is \"%s\", expected \"caml\"", type);
    if (!json_get_int(root, "vocab_size", true, 1, INT32_MAX, &config->V, error) ||
        !json_get_int(root, "embed_size", true, 1, 1 << 16, &config->E, error) ||
        !json_get_int(root, "num_filter_maps", true, 1, 1 << 16, &config->F, error) ||
        !json_get_int(root, "kernel_size", true, 1, 256, &config->K, error) ||
        !json_get_int(root, "num_labels", true, 1, 1 << 20, &config->labels, error) ||
        !json_get_double(root, "dropout", false, &config->dropout, error)) {
        return false;
    }
    return (config->dropout >= 0 && config->dropout < 1) ||
           error_set(error, "dropout %g is not between 0 and 1", config->dropout);
}

bool caml_config_parse(struct caml_config *config, const char *name, const char *json, uint64_t length,
                       struct error *error) {
    struct json *document;
    if (!json_parse(&document, name, json, length, error)) return false;
    const bool read = read_config(config, json_root(document), error);
    json_free(document);
    return read || error_context(error, "%s", name);
}

static bool load_config(struct caml_config *config, const char *directory, struct error *error) {
    char path[4096];
    struct text text = {0};
    if (!path_join(path, sizeof path, directory, "config.json"))
        return error_set(error, "%s: path too long", directory);
    const bool done = file_read(&text, path, (size_t)16 << 20, error) &&
                      caml_config_parse(config, path, text.data == NULL ? "" : text.data, text.length, error);
    text_free(&text);
    return done;
}

bool caml_config_write(const struct caml_config *config, const char *directory, const char *dtype,
                       const char *const *label_names, struct error *error) {
    struct text text = {0};
    char path[4096];
    text_printf(&text,
                "{\n  \"architectures\": [\"ConvAttnPool\"],\n  \"model_type\": \"caml\",\n  \"vocab_size\": %lld,\n  "
                "\"embed_size\": %lld,\n  \"num_filter_maps\": %lld,\n  \"kernel_size\": %lld,\n  \"num_labels\": "
                "%lld,\n  \"pad_token_id\": 0,\n  \"dropout\": ",
                (long long)config->V, (long long)config->E, (long long)config->F, (long long)config->K,
                (long long)config->labels);
    text_add_json_double(&text, config->dropout);
    config_add_labels(&text, config->labels, label_names);
    text_printf(&text, ",\n  \"torch_dtype\": \"%s\"\n}\n", dtype);
    bool done = text_ok(&text, error) && (path_join(path, sizeof path, directory, "config.json") ||
                                          error_set(error, "%s: path too long", directory));
    done = done && file_write(path, text.data, text.length, error);
    text_free(&text);
    return done;
}

/* A tensor's place, its name in a checkpoint, its shape [rows, cols] or [rows, cols, inner], and how a fresh one is
 * filled. */
struct place {
    struct caml_tensor *tensor;
    const char *name;
    int64_t rows, cols, inner;
    bool vector;
    double deviation; /* of a normal distribution */
    double limit;     /* of a uniform one */
};

enum { TENSORS = 6 };

static double glorot(int64_t inputs, int64_t outputs) {
    return sqrt(6.0 / (double)(inputs + outputs));
}

static void list_tensors(struct caml *caml, struct place places[TENSORS]) {
    const struct caml_config *c = &caml->config;
    const double conv = glorot(c->E * c->K, c->F * c->K), label = glorot(c->F, c->labels);
    const struct place all[TENSORS] = {
        {&caml->embed, "embed.weight", c->V, c->E, 0, false, 1, 0},
        {&caml->conv_weight, "conv.weight", c->F, c->E, c->K, false, 0, conv},
        {&caml->conv_bias, "conv.bias", 1, c->F, 0, true, 0, 0},
        {&caml->attention, "U.weight", c->labels, c->F, 0, false, 0, label},
        {&caml->final_weight, "final.weight", c->labels, c->F, 0, false, 0, label},
        {&caml->final_bias, "final.bias", 1, c->labels, 0, true, 0, 0},
    };
    memcpy(places, all, sizeof all);
}

static int64_t place_elements(const struct place *place) {
    return place->rows * place->cols * (place->inner > 0 ? place->inner : 1);
}

/* Makes room for all tensors, zeroed. */
static bool allocate_tensors(struct caml *caml, struct error *error) {
    struct place places[TENSORS];
    list_tensors(caml, places);
    for (int i = 0; i < TENSORS; i++) {
        size_t index;
        const struct place *p = &places[i];
        if (!parameters_declare(&caml->parameters, p->name, p->rows, place_elements(p) / p->rows, p->vector, &index,
                                error)) {
            return false;
        }
        caml->parameters.items[index].inner = p->inner;
    }
    if (!parameters_allocate(&caml->parameters, error)) return false;
    for (size_t i = 0; i < TENSORS; i++)
        *places[i].tensor =
            (struct caml_tensor){parameter_value(&caml->parameters, i), parameter_gradient(&caml->parameters, i)};
    return true;
}

static bool bind_tensor(const struct safetensors *set, const struct place *place, struct matrix *stored,
                        struct error *error) {
    const int64_t shape[3] = {place->rows, place->cols, place->inner};
    return place->inner > 0 ? safetensors_cube(set, place->name, shape, stored, error)
                            : safetensors_matrix(set, place->name, place->rows, place->cols, stored, error);
}

/* All shapes are checked before room is made, so that a hostile config.json cannot ask for more than the file holds. */
static bool read_tensors(struct caml *caml, const struct safetensors *set, struct error *error) {
    struct place places[TENSORS];
    struct matrix stored[TENSORS];
    list_tensors(caml, places);
    for (int i = 0; i < TENSORS; i++) {
        if (!bind_tensor(set, &places[i], &stored[i], error)) return false;
    }
    if (!allocate_tensors(caml, error)) return false;
    for (int i = 0; i < TENSORS; i++) matrix_widen(places[i].tensor->value, &stored[i], 0, place_elements(&places[i]));
    memset(caml->embed.value, 0, (size_t)caml->config.E * sizeof *caml->embed.value);
    return true;
}

static bool open_parts(struct caml *caml, const char *directory, struct error *error) {
    struct safetensors *set;
    if (!load_config(&caml->config, directory, error) || !safetensors_open(&set, directory, error)) return false;
    const bool read = read_tensors(caml, set, error);
    safetensors_close(set);
    return read;
}

bool caml_open(struct caml *caml, const char *directory, struct error *error) {
    *caml = (struct caml){0};
    if (open_parts(caml, directory, error)) return true;
    caml_close(caml);
    return false;
}

bool caml_create(struct caml *caml, const struct caml_config *config, uint64_t seed, struct error *error) {
    struct place places[TENSORS];
    struct rng rng;
    *caml = (struct caml){.config = *config};
    if (!allocate_tensors(caml, error)) {
        caml_close(caml);
        return false;
    }
    list_tensors(caml, places);
    rng_seed_stream(&rng, seed, 0x63616d6c, 0);
    for (int i = 0; i < TENSORS; i++) {
        const struct place *p = &places[i];
        float *values = p->tensor->value;
        for (int64_t e = 0; e < place_elements(p); e++) {
            if (p->deviation > 0) values[e] = (float)(p->deviation * rng_normal(&rng));
            if (p->limit > 0) values[e] = (float)(p->limit * (2 * rng_uniform(&rng) - 1));
        }
    }
    memset(caml->embed.value, 0, (size_t)config->E * sizeof *caml->embed.value);
    return true;
}

bool caml_write(const struct caml *caml, const char *directory, enum dtype dtype, struct error *error) {
    char path[4096];
    if (!path_join(path, sizeof path, directory, "model.safetensors"))
        return error_set(error, "%s: path too long", directory);
    return parameters_write(&caml->parameters, path, dtype, error);
}

void caml_close(struct caml *caml) {
    parameters_free(&caml->parameters);
    *caml = (struct caml){0};
}
