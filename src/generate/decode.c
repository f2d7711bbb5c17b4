/* Decoding: the decoder's layers over a few rows, with keys and values kept in the cache's blocks. */
#include "generate/decode.h"
#include "base/error.h"
#include "base/memory.h"
#include "model/projection.h"
#include "tensor/attention.h"
#include "tensor/gemm.h"
#include "tensor/kernels.h"
#include <math.h>

struct decode {
    const struct decoder *decoder;
    struct kv_cache *cache;
    int64_t capacity;           /* rows */
    int64_t groups;             /* runs of rows of one sequence in this step */
    float *x;                   /* [rows, C] residual */
    float *normed;              /* [rows, C] */
    float *q;                   /* [rows, H*D] */
    float *k, *v;               /* [rows, K*D] */
    float *attended;            /* [rows, H*D] */
    float *gate, *up;           /* [rows, F] */
    float *xa;                  /* [rows, R] of LoRA terms */
    float *cosines, *sines;     /* [positions, D/2] */
    int32_t *tokens, *position; /* [rows] */
    int32_t *wanted;            /* [rows] numbers of the rows whose logits are asked for */
    struct block_rows *runs;    /* [rows] */
    struct decode_row *prompt;  /* [rows] a piece of a prompt */
    struct projection_scratch scratch;
    void *memory;
};

/* Hands out pieces of one block; with base NULL it only counts. */
struct layout {
    char *base;
    size_t used;
};

static void *place(struct layout *layout, int64_t count, size_t size) {
    void *piece = layout->base == NULL ? NULL : layout->base + layout->used;
    layout->used += ((size_t)count * size + 63) / 64 * 64;
    return piece;
}

static void largest_needs(const struct decoder *decoder, int64_t *panel, int64_t *rank) {
    *panel = linear_panel_size(&decoder->head.weight);
    *rank = 0;
    for (int64_t l = 0; l < decoder->config.L; l++) {
        for (int kind = 0; kind < PROJECTIONS; kind++) {
            const struct projection *projection = &decoder->layers[l].projections[kind];
            const int64_t size = linear_panel_size(&projection->weight);
            if (size > *panel) *panel = size;
            if (projection->lora.R > *rank) *rank = projection->lora.R;
        }
    }
}

static size_t lay_out(struct decode *decode, const struct decoder *decoder, int64_t positions, int64_t rows,
                      char *base) {
    const struct model_config *c = &decoder->config;
    struct layout layout = {.base = base};
    int64_t panel, rank;
    largest_needs(decoder, &panel, &rank);
    decode->x = place(&layout, rows * c->C, sizeof(float));
    decode->normed = place(&layout, rows * c->C, sizeof(float));
    decode->q = place(&layout, rows * c->H * c->D, sizeof(float));
    decode->k = place(&layout, rows * c->K * c->D, sizeof(float));
    decode->v = place(&layout, rows * c->K * c->D, sizeof(float));
    decode->attended = place(&layout, rows * c->H * c->D, sizeof(float));
    decode->gate = place(&layout, rows * c->F, sizeof(float));
    decode->up = place(&layout, rows * c->F, sizeof(float));
    decode->xa = place(&layout, rows * rank, sizeof(float));
    decode->scratch.panel = place(&layout, panel, sizeof(float));
    decode->cosines = place(&layout, positions * (c->D / 2), sizeof(float));
    decode->sines = place(&layout, positions * (c->D / 2), sizeof(float));
    decode->tokens = place(&layout, rows, sizeof(int32_t));
    decode->position = place(&layout, rows, sizeof(int32_t));
    decode->wanted = place(&layout, rows, sizeof(int32_t));
    decode->runs = place(&layout, rows, sizeof *decode->runs);
    decode->prompt = place(&layout, rows, sizeof *decode->prompt);
    return layout.used;
}

bool decode_size(const struct decoder *decoder, int64_t positions, int64_t rows, size_t *bytes, struct error *error) {
    struct decode decode = {0};
    if (rows < 1 || rows > 1 << 20) return error_set(error, "a step of %lld rows is not possible", (long long)rows);
    *bytes = lay_out(&decode, decoder, positions, rows, NULL);
    return true;
}

