/* CAML's forward and hand-written backward on a packed batch.
 *
 * The embedded texts lie in one array with K/2 zero rows in front of each, so that the K rows from row p on are what
 * position p of the convolution sees: without a copy they are row p of a matrix [., K E]. Rows p, p + K, p + 2 K … do
 * not overlap and make one product with leading dimension K E; K such products are the convolution. Positions that
 * would straddle two texts are computed along and left out of every softmax and gradient. */
#include "base/carver.h"
#include "base/error.h"
#include "base/memory.h"
#include "model/caml.h"
#include "tensor/dropout.h"
#include "tensor/exponential.h"
#include "tensor/gelu.h"
#include "tensor/gemm.h"
#include "tensor/kernels.h"
#include <string.h>

struct caml_run {
    int64_t capacity_T, capacity_N, K;
    bool train, inputs;     /* inputs: the backward is for the gradient of the embeddings alone */
    struct dropout dropout; /* of the last forward */
    int64_t rows;           /* R: rows of the last forward's positions */
    int64_t *bases;         /* [N+1] first row of each text: its position p is row bases[n] + p */
    int64_t *positions;     /* [N] of each text */
    float *x;               /* [R + K, E] embedded texts and the zeros between them */
    float *h;               /* [R, F] */
    float *weight;          /* [F, K E] the convolution, kernel index outside */
    float *weights;         /* [C, R] attention of each label; in the backward the gradient of its scores */
    float *values;          /* [C, R] final_c . h_p; in the backward their gradient */
    float *pooled;          /* [N, C] logits without bias */
    /* backward only */
    float *d_x;      /* [R + K, E] */
    float *d_tokens; /* [T, E] */
    float *d_h;      /* [R, F] */
    float *d_weight; /* [F, K E] */
    void *memory;
};

static bool layout(const struct caml *caml, struct caml_run *run, char *base, size_t *bytes, struct error *error) {
    const struct caml_config *c = &caml->config;
    const int64_t T = run->capacity_T, N = run->capacity_N, R = T + N * (c->K / 2);
    struct carver carver = {.base = base};
    run->bases = carve(&carver, N + 1, 1, sizeof *run->bases);
    run->positions = carve(&carver, N, 1, sizeof *run->positions);
    run->x = carve_floats(&carver, R + c->K, c->E);
    run->h = carve_floats(&carver, R, c->F);
    run->weight = carve_floats(&carver, c->F, c->K * c->E);
    run->weights = carve_floats(&carver, c->labels, R);
    run->values = carve_floats(&carver, c->labels, R);
    run->pooled = carve_floats(&carver, N, c->labels);
    if (run->train) {
        run->d_x = carve_floats(&carver, R + c->K, c->E);
        run->d_tokens = carve_floats(&carver, T, c->E);
        run->d_h = carve_floats(&carver, R, c->F);
        run->d_weight = carve_floats(&carver, c->F, c->K * c->E);
    }
    *bytes = carver.used;
    return !carver.overflow ||
           error_set(error, "a batch of %lld tokens does not fit into the address space", (long long)T);
}

bool caml_run_size(const struct caml *caml, int64_t T, int64_t N, bool train, size_t *bytes, struct error *error) {
    if (T < 1 || N < 1 || T > INT32_MAX || N > T)
        return error_set(error, "a batch of %lld tokens in %lld texts is not possible", (long long)T, (long long)N);
    struct caml_run run = {.capacity_T = T, .capacity_N = N, .train = train};
    return layout(caml, &run, NULL, bytes, error);
}

