/* Laying out a decoder's working memory: one planning pass counts the bytes, a second places the arrays in one block.
 */
#include "model/decoder_run.h"
#include "base/carver.h"
#include "base/error.h"
#include "base/threads.h"
#include "model/adapter.h"
#include "tensor/gemm.h"
#include <limits.h>
#include <math.h>

static bool is_trained(const struct projection *projection) {
    return projection->d_weight != NULL || projection->d_bias != NULL || projection->lora.d_a != NULL ||
           projection->lora.d_b != NULL;
}

/* Whether a gradient needs the input of one of these projections. */
static bool input_is_kept(const struct projection *projections, int count) {
    for (int i = 0; i < count; i++) {
        if (projections[i].d_weight != NULL || projections[i].lora.d_a != NULL) return true;
    }
    return false;
}

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

/* A whole set of activations but x_in and x_mid, with Q rows behind the attention. */
static void layout_set(struct carver *carver, const struct decoder *decoder, struct layer_activations *layer, int64_t T,
                       int64_t Q) {
    const struct model_config *c = &decoder->config;
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

/* Where layers that keep their activations put those that no gradient needs. */
struct spare {
    float *normed; /* [Q or T, C] */
    float *act;    /* [Q or T, F] */
};

static void layout_kept(struct carver *carver, const struct decoder *decoder, struct layer_activations *layer,
                        const struct spare *spare, int64_t l, int64_t T, int64_t Q) {
    const struct model_config *c = &decoder->config;
    const struct projection *p = decoder->layers[l].projections;
    layer->attention_rms = carve_floats(carver, T, 1);
    layer->attention_in = input_is_kept(p + PROJECTION_Q, 3) ? carve_floats(carver, T, c->C) : spare->normed;
    layer->q = carve_floats(carver, Q, c->H * c->D);
    layer->k = carve_floats(carver, T, c->K * c->D);
    layer->v = carve_floats(carver, T, c->K * c->D);
    layer->attended = carve_floats(carver, Q, c->H * c->D);
    layer->log_sum = carve_floats(carver, Q, c->H);
    layer->x_mid = carve_floats(carver, Q, c->C);
    layer->mlp_rms = carve_floats(carver, Q, 1);
    layer->mlp_in = input_is_kept(p + PROJECTION_GATE, 2) ? carve_floats(carver, Q, c->C) : spare->normed;
    layer->gate = carve_floats(carver, Q, c->F);
    layer->up = carve_floats(carver, Q, c->F);
    layer->act = input_is_kept(p + PROJECTION_DOWN, 1) ? carve_floats(carver, Q, c->F) : spare->act;
}

/* Ranks that the projections from `first` up to `end` of a layer may have together, whatever adapters are used. */
static int64_t group_rank(const struct decoder *decoder, int64_t l, int first, int end) {
    int64_t rank = 0;
    for (int kind = first; kind < end; kind++) rank += adapters_rank(decoder, l, (enum projection_kind)kind);
    return rank;
}

/* A x of the LoRA terms of one layer: one array for q, k and v, one for o, one for gate and up, one for down. Chosen
 * rows have their own q. */
static void layout_xa(struct carver *carver, const struct decoder *decoder, struct layer_activations *layer, int64_t l,
                      int64_t T, int64_t Q) {
    const int64_t rows = larger(T, Q);
    layer->xa[PROJECTION_Q] = carve_floats(carver, rows, group_rank(decoder, l, PROJECTION_Q, PROJECTION_O));
    if (l == decoder->config.L - 1)
        layer->xa[PROJECTION_K] = carve_floats(carver, T, group_rank(decoder, l, PROJECTION_K, PROJECTION_O));
    layer->xa[PROJECTION_O] = carve_floats(carver, rows, group_rank(decoder, l, PROJECTION_O, PROJECTION_GATE));
    layer->xa[PROJECTION_GATE] = carve_floats(carver, rows, group_rank(decoder, l, PROJECTION_GATE, PROJECTION_DOWN));
    layer->xa[PROJECTION_DOWN] = carve_floats(carver, rows, group_rank(decoder, l, PROJECTION_DOWN, PROJECTIONS));
}

static void layout_lora(struct carver *carver, const struct decoder *decoder, struct decoder_run *run, int64_t T,
                        int64_t Q) {
    const struct model_config *c = &decoder->config;
    const int64_t rows = larger(T, Q), inputs = larger(larger(c->C, c->F), c->H * c->D);
    int64_t rank = 0;
    for (int64_t l = 0; l < c->L; l++) {
        rank = larger(rank, group_rank(decoder, l, 0, PROJECTIONS));
        if (run->plan.train) layout_xa(carver, decoder, &run->layers[l], l, T, Q);
    }
    if (rank == 0) return;
    run->scratch.d_xa = carve_floats(carver, rows, rank);
    if (run->plan.train && decoder->lora_dropout > 0) run->scratch.dropped = carve_floats(carver, rows, inputs);
    for (int64_t l = 0; l < c->L && !run->plan.train; l++) {
        for (int kind = 0; kind < PROJECTIONS; kind++) run->layers[l].xa[kind] = run->scratch.d_xa;
    }
}

static void layout_backward(struct carver *carver, const struct decoder *decoder, struct decoder_run *run, int64_t T,
                            int64_t Q) {
    const struct model_config *c = &decoder->config;
    const int64_t rows = larger(T, Q);
    run->d_x = carve_floats(carver, T, c->C);
    run->d_rows = carve_floats(carver, Q, c->C);
    run->d_normed = carve_floats(carver, rows, c->C);
    run->d_query_in = carve_floats(carver, Q, c->C);
    run->d_q = carve_floats(carver, rows, c->H * c->D);
    run->d_k = carve_floats(carver, T, c->K * c->D);
    run->d_v = carve_floats(carver, T, c->K * c->D);
    run->d_attended = carve_floats(carver, rows, c->H * c->D);
    run->delta = carve_floats(carver, rows, c->H);
    run->d_act = carve_floats(carver, rows, c->F);
    run->d_up = carve_floats(carver, rows, c->F);
    run->norm_sums = carve_floats(carver, threads_count(), c->C);
}

/* Layers below the trained ones keep nothing, those that are computed again the residual that enters them, the rest
 * everything. */
static void layout_training(struct carver *carver, const struct decoder *decoder, struct decoder_run *run, int64_t T,
                            int64_t Q) {
    const struct model_config *c = &decoder->config;
    const int64_t lowest = larger(run->lowest_trained, 0), rows = larger(T, Q);
    const struct spare spare = {carve_floats(carver, rows, c->C), carve_floats(carver, rows, c->F)};
    struct layer_activations shared = {0};
    if (run->first_kept > 0) {
        layout_set(carver, decoder, &shared, T, rows);
        shared.act = carve_floats(carver, rows, c->F);
        shared.x_mid = carve_floats(carver, rows, c->C);
    }
    float *below = lowest > 0 ? carve_floats(carver, T, c->C) : NULL;
    for (int64_t l = 0; l < c->L; l++) {
        struct layer_activations *layer = &run->layers[l];
        const bool last = l == c->L - 1;
        *layer = shared;
        if (l < lowest && !last) layer->x_mid = below;
        layer->x_in = l < lowest ? below : carve_floats(carver, T, c->C);
        if (l >= run->first_kept) layout_kept(carver, decoder, layer, &spare, l, T, last ? Q : T);
        if (last) layer->query_in = carve_floats(carver, Q, c->C);
    }
    run->x_out = carve_floats(carver, Q, c->C);
    layout_backward(carver, decoder, run, T, Q);
}

/* Without a backward every layer works in the same arrays, and the residual stays where it is; the chosen rows leave it
 * in the last layer. */
static void layout_inference(struct carver *carver, const struct decoder *decoder, struct decoder_run *run, int64_t T,
                             int64_t Q) {
    const struct model_config *c = &decoder->config;
    struct layer_activations shared = {0};
    layout_set(carver, decoder, &shared, T, larger(T, Q));
    shared.x_in = shared.x_mid = carve_floats(carver, T, c->C);
    shared.act = shared.gate;
    for (int64_t l = 0; l < c->L; l++) run->layers[l] = shared;
    struct layer_activations *last = &run->layers[c->L - 1];
    last->query_in = carve_floats(carver, Q, c->C);
    last->x_mid = carve_floats(carver, Q, c->C);
    run->x_out = last->x_mid;
}

static int64_t lowest_trained_layer(const struct decoder *decoder, const struct run_plan *plan) {
    if (decoder->d_embedding != NULL || plan->inputs) return -1;
    for (int64_t l = 0; l < decoder->config.L; l++) {
        const struct decoder_layer *layer = &decoder->layers[l];
        bool trained = layer->attention_norm.d_weight != NULL || layer->mlp_norm.d_weight != NULL;
        for (int kind = 0; kind < PROJECTIONS; kind++) trained = trained || is_trained(&layer->projections[kind]);
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
    const int64_t T = run->plan.T, N = run->plan.N, Q = run->plan.rows, positions = larger(c->positions, 1);
    run->layers = carve(carver, c->L, 1, sizeof *run->layers);
    run->rope_cosines = carve_floats(carver, T < positions ? T : positions, c->D / 2);
    run->rope_sines = carve_floats(carver, T < positions ? T : positions, c->D / 2);
    run->position = carve(carver, T, 1, sizeof(int32_t));
    run->rows = carve(carver, larger(N, Q), 1, sizeof(int32_t));
    run->row_position = carve(carver, larger(N, Q), 1, sizeof(int32_t));
    run->row_offsets = carve(carver, N + 1, 1, sizeof(int32_t));
    run->final_rms = carve_floats(carver, Q, 1);
    run->final_in = carve_floats(carver, Q, c->C);
    run->scratch.panel = carve_floats(carver, largest_panel(decoder), 1);
}

/* Both passes walk the same path; in the counting pass the arrays of layers stand in a temporary table. */
static bool layout(const struct decoder *decoder, struct decoder_run *run, char *base, size_t *bytes,
                   struct error *error) {
    struct carver carver = {.base = base};
    run->lowest_trained = lowest_trained_layer(decoder, &run->plan);
    run->first_kept = larger(run->lowest_trained, 0) + run->plan.recomputed;
    layout_run(&carver, decoder, run);
    const size_t layers_bytes = (size_t)decoder->config.L * sizeof *run->layers;
    struct layer_activations *counted = NULL;
    if (base == NULL) {
        counted = memory_zero((size_t)decoder->config.L, sizeof *counted);
        if (counted == NULL) return memory_error(error, layers_bytes, "the plan of a forward");
        run->layers = counted;
    }
    for (int64_t l = 0; l < decoder->config.L; l++) run->layers[l] = (struct layer_activations){0};
    if (run->plan.train)
        layout_training(&carver, decoder, run, run->plan.T, run->plan.rows);
    else
        layout_inference(&carver, decoder, run, run->plan.T, run->plan.rows);
    layout_lora(&carver, decoder, run, run->plan.T, run->plan.rows);
    memory_free(counted);
    *bytes = carver.used;
    if (carver.overflow)
        return error_set(error, "a batch of %lld tokens does not fit into the address space", (long long)run->plan.T);
    return true;
}

bool decoder_run_plan(struct run_plan *plan, const struct decoder *decoder, size_t budget, struct error *error) {
    if (plan->T < 1 || plan->N < 1 || plan->T > INT32_MAX || plan->N > plan->T || plan->rows < 1 ||
        plan->rows > INT32_MAX) {
        return error_set(error, "a batch of %lld tokens in %lld sequences, %lld rows wanted, is not possible",
                         (long long)plan->T, (long long)plan->N, (long long)plan->rows);
    }
    const int64_t trained = decoder->config.L - larger(lowest_trained_layer(decoder, plan), 0);
    const int64_t most = plan->train ? trained : 0;
    for (plan->recomputed = 0; plan->recomputed <= most; plan->recomputed++) {
        struct decoder_run run = {.plan = *plan};
        if (!layout(decoder, &run, NULL, &plan->bytes, error)) return false;
        if (budget == 0 || plan->bytes <= budget) return true;
    }
    plan->recomputed = most;
    error_set(error, "a batch of %lld tokens needs %zu MiB%s, %zu MiB are allowed", (long long)plan->T,
              plan->bytes >> 20, plan->train ? " with all layers computed twice" : "", budget >> 20);
    return error_hint(error, "fewer tokens in a batch need less");
}

static struct run_plan plan_without_limit(const struct decoder *decoder, int64_t T, int64_t N, bool train) {
    return (struct run_plan){.T = T, .N = N, .rows = decoder->config.classifier ? N : T, .train = train};
}

bool decoder_run_size(const struct decoder *decoder, int64_t T, int64_t N, bool train, size_t *bytes,
                      struct error *error) {
    struct run_plan plan = plan_without_limit(decoder, T, N, train);
    if (!decoder_run_plan(&plan, decoder, 0, error)) return false;
    *bytes = plan.bytes;
    return true;
}

bool decoder_run_open(struct decoder_run **out, const struct decoder *decoder, int64_t T, int64_t N, bool train,
                      struct error *error) {
    struct run_plan plan = plan_without_limit(decoder, T, N, train);
    return decoder_run_plan(&plan, decoder, 0, error) && decoder_run_open_planned(out, decoder, &plan, error);
}

bool decoder_run_open_planned(struct decoder_run **out, const struct decoder *decoder, const struct run_plan *plan,
                              struct error *error) {
    struct decoder_run *run = memory_zero(1, sizeof *run);
    void *memory = memory_alloc(plan->bytes, 1);
    double *frequency = memory_alloc((size_t)decoder->config.D / 2, sizeof *frequency);
    if (run == NULL || memory == NULL || frequency == NULL) {
        memory_free(run);
        memory_free(memory);
        memory_free(frequency);
        memory_error(error, plan->bytes, "the activations of a batch");
        return error_hint(error, "fewer tokens in a batch need less");
    }
    *run = (struct decoder_run){.plan = *plan, .shared_layer = -1, .memory = memory};
    size_t placed;
    if (!layout(decoder, run, memory, &placed, error)) {
        memory_free(frequency);
        decoder_run_close(run);
        return false;
    }
    model_config_frequencies(&decoder->config, frequency);
    const int64_t positions = plan->T < decoder->config.positions ? plan->T : decoder->config.positions;
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

/* Tokens of a sequence and of its parent. */
static int64_t length_with_parent(const struct batch *batch, int64_t n) {
    const int64_t own = (int64_t)batch->offsets[n + 1] - batch->offsets[n];
    if (batch->parents == NULL || batch->parents[n] < 0) return own;
    const int32_t parent = batch->parents[n];
    return own + batch->offsets[parent + 1] - batch->offsets[parent];
}

static bool check_sequence(const struct decoder *decoder, const struct batch *batch, int64_t n, struct error *error) {
    if (batch->offsets[n + 1] <= batch->offsets[n])
        return error_set(error, "sequence %lld of a batch is empty", (long long)n);
    if (batch->parents != NULL && batch->parents[n] != -1) {
        const int32_t parent = batch->parents[n];
        if (parent < 0 || parent >= n || batch->parents[parent] != -1)
            return error_set(error, "sequence %lld of a batch goes on from %d, which is no prompt before it",
                             (long long)n, parent);
    }
    const int64_t length = length_with_parent(batch, n);
    if (length <= decoder->config.positions) return true;
    error_set(error, "a sequence of %lld tokens is longer than the model's %lld positions", (long long)length,
              (long long)decoder->config.positions);
    return error_hint(error, "cut the text to the model's max_position_embeddings");
}

/* Rows stand sequence by sequence and do not fall. Since sequences lie end to end, that is one rising list. */
static bool check_rows(const struct batch *batch, struct error *error) {
    for (int64_t i = 0; i < batch->Q; i++) {
        const int32_t row = batch->rows[i];
        if (row < 0 || row >= batch->T || (i > 0 && row < batch->rows[i - 1]))
            return error_set(error, "row %lld of a batch is token %d, which is out of order", (long long)i, row);
    }
    return true;
}

bool batch_check(const struct decoder *decoder, const struct decoder_run *run, const struct batch *batch,
                 struct error *error) {
    const struct model_config *config = &decoder->config;
    const int64_t rows = batch->rows != NULL ? batch->Q : config->classifier ? batch->N : batch->T;
    if (batch->N < 1 || batch->T < batch->N || batch->T > run->plan.T || batch->N > run->plan.N || rows < 1 ||
        rows > run->plan.rows || batch->offsets[0] != 0 || batch->offsets[batch->N] != batch->T) {
        return error_set(error,
                         "a batch of %lld tokens in %lld sequences, %lld rows wanted, does not fit the %lld tokens, "
                         "%lld sequences and %lld rows made room for",
                         (long long)batch->T, (long long)batch->N, (long long)rows, (long long)run->plan.T,
                         (long long)run->plan.N, (long long)run->plan.rows);
    }
    for (int64_t n = 0; n < batch->N; n++) {
        if (!check_sequence(decoder, batch, n, error)) return false;
    }
    for (int64_t t = 0; t < batch->T; t++) {
        if (batch->tokens[t] < 0 || batch->tokens[t] >= config->V) {
            error_set(error, "token id %d is outside the model's vocabulary of %lld", batch->tokens[t],
                      (long long)config->V);
            return error_hint(error, "the tokenizer.json does not belong to this model");
        }
    }
    return batch->rows == NULL || check_rows(batch, error);
}

struct dropout run_dropout(const struct decoder *decoder, const struct decoder_run *run, int64_t layer,
                           enum projection_kind kind) {
    if (!run->plan.train || run->dropout_seed == 0) return (struct dropout){0};
    const uint64_t place = (uint64_t)(layer * PROJECTIONS + (int64_t)kind + 1);
    return (struct dropout){decoder->lora_dropout, run->dropout_seed ^ (place * 0xd1342543de82ef95u)};
}

struct attention_batch run_attention_batch(const struct decoder_run *run, const struct batch *batch, bool chosen) {
    struct attention_batch attention = {.N = batch->N, .offsets = batch->offsets, .parents = batch->parents};
    if (chosen) {
        attention.query_offsets = run->row_offsets;
        attention.query_rows = run->rows;
    }
    return attention;
}

struct attention_shape run_attention_shape(const struct decoder *decoder) {
    const struct model_config *config = &decoder->config;
    return (struct attention_shape){config->H, config->K, config->D, 1.0f / sqrtf((float)config->D)};
}
