/* The decoder's weights: opening a Hugging Face directory, making a model from scratch, and choosing what is trained.
 *
 * One list of tensors (decoder_each_tensor) serves opening, creating, training and writing. */
#include "model/decoder.h"
#include "base/error.h"
#include "base/rng.h"
#include "model/decoder_tensors.h"
#include "model/names.h"
#include "model/quantise.h"
#include "model/safetensors.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Rows and columns of a projection's weight [outputs, inputs], and whether it has a bias. */
static void projection_shape(const struct model_config *config, enum projection_kind kind, int64_t *outputs,
                             int64_t *inputs, bool *bias) {
    const int64_t queries = config->H * config->D, keys = config->K * config->D;
    const int64_t shapes[PROJECTIONS][2] = {
        [PROJECTION_Q] = {queries, config->C},      [PROJECTION_K] = {keys, config->C},
        [PROJECTION_V] = {keys, config->C},         [PROJECTION_O] = {config->C, queries},
        [PROJECTION_GATE] = {config->F, config->C}, [PROJECTION_UP] = {config->F, config->C},
        [PROJECTION_DOWN] = {config->C, config->F},
    };
    *outputs = shapes[kind][0];
    *inputs = shapes[kind][1];
    *bias = kind <= PROJECTION_V ? config->qkv_bias : kind == PROJECTION_O ? config->o_bias : config->mlp_bias;
}

static bool visit_norm(struct norm *norm, const char *name, int64_t C, tensor_visitor *visit, void *context,
                       struct error *error) {
    const struct tensor_slot slot = {&norm->weight, &norm->d_weight, 1, C, true, 0, 1};
    return visit(context, name, &slot, error);
}

static bool visit_layer(struct decoder *decoder, int64_t l, tensor_visitor *visit, void *context, struct error *error) {
    struct decoder_layer *layer = &decoder->layers[l];
    const struct model_config *config = &decoder->config;
    char name[128];
    snprintf(name, sizeof name, "model.layers.%lld.input_layernorm.weight", (long long)l);
    if (!visit_norm(&layer->attention_norm, name, config->C, visit, context, error)) return false;
    snprintf(name, sizeof name, "model.layers.%lld.post_attention_layernorm.weight", (long long)l);
    if (!visit_norm(&layer->mlp_norm, name, config->C, visit, context, error)) return false;
    for (int kind = 0; kind < PROJECTIONS; kind++) {
        struct projection *projection = &layer->projections[kind];
        int64_t outputs, inputs;
        bool bias;
        projection_shape(config, (enum projection_kind)kind, &outputs, &inputs, &bias);
        const bool into_residual = kind == PROJECTION_O || kind == PROJECTION_DOWN;
        /* GPT-2's rule: what is added to the residual by 2 L branches keeps its variance. */
        const double deviation =
            (double)config->initializer_range / (into_residual ? sqrt(2.0 * (double)config->L) : 1.0);
        const struct tensor_slot weight = {
            &projection->weight, &projection->d_weight, outputs, inputs, false, deviation, 0};
        snprintf(name, sizeof name, "model.layers.%lld.%s.weight", (long long)l,
                 projection_name((enum projection_kind)kind));
        if (!visit(context, name, &weight, error)) return false;
        if (!bias) continue;
        const struct tensor_slot slot = {&projection->bias, &projection->d_bias, 1, outputs, true, 0, 0};
        snprintf(name, sizeof name, "model.layers.%lld.%s.bias", (long long)l,
                 projection_name((enum projection_kind)kind));
        if (!visit(context, name, &slot, error)) return false;
    }
    return true;
}

bool decoder_each_tensor(struct decoder *decoder, tensor_visitor *visit, void *context, struct error *error) {
    const struct model_config *config = &decoder->config;
    const double deviation = (double)config->initializer_range;
    const struct tensor_slot embedding = {
        &decoder->embedding, &decoder->d_embedding, config->V, config->C, false, deviation, 0};
    if (!visit(context, "model.embed_tokens.weight", &embedding, error)) return false;
    for (int64_t l = 0; l < config->L; l++) {
        if (!visit_layer(decoder, l, visit, context, error)) return false;
    }
    if (!visit_norm(&decoder->final_norm, "model.norm.weight", config->C, visit, context, error)) return false;
    struct tensor_slot head = {
        &decoder->head.weight, &decoder->head.d_weight, config->V, config->C, false, deviation, 0};
    if (config->classifier) {
        head.rows = config->labels;
        return visit(context, "score.weight", &head, error);
    }
    if (!config->tied) return visit(context, "lm_head.weight", &head, error);
    return true;
}

