/* Laying out a decoder's working memory: one planning pass counts the bytes, a second places the arrays in one block.
 */
#include "model/decoder_run.h"
#include "base/carver.h"
#include "base/error.h"
#include "base/threads.h"
#include "tensor/gemm.h"
#include <limits.h>
#include <math.h>

/* Activations of one layer of Q rows behind the attention. */
static void layout_layer(struct carver *carver, const struct decoder *decoder, struct layer_activations *layer,
                         int64_t T, int64_t Q) {
    const struct model_config *c = &decoder->config;
    layer->x_in = carve_floats(carver, T, c->C);
    layer->attention_rms = carve_floats(carver, T, 1);
    layer->attention_in = carve_floats(carver, T, c->C);
    layer->q = carve_floats(carver, Q, c->H * c->D);
    layer->k = carve_floats(carver, T, c->K * c->D);
    layer->v = carve_floats(carver, T, c->K * c->D);
    layer->attended = carve_floats(carver, Q, c->H * c->D);
    layer->log_sum = carve_floats(carver, Q, c->H);
    layer->mlp_rms = carve_floats(carver, Q, 1);
    layer->mlp_in = carve_floats(carver, Q, c->C);
    layer->gate = carve_floats(carver, Q, c->F);
    layer->up = carve_floats(carver, Q, c->F);
}

static void layout_lora(struct carver *carver, const struct decoder *decoder, struct decoder_run *run, int64_t T) {
    int64_t rank = 0, inputs = 0;
    for (int64_t l = 0; l < decoder->config.L; l++) {
        for (int kind = 0; kind < PROJECTIONS; kind++) {
            const struct projection *projection = &decoder->layers[l].projections[kind];
            if (projection->lora.R == 0) continue;
            if (run->train) run->layers[l].xa[kind] = carve_floats(carver, T, projection->lora.R);
            if (projection->lora.R > rank) rank = projection->lora.R;
            if (projection->weight.cols > inputs) inputs = projection->weight.cols;
        }
    }
    if (rank == 0) return;
    run->scratch.d_xa = carve_floats(carver, T, rank);
    if (run->train && decoder->lora_dropout > 0) run->scratch.dropped = carve_floats(carver, T, inputs);
    if (run->train) return;
    for (int64_t l = 0; l < decoder->config.L; l++) {
        for (int kind = 0; kind < PROJECTIONS; kind++) run->layers[l].xa[kind] = run->scratch.d_xa;
    }
}

static void layout_training(struct carver *carver, const struct decoder *decoder, struct decoder_run *run, int64_t T,
                            int64_t N) {
    const struct model_config *c = &decoder->config;
    for (int64_t l = 0; l < c->L; l++) {
        struct layer_activations *layer = &run->layers[l];
        const bool pooled = c->classifier && l == c->L - 1;
        const int64_t Q = pooled ? N : T;
        layout_layer(carver, decoder, layer, T, Q);
        layer->query_in = pooled ? carve_floats(carver, N, c->C) : layer->attention_in;
        layer->x_mid = carve_floats(carver, Q, c->C);
        layer->act = carve_floats(carver, Q, c->F);
    }
    run->x_out = carve_floats(carver, c->classifier ? N : T, c->C);
    run->d_x = carve_floats(carver, T, c->C);
    run->d_rows = carve_floats(carver, N, c->C);
    run->d_normed = carve_floats(carver, T, c->C);
    run->d_query_in = carve_floats(carver, N, c->C);
    run->d_q = carve_floats(carver, T, c->H * c->D);
    run->d_k = carve_floats(carver, T, c->K * c->D);
    run->d_v = carve_floats(carver, T, c->K * c->D);
    run->d_attended = carve_floats(carver, T, c->H * c->D);
    run->delta = carve_floats(carver, T, c->H);
    run->d_act = carve_floats(carver, T, c->F);
    run->d_up = carve_floats(carver, T, c->F);
    run->norm_sums = carve_floats(carver, threads_count(), c->C);
}

