/* Models to be measured: see bench_model.h. Weights are one random piece copied over and over. */
#include "cli/bench_model.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"
#include "tensor/int8.h"
#include "tensor/small_product.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 1 << 20 };

static const struct model_shape shapes[] = {
    {"0.5b",
     "Qwen2.5 0.5B",
     {.architecture = ARCHITECTURE_QWEN2,
      .V = 151936,
      .C = 896,
      .L = 24,
      .H = 14,
      .K = 2,
      .D = 64,
      .F = 4864,
      .positions = 32768,
      .norm_eps = 1e-6f,
      .rope_theta = 1e6,
      .tied = true,
      .qkv_bias = true,
      .initializer_range = 0.02f}},
    {"1.5b",
     "Qwen2.5 1.5B",
     {.architecture = ARCHITECTURE_QWEN2,
      .V = 151936,
      .C = 1536,
      .L = 28,
      .H = 12,
      .K = 2,
      .D = 128,
      .F = 8960,
      .positions = 32768,
      .norm_eps = 1e-6f,
      .rope_theta = 1e6,
      .tied = true,
      .qkv_bias = true,
      .initializer_range = 0.02f}},
    {"7b",
     "Llama 2 7B",
     {.architecture = ARCHITECTURE_LLAMA,
      .V = 32000,
      .C = 4096,
      .L = 32,
      .H = 32,
      .K = 32,
      .D = 128,
      .F = 11008,
      .positions = 4096,
      .norm_eps = 1e-5f,
      .rope_theta = 1e4,
      .initializer_range = 0.02f}},
};
enum { SHAPES = sizeof shapes / sizeof shapes[0] };

const struct model_way model_ways[MODEL_WAYS] = {
    {"f32", COMPUTE_F32, DTYPE_F32, COMPUTE_AUTO},
    {"bf16 weights", COMPUTE_BF16, DTYPE_BF16, COMPUTE_AUTO},
    {"bf16", COMPUTE_BF16, DTYPE_BF16, COMPUTE_BF16},
    {"int8", COMPUTE_INT8, DTYPE_INT8, COMPUTE_AUTO},
};

const struct model_shape *model_shape_find(const char *name) {
    for (int s = 0; s < SHAPES; s++) {
        if (strcmp(shapes[s].name, name) == 0) return &shapes[s];
    }
    return NULL;
}

double layer_weights(const struct model_config *c) {
    const double C = (double)c->C, queries = (double)(c->H * c->D), keys = (double)(c->K * c->D);
    return 2 * C * queries + 2 * C * keys + 3 * C * (double)c->F;
}

double model_bytes(const struct model_config *c, enum dtype dtype) {
    const double table = (double)(c->V * c->C), size = (double)dtype_size(dtype);
    const double embedding = c->tied && dtype != DTYPE_INT8 ? 0 : table * (dtype == DTYPE_INT8 ? 2 : size);
    return (double)c->L * layer_weights(c) * size + table * size + embedding;
}

/* Random values in every storage type, from which weights are copied. */
struct source {
    float *wide;
    uint16_t *narrow;
    int8_t *bytes;
};

static bool source_open(struct source *source, struct error *error) {
    source->wide = memory_alloc(PIECE, sizeof *source->wide);
    source->narrow = memory_alloc(PIECE, sizeof *source->narrow);
    source->bytes = memory_alloc(PIECE, sizeof *source->bytes);
    if (source->wide == NULL || source->narrow == NULL || source->bytes == NULL)
        return memory_error(error, PIECE * 7, "random weights");
    struct rng rng;
    rng_seed(&rng, 1);
    for (int i = 0; i < PIECE; i++) {
        source->wide[i] = (float)(0.02 * rng_normal(&rng));
        const float byte = source->wide[i] * 1600; /* four deviations are 127 */
        source->bytes[i] = (int8_t)(byte > 127 ? 127 : byte < -127 ? -127 : byte);
    }
    narrow_bf16(source->narrow, source->wide, PIECE);
    return true;
}

static void source_close(struct source *source) {
    memory_free(source->wide);
    memory_free(source->narrow);
    memory_free(source->bytes);
}