static bool decoder_allocate_layers(struct decoder *decoder, struct error *error) {
    decoder->layers = arena_zero(&decoder->owned, (size_t)decoder->config.L, sizeof *decoder->layers);
    if (decoder->layers == NULL)
        return memory_error(error, (size_t)decoder->config.L * sizeof *decoder->layers, "the layers of the model");
    return true;
}

/* A checkpoint on its way into a decoder: which of its tensors have found their place. */
struct opening {
    struct decoder *decoder;
    bool *bound; /* [safetensors_count] */
};

/* The name under which the checkpoint holds a tensor: saved from the bare model, it has no "model." in front. NULL if
 * it holds none. */
static const struct stored_tensor *find_stored(const struct safetensors *checkpoint, const char *name) {
    const struct stored_tensor *tensor = safetensors_find(checkpoint, name);
    if (tensor != NULL || strncmp(name, "model.", 6) != 0) return tensor;
    return safetensors_find(checkpoint, name + 6);
}

/* Binds one tensor to its place in the checkpoint. Norms are small and wanted in f32 by their kernel: they are widened
 * once. */
static bool bind_tensor(void *context, const char *name, const struct tensor_slot *slot, struct error *error) {
    struct opening *opening = context;
    struct decoder *decoder = opening->decoder;
    const struct stored_tensor *tensor = find_stored(decoder->checkpoint, name);
    if (tensor == NULL && decoder->config.classifier && slot->matrix == &decoder->head.weight)
        return true; /* the head may come with an adapter, or be made by training */
    if (tensor != NULL) {
        opening->bound[tensor - safetensors_at(decoder->checkpoint, 0)] = true;
        name = tensor->name;
    }
    if (!safetensors_matrix(decoder->checkpoint, name, slot->rows, slot->cols, slot->matrix, error)) return false;
    if (slot->constant == 0 || slot->matrix->dtype == DTYPE_F32) return true;
    float *widened = arena_alloc(&decoder->owned, (size_t)slot->cols, sizeof(float));
    if (widened == NULL) return memory_error(error, (size_t)slot->cols * sizeof(float), name);
    matrix_widen(widened, slot->matrix, 0, slot->cols);
    *slot->matrix = (struct matrix){DTYPE_F32, slot->rows, slot->cols, widened};
    return true;
}

/* A weight left over (say, a bias that config.json does not mention) would make every result wrong in silence. */
static bool check_all_bound(const struct opening *opening, struct error *error) {
    const struct decoder *decoder = opening->decoder;
    for (size_t i = 0; i < safetensors_count(decoder->checkpoint); i++) {
        const struct stored_tensor *tensor = safetensors_at(decoder->checkpoint, i);
        if (opening->bound[i] || tensor_is_spare(tensor->name, &decoder->config)) continue;
        error_set(error, "%s: tensor %s has no place in a %s as config.json describes it", tensor->file, tensor->name,
                  architecture_name(&decoder->config));
        return error_hint(error, "config.json does not belong to these weights");
    }
    return true;
}

static bool bind_checkpoint(struct decoder *decoder, struct error *error) {
    const size_t count = safetensors_count(decoder->checkpoint);
    struct opening opening = {decoder, memory_zero(count, sizeof *opening.bound)};
    const bool done = opening.bound == NULL ? memory_error(error, count, "the checkpoint's tensors")
                                            : decoder_each_tensor(decoder, bind_tensor, &opening, error) &&
                                                  check_all_bound(&opening, error);
    memory_free(opening.bound);
    return done;
}

static bool decoder_open_parts(struct decoder *decoder, const char *directory, struct error *error) {
    if (!model_config_load(&decoder->config, directory, error)) return false;
    if (!decoder_allocate_layers(decoder, error)) return false;
    if (!safetensors_open(&decoder->checkpoint, directory, error)) return false;
    if (!bind_checkpoint(decoder, error)) return false;
    if (!decoder->config.classifier && decoder->config.tied) decoder->head.weight = decoder->embedding;
    return true;
}

bool decoder_open(struct decoder *decoder, const char *directory, struct error *error) {
    *decoder = (struct decoder){0};
    if (decoder_open_parts(decoder, directory, error)) return true;
    decoder_close(decoder);
    return false;
}

static bool declare_tensor(void *context, const char *name, const struct tensor_slot *slot, struct error *error) {
    struct decoder *decoder = context;
    size_t index;
    return parameters_declare(&decoder->parameters, name, slot->rows, slot->cols, slot->vector, &index, error);
}

/* Moves one tensor into the parameters, keeping its values. */
static bool adopt_tensor(void *context, const char *name, const struct tensor_slot *slot, struct error *error) {
    struct decoder *decoder = context;
    (void)error;
    const size_t index = (size_t)(parameters_find(&decoder->parameters, name) - decoder->parameters.items);
    float *value = parameter_value(&decoder->parameters, index);
    if (slot->matrix->data != NULL) matrix_widen(value, slot->matrix, 0, slot->rows * slot->cols);
    *slot->matrix = (struct matrix){DTYPE_F32, slot->rows, slot->cols, value};
    *slot->gradient = parameter_gradient(&decoder->parameters, index);
    return true;
}