/* Without a backward every layer works in the same arrays, and the residual stays where it is. */
static void layout_inference(struct carver *carver, const struct decoder *decoder, struct decoder_run *run, int64_t T,
                             int64_t N) {
    const struct model_config *c = &decoder->config;
    struct layer_activations shared = {0};
    layout_layer(carver, decoder, &shared, T, T);
    shared.query_in = shared.attention_in;
    shared.x_mid = shared.x_in;
    shared.act = shared.gate;
    for (int64_t l = 0; l < c->L; l++) run->layers[l] = shared;
    run->x_out = shared.x_in;
    if (!c->classifier) return;
    struct layer_activations *last = &run->layers[c->L - 1];
    last->query_in = carve_floats(carver, N, c->C);
    last->x_mid = carve_floats(carver, N, c->C);
    run->x_out = last->x_mid;
}

static int64_t lowest_trained_layer(const struct decoder *decoder) {
    if (decoder->d_embedding != NULL) return -1;
    for (int64_t l = 0; l < decoder->config.L; l++) {
        const struct decoder_layer *layer = &decoder->layers[l];
        bool trained = layer->attention_norm.d_weight != NULL || layer->mlp_norm.d_weight != NULL;
        for (int kind = 0; kind < PROJECTIONS; kind++) {
            const struct projection *projection = &layer->projections[kind];
            trained =
                trained || projection->d_weight != NULL || projection->d_bias != NULL || projection->lora.d_a != NULL;
        }
        if (trained) return l;
    }
    return decoder->config.L;
}

static int64_t largest_panel(const struct decoder *decoder) {
    int64_t largest = linear_panel_size(&decoder->head.weight);
    for (int64_t l = 0; l < decoder->config.L; l++) {
        for (int kind = 0; kind < PROJECTIONS; kind++) {
            const int64_t size = linear_panel_size(&decoder->layers[l].projections[kind].weight);
            if (size > largest) largest = size;
        }
    }
    return largest;
}

static void layout_run(struct carver *carver, const struct decoder *decoder, struct decoder_run *run) {
    const struct model_config *c = &decoder->config;
    const int64_t T = run->capacity_T, N = run->capacity_N, positions = T < c->positions ? T : c->positions;
    run->layers = carve(carver, c->L, 1, sizeof *run->layers);
    run->rope_cosines = carve_floats(carver, positions, c->D / 2);
    run->rope_sines = carve_floats(carver, positions, c->D / 2);
    run->position = carve(carver, T, 1, sizeof(int32_t));
    run->last_rows = carve(carver, N, 1, sizeof(int32_t));
    run->last_position = carve(carver, N, 1, sizeof(int32_t));
    run->query_offsets = carve(carver, N + 1, 1, sizeof(int32_t));
    run->final_rms = carve_floats(carver, T, 1);
    run->final_in = carve_floats(carver, T, c->C);
    run->scratch.panel = carve_floats(carver, largest_panel(decoder), 1);
}

/* Both passes walk the same path; in the counting pass the arrays of layers stand in a temporary table. */
static bool layout(const struct decoder *decoder, struct decoder_run *run, char *base, size_t *bytes,
                   struct error *error) {
    struct carver carver = {.base = base};
    layout_run(&carver, decoder, run);
    const size_t layers_bytes = (size_t)decoder->config.L * sizeof *run->layers;
    struct layer_activations *counted = NULL;
    if (base == NULL) {
        counted = memory_zero((size_t)decoder->config.L, sizeof *counted);
        if (counted == NULL) return memory_error(error, layers_bytes, "the plan of a forward");
        run->layers = counted;
    }
    for (int64_t l = 0; l < decoder->config.L; l++) run->layers[l] = (struct layer_activations){0};
    if (run->train)
        layout_training(&carver, decoder, run, run->capacity_T, run->capacity_N);
    else
        layout_inference(&carver, decoder, run, run->capacity_T, run->capacity_N);
    layout_lora(&carver, decoder, run, run->capacity_T);
    memory_free(counted);
    *bytes = carver.used;
    if (carver.overflow)
        return error_set(error, "a batch of %lld tokens does not fit into the address space",
                         (long long)run->capacity_T);
    return true;
}

bool decoder_run_size(const struct decoder *decoder, int64_t T, int64_t N, bool train, size_t *bytes,
                      struct error *error) {
    if (T < 1 || N < 1 || T > INT32_MAX || N > T) {
        return error_set(error, "a batch of %lld tokens in %lld sequences is not possible", (long long)T, (long long)N);
    }
    struct decoder_run run = {.capacity_T = T, .capacity_N = N, .train = train};
    return layout(decoder, &run, NULL, bytes, error);
}

