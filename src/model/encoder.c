/* The encoder's weights: opening a Hugging Face directory, making a model from scratch, and training all of it.
 *
 * One list of tensors (each_tensor) serves opening, creating, training and writing. */
#include "model/encoder.h"
#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
#include "model/safetensors.h"
#include <stdio.h>
#include <string.h>

/* Streams of random numbers, one for each thing that may be made fresh. */
enum { STREAM_MODEL = 0x62657274, STREAM_POOLER = 0x706f6f6c, STREAM_CLASSIFIER = 0x636c6173 };

/* Where one tensor of the model lives, and what a fresh one is filled with. */
struct tensor_slot {
    struct matrix *matrix;
    float **gradient;
    int64_t rows, cols;
    bool vector;
    bool widened;     /* wanted in f32 by its kernel */
    double deviation; /* of the normal distribution of a fresh tensor */
    float constant;   /* added to it: 1 for the weights of norms */
};

typedef bool tensor_visitor(struct encoder *encoder, void *context, const char *name, const struct tensor_slot *slot,
                            struct error *error);

static bool visit_layernorm(struct encoder *encoder, struct layernorm *norm, const char *name, tensor_visitor *visit,
                            void *context, struct error *error) {
    const int64_t C = encoder->config.C;
    const struct tensor_slot weight = {&norm->weight, &norm->d_weight, 1, C, true, true, 0, 1};
    const struct tensor_slot bias = {&norm->bias, &norm->d_bias, 1, C, true, true, 0, 0};
    char full[160];
    snprintf(full, sizeof full, "%s.weight", name);
    if (!visit(encoder, context, full, &weight, error)) return false;
    snprintf(full, sizeof full, "%s.bias", name);
    return visit(encoder, context, full, &bias, error);
}

static bool visit_linear(struct encoder *encoder, struct projection *linear, const char *name, int64_t outputs,
                         int64_t inputs, tensor_visitor *visit, void *context, struct error *error) {
    const double deviation = (double)encoder->config.initializer_range;
    const struct tensor_slot weight = {&linear->weight, &linear->d_weight, outputs, inputs, false, false, deviation, 0};
    const struct tensor_slot bias = {&linear->bias, &linear->d_bias, 1, outputs, true, false, 0, 0};
    char full[160];
    snprintf(full, sizeof full, "%s.weight", name);
    if (!visit(encoder, context, full, &weight, error)) return false;
    snprintf(full, sizeof full, "%s.bias", name);
    return visit(encoder, context, full, &bias, error);
}

static bool visit_embeddings(struct encoder *encoder, tensor_visitor *visit, void *context, struct error *error) {
    const struct encoder_config *c = &encoder->config;
    const double deviation = (double)c->initializer_range;
    const struct tensor_slot words = {&encoder->words, &encoder->d_words, c->V, c->C, false, false, deviation, 0};
    const struct tensor_slot positions = {
        &encoder->positions, &encoder->d_positions, c->positions, c->C, false, true, deviation, 0};
    const struct tensor_slot types = {&encoder->types, &encoder->d_types, c->types, c->C, false, true, deviation, 0};
    return visit(encoder, context, "bert.embeddings.word_embeddings.weight", &words, error) &&
           visit(encoder, context, "bert.embeddings.position_embeddings.weight", &positions, error) &&
           visit(encoder, context, "bert.embeddings.token_type_embeddings.weight", &types, error) &&
           visit_layernorm(encoder, &encoder->embedding_norm, "bert.embeddings.LayerNorm", visit, context, error);
}

static bool visit_layer(struct encoder *encoder, int64_t l, tensor_visitor *visit, void *context, struct error *error) {
    static const char *const names[ENCODER_PROJECTIONS] = {
        [ENCODER_QUERY] = "attention.self.query",      [ENCODER_KEY] = "attention.self.key",
        [ENCODER_VALUE] = "attention.self.value",      [ENCODER_ATTENTION_OUTPUT] = "attention.output.dense",
        [ENCODER_INTERMEDIATE] = "intermediate.dense", [ENCODER_OUTPUT] = "output.dense",
    };
    const int64_t C = encoder->config.C, F = encoder->config.F;
    struct encoder_layer *layer = &encoder->layers[l];
    char name[128];
    for (int kind = 0; kind < ENCODER_PROJECTIONS; kind++) {
        snprintf(name, sizeof name, "bert.encoder.layer.%lld.%s", (long long)l, names[kind]);
        const int64_t outputs = kind == ENCODER_INTERMEDIATE ? F : C, inputs = kind == ENCODER_OUTPUT ? F : C;
        if (!visit_linear(encoder, &layer->projections[kind], name, outputs, inputs, visit, context, error))
            return false;
    }
    snprintf(name, sizeof name, "bert.encoder.layer.%lld.attention.output.LayerNorm", (long long)l);
    if (!visit_layernorm(encoder, &layer->attention_norm, name, visit, context, error)) return false;
    snprintf(name, sizeof name, "bert.encoder.layer.%lld.output.LayerNorm", (long long)l);
    return visit_layernorm(encoder, &layer->output_norm, name, visit, context, error);
}

