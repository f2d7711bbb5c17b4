/* Whole models with random weights (bench_model.h): forward, LoRA step and decoding. */
#include "cli/bench_shape.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "cli/bench_model.h"
#include "cli/bench_peak.h"
#include "generate/decode.h"
#include "model/decoder.h"
#include "tensor/kernels.h"
#include "train/optimizer.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TOKENS = 512, LABELS = 738, PROMPT = 64, STEPS = 24, SEQUENCES = 8 };

/* Bytes of this process in memory now. */
static double resident(void) {
    long pages = 0, ignored = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL) return 0;
    if (fscanf(file, "%ld %ld", &ignored, &pages) != 2) pages = 0;
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
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

/* One model in one way. Decoding comes first: the score head then takes lm_head's place. */
static bool bench_way(struct bench *bench, const struct model_config *config, const struct model_way *way,
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

bool bench_shape_check(const char *shape, struct error *error) {
    return model_shape_find(shape) != NULL || error_usage(error, "--shape takes 0.5b, 1.5b or 7b, not \"%s\"", shape);
}

bool bench_shape(struct bench *bench, const char *shape, enum compute_type type, struct error *error) {
    const struct model_shape *found = model_shape_find(shape);
    if (found == NULL) return bench_shape_check(shape, error);
    const struct model_config *config = &found->config;
    char heading[160];
    snprintf(heading, sizeof heading, "%s, random weights: share of the f32 peak, or of the read bandwidth",
             found->title);
    /* A large model takes long enough to be measured at once. */
    const double weights = model_bytes(config, DTYPE_INT8);
    const int repeats = weights < 1e9 ? 5 : weights < 3e9 ? 3 : 1;
    if (bench->repeats > repeats) bench->repeats = repeats;
    bench_begin(bench, "shape", heading);
    for (int w = 0; w < MODEL_WAYS; w++) {
        const struct model_way *way = &model_ways[w];
        if (type != COMPUTE_AUTO && type != way->type) continue;
        /* The activations of a step of 512 tokens that are kept for its backward, about. */
        const double activations =
            (double)config->L * TOKENS * 4 * (double)(6 * config->C + 2 * config->H * config->D + 3 * config->F) + 1e9;
        if (model_bytes(config, way->dtype) + activations > available_memory()) {
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
