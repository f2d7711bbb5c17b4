/* Laying out an encoder's working memory in one block, by a pass that counts and a pass that places. */
#include "model/encoder_run.h"
#include "base/carver.h"
#include "base/error.h"
#include "base/threads.h"
#include "tensor/gemm.h"
#include <math.h>

static struct row_moments *carve_moments(struct carver *carver, int64_t rows) {
    return carve(carver, rows, 1, sizeof(struct row_moments));
}

/* Activations of one layer of Q rows behind the keys and values, but for x_in. */
static void layout_layer(struct carver *carver, const struct encoder_config *c, struct encoder_activations *layer,
                         int64_t T, int64_t Q) {
    layer->q = carve_floats(carver, Q, c->C);
    layer->k = carve_floats(carver, T, c->C);
    layer->v = carve_floats(carver, T, c->C);
    layer->attended = carve_floats(carver, Q, c->C);
    layer->log_sum = carve_floats(carver, Q, c->H);
    layer->attention_sum = carve_floats(carver, Q, c->C);
    layer->attention_moments = carve_moments(carver, Q);
    layer->mid = carve_floats(carver, Q, c->C);
    layer->inner = carve_floats(carver, Q, c->F);
    layer->output_sum = carve_floats(carver, Q, c->C);
    layer->output_moments = carve_moments(carver, Q);
}

static void layout_training(struct carver *carver, const struct encoder_config *c, struct encoder_run *run) {
    const int64_t T = run->capacity_T, N = run->capacity_N;
    for (int64_t l = 0; l < c->L; l++) {
        struct encoder_activations *layer = &run->layers[l];
        const bool pooled = l == c->L - 1;
        layer->x_in = carve_floats(carver, T, c->C);
        layer->query_in = pooled ? carve_floats(carver, N, c->C) : layer->x_in;
        layout_layer(carver, c, layer, T, pooled ? N : T);
        layer->act = carve_floats(carver, pooled ? N : T, c->F);
    }
    run->embedded = carve_floats(carver, T, c->C);
    run->d_x = carve_floats(carver, T, c->C);
    run->d_first = carve_floats(carver, N, c->C);
    run->d_branch = carve_floats(carver, T, c->C);
    run->d_q = carve_floats(carver, T, c->C);
    run->d_k = carve_floats(carver, T, c->C);
    run->d_v = carve_floats(carver, T, c->C);
    run->d_attended = carve_floats(carver, T, c->C);
    run->d_act = carve_floats(carver, T, c->F);
    run->d_pooled = carve_floats(carver, N, c->C);
    run->norm_sums = carve_floats(carver, threads_count(), 2 * c->C);
}

/* Without a backward every layer works in the same arrays. */
static void layout_inference(struct carver *carver, const struct encoder_config *c, struct encoder_run *run) {
    const int64_t T = run->capacity_T, N = run->capacity_N;
    struct encoder_activations shared = {.x_in = carve_floats(carver, T, c->C)};
    layout_layer(carver, c, &shared, T, T);
    shared.query_in = shared.x_in;
    shared.act = shared.inner;
    for (int64_t l = 0; l < c->L; l++) run->layers[l] = shared;
    run->layers[c->L - 1].query_in = carve_floats(carver, N, c->C);
    run->embedded = shared.x_in;
}

static int64_t largest_panel(const struct encoder *encoder) {
    int64_t largest = linear_panel_size(&encoder->pooler.weight), size = linear_panel_size(&encoder->classifier.weight);
    if (size > largest) largest = size;
    for (int64_t l = 0; l < encoder->config.L; l++) {
        for (int kind = 0; kind < ENCODER_PROJECTIONS; kind++) {
            size = linear_panel_size(&encoder->layers[l].projections[kind].weight);
            if (size > largest) largest = size;
        }
    }
    return largest;
}

static void layout_run(struct carver *carver, const struct encoder *encoder, struct encoder_run *run) {
    const struct encoder_config *c = &encoder->config;
    const int64_t T = run->capacity_T, N = run->capacity_N;
    run->layers = carve(carver, c->L, 1, sizeof *run->layers);
    run->position = carve(carver, T, 1, sizeof(int32_t));
    run->first_rows = carve(carver, N, 1, sizeof(int32_t));
    run->one_each = carve(carver, N + 1, 1, sizeof(int32_t));
    run->embedding_moments = carve_moments(carver, T);
    run->first = carve_floats(carver, N, c->C);
    run->pooled = carve_floats(carver, N, c->C);
    run->dropped = run->train ? carve_floats(carver, N, c->C) : run->pooled;
    run->attention_scratch =
        carve_floats(carver, threads_count(), full_attention_scratch(c->D, T < c->positions ? T : c->positions));
    run->scratch.panel = carve_floats(carver, largest_panel(encoder), 1);
}

/* Both passes walk the same path; in the counting pass the arrays of layers stand in a temporary table. */
static bool layout(const struct encoder *encoder, struct encoder_run *run, char *base, size_t *bytes,
                   struct error *error) {
    const size_t L = (size_t)encoder->config.L;
    struct carver carver = {.base = base};
    struct encoder_activations *counted = NULL;
    layout_run(&carver, encoder, run);
    if (base == NULL) {
        counted = memory_zero(L, sizeof *counted);
        if (counted == NULL) return memory_error(error, L * sizeof *counted, "the plan of a forward");
        run->layers = counted;
    }
    if (run->train)
        layout_training(&carver, &encoder->config, run);
    else
        layout_inference(&carver, &encoder->config, run);
    memory_free(counted);
    *bytes = carver.used;
    return !carver.overflow ||
           error_set(error, "a batch of %lld tokens does not fit into the address space", (long long)run->capacity_T);
}