bool decoder_train_all(struct decoder *decoder, struct error *error) {
    if (!decoder_each_tensor(decoder, declare_tensor, decoder, error)) return false;
    if (!parameters_allocate(&decoder->parameters, error)) return false;
    if (!decoder_each_tensor(decoder, adopt_tensor, decoder, error)) return false;
    if (!decoder->config.classifier && decoder->config.tied) {
        decoder->head.weight = decoder->embedding;
        decoder->head.d_weight = decoder->d_embedding;
    }
    /* Everything lives in the parameters now: the mapped pages need not stay. */
    safetensors_close(decoder->checkpoint);
    decoder->checkpoint = NULL;
    return true;
}

static bool add_frozen_bytes(void *context, const char *name, const struct tensor_slot *slot, struct error *error) {
    (void)name;
    (void)error;
    if (slot->matrix->data != NULL && *slot->gradient == NULL)
        *(size_t *)context += (size_t)(slot->rows * slot->cols) * dtype_size(slot->matrix->dtype);
    return true;
}

size_t decoder_frozen_bytes(const struct decoder *decoder) {
    struct decoder view = *decoder; /* the list hands out places in it; none is written to */
    size_t bytes = 0;
    decoder_each_tensor(&view, add_frozen_bytes, &bytes, NULL);
    return bytes;
}

struct fill {
    struct rng rng;
};

static bool fill_tensor(void *context, const char *name, const struct tensor_slot *slot, struct error *error) {
    struct fill *fill = context;
    (void)name;
    (void)error;
    float *value = (float *)(uintptr_t)slot->matrix->data; /* the parameter's own memory, set by adopt_tensor */
    for (int64_t i = 0; i < slot->rows * slot->cols; i++) {
        value[i] = slot->constant + (slot->deviation > 0 ? (float)(slot->deviation * rng_normal(&fill->rng)) : 0.0f);
    }
    return true;
}

bool decoder_create(struct decoder *decoder, const struct model_config *config, uint64_t seed, struct error *error) {
    *decoder = (struct decoder){.config = *config};
    struct fill fill;
    rng_seed_stream(&fill.rng, seed, 0x6d6f64656c, 0);
    if (decoder_allocate_layers(decoder, error) && decoder_train_all(decoder, error) &&
        decoder_each_tensor(decoder, fill_tensor, &fill, error)) {
        return true;
    }
    decoder_close(decoder);
    return false;
}

bool decoder_set_labels(struct decoder *decoder, int64_t labels, uint64_t seed, struct error *error) {
    const bool kept =
        decoder->config.classifier && decoder->config.labels == labels && decoder->head.weight.data != NULL;
    if (kept) return true;
    const int64_t C = decoder->config.C;
    decoder->config.classifier = true;
    decoder->config.labels = labels;
    float *values = arena_alloc(&decoder->owned, (size_t)labels, (size_t)C * sizeof(float));
    if (values == NULL) return memory_error(error, (size_t)(labels * C) * sizeof(float), "the score head");
    struct fill fill;
    rng_seed_stream(&fill.rng, seed, 0x73636f7265, 0);
    decoder->head = (struct projection){.weight = {DTYPE_F32, labels, C, values}};
    const struct tensor_slot slot = {
        &decoder->head.weight, NULL, labels, C, false, (double)decoder->config.initializer_range, 0};
    return fill_tensor(&fill, "score.weight", &slot, error);
}

bool decoder_set_causal(struct decoder *decoder, struct error *error) {
    if (!decoder->config.classifier) return true;
    if (!decoder->config.tied) {
        error_set(error, "this is a classifier, which holds no lm_head to write text with");
        return error_hint(error, "start from the model that it was made of");
    }
    decoder->config.classifier = false;
    decoder->config.labels = 0;
    decoder->head = (struct projection){.weight = decoder->embedding};
    return true;
}

bool decoder_write(const struct decoder *decoder, const char *directory, enum dtype dtype, struct error *error) {
    char path[4096];
    if (!path_join(path, sizeof path, directory, "model.safetensors"))
        return error_set(error, "%s: path too long", directory);
    return parameters_write(&decoder->parameters, path, dtype, error);
}

void decoder_close(struct decoder *decoder) {
    decoder_close_adapters(decoder);
    parameters_free(&decoder->parameters);
    quantised_close(decoder->quantised);
    safetensors_close(decoder->checkpoint);
    arena_free(&decoder->owned);
    *decoder = (struct decoder){0};
}