bool caml_run_open(struct caml_run **out, const struct caml *caml, int64_t T, int64_t N, bool train,
                   struct error *error) {
    size_t bytes;
    if (!caml_run_size(caml, T, N, train, &bytes, error)) return false;
    struct caml_run *run = memory_zero(1, sizeof *run);
    void *memory = memory_alloc(bytes, 1);
    if (run == NULL || memory == NULL) {
        memory_free(run);
        memory_free(memory);
        memory_error(error, bytes, "the activations of a batch");
        return error_hint(error, "fewer tokens in a batch need less");
    }
    *run = (struct caml_run){.capacity_T = T, .capacity_N = N, .K = caml->config.K, .train = train, .memory = memory};
    layout(caml, run, memory, &bytes, NULL); /* the counting pass found no overflow */
    *out = run;
    return true;
}

bool caml_run_open_inputs(struct caml_run **run, const struct caml *caml, int64_t T, int64_t N, struct error *error) {
    if (!caml_run_open(run, caml, T, N, true, error)) return false;
    (*run)->inputs = true;
    return true;
}

void caml_run_close(struct caml_run *run) {
    if (run == NULL) return;
    memory_free(run->memory);
    memory_free(run);
}

bool caml_check(const struct caml *caml, const struct caml_run *run, const struct batch *batch, struct error *error) {
    if (batch->N < 1 || batch->T < batch->N || batch->T > run->capacity_T || batch->N > run->capacity_N ||
        batch->offsets[0] != 0 || batch->offsets[batch->N] != batch->T) {
        return error_set(
            error, "a batch of %lld tokens in %lld texts does not fit the %lld tokens and %lld texts made room for",
            (long long)batch->T, (long long)batch->N, (long long)run->capacity_T, (long long)run->capacity_N);
    }
    for (int64_t n = 0; n < batch->N; n++) {
        if (batch->offsets[n + 1] <= batch->offsets[n])
            return error_set(error, "text %lld of a batch is empty", (long long)n);
    }
    for (int64_t t = 0; t < batch->T; t++) {
        if (batch->tokens[t] >= 0 && batch->tokens[t] < caml->config.V) continue;
        error_set(error, "token id %d is outside the model's vocabulary of %lld", batch->tokens[t],
                  (long long)caml->config.V);
        return error_hint(error, "the words.txt does not belong to this model");
    }
    return true;
}

static void locate_texts(struct caml_run *run, const struct batch *batch) {
    const int64_t K = run->K, gap = K / 2;
    int64_t row = 0;
    for (int64_t n = 0; n < batch->N; n++) {
        const int64_t length = batch->offsets[n + 1] - batch->offsets[n];
        run->bases[n] = row;
        run->positions[n] = length + 2 * gap - K + 1;
        row += length + gap;
    }
    run->bases[batch->N] = run->rows = row;
}

void caml_embed(const struct caml *caml, const int32_t *tokens, int64_t T, float *out) {
    const struct matrix table = {DTYPE_F32, caml->config.V, caml->config.E, caml->embed.value};
    embedding_forward(out, &table, tokens, T);
}

static void embed_texts(const struct caml *caml, struct caml_run *run, const struct batch *batch) {
    const int64_t E = caml->config.E, gap = run->K / 2;
    memset(run->x, 0, (size_t)((run->rows + run->K) * E) * sizeof *run->x);
    for (int64_t n = 0; n < batch->N; n++) {
        const int64_t first = batch->offsets[n], length = batch->offsets[n + 1] - first;
        float *x = run->x + (run->bases[n] + gap) * E;
        if (batch->embedded != NULL)
            memcpy(x, batch->embedded + first * E, (size_t)(length * E) * sizeof *x);
        else
            caml_embed(caml, batch->tokens + first, length, x);
    }
    if (run->dropout.rate > 0) dropout_apply(run->x, run->x, run->rows * E, run->dropout);
}

/* From [F, E, K] to [F, K E]. */
static void gather_kernel(const struct caml *caml, float *to) {
    const int64_t E = caml->config.E, K = caml->config.K;
#pragma omp parallel for schedule(static)
    for (int64_t f = 0; f < caml->config.F; f++) {
        const float *from = caml->conv_weight.value + f * E * K;
        for (int64_t e = 0; e < E; e++) {
            for (int64_t j = 0; j < K; j++) to[(f * K + j) * E + e] = from[e * K + j];
        }
    }
}