static bool visit_pooler(struct encoder *encoder, tensor_visitor *visit, void *context, struct error *error) {
    const int64_t C = encoder->config.C;
    return visit_linear(encoder, &encoder->pooler, "bert.pooler.dense", C, C, visit, context, error);
}

static bool visit_classifier(struct encoder *encoder, tensor_visitor *visit, void *context, struct error *error) {
    return visit_linear(encoder, &encoder->classifier, "classifier", encoder->config.labels, encoder->config.C, visit,
                        context, error);
}

/* Every tensor of the model under the name that BertForSequenceClassification gives it. */
static bool each_tensor(struct encoder *encoder, tensor_visitor *visit, void *context, struct error *error) {
    if (!visit_embeddings(encoder, visit, context, error)) return false;
    for (int64_t l = 0; l < encoder->config.L; l++) {
        if (!visit_layer(encoder, l, visit, context, error)) return false;
    }
    if (!visit_pooler(encoder, visit, context, error)) return false;
    return encoder->config.labels == 0 || visit_classifier(encoder, visit, context, error);
}

static bool allocate_layers(struct encoder *encoder, struct error *error) {
    const size_t L = (size_t)encoder->config.L;
    encoder->layers = arena_zero(&encoder->owned, L, sizeof *encoder->layers);
    return encoder->layers != NULL || memory_error(error, L * sizeof *encoder->layers, "the layers of the model");
}

/* The name under which the checkpoint holds a tensor: with or without "bert.", a norm's weight as gamma and its bias as
 * beta in old ones. The canonical name if it holds none of them. */
static void stored_name(const struct safetensors *set, const char *name, char *out, size_t capacity) {
    const char *plain = strncmp(name, "bert.", 5) == 0 ? name + 5 : name, *norm = strstr(name, "LayerNorm.");
    for (int old = 0; old < (norm == NULL ? 1 : 2); old++) {
        for (int bare = 0; bare < 2; bare++) {
            snprintf(out, capacity, "%s", bare ? plain : name);
            char *last = strrchr(out, '.');
            if (old) snprintf(last, capacity - (size_t)(last - out), strcmp(last, ".weight") == 0 ? ".gamma" : ".beta");
            if (safetensors_find(set, out) != NULL) return;
        }
    }
    snprintf(out, capacity, "%s", name);
}

/* Binds one tensor to its place in the checkpoint. */
static bool bind_tensor(struct encoder *encoder, void *context, const char *name, const struct tensor_slot *slot,
                        struct error *error) {
    char stored[160];
    (void)context;
    stored_name(encoder->checkpoint, name, stored, sizeof stored);
    if (!safetensors_matrix(encoder->checkpoint, stored, slot->rows, slot->cols, slot->matrix, error)) return false;
    if (!slot->widened || slot->matrix->dtype == DTYPE_F32) return true;
    const size_t elements = (size_t)(slot->rows * slot->cols);
    float *widened = arena_alloc(&encoder->owned, elements, sizeof(float));
    if (widened == NULL) return memory_error(error, elements * sizeof(float), name);
    matrix_widen(widened, slot->matrix, 0, (int64_t)elements);
    *slot->matrix = (struct matrix){DTYPE_F32, slot->rows, slot->cols, widened};
    return true;
}

static void fill_values(float *values, const struct tensor_slot *slot, struct rng *rng) {
    for (int64_t i = 0; i < slot->rows * slot->cols; i++)
        values[i] = slot->constant + (slot->deviation > 0 ? (float)(slot->deviation * rng_normal(rng)) : 0.0f);
}

/* A tensor of its own memory, filled as a fresh one is. */
static bool make_tensor(struct encoder *encoder, void *context, const char *name, const struct tensor_slot *slot,
                        struct error *error) {
    const size_t elements = (size_t)(slot->rows * slot->cols);
    float *values = arena_alloc(&encoder->owned, elements, sizeof(float));
    if (values == NULL) return memory_error(error, elements * sizeof(float), name);
    fill_values(values, slot, context);
    *slot->matrix = (struct matrix){DTYPE_F32, slot->rows, slot->cols, values};
    return true;
}

