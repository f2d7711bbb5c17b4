/* LoRA terms of a decoder: laid on fresh, or read from PEFT adapters, frozen or trained; chosen by name, summed, or
 * taken off; and written back. */
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
    struct lora *term;
    char name[192];
    bool is_b;
    int64_t rows, cols;
};

typedef bool factor_visitor(void *context, const struct factor *factor, struct error *error);

static bool visit_factor(struct decoder *decoder, struct decoder_adapter *adapter, int64_t l, int kind, bool is_b,
                         factor_visitor *visit, void *context, struct error *error) {
    const struct matrix *weight = &decoder->layers[l].projections[kind].weight;
    struct factor factor = {.term = &adapter->terms[l * PROJECTIONS + kind], .is_b = is_b};
    if (factor.term->R == 0) return true;
    factor.rows = is_b ? weight->rows : factor.term->R;
    factor.cols = is_b ? factor.term->R : weight->cols;
    adapter_tensor_name(factor.name, sizeof factor.name, l, (enum projection_kind)kind, is_b ? 'B' : 'A');
    return visit(context, &factor, error);
}

/* The factors A of projections that read the same input come one after the other, so that they are one matrix in memory
 * (see projection.c); then their B. */
static bool each_factor(struct decoder *decoder, struct decoder_adapter *adapter, factor_visitor *visit, void *context,
                        struct error *error) {
    static const int groups[][2] = {{PROJECTION_Q, PROJECTION_O},
                                    {PROJECTION_O, PROJECTION_GATE},
                                    {PROJECTION_GATE, PROJECTION_DOWN},
                                    {PROJECTION_DOWN, PROJECTIONS}};
    for (int64_t l = 0; l < decoder->config.L; l++) {
        for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++) {
            for (int is_b = 0; is_b < 2; is_b++) {
                for (int kind = groups[g][0]; kind < groups[g][1]; kind++) {
                    if (!visit_factor(decoder, adapter, l, kind, is_b != 0, visit, context, error)) return false;
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
    struct lora *lora = factor->term;
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
static bool declare_head(struct decoder *decoder, const struct projection *head, struct error *error) {
    size_t index;
    return parameters_declare(&decoder->parameters, ADAPTER_HEAD, head->weight.rows, head->weight.cols, false, &index,
                              error);
}

static void adopt_head(struct decoder *decoder, struct projection *head) {
    const size_t index = decoder->parameters.count - 1;
    float *value = parameter_value(&decoder->parameters, index);
    matrix_widen(value, &head->weight, 0, head->weight.rows * head->weight.cols);
    head->weight = (struct matrix){DTYPE_F32, head->weight.rows, head->weight.cols, value};
    head->d_weight = parameter_gradient(&decoder->parameters, index);
}

/* All tensors of an adapter become parameters. */
static bool train_adapter(struct decoder *decoder, struct decoder_adapter *adapter, struct error *error) {
    const bool has_head = adapter->head.weight.data != NULL;
    if (decoder->parameters.count > 0)
        return error_set(error, "adapter %s: something else is being trained already", adapter->name);
    if (!each_factor(decoder, adapter, declare_factor, decoder, error)) return false;
    if (has_head && !declare_head(decoder, &adapter->head, error)) return false;
    if (!parameters_allocate(&decoder->parameters, error)) return false;
    if (!each_factor(decoder, adapter, adopt_factor, decoder, error)) return false;
    if (has_head) adopt_head(decoder, &adapter->head);
    return true;
}

/* Ranks and scales of all terms, as the configuration says. */
static bool set_terms(struct decoder *decoder, struct decoder_adapter *adapter, struct error *error) {
    const size_t count = (size_t)decoder->config.L * PROJECTIONS;
    int64_t targets = 0;
    adapter->terms = arena_zero(&decoder->owned, count, sizeof *adapter->terms);
    if (adapter->terms == NULL) return memory_error(error, count * sizeof *adapter->terms, "the terms of an adapter");
    for (int64_t l = 0; l < decoder->config.L; l++) {
        for (int kind = 0; kind < PROJECTIONS; kind++) {
            struct lora *term = &adapter->terms[l * PROJECTIONS + kind];
            double alpha;
            if (!adapter_config_term(&adapter->config, l, (enum projection_kind)kind, &term->R, &alpha, error))
                return false;
            if (term->R == 0) continue;
            const double R = (double)term->R;
            term->scale = (float)(alpha / (adapter->config.rank_stable ? sqrt(R) : R));
            targets++;
        }
    }
    return targets > 0 || error_set(error, "\"target_modules\" names nothing that the model has");
}

static struct decoder_adapter *find_adapter(const struct decoder *decoder, const char *name) {
    struct decoder_adapter *adapter = decoder->adapters;
    while (adapter != NULL && strcmp(adapter->name, name) != 0) adapter = adapter->next;
    return adapter;
}

/* A new adapter of that name, with nothing in it. The head that the model itself has is remembered by the first. */
static bool new_adapter(struct decoder *decoder, const char *name, struct decoder_adapter **out, struct error *error) {
    if (strlen(name) >= sizeof(*out)->name) return error_set(error, "the name \"%s\" of an adapter is too long", name);
    if (find_adapter(decoder, name) != NULL) return error_set(error, "there is an adapter \"%s\" already", name);
    struct decoder_adapter *adapter = arena_zero(&decoder->owned, 1, sizeof *adapter);
    if (adapter == NULL) return memory_error(error, sizeof *adapter, "an adapter");
    strcpy(adapter->name, name);
    if (decoder->adapters == NULL) {
        decoder->own_head = decoder->head;
        decoder->own_classifier = decoder->config.classifier;
        decoder->own_labels = decoder->config.labels;
    }
    adapter->next = decoder->adapters;
    decoder->adapters = adapter;
    *out = adapter;
    return true;
}

int64_t adapters_rank(const struct decoder *decoder, int64_t layer, enum projection_kind kind) {
    int64_t rank = 0;
    for (const struct decoder_adapter *a = decoder->adapters; a != NULL; a = a->next) {
        if (a->terms != NULL) rank += a->terms[layer * PROJECTIONS + (int64_t)kind].R;
    }
    return rank;
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
    float *a = factor->term->a;
    for (int64_t i = 0; i < factor->rows * factor->cols; i++)
        a[i] = (float)((2.0 * rng_uniform(&kaiming->rng) - 1.0) * bound);
    return true;
}

bool decoder_add_lora(struct decoder *decoder, const struct lora_settings *settings, int64_t labels, uint64_t seed,
                      struct error *error) {
    struct kaiming kaiming;
    struct decoder_adapter *adapter;
    static const char *const name[] = {"default"};
    rng_seed_stream(&kaiming.rng, seed, 0x6c6f7261, 0);
    if (!new_adapter(decoder, name[0], &adapter, error)) return false;
    if (labels > 0 && !decoder_set_labels(decoder, labels, seed, error)) return false;
    if (labels > 0) adapter->head = decoder->head;
    return adapter_config_make(&adapter->config, settings, labels > 0, error) && set_terms(decoder, adapter, error) &&
           train_adapter(decoder, adapter, error) && each_factor(decoder, adapter, start_factor, &kaiming, error) &&
           decoder_use_adapters(decoder, name, 1, error);
}

/* Reading an adapter: its file, and where the values go. */
struct adapter_reading {
    struct decoder *decoder;
    const struct safetensors *file;
    bool train;
    size_t read;
};

/* Room for the factors of a frozen adapter, in the order of each_factor. */
struct factor_memory {
    float *next;
    int64_t total;
};

static bool count_factor(void *context, const struct factor *factor, struct error *error) {
    struct factor_memory *memory = context;
    (void)error;
    memory->total += factor->rows * factor->cols;
    return true;
}

static bool take_factor(void *context, const struct factor *factor, struct error *error) {
    struct factor_memory *memory = context;
    (void)error;
    place_factor(factor, memory->next, NULL);
    memory->next += factor->rows * factor->cols;
    return true;
}

static bool read_factor(void *context, const struct factor *factor, struct error *error) {
    struct adapter_reading *reading = context;
    struct matrix stored;
    if (!safetensors_matrix(reading->file, factor->name, factor->rows, factor->cols, &stored, error)) return false;
    matrix_widen(factor->is_b ? factor->term->b : factor->term->a, &stored, 0, factor->rows * factor->cols);
    reading->read++;
    return true;
}

/* The head of an adapter says how many labels there are. */
static bool read_head(struct adapter_reading *reading, struct decoder_adapter *adapter, struct error *error) {
    const char *const names[] = {ADAPTER_HEAD, "base_model.model.score.modules_to_save.default.weight",
                                 "base_model.model.score.modules_to_save.weight"};
    struct decoder *decoder = reading->decoder;
    const struct stored_tensor *head = NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0] && head == NULL; i++)
        head = safetensors_find(reading->file, names[i]);
    if (head == NULL) return true;
    if (head->dims != 2 || head->shape[0] < 1 || head->shape[0] > 1 << 20) {
        return error_set(error, "%s: tensor %s is no score head [labels, %lld]", head->file, head->name,
                         (long long)decoder->config.C);
    }
    const int64_t labels = head->shape[0], C = decoder->config.C;
    struct matrix stored;
    if (!safetensors_matrix(reading->file, head->name, labels, C, &stored, error)) return false;
    float *value = arena_alloc(&decoder->owned, (size_t)labels, (size_t)C * sizeof(float));
    if (value == NULL) return memory_error(error, (size_t)(labels * C) * sizeof(float), "the score head");
    matrix_widen(value, &stored, 0, labels * C);
    adapter->head = (struct projection){.weight = {DTYPE_F32, labels, C, value}};
    reading->read++;
    return true;
}

/* A tensor of the adapter that no target claims would be dropped in silence: it is refused instead. */
static bool check_all_read(const struct safetensors *file, size_t read, const char *directory, struct error *error) {
    if (safetensors_count(file) == read) return true;
    error_set(error, "%s/adapter_model.safetensors holds %zu tensors, adapter_config.json accounts for %zu", directory,
              safetensors_count(file), read);
    return error_hint(error, "only LoRA on q, k, v, o, gate, up, down and a score head are supported");
}

static bool read_adapter(struct adapter_reading *reading, struct decoder_adapter *adapter, const char *directory,
                         struct error *error) {
    struct decoder *decoder = reading->decoder;
    if (!read_head(reading, adapter, error)) return false;
    if (reading->train) {
        if (!train_adapter(decoder, adapter, error)) return false;
    } else {
        struct factor_memory memory = {0};
        each_factor(decoder, adapter, count_factor, &memory, error);
        memory.next = arena_alloc(&decoder->owned, (size_t)memory.total, sizeof(float));
        if (memory.next == NULL) return memory_error(error, (size_t)memory.total * sizeof(float), directory);
        each_factor(decoder, adapter, take_factor, &memory, error);
    }
    return each_factor(decoder, adapter, read_factor, reading, error) &&
           check_all_read(reading->file, reading->read, directory, error);
}

static bool load_adapter(struct decoder *decoder, const char *name, const char *directory, bool train,
                         struct error *error) {
    struct decoder_adapter *adapter;
    char path[4096];
    struct safetensors *file;
    if (!new_adapter(decoder, name, &adapter, error)) return false;
    if (!adapter_config_load(&adapter->config, directory, error)) return false;
    if (!set_terms(decoder, adapter, error)) return error_context(error, "%s/adapter_config.json", directory);
    if (!path_join(path, sizeof path, directory, "adapter_model.safetensors"))
        return error_set(error, "%s: path too long", directory);
    if (!safetensors_open(&file, path, error)) return false;
    struct adapter_reading reading = {decoder, file, train, 0};
    const bool read = read_adapter(&reading, adapter, directory, error);
    safetensors_close(file);
    return read;
}

/* A name that is taken off again when the adapter could not be read. Its memory stays with the decoder. */
bool decoder_load_adapter(struct decoder *decoder, const char *name, const char *directory, bool train,
                          struct error *error) {
    struct decoder_adapter *before = decoder->adapters;
    if (load_adapter(decoder, name, directory, train, error)) return true;
    if (decoder->adapters != before) {
        adapter_config_free(&decoder->adapters->config);
        decoder->adapters = before;
    }
    return false;
}

bool decoder_open_adapter(struct decoder *decoder, const char *directory, bool train, struct error *error) {
    static const char *const name[] = {"default"};
    return decoder_load_adapter(decoder, name[0], directory, train, error) &&
           decoder_use_adapters(decoder, name, 1, error);
}

/* The sum of several terms is one term of the sum of their ranks: A stacked, B side by side with the scales in it. */
static void sum_terms(struct lora *sum, const struct matrix *weight, struct decoder_adapter *const *adapters,
                      size_t count, int64_t place, float **memory) {
    *sum = (struct lora){.scale = 1};
    for (size_t i = 0; i < count; i++) sum->R += adapters[i]->terms[place].R;
    if (sum->R == 0) return;
    sum->a = *memory;
    sum->b = sum->a + sum->R * weight->cols;
    *memory = sum->b + weight->rows * sum->R;
    int64_t first = 0;
    for (size_t i = 0; i < count; i++) {
        const struct lora *term = &adapters[i]->terms[place];
        if (term->R == 0) continue;
        memcpy(sum->a + first * weight->cols, term->a, (size_t)(term->R * weight->cols) * sizeof *sum->a);
        for (int64_t row = 0; row < weight->rows; row++) {
            for (int64_t r = 0; r < term->R; r++)
                sum->b[row * sum->R + first + r] = term->scale * term->b[row * term->R + r];
        }
        first += term->R;
    }
}

static bool sum_adapters(struct decoder *decoder, struct decoder_adapter *const *adapters, size_t count,
                         struct error *error) {
    int64_t floats = 0;
    for (int64_t place = 0; place < decoder->config.L * PROJECTIONS; place++) {
        const struct matrix *weight = &decoder->layers[place / PROJECTIONS].projections[place % PROJECTIONS].weight;
        for (size_t i = 0; i < count; i++) {
            const struct lora *term = &adapters[i]->terms[place];
            if (term->d_a != NULL)
                return error_set(error, "adapter %s is being trained; only finished ones can be summed",
                                 adapters[i]->name);
            floats += term->R * (weight->rows + weight->cols);
        }
    }
    float *memory = memory_alloc((size_t)floats, sizeof *memory);
    if (memory == NULL) return memory_error(error, (size_t)floats * sizeof *memory, "the sum of adapters");
    memory_free(decoder->summed);
    decoder->summed = memory;
    for (int64_t place = 0; place < decoder->config.L * PROJECTIONS; place++) {
        struct projection *projection = &decoder->layers[place / PROJECTIONS].projections[place % PROJECTIONS];
        sum_terms(&projection->lora, &projection->weight, adapters, count, place, &memory);
    }
    return true;
}

enum { ADAPTERS = 16 };

/* The adapters of these names, and which of them brings a head: at most one. */
static bool find_adapters(const struct decoder *decoder, const char *const *names, size_t count,
                          struct decoder_adapter **adapters, const struct decoder_adapter **with_head,
                          struct error *error) {
    if (count > ADAPTERS) return error_set(error, "%zu adapters at once are too many, %d can be", count, ADAPTERS);
    *with_head = NULL;
    for (size_t i = 0; i < count; i++) {
        adapters[i] = find_adapter(decoder, names[i]);
        if (adapters[i] == NULL) return error_set(error, "there is no adapter \"%s\"", names[i]);
        if (adapters[i]->head.weight.data == NULL) continue;
        if (*with_head != NULL)
            return error_set(error, "adapters %s and %s both have a score head; their sum has none", (*with_head)->name,
                             names[i]);
        *with_head = adapters[i];
    }
    return true;
}

bool decoder_use_adapters(struct decoder *decoder, const char *const *names, size_t count, struct error *error) {
    struct decoder_adapter *adapters[ADAPTERS];
    const struct decoder_adapter *with_head = NULL;
    if (!find_adapters(decoder, names, count, adapters, &with_head, error)) return false;
    if (count > 1 && !sum_adapters(decoder, adapters, count, error)) return false;
    for (int64_t place = 0; place < decoder->config.L * PROJECTIONS && count <= 1; place++) {
        struct projection *projection = &decoder->layers[place / PROJECTIONS].projections[place % PROJECTIONS];
        projection->lora = count == 0 ? (struct lora){0} : adapters[0]->terms[place];
    }
    decoder->lora_dropout = count == 1 ? adapters[0]->config.dropout : 0;
    if (decoder->adapters == NULL) return true;
    decoder->head = with_head == NULL ? decoder->own_head : with_head->head;
    decoder->config.classifier = with_head != NULL || decoder->own_classifier;
    decoder->config.labels = with_head == NULL ? decoder->own_labels : with_head->head.weight.rows;
    return true;
}

void decoder_close_adapters(struct decoder *decoder) {
    for (struct decoder_adapter *a = decoder->adapters; a != NULL; a = a->next) adapter_config_free(&a->config);
    memory_free(decoder->summed);
    decoder->adapters = NULL;
    decoder->summed = NULL;
}

/* The adapter whose tensors are the parameters; NULL if none is trained. */
static struct decoder_adapter *trained_adapter(const struct decoder *decoder) {
    for (struct decoder_adapter *a = decoder->adapters; a != NULL; a = a->next) {
        for (int64_t place = 0; place < decoder->config.L * PROJECTIONS; place++) {
            if (a->terms[place].d_a != NULL) return a;
        }
    }
    return NULL;
}

bool decoder_write_adapter(const struct decoder *decoder, const char *directory, const char *base,
                           struct error *error) {
    struct decoder_adapter *trained = trained_adapter(decoder);
    if (trained == NULL) return error_set(error, "%s: no adapter is being trained that could be written", directory);
    if (strlen(base) >= sizeof trained->config.base)
        return error_set(error, "%s: the path of the base model is too long", base);
    strcpy(trained->config.base, base);
    char path[4096];
    if (!path_join(path, sizeof path, directory, "adapter_model.safetensors"))
        return error_set(error, "%s: path too long", directory);
    return parameters_write(&decoder->parameters, path, DTYPE_F32, error) &&
           adapter_config_write(&trained->config, directory, trained->head.weight.data != NULL, error);
}
