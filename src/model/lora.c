/* LoRA terms of a decoder: laid on fresh, or read from a PEFT adapter, frozen or trained; and written back. */
#include "base/error.h"
#include "base/rng.h"
#include "model/adapter.h"
#include "model/decoder.h"
#include "model/names.h"
#include "model/safetensors.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* One factor of one LoRA term, by its PEFT key. */
struct factor {
    struct projection *projection;
    char name[192];
    bool is_b;
    int64_t rows, cols;
};

typedef bool factor_visitor(void *context, const struct factor *factor, struct error *error);

static bool visit_factor(struct decoder *decoder, int64_t l, int kind, bool is_b, int64_t R, factor_visitor *visit,
                         void *context, struct error *error) {
    struct projection *projection = &decoder->layers[l].projections[kind];
    struct factor factor = {.projection = projection, .is_b = is_b};
    factor.rows = is_b ? projection->weight.rows : R;
    factor.cols = is_b ? R : projection->weight.cols;
    adapter_tensor_name(factor.name, sizeof factor.name, l, (enum projection_kind)kind, is_b ? 'B' : 'A');
    return visit(context, &factor, error);
}

/* The factors A of projections that read the same input come one after the other, so that they are one matrix in memory
 * (see projection.c); then their B. */
static bool each_factor(struct decoder *decoder, const bool *targets, int64_t R, factor_visitor *visit, void *context,
                        struct error *error) {
    static const int groups[][2] = {{PROJECTION_Q, PROJECTION_O},
                                    {PROJECTION_O, PROJECTION_GATE},
                                    {PROJECTION_GATE, PROJECTION_DOWN},
                                    {PROJECTION_DOWN, PROJECTIONS}};
    for (int64_t l = 0; l < decoder->config.L; l++) {
        for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++) {
            for (int is_b = 0; is_b < 2; is_b++) {
                for (int kind = groups[g][0]; kind < groups[g][1]; kind++) {
                    if (targets[kind] && !visit_factor(decoder, l, kind, is_b != 0, R, visit, context, error))
                        return false;
                }
            }
        }
    }
    return true;
}

static bool declare_factor(void *context, const struct factor *factor, struct error *error) {
    struct decoder *decoder = context;
    size_t index;
    return parameters_declare(&decoder->parameters, factor->name, factor->rows, factor->cols, false, &index, error);
}

static void place_factor(const struct factor *factor, float *value, float *gradient) {
    struct lora *lora = &factor->projection->lora;
    if (factor->is_b) {
        lora->b = value;
        lora->d_b = gradient;
    } else {
        lora->a = value;
        lora->d_a = gradient;
    }
}

static bool adopt_factor(void *context, const struct factor *factor, struct error *error) {
    struct decoder *decoder = context;
    (void)error;
    const size_t index = (size_t)(parameters_find(&decoder->parameters, factor->name) - decoder->parameters.items);
    place_factor(factor, parameter_value(&decoder->parameters, index), parameter_gradient(&decoder->parameters, index));
    return true;
}

/* The head joins the parameters under its PEFT key, with the values it has. */
static bool declare_head(struct decoder *decoder, struct error *error) {
    size_t index;
    return parameters_declare(&decoder->parameters, ADAPTER_HEAD, decoder->config.labels, decoder->config.C, false,
                              &index, error);
}

static void adopt_head(struct decoder *decoder) {
    const size_t index = decoder->parameters.count - 1;
    float *value = parameter_value(&decoder->parameters, index);
    matrix_widen(value, &decoder->head.weight, 0, decoder->config.labels * decoder->config.C);
    decoder->head.weight = (struct matrix){DTYPE_F32, decoder->config.labels, decoder->config.C, value};
    decoder->head.d_weight = parameter_gradient(&decoder->parameters, index);
}

static void set_rank(struct decoder *decoder, const bool *targets, int64_t R, double alpha, bool rank_stable) {
    const double scale = alpha / (rank_stable ? sqrt((double)R) : (double)R);
    for (int64_t l = 0; l < decoder->config.L; l++) {
        for (int kind = 0; kind < PROJECTIONS; kind++) {
            if (targets[kind]) decoder->layers[l].projections[kind].lora = (struct lora){.R = R, .scale = (float)scale};
        }
    }
}

struct kaiming {
    struct rng rng;
};

/* PEFT's start: A uniform in +-sqrt(6 / ((1 + 5) inputs)), B zero. */
static bool start_factor(void *context, const struct factor *factor, struct error *error) {
    struct kaiming *kaiming = context;
    (void)error;
    if (factor->is_b) return true;
    const double bound = 1.0 / sqrt((double)factor->cols);
    float *a = factor->projection->lora.a;
    for (int64_t i = 0; i < factor->rows * factor->cols; i++)
        a[i] = (float)((2.0 * rng_uniform(&kaiming->rng) - 1.0) * bound);
    return true;
}

bool decoder_add_lora(struct decoder *decoder, const struct lora_settings *settings, int64_t labels, uint64_t seed,
                      struct error *error) {
    struct kaiming kaiming;
    rng_seed_stream(&kaiming.rng, seed, 0x6c6f7261, 0);
    decoder->lora_dropout = settings->dropout;
    if (!decoder_set_labels(decoder, labels, seed, error)) return false;
    set_rank(decoder, settings->targets, settings->rank, settings->alpha, settings->rank_stable);
    if (!each_factor(decoder, settings->targets, settings->rank, declare_factor, decoder, error)) return false;
    if (!declare_head(decoder, error) || !parameters_allocate(&decoder->parameters, error)) return false;
    if (!each_factor(decoder, settings->targets, settings->rank, adopt_factor, decoder, error)) return false;
    adopt_head(decoder);
    return each_factor(decoder, settings->targets, settings->rank, start_factor, &kaiming, error);
}