bool decoder_run_open(struct decoder_run **out, const struct decoder *decoder, int64_t T, int64_t N, bool train,
                      struct error *error) {
    size_t bytes;
    if (!decoder_run_size(decoder, T, N, train, &bytes, error)) return false;
    struct decoder_run *run = memory_zero(1, sizeof *run);
    void *memory = memory_alloc(bytes, 1);
    double *frequency = memory_alloc((size_t)decoder->config.D / 2, sizeof *frequency);
    if (run == NULL || memory == NULL || frequency == NULL) {
        memory_free(run);
        memory_free(memory);
        memory_free(frequency);
        memory_error(error, bytes, "the activations of a batch");
        return error_hint(error, "fewer tokens in a batch need less");
    }
    *run = (struct decoder_run){.capacity_T = T, .capacity_N = N, .train = train, .memory = memory};
    size_t placed;
    if (!layout(decoder, run, memory, &placed, error)) {
        memory_free(frequency);
        decoder_run_close(run);
        return false;
    }
    run->lowest_trained = lowest_trained_layer(decoder);
    for (int64_t n = 0; n <= N; n++) run->query_offsets[n] = (int32_t)n;
    model_config_frequencies(&decoder->config, frequency);
    const int64_t positions = T < decoder->config.positions ? T : decoder->config.positions;
    rope_table(run->rope_cosines, run->rope_sines, frequency, positions, decoder->config.D);
    memory_free(frequency);
    *out = run;
    return true;
}

void decoder_run_close(struct decoder_run *run) {
    if (run == NULL) return;
    memory_free(run->memory);
    memory_free(run);
}

bool batch_check(const struct decoder *decoder, const struct decoder_run *run, const struct batch *batch,
                 struct error *error) {
    const struct model_config *config = &decoder->config;
    if (batch->N < 1 || batch->T < batch->N || batch->T > run->capacity_T || batch->N > run->capacity_N ||
        batch->offsets[0] != 0 || batch->offsets[batch->N] != batch->T) {
        return error_set(
            error,
            "a batch of %lld tokens in %lld sequences does not fit the %lld tokens and %lld sequences made room for",
            (long long)batch->T, (long long)batch->N, (long long)run->capacity_T, (long long)run->capacity_N);
    }
    for (int64_t n = 0; n < batch->N; n++) {
        const int64_t length = (int64_t)batch->offsets[n + 1] - batch->offsets[n];
        if (length < 1) return error_set(error, "sequence %lld of a batch is empty", (long long)n);
        if (length > config->positions) {
            error_set(error, "a sequence of %lld tokens is longer than the model's %lld positions", (long long)length,
                      (long long)config->positions);
            return error_hint(error, "cut the text to the model's max_position_embeddings");
        }
    }
    for (int64_t t = 0; t < batch->T; t++) {
        if (batch->tokens[t] < 0 || batch->tokens[t] >= config->V) {
            error_set(error, "token id %d is outside the model's vocabulary of %lld", batch->tokens[t],
                      (long long)config->V);
            return error_hint(error, "the tokenizer.json does not belong to this model");
        }
    }
    return true;
}

struct dropout run_dropout(const struct decoder *decoder, const struct decoder_run *run, int64_t layer,
                           enum projection_kind kind) {
    if (!run->train || run->dropout_seed == 0) return (struct dropout){0};
    const uint64_t place = (uint64_t)(layer * PROJECTIONS + (int64_t)kind + 1);
    return (struct dropout){decoder->lora_dropout, run->dropout_seed ^ (place * 0xd1342543de82ef95u)};
}

struct attention_batch run_attention_batch(const struct decoder_run *run, const struct batch *batch, bool pooled) {
    struct attention_batch attention = {.N = batch->N, .offsets = batch->offsets};
    if (pooled) {
        attention.query_offsets = run->query_offsets;
        attention.query_rows = run->last_rows;
    }
    return attention;
}

struct attention_shape run_attention_shape(const struct decoder *decoder) {
    const struct model_config *config = &decoder->config;
    return (struct attention_shape){config->H, config->K, config->D, 1.0f / sqrtf((float)config->D)};
}