bool decode_open(struct decode **out, const struct decoder *decoder, struct kv_cache *cache, int64_t rows,
                 struct error *error) {
    const int64_t positions = kv_cache_positions(cache);
    size_t bytes;
    if (!decode_size(decoder, positions, rows, &bytes, error)) return false;
    if (decoder->head.weight.data == NULL) return error_set(error, "the model has no head that gives logits of tokens");
    struct decode *decode = memory_zero(1, sizeof *decode);
    double *frequency = memory_alloc((size_t)decoder->config.D / 2, sizeof *frequency);
    char *memory = memory_alloc(bytes, 1);
    if (decode == NULL || frequency == NULL || memory == NULL) {
        memory_free(decode);
        memory_free(frequency);
        memory_free(memory);
        return memory_error(error, bytes, "the working memory of decoding");
    }
    lay_out(decode, decoder, positions, rows, memory);
    decode->decoder = decoder;
    decode->cache = cache;
    decode->capacity = rows;
    decode->memory = memory;
    model_config_frequencies(&decoder->config, frequency);
    rope_table(decode->cosines, decode->sines, frequency, positions, decoder->config.D);
    memory_free(frequency);
    *out = decode;
    return true;
}

void decode_close(struct decode *decode) {
    if (decode == NULL) return;
    memory_free(decode->memory);
    memory_free(decode);
}

static bool check_rows(const struct decode *decode, const struct decode_row *rows, int64_t count, struct error *error) {
    const struct model_config *config = &decode->decoder->config;
    if (count < 1 || count > decode->capacity) {
        return error_set(error, "a step of %lld rows does not fit the %lld made room for", (long long)count,
                         (long long)decode->capacity);
    }
    for (int64_t r = 0; r < count; r++) {
        if (!kv_sequence_is_open(decode->cache, rows[r].sequence))
            return error_set(error, "sequence %d is not open", (int)rows[r].sequence);
        if (rows[r].token < 0 || rows[r].token >= config->V) {
            error_set(error, "token id %d is outside the model's vocabulary of %lld", (int)rows[r].token,
                      (long long)config->V);
            return error_hint(error, "the tokenizer.json does not belong to this model");
        }
    }
    return true;
}

/* The rows as runs of one sequence each, lengthening the sequences; undone when one does not fit. */
static bool extend_sequences(struct decode *decode, const struct decode_row *rows, int64_t count, struct error *error) {
    decode->groups = 0;
    for (int64_t first = 0, end; first < count; first = end) {
        const int32_t sequence = rows[first].sequence;
        for (end = first + 1; end < count && rows[end].sequence == sequence;) end++;
        const int64_t length = kv_sequence_length(decode->cache, sequence);
        if (kv_sequence_extend(decode->cache, sequence, end - first)) {
            decode->runs[decode->groups++] =
                (struct block_rows){first, end - first, length, kv_sequence_blocks(decode->cache, sequence)};
            continue;
        }
        while (decode->groups > 0) {
            const struct block_rows *run = &decode->runs[--decode->groups];
            kv_sequence_truncate(decode->cache, rows[run->first].sequence, run->position);
        }
        const int64_t positions = decode->decoder->config.positions;
        if (length + end - first > positions) {
            return error_set(error, "a sequence of %lld tokens is longer than the model's %lld positions",
                             (long long)(length + end - first), (long long)positions);
        }
        return error_set(error, "the cache of keys and values is full: %lld blocks of %d tokens are free",
                         (long long)kv_blocks_free(decode->cache), ATTENTION_BLOCK);
    }
    for (int64_t g = 0; g < decode->groups; g++) {
        for (int64_t i = 0; i < decode->runs[g].count; i++) {
            const int64_t r = decode->runs[g].first + i;
            decode->tokens[r] = rows[r].token;
            decode->position[r] = (int32_t)(decode->runs[g].position + i);
        }
    }
    return true;
}

static void store_keys(const struct decode *decode, int64_t l, const struct attention_shape *shape) {
    float *layer = kv_layer(decode->cache, l);
    const int64_t stride = kv_block_stride(decode->cache), width = shape->K * shape->D;
    for (int64_t g = 0; g < decode->groups; g++) {
        const struct block_rows *run = &decode->runs[g];
#pragma omp parallel for schedule(static) if (run->count > 32)
        for (int64_t i = 0; i < run->count; i++) {
            const int64_t p = run->position + i, r = run->first + i;
            attention_block_store(layer + run->blocks[p / ATTENTION_BLOCK] * stride, p % ATTENTION_BLOCK,
                                  decode->k + r * width, decode->v + r * width, shape);
        }
    }
}