/* Its transpose: adds to the gradient [F, E, K]. */
static void scatter_kernel(const struct caml *caml, const float *d_weight) {
    const int64_t E = caml->config.E, K = caml->config.K;
#pragma omp parallel for schedule(static)
    for (int64_t f = 0; f < caml->config.F; f++) {
        float *to = caml->conv_weight.gradient + f * E * K;
        for (int64_t e = 0; e < E; e++) {
            for (int64_t j = 0; j < K; j++) to[e * K + j] += d_weight[(f * K + j) * E + e];
        }
    }
}

/* Rows phase, phase + K, … below R. */
static int64_t phase_rows(const struct caml_run *run, int64_t phase) {
    return (run->rows - phase + run->K - 1) / run->K;
}

static void convolve(const struct caml *caml, struct caml_run *run) {
    const int64_t E = caml->config.E, F = caml->config.F, K = run->K;
    for (int64_t phase = 0; phase < K && phase < run->rows; phase++) {
        gemm(false, true, phase_rows(run, phase), F, K * E, 1, run->x + phase * E, K * E, run->weight, K * E, 0,
             run->h + phase * F, K * F);
    }
    const float *bias = caml->conv_bias.value;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < run->rows; r++) {
        float *row = run->h + r * F;
        for (int64_t f = 0; f < F; f++) row[f] += bias[f];
    }
    tanh_forward(run->h, run->h, run->rows * F);
}

/* weights [count] becomes its softmax; gives the mean of values under it. */
static float attend(float *weights, const float *values, int64_t count) {
    float largest = weights[0], sum = 0, weighed = 0;
#pragma omp simd reduction(max : largest)
    for (int64_t p = 0; p < count; p++) largest = weights[p] > largest ? weights[p] : largest;
#pragma omp simd reduction(+ : sum, weighed)
    for (int64_t p = 0; p < count; p++) {
        weights[p] = exponential(weights[p] - largest);
        sum += weights[p];
        weighed += weights[p] * values[p];
    }
    const float share = 1.0f / sum;
    for (int64_t p = 0; p < count; p++) weights[p] *= share;
    return weighed * share;
}

void caml_classify_forward(const struct caml *caml, struct caml_run *run, const struct batch *batch,
                           uint64_t dropout_seed, float *logits) {
    const int64_t F = caml->config.F, labels = caml->config.labels, N = batch->N;
    const bool drops = run->train && dropout_seed != 0;
    run->dropout = (struct dropout){drops ? caml->config.dropout : 0, dropout_seed};
    locate_texts(run, batch);
    embed_texts(caml, run, batch);
    gather_kernel(caml, run->weight);
    convolve(caml, run);
    const int64_t R = run->rows;
    gemm(false, true, labels, R, F, 1, caml->attention.value, F, run->h, F, 0, run->weights, R);
    gemm(false, true, labels, R, F, 1, caml->final_weight.value, F, run->h, F, 0, run->values, R);
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < labels; c++) {
        for (int64_t n = 0; n < N; n++) {
            const int64_t at = c * R + run->bases[n];
            const float pooled = attend(run->weights + at, run->values + at, run->positions[n]);
            run->pooled[n * labels + c] = pooled;
            logits[n * labels + c] = pooled + caml->final_bias.value[c];
        }
    }
}

const float *caml_attention(const struct caml_run *run, int64_t n, int64_t c, int64_t *positions) {
    *positions = run->positions[n];
    return run->weights + c * run->rows + run->bases[n];
}

/* With a the attention, v the values and z = a . v:  d v = dz a,  d score = dz a (v - z). In place of both; what lies
 * between two texts gets no gradient. */