/* Reading an adapter: its file, and where the values go. */
struct adapter_reading {
    struct decoder *decoder;
    const struct safetensors *file;
    bool train;
};

static bool read_factor(void *context, const struct factor *factor, struct error *error) {
    struct adapter_reading *reading = context;
    struct matrix stored;
    if (!safetensors_matrix(reading->file, factor->name, factor->rows, factor->cols, &stored, error)) return false;
    const int64_t count = factor->rows * factor->cols;
    if (!reading->train) {
        float *value = arena_alloc(&reading->decoder->owned, (size_t)count, sizeof(float));
        if (value == NULL) return memory_error(error, (size_t)count * sizeof(float), factor->name);
        place_factor(factor, value, NULL);
    }
    matrix_widen(factor->is_b ? factor->projection->lora.b : factor->projection->lora.a, &stored, 0, count);
    return true;
}

/* The head of an adapter replaces the model's; it says how many labels there are. */
static bool read_head(struct decoder *decoder, const struct safetensors *file, struct error *error) {
    const char *const names[] = {ADAPTER_HEAD, "base_model.model.score.modules_to_save.default.weight",
                                 "base_model.model.score.modules_to_save.weight"};
    const struct stored_tensor *head = NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && head == NULL; i++) head = safetensors_find(file, names[i]);
    if (head == NULL) return true;
    if (head->dims != 2 || head->shape[0] < 1 || head->shape[0] > 1 << 20) {
        return error_set(error, "%s: tensor %s is no score head [labels, %lld]", head->file, head->name,
                         (long long)decoder->config.C);
    }
    const int64_t labels = head->shape[0], C = decoder->config.C;
    struct matrix stored;
    if (!safetensors_matrix(file, head->name, labels, C, &stored, error)) return false;
    float *value = arena_alloc(&decoder->owned, (size_t)labels, (size_t)C * sizeof(float));
    if (value == NULL) return memory_error(error, (size_t)(labels * C) * sizeof(float), "the score head");
    matrix_widen(value, &stored, 0, labels * C);
    decoder->head = (struct projection){.weight = {DTYPE_F32, labels, C, value}};
    decoder->config.classifier = true;
    decoder->config.labels = labels;
    return true;
}

/* A tensor of the adapter that no target claims would be dropped in silence: it is refused instead. */
static bool check_all_read(const struct safetensors *file, size_t read, const char *directory, struct error *error) {
    if (safetensors_count(file) == read) return true;
    error_set(error, "%s/adapter_model.safetensors holds %zu tensors, adapter_config.json accounts for %zu", directory,
              safetensors_count(file), read);
    return error_hint(error, "only LoRA on q, k, v, o, gate, up, down and a score head are supported");
}

static bool count_factor(void *context, const struct factor *factor, struct error *error) {
    (void)factor;
    (void)error;
    ++*(size_t *)context;
    return true;
}

static bool read_adapter(struct decoder *decoder, const struct adapter_config *config, const struct safetensors *file,
                         const char *directory, bool train, struct error *error) {
    const struct matrix old_head = decoder->head.weight;
    set_rank(decoder, config->targets, config->rank, config->alpha, config->rank_stable);
    decoder->lora_dropout = config->dropout;
    if (!read_head(decoder, file, error)) return false;
    const bool has_head = decoder->head.weight.data != old_head.data;
    size_t factors = 0;
    if (!each_factor(decoder, config->targets, config->rank, count_factor, &factors, error)) return false;
    if (!check_all_read(file, factors + (has_head ? 1 : 0), directory, error)) return false;
    struct adapter_reading reading = {decoder, file, train};
    if (train) {
        if (!each_factor(decoder, config->targets, config->rank, declare_factor, decoder, error)) return false;
        if (has_head && !declare_head(decoder, error)) return false;
        if (!parameters_allocate(&decoder->parameters, error)) return false;
        if (!each_factor(decoder, config->targets, config->rank, adopt_factor, decoder, error)) return false;
        if (has_head) adopt_head(decoder);
    }
    return each_factor(decoder, config->targets, config->rank, read_factor, &reading, error);
}

bool decoder_open_adapter(struct decoder *decoder, const char *directory, bool train, struct error *error) {
    struct adapter_config config;
    if (!adapter_config_load(&config, directory, error)) return false;
    char path[4096];
    if (!path_join(path, sizeof path, directory, "adapter_model.safetensors"))
        return error_set(error, "%s: path too long", directory);
    struct safetensors *file;
    if (!safetensors_open(&file, path, error)) return false;
    const bool read = read_adapter(decoder, &config, file, directory, train, error);
    safetensors_close(file);
    return read;
}

bool decoder_write_adapter(const struct decoder *decoder, const char *directory, const struct lora_settings *settings,
                           const char *base, struct error *error) {
    struct adapter_config config = {.rank = settings->rank,
                                    .alpha = settings->alpha,
                                    .dropout = settings->dropout,
                                    .rank_stable = settings->rank_stable,
                                    .saves_score = decoder->config.classifier};
    memcpy(config.targets, settings->targets, sizeof config.targets);
    if (strlen(base) >= sizeof config.base) return error_set(error, "%s: the path of the base model is too long", base);
    strcpy(config.base, base);
    char path[4096];
    if (!path_join(path, sizeof path, directory, "adapter_model.safetensors"))
        return error_set(error, "%s: path too long", directory);
    if (!parameters_write(&decoder->parameters, path, DTYPE_F32, error)) return false;
    return adapter_config_write(&config, directory, decoder->config.labels, error);
}
