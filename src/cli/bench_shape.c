/* Whole models: weights are one random piece copied over and over, at their real size, so that memory and caches are
 * used as by a real checkpoint. */
#include "cli/bench_shape.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/rng.h"
#include "cli/bench_peak.h"
#include "generate/decode.h"
#include "model/decoder.h"
#include "tensor/int8.h"
#include "tensor/kernels.h"
#include "tensor/small_product.h"
#include "train/optimizer.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TOKENS = 512, LABELS = 738, PROMPT = 64, STEPS = 24, SEQUENCES = 8, PIECE = 1 << 20 };

static const struct shape {
    const char *name, *title;
    struct model_config config;
} shapes[] = {
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

/* Elements of the projections of one layer. */
static double layer_weights(const struct model_config *c) {
    const double C = (double)c->C, queries = (double)(c->H * c->D), keys = (double)(c->K * c->D);
    return 2 * C * queries + 2 * C * keys + 3 * C * (double)c->F;
}

/* Bytes of a model whose layers and head are stored as `dtype`; the embedding of an int8 model stays bf16. */
static double model_bytes(const struct model_config *c, enum dtype dtype) {
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

/* The model with its lm_head; release with decoder_close, also after a failure. */
static bool random_decoder(struct decoder *decoder, const struct model_config *config, enum dtype dtype,
                           struct error *error) {
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

/* Bytes of this process in memory now. */
static double resident(void) {
    long pages = 0, ignored = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL) return 0;
    if (fscanf(file, "%ld %ld", &ignored, &pages) != 2) pages = 0;
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

/* Bytes that can be taken without swapping. */
static double available(void) {
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

/* Everything that is timed. */
struct shape_case {
    struct bench *bench;
    const char *type;
    struct decoder decoder;
    struct decoder_run *run;
    struct adamw optimizer;
    int32_t tokens[TOKENS], offsets[2], label;
    struct batch batch;
    float logits[LABELS];
    struct kv_cache *cache;
    struct decode *decode;
    struct decode_row rows[SEQUENCES];
    int64_t row_count;
    float *token_logits; /* [SEQUENCES, V] */
    struct error *error;
    bool failed;
};

static void line_name(char *name, size_t capacity, const struct shape_case *c, const char *what) {
    snprintf(name, capacity, "%s, %s", c->type, what);
}

static void add_memory(const struct shape_case *c) {
    char name[96];
    line_name(name, sizeof name, c, "resident memory");
    bench_value(c->bench, name, resident() / (1 << 30), "GiB");
    bench_flush(c->bench);
}

static void run_decoding(void *context) {
    struct shape_case *c = context;
    if (!c->failed) c->failed = !decode_step(c->decode, c->rows, c->row_count, c->token_logits, c->error);
}

static bool bench_decoding(struct shape_case *c) {
    const struct model_config *config = &c->decoder.config;
    int32_t sequences[SEQUENCES];
    const double bytes = (double)config->L * layer_weights(config) *
                             (double)dtype_size(c->decoder.layers[0].projections[0].weight.dtype) +
                         (double)(config->V * config->C) * (double)dtype_size(c->decoder.head.weight.dtype);
    double one = 0;
    c->token_logits = memory_alloc(SEQUENCES, (size_t)config->V * sizeof(float));
    if (c->token_logits == NULL) return memory_error(c->error, (size_t)config->V * SEQUENCES * 4, "logits");
    if (!kv_cache_open(&c->cache, config, SEQUENCES * 256, SEQUENCES, c->error) ||
        !decode_open(&c->decode, &c->decoder, c->cache, PROMPT, c->error))
        return false;
    sequences[0] = kv_sequence_open(c->cache);
    if (!decode_prompt(c->decode, sequences[0], c->tokens, PROMPT, NULL, c->error)) return false;
    for (int s = 1; s < SEQUENCES; s++) sequences[s] = kv_sequence_fork(c->cache, sequences[0]);
    for (int s = 0; s < SEQUENCES; s++) c->rows[s] = (struct decode_row){sequences[s], c->tokens[s], true};
    for (c->row_count = 1; c->row_count <= SEQUENCES; c->row_count += SEQUENCES - 1) {
        char name[96], what[32];
        const double seconds = time_median(run_decoding, c, STEPS);
        if (c->failed) return false;
        snprintf(what, sizeof what, "decoding, %d row%s", (int)c->row_count, c->row_count == 1 ? "" : "s");
        line_name(name, sizeof name, c, what);
        bench_tokens(c->bench, name, (double)c->row_count, 0, bytes, seconds);
        if (c->row_count == 1)
            one = seconds;
        else {
            line_name(name, sizeof name, c, "8 rows against 1 row");
            bench_value(c->bench, name, SEQUENCES * one / seconds, "times");
        }
    }
    add_memory(c);
    return true;
}

/* Operations of one forward; in the last layer only one row goes behind the keys and values. */
static double forward_operations(const struct model_config *c) {
    const double keys = 2.0 * (double)c->C * (double)(c->K * c->D),
                 pairs = 0.5 * TOKENS * TOKENS * (double)(c->H * c->D);
    const double layers = (double)c->L - 1;
    return 2 * (TOKENS * (layers * layer_weights(c) + keys)) + 4 * layers * pairs;
}

static void run_forward(void *context) {
    struct shape_case *c = context;
    decoder_classify_forward(&c->decoder, c->run, &c->batch, 0, c->logits);
}

static bool bench_forward(struct shape_case *c) {
    char name[96];
    if (!decoder_set_labels(&c->decoder, LABELS, 1, c->error) ||
        !decoder_run_open(&c->run, &c->decoder, TOKENS, 1, false, c->error))
        return false;
    const double seconds = time_median(run_forward, c, c->bench->repeats);
    line_name(name, sizeof name, c, "forward, 512 tokens");
    bench_tokens(c->bench, name, TOKENS, forward_operations(&c->decoder.config), 0, seconds);
    add_memory(c);
    decoder_run_close(c->run);
    c->run = NULL;
    return true;
}

static void run_step(void *context) {
    struct shape_case *c = context;
    struct parameters *set = &c->decoder.parameters;
    float loss;
    memset(set->gradients, 0, (size_t)set->total * sizeof *set->gradients);
    decoder_classify_forward(&c->decoder, c->run, &c->batch, 1, c->logits);
    cross_entropy(&loss, c->logits, c->logits, &c->label, 1, LABELS, 1);
    decoder_classify_backward(&c->decoder, c->run, &c->batch, c->logits);
    adamw_update(&c->optimizer, set, 1e-4, gradient_norm(set));
}

static bool bench_lora(struct shape_case *c) {
    static const struct lora_settings lora = {.rank = 8, .alpha = 16, .targets = {true, true, true, true}};
    char name[96];
    c->optimizer = (struct adamw){.beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .max_norm = 1};
    if (!decoder_add_lora(&c->decoder, &lora, LABELS, 1, c->error) ||
        !adamw_open(&c->optimizer, &c->decoder.parameters, c->error) ||
        !decoder_run_open(&c->run, &c->decoder, TOKENS, 1, true, c->error))
        return false;
    const double seconds = time_median(run_step, c, (c->bench->repeats + 1) / 2);
    line_name(name, sizeof name, c, "LoRA step, 512 tokens");
    bench_tokens(c->bench, name, TOKENS,
                 4.0 * TOKENS * ((double)c->decoder.config.L * layer_weights(&c->decoder.config)), 0, seconds);
    add_memory(c);
    return true;
}

/* How the weights are stored and multiplied. */
static const struct way {
    const char *name;
    enum compute_type type; /* that --compute asks for */
    enum dtype dtype;
    enum compute_type arithmetic;
} ways[] = {
    {"f32", COMPUTE_F32, DTYPE_F32, COMPUTE_AUTO},
    {"bf16 weights", COMPUTE_BF16, DTYPE_BF16, COMPUTE_AUTO},
    {"bf16", COMPUTE_BF16, DTYPE_BF16, COMPUTE_BF16},
    {"int8", COMPUTE_INT8, DTYPE_INT8, COMPUTE_AUTO},
};
enum { WAYS = sizeof ways / sizeof ways[0] };

/* One model in one way. Decoding comes first: the score head then takes lm_head's place. */
static bool bench_way(struct bench *bench, const struct model_config *config, const struct way *way,
                      struct error *error) {
    struct shape_case *c = memory_zero(1, sizeof *c);
    if (c == NULL) return memory_error(error, sizeof *c, "the measurements");
    c->bench = bench;
    c->type = way->name;
    c->error = error;
    for (int t = 0; t < TOKENS; t++) c->tokens[t] = (int32_t)(t * 7919 % config->V);
    c->offsets[1] = TOKENS;
    c->batch = (struct batch){.T = TOKENS, .N = 1, .tokens = c->tokens, .offsets = c->offsets};
    bool done = random_decoder(&c->decoder, config, way->dtype, error) && bench_decoding(c);
    decode_close(c->decode);
    kv_cache_close(c->cache);
    memory_free(c->token_logits);
    done = done && bench_forward(c) && bench_lora(c);
    decoder_run_close(c->run);
    adamw_close(&c->optimizer);
    decoder_close(&c->decoder);
    memory_free(c);
    return done;
}

/* NULL if there is none of that name. */
static const struct shape *find_shape(const char *name) {
    for (int s = 0; s < SHAPES; s++) {
        if (strcmp(shapes[s].name, name) == 0) return &shapes[s];
    }
    return NULL;
}

bool bench_shape_check(const char *shape, struct error *error) {
    return find_shape(shape) != NULL || error_usage(error, "--shape takes 0.5b, 1.5b or 7b, not \"%s\"", shape);
}

bool bench_shape(struct bench *bench, const char *shape, enum compute_type type, struct error *error) {
    const struct shape *found = find_shape(shape);
    if (found == NULL) return bench_shape_check(shape, error);
    const struct model_config *config = &found->config;
    char heading[160];
    snprintf(heading, sizeof heading, "%s, random weights: share of the f32 peak, or of the read bandwidth",
             found->title);
    /* A large model takes long enough to be measured at once. */
    const int repeats = found == &shapes[0] ? 5 : found == &shapes[1] ? 3 : 1;
    if (bench->repeats > repeats) bench->repeats = repeats;
    bench_begin(bench, "shape", heading);
    for (int w = 0; w < WAYS; w++) {
        const struct way *way = &ways[w];
        if (type != COMPUTE_AUTO && type != way->type) continue;
        /* The activations of a step of 512 tokens that are kept for its backward, about. */
        const double activations =
            (double)config->L * TOKENS * 4 * (double)(6 * config->C + 2 * config->H * config->D + 3 * config->F) + 1e9;
        if (model_bytes(config, way->dtype) + activations > available()) {
            log_warning("%s in %s does not fit into the memory that is free", found->title, way->name);
            continue;
        }
        compute_start(way->arithmetic);
        if (!bench_way(bench, config, way, error)) return false;
    }
    bench_end(bench);
    bench_flush(bench);
    return true;
}