static void attend_backward(const struct caml_run *run, const float *d_logits, int64_t labels, int64_t N, int64_t c) {
    for (int64_t n = 0; n < N; n++) {
        const int64_t at = c * run->rows + run->bases[n], count = run->positions[n];
        const int64_t whole = run->bases[n + 1] - run->bases[n];
        float *weights = run->weights + at, *values = run->values + at;
        const float dz = d_logits[n * labels + c], z = run->pooled[n * labels + c];
        for (int64_t p = 0; p < count; p++) {
            const float share = dz * weights[p];
            weights[p] = share * (values[p] - z);
            values[p] = share;
        }
        for (int64_t p = count; p < whole; p++) weights[p] = values[p] = 0;
    }
}

/* From run->d_h, the gradient of h in front of tanh, those of the kernel and of the embedded texts. */
static void convolve_backward(const struct caml *caml, struct caml_run *run) {
    const int64_t E = caml->config.E, F = caml->config.F, K = run->K, R = run->rows;
    if (!run->inputs) linear_backward_bias(caml->conv_bias.gradient, run->d_h, R, F);
    memset(run->d_x, 0, (size_t)((R + K) * E) * sizeof *run->d_x);
    for (int64_t phase = 0; phase < K && phase < R; phase++) {
        const int64_t count = phase_rows(run, phase);
        const float *d_h = run->d_h + phase * F;
        if (!run->inputs)
            gemm(true, false, F, K * E, count, 1, d_h, K * F, run->x + phase * E, K * E, phase > 0 ? 1 : 0,
                 run->d_weight, K * E);
        gemm(false, false, count, K * E, F, 1, d_h, K * F, run->weight, K * E, 1, run->d_x + phase * E, K * E);
    }
    if (!run->inputs) scatter_kernel(caml, run->d_weight);
}

static void embed_backward(const struct caml *caml, struct caml_run *run, const struct batch *batch) {
    const int64_t E = caml->config.E, gap = run->K / 2;
    if (run->dropout.rate > 0) dropout_apply(run->d_x, run->d_x, run->rows * E, run->dropout);
    for (int64_t n = 0; n < batch->N; n++) {
        const int64_t first = batch->offsets[n], length = batch->offsets[n + 1] - first;
        memcpy(run->d_tokens + first * E, run->d_x + (run->bases[n] + gap) * E, (size_t)(length * E) * sizeof(float));
    }
    if (run->inputs) return;
    embedding_backward(caml->embed.gradient, run->d_tokens, batch->tokens, batch->T, E);
    memset(caml->embed.gradient, 0, (size_t)E * sizeof(float)); /* the padding stays zero */
}

void caml_classify_backward(const struct caml *caml, struct caml_run *run, const struct batch *batch,
                            const float *d_logits) {
    const int64_t F = caml->config.F, labels = caml->config.labels, R = run->rows;
    if (!run->inputs) linear_backward_bias(caml->final_bias.gradient, d_logits, batch->N, labels);
#pragma omp parallel for schedule(static)
    for (int64_t c = 0; c < labels; c++) attend_backward(run, d_logits, labels, batch->N, c);
    const float *d_scores = run->weights, *d_values = run->values;
    if (!run->inputs) {
        gemm(false, false, labels, F, R, 1, d_scores, R, run->h, F, 1, caml->attention.gradient, F);
        gemm(false, false, labels, F, R, 1, d_values, R, run->h, F, 1, caml->final_weight.gradient, F);
    }
    gemm(true, false, R, F, labels, 1, d_scores, R, caml->attention.value, F, 0, run->d_h, F);
    gemm(true, false, R, F, labels, 1, d_values, R, caml->final_weight.value, F, 1, run->d_h, F);
    tanh_backward(run->d_h, run->d_h, run->h, R * F);
    convolve_backward(caml, run);
    embed_backward(caml, run, batch);
}

const float *caml_input_gradient(const struct caml_run *run) {
    return run->d_tokens;
}