static void project(const struct decode *decode, int64_t l, enum projection_kind kind, float *y, const float *x,
                    int64_t rows, bool accumulate) {
    projection_forward(&decode->decoder->layers[l].projections[kind], y, x, decode->xa, rows, accumulate,
                       (struct dropout){0}, &decode->scratch);
}

static void layer_forward(const struct decode *decode, int64_t l, int64_t rows) {
    const struct model_config *c = &decode->decoder->config;
    const struct decoder_layer *layer = &decode->decoder->layers[l];
    const struct attention_shape shape = {c->H, c->K, c->D, 1.0f / sqrtf((float)c->D)};
    rmsnorm_forward(decode->normed, NULL, decode->x, layer->attention_norm.weight.data, rows, c->C, c->norm_eps);
    project(decode, l, PROJECTION_Q, decode->q, decode->normed, rows, false);
    project(decode, l, PROJECTION_K, decode->k, decode->normed, rows, false);
    project(decode, l, PROJECTION_V, decode->v, decode->normed, rows, false);
    rope_forward(decode->q, decode->position, decode->cosines, decode->sines, rows, c->H, c->D);
    rope_forward(decode->k, decode->position, decode->cosines, decode->sines, rows, c->K, c->D);
    store_keys(decode, l, &shape);
    attention_blocks_forward(decode->attended, decode->q, kv_layer(decode->cache, l), kv_block_stride(decode->cache),
                             &shape, decode->runs, decode->groups);
    project(decode, l, PROJECTION_O, decode->x, decode->attended, rows, true);
    rmsnorm_forward(decode->normed, NULL, decode->x, layer->mlp_norm.weight.data, rows, c->C, c->norm_eps);
    project(decode, l, PROJECTION_GATE, decode->gate, decode->normed, rows, false);
    project(decode, l, PROJECTION_UP, decode->up, decode->normed, rows, false);
    swiglu_forward(decode->gate, decode->gate, decode->up, rows, c->F);
    project(decode, l, PROJECTION_DOWN, decode->x, decode->gate, rows, true);
}

bool decode_step(struct decode *decode, const struct decode_row *rows, int64_t count, float *logits,
                 struct error *error) {
    const struct decoder *decoder = decode->decoder;
    const struct model_config *c = &decoder->config;
    if (!check_rows(decode, rows, count, error) || !extend_sequences(decode, rows, count, error)) return false;
    embedding_forward(decode->x, &decoder->embedding, decode->tokens, count);
    for (int64_t l = 0; l < c->L; l++) layer_forward(decode, l, count);
    int64_t wanted = 0;
    for (int64_t r = 0; r < count; r++) {
        if (rows[r].wanted) decode->wanted[wanted++] = (int32_t)r;
    }
    if (wanted == 0) return true;
    rows_gather(decode->normed, decode->x, decode->wanted, wanted, c->C);
    rmsnorm_forward(decode->normed, NULL, decode->normed, decoder->final_norm.weight.data, wanted, c->C, c->norm_eps);
    projection_forward(&decoder->head, logits, decode->normed, NULL, wanted, false, (struct dropout){0},
                       &decode->scratch);
    return true;
}

bool decode_prompt(struct decode *decode, int32_t sequence, const int32_t *tokens, int64_t count, float *logits,
                   struct error *error) {
    if (count < 1) return error_set(error, "a prompt without a token has no answer");
    if (!kv_sequence_is_open(decode->cache, sequence))
        return error_set(error, "sequence %d is not open", (int)sequence);
    const int64_t before = kv_sequence_length(decode->cache, sequence);
    for (int64_t done = 0; done < count;) {
        const int64_t piece = count - done < decode->capacity ? count - done : decode->capacity;
        for (int64_t i = 0; i < piece; i++) {
            decode->prompt[i] =
                (struct decode_row){sequence, tokens[done + i], logits != NULL && done + i == count - 1};
        }
        if (!decode_step(decode, decode->prompt, piece, logits, error)) {
            kv_sequence_truncate(decode->cache, sequence, before);
            return false;
        }
        done += piece;
    }
    return true;
}