bool encoder_run_size(const struct encoder *encoder, int64_t T, int64_t N, bool train, size_t *bytes,
                      struct error *error) {
    if (T < 1 || N < 1 || T > INT32_MAX || N > T) {
        return error_set(error, "a batch of %lld tokens in %lld sequences is not possible", (long long)T, (long long)N);
    }
    struct encoder_run run = {.capacity_T = T, .capacity_N = N, .train = train};
    return layout(encoder, &run, NULL, bytes, error);
}

bool encoder_run_open(struct encoder_run **out, const struct encoder *encoder, int64_t T, int64_t N, bool train,
                      struct error *error) {
    size_t bytes;
    if (!encoder_run_size(encoder, T, N, train, &bytes, error)) return false;
    struct encoder_run *run = memory_zero(1, sizeof *run);
    void *memory = memory_alloc(bytes, 1);
    if (run == NULL || memory == NULL) {
        memory_free(run);
        memory_free(memory);
        memory_error(error, bytes, "the activations of a batch");
        return error_hint(error, "fewer tokens in a batch need less");
    }
    *run = (struct encoder_run){.capacity_T = T, .capacity_N = N, .train = train, .memory = memory};
    if (!layout(encoder, run, memory, &bytes, error)) {
        encoder_run_close(run);
        return false;
    }
    for (int64_t n = 0; n <= N; n++) run->one_each[n] = (int32_t)n;
    *out = run;
    return true;
}

void encoder_run_close(struct encoder_run *run) {
    if (run == NULL) return;
    memory_free(run->memory);
    memory_free(run);
}

static bool check_ids(const char *what, const int32_t *ids, int64_t count, int64_t limit, struct error *error) {
    for (int64_t t = 0; t < count; t++) {
        if (ids[t] >= 0 && ids[t] < limit) continue;
        error_set(error, "%s %d is outside the model's %lld", what, ids[t], (long long)limit);
        return error_hint(error, "the tokenizer does not belong to this model");
    }
    return true;
}

bool encoder_check(const struct encoder *encoder, const struct encoder_run *run, const struct batch *batch,
                   const int32_t *types, struct error *error) {
    const struct encoder_config *c = &encoder->config;
    if (batch->N < 1 || batch->T < batch->N || batch->T > run->capacity_T || batch->N > run->capacity_N ||
        batch->offsets[0] != 0 || batch->offsets[batch->N] != batch->T) {
        return error_set(error,
                         "a batch of %lld tokens in %lld sequences does not fit the %lld tokens and %lld sequences "
                         "made room for",
                         (long long)batch->T, (long long)batch->N, (long long)run->capacity_T,
                         (long long)run->capacity_N);
    }
    for (int64_t n = 0; n < batch->N; n++) {
        const int64_t length = (int64_t)batch->offsets[n + 1] - batch->offsets[n];
        if (length < 1) return error_set(error, "sequence %lld of a batch is empty", (long long)n);
        if (length <= c->positions) continue;
        error_set(error, "a sequence of %lld tokens is longer than the model's %lld positions", (long long)length,
                  (long long)c->positions);
        return error_hint(error, "cut the text to the model's max_position_embeddings");
    }
    return check_ids("token id", batch->tokens, batch->T, c->V, error) &&
           (types == NULL || check_ids("token type", types, batch->T, c->types, error));
}

struct dropout encoder_dropout(const struct encoder *encoder, const struct encoder_run *run, int64_t layer,
                               enum encoder_dropout place) {
    if (!run->train || run->dropout_seed == 0) return (struct dropout){0};
    const struct encoder_config *c = &encoder->config;
    const double rate = place == DROPOUT_POOLED      ? c->classifier_dropout
                        : place == DROPOUT_ATTENTION ? c->attention_dropout
                                                     : c->hidden_dropout;
    const uint64_t number = (uint64_t)(layer * DROPOUT_PLACES + (int64_t)place + 1);
    return (struct dropout){rate, run->dropout_seed ^ (number * 0xd1342543de82ef95u)};
}

struct full_attention encoder_attention(const struct encoder *encoder, const struct encoder_run *run,
                                        const struct batch *batch, int64_t layer, bool pooled) {
    const struct encoder_config *c = &encoder->config;
    int64_t longest = 0;
    for (int64_t n = 0; n < batch->N; n++) {
        const int64_t length = batch->offsets[n + 1] - batch->offsets[n];
        if (length > longest) longest = length;
    }
    return (struct full_attention){.H = c->H,
                                   .D = c->D,
                                   .scale = 1.0f / sqrtf((float)c->D),
                                   .dropout = encoder_dropout(encoder, run, layer, DROPOUT_ATTENTION),
                                   .N = batch->N,
                                   .key_offsets = batch->offsets,
                                   .query_offsets = pooled ? run->one_each : batch->offsets,
                                   .longest = longest,
                                   .scratch = run->attention_scratch};
}