/* A matrix of this shape and type in the decoder's arena. */
static bool random_matrix(struct decoder *decoder, const struct source *source, struct matrix *matrix, enum dtype dtype,
                          int64_t rows, int64_t cols, struct error *error) {
    const size_t size = dtype_size(dtype), count = (size_t)(rows * cols);
    char *data = arena_alloc(&decoder->owned, count, size);
    if (data == NULL) return memory_error(error, count * size, "the weights of the model");
    if (dtype == DTYPE_INT8) memory_prefer_large_pages(data, count);
    const char *from = dtype == DTYPE_F32    ? (const char *)source->wide
                       : dtype == DTYPE_INT8 ? (const char *)source->bytes
                                             : (const char *)source->narrow;
#pragma omp parallel for schedule(static)
    for (size_t first = 0; first < count; first += PIECE)
        memcpy(data + first * size, from, (count - first < PIECE ? count - first : PIECE) * size);
    *matrix = (struct matrix){dtype, rows, cols, data};
    if (dtype != DTYPE_INT8) return true;
    struct int8_rows *stored = arena_alloc(&decoder->owned, 1, sizeof *stored);
    float *scales = arena_alloc(&decoder->owned, (size_t)rows, sizeof *scales);
    int32_t *sums = arena_alloc(&decoder->owned, (size_t)rows, sizeof *sums);
    if (stored == NULL || scales == NULL || sums == NULL)
        return memory_error(error, (size_t)rows * 8, "the scales of the model");
    for (int64_t r = 0; r < rows; r++) scales[r] = 1.0f / 1600;
    int8_sum_rows(sums, (const int8_t *)data, rows, cols);
    *stored = (struct int8_rows){(const int8_t *)data, scales, sums};
    matrix->data = stored;
    return true;
}

static bool ones(struct decoder *decoder, struct matrix *matrix, int64_t count, float value, struct error *error) {
    float *values = arena_alloc(&decoder->owned, (size_t)count, sizeof *values);
    if (values == NULL) return memory_error(error, (size_t)count * sizeof *values, "norms and biases");
    for (int64_t i = 0; i < count; i++) values[i] = value;
    *matrix = (struct matrix){DTYPE_F32, 1, count, values};
    return true;
}

static bool random_layer(struct decoder *decoder, const struct source *source, struct decoder_layer *layer,
                         enum dtype dtype, struct error *error) {
    const struct model_config *c = &decoder->config;
    const int64_t queries = c->H * c->D, keys = c->K * c->D;
    const int64_t sizes[PROJECTIONS][2] = {{queries, c->C}, {keys, c->C}, {keys, c->C}, {c->C, queries},
                                           {c->F, c->C},    {c->F, c->C}, {c->C, c->F}};
    for (int kind = 0; kind < PROJECTIONS; kind++) {
        struct projection *p = &layer->projections[kind];
        if (!random_matrix(decoder, source, &p->weight, dtype, sizes[kind][0], sizes[kind][1], error)) return false;
        if (kind <= PROJECTION_V && c->qkv_bias && !ones(decoder, &p->bias, sizes[kind][0], 0, error)) return false;
    }
    return ones(decoder, &layer->attention_norm.weight, c->C, 1, error) &&
           ones(decoder, &layer->mlp_norm.weight, c->C, 1, error);
}

bool random_decoder(struct decoder *decoder, const struct model_config *config, enum dtype dtype, struct error *error) {
    struct source source = {0};
    *decoder = (struct decoder){.config = *config};
    bool done = source_open(&source, error);
    decoder->layers = done ? arena_zero(&decoder->owned, (size_t)config->L, sizeof *decoder->layers) : NULL;
    if (done && decoder->layers == NULL) done = memory_error(error, sizeof *decoder->layers, "layers");
    for (int64_t l = 0; done && l < config->L; l++)
        done = random_layer(decoder, &source, &decoder->layers[l], dtype, error);
    done = done && ones(decoder, &decoder->final_norm.weight, config->C, 1, error);
    const enum dtype table = dtype == DTYPE_INT8 ? DTYPE_BF16 : dtype;
    done = done && random_matrix(decoder, &source, &decoder->embedding, table, config->V, config->C, error);
    if (done && config->tied && dtype != DTYPE_INT8)
        decoder->head.weight = decoder->embedding;
    else
        done = done && random_matrix(decoder, &source, &decoder->head.weight, dtype, config->V, config->C, error);
    source_close(&source);
    return done;
}

double available_memory(void) {
    double kilobytes = 0;
    char line[128];
    FILE *file = fopen("/proc/meminfo", "r");
    if (file == NULL) return (double)sysconf(_SC_AVPHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    while (kilobytes == 0 && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "MemAvailable: %lf", &kilobytes) != 1) kilobytes = 0;
    }
    fclose(file);
    return kilobytes * 1024;
}