static bool open_checkpoint(struct encoder *encoder, const char *directory, struct error *error) {
    static const char *const files[] = {"model.safetensors", "model.safetensors.index.json"};
    char path[4096];
    bool found = false;
    for (int i = 0; i < 2; i++)
        found = found || (path_join(path, sizeof path, directory, files[i]) && path_exists(path));
    if (!found && path_join(path, sizeof path, directory, "pytorch_model.bin") && path_exists(path)) {
        error_set(error, "%s: only pytorch_model.bin is there, which casemix does not read", directory);
        return error_hint(error, "convert it once: load the model in transformers and call save_pretrained(DIR, "
                                 "safe_serialization=True), or take model.safetensors from the hub if it is there");
    }
    return safetensors_open(&encoder->checkpoint, directory, error);
}

static bool open_parts(struct encoder *encoder, const char *directory, uint64_t seed, struct error *error) {
    char stored[160];
    if (!encoder_config_load(&encoder->config, directory, error) || !allocate_layers(encoder, error) ||
        !open_checkpoint(encoder, directory, error) || !visit_embeddings(encoder, bind_tensor, NULL, error)) {
        return false;
    }
    for (int64_t l = 0; l < encoder->config.L; l++) {
        if (!visit_layer(encoder, l, bind_tensor, NULL, error)) return false;
    }
    struct rng rng;
    rng_seed_stream(&rng, seed, STREAM_POOLER, 0);
    stored_name(encoder->checkpoint, "bert.pooler.dense.weight", stored, sizeof stored);
    const bool pooled = safetensors_find(encoder->checkpoint, stored) != NULL;
    if (!visit_pooler(encoder, pooled ? bind_tensor : make_tensor, &rng, error)) return false;
    if (encoder->config.labels > 0) return visit_classifier(encoder, bind_tensor, NULL, error);
    return true;
}

bool encoder_open(struct encoder *encoder, const char *directory, uint64_t seed, struct error *error) {
    *encoder = (struct encoder){0};
    if (open_parts(encoder, directory, seed, error)) return true;
    encoder_close(encoder);
    return false;
}

static bool declare_tensor(struct encoder *encoder, void *context, const char *name, const struct tensor_slot *slot,
                           struct error *error) {
    size_t index;
    (void)context;
    return parameters_declare(&encoder->parameters, name, slot->rows, slot->cols, slot->vector, &index, error);
}

static size_t parameter_index(const struct encoder *encoder, const char *name) {
    return (size_t)(parameters_find(&encoder->parameters, name) - encoder->parameters.items);
}

/* Moves one tensor into the parameters, keeping the values it has. */
static bool adopt_tensor(struct encoder *encoder, void *context, const char *name, const struct tensor_slot *slot,
                         struct error *error) {
    (void)context;
    (void)error;
    float *value = parameter_value(&encoder->parameters, parameter_index(encoder, name));
    if (slot->matrix->data != NULL) matrix_widen(value, slot->matrix, 0, slot->rows * slot->cols);
    *slot->gradient = parameter_gradient(&encoder->parameters, parameter_index(encoder, name));
    *slot->matrix = (struct matrix){DTYPE_F32, slot->rows, slot->cols, value};
    return true;
}

bool encoder_train_all(struct encoder *encoder, struct error *error) {
    return each_tensor(encoder, declare_tensor, NULL, error) && parameters_allocate(&encoder->parameters, error) &&
           each_tensor(encoder, adopt_tensor, NULL, error);
}

static bool fill_parameter(struct encoder *encoder, void *context, const char *name, const struct tensor_slot *slot,
                           struct error *error) {
    (void)error;
    fill_values(parameter_value(&encoder->parameters, parameter_index(encoder, name)), slot, context);
    return true;
}

bool encoder_create(struct encoder *encoder, const struct encoder_config *config, uint64_t seed, struct error *error) {
    *encoder = (struct encoder){.config = *config};
    struct rng rng;
    rng_seed_stream(&rng, seed, STREAM_MODEL, 0);
    if (allocate_layers(encoder, error) && encoder_train_all(encoder, error) &&
        each_tensor(encoder, fill_parameter, &rng, error)) {
        return true;
    }
    encoder_close(encoder);
    return false;
}

bool encoder_set_labels(struct encoder *encoder, int64_t labels, uint64_t seed, struct error *error) {
    if (encoder->config.labels == labels && encoder->classifier.weight.data != NULL) return true;
    struct rng rng;
    rng_seed_stream(&rng, seed, STREAM_CLASSIFIER, 0);
    encoder->config.labels = labels;
    return visit_classifier(encoder, make_tensor, &rng, error);
}

bool encoder_write(const struct encoder *encoder, const char *directory, enum dtype dtype, struct error *error) {
    char path[4096];
    if (!path_join(path, sizeof path, directory, "model.safetensors"))
        return error_set(error, "%s: path too long", directory);
    return parameters_write(&encoder->parameters, path, dtype, error);
}

void encoder_close(struct encoder *encoder) {
    parameters_free(&encoder->parameters);
    safetensors_close(encoder->checkpoint);
    arena_free(&encoder->owned);
    *encoder = (struct encoder){0};
}
