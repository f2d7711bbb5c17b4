/* Forward and backward of the linear bag of words. Texts are shared out by text, gradients by feature, so that every
 * number has one writer and every sum one order. */
#include "base/carver.h"
#include "base/error.h"
#include "base/memory.h"
#include "model/linear_bag.h"
#include "tensor/gemm.h"
#include "tokenizer/words.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A feature of a text of the batch. */
struct occurrence {
    int32_t feature, text;
    float value;
};

struct linear_bag_run {
    int64_t capacity_T, capacity_N;
    int32_t *features;              /* [2 T] text n's from 2 offsets[n] on */
    float *values;                  /* [2 T] of the last forward */
    int64_t *counts;                /* [N] features of each text */
    struct occurrence *occurrences; /* [2 T] by feature, then text */
    int64_t *groups;                /* [2 T + 1] where each feature's begin */
    void *memory;
};

static bool layout(struct linear_bag_run *run, char *base, size_t *bytes, struct error *error) {
    const int64_t T = run->capacity_T, N = run->capacity_N;
    struct carver carver = {.base = base};
    run->features = carve(&carver, T, 2, sizeof *run->features);
    run->values = carve_floats(&carver, T, 2);
    run->counts = carve(&carver, N, 1, sizeof *run->counts);
    run->occurrences = carve(&carver, T, 2, sizeof *run->occurrences);
    run->groups = carve(&carver, T + 1, 2, sizeof *run->groups);
    *bytes = carver.used;
    return !carver.overflow ||
           error_set(error, "a batch of %lld words does not fit into the address space", (long long)T);
}

bool linear_bag_run_size(const struct linear_bag *bag, int64_t T, int64_t N, size_t *bytes, struct error *error) {
    (void)bag;
    if (T < 1 || N < 1 || T > INT32_MAX / 2 || N > T)
        return error_set(error, "a batch of %lld words in %lld texts is not possible", (long long)T, (long long)N);
    struct linear_bag_run run = {.capacity_T = T, .capacity_N = N};
    return layout(&run, NULL, bytes, error);
}

bool linear_bag_run_open(struct linear_bag_run **out, const struct linear_bag *bag, int64_t T, int64_t N,
                         struct error *error) {
    size_t bytes;
    if (!linear_bag_run_size(bag, T, N, &bytes, error)) return false;
    struct linear_bag_run *run = memory_zero(1, sizeof *run);
    void *memory = memory_alloc(bytes, 1);
    if (run == NULL || memory == NULL) {
        memory_free(run);
        memory_free(memory);
        memory_error(error, bytes, "the features of a batch");
        return error_hint(error, "fewer words in a batch need less");
    }
    *run = (struct linear_bag_run){.capacity_T = T, .capacity_N = N, .memory = memory};
    layout(run, memory, &bytes, NULL); /* the counting pass found no overflow */
    *out = run;
    return true;
}

void linear_bag_run_close(struct linear_bag_run *run) {
    if (run == NULL) return;
    memory_free(run->memory);
    memory_free(run);
}

bool linear_bag_check(const struct linear_bag *bag, const struct linear_bag_run *run, const struct batch *batch,
                      struct error *error) {
    if (batch->N < 1 || batch->T < batch->N || batch->T > run->capacity_T || batch->N > run->capacity_N ||
        batch->offsets[0] != 0 || batch->offsets[batch->N] != batch->T) {
        return error_set(
            error, "a batch of %lld words in %lld texts does not fit the %lld words and %lld texts made room for",
            (long long)batch->T, (long long)batch->N, (long long)run->capacity_T, (long long)run->capacity_N);
    }
    for (int64_t n = 0; n < batch->N; n++) {
        if (batch->offsets[n + 1] <= batch->offsets[n])
            return error_set(error, "text %lld of a batch is empty", (long long)n);
    }
    for (int64_t t = 0; t < batch->T; t++) {
        if (batch->tokens[t] >= 0 && batch->tokens[t] < bag->config.V) continue;
        error_set(error, "word id %d is outside the model's vocabulary of %lld", batch->tokens[t],
                  (long long)bag->config.V);
        return error_hint(error, "the words.txt does not belong to this model");
    }
    return true;
}

/* The finisher of MurmurHash3 over both ids: which bucket a pair falls into is part of the file format. */
static int32_t pair_feature(const struct linear_bag_config *config, int32_t first, int32_t second) {
    uint64_t x = (uint64_t)(uint32_t)first << 32 | (uint32_t)second;
    x = (x ^ (x >> 33)) * 0xff51afd7ed558ccdu;
    x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53u;
    x ^= x >> 33;
    return (int32_t)(config->V + (int64_t)(x % (uint64_t)config->buckets));
}

static int compare_ids(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Whether the pair of token t and the next is a feature: an unknown word says nothing of a pair. */
static bool pair_counts(const struct linear_bag_config *config, const int32_t *tokens, int64_t t, int64_t length) {
    return config->buckets > 0 && t + 1 < length && tokens[t] != WORD_UNKNOWN && tokens[t + 1] != WORD_UNKNOWN;
}

int64_t linear_bag_features(const struct linear_bag_config *config, const int32_t *tokens, int64_t length,
                            int32_t *features, float *counts) {
    int64_t filled = 0, distinct = 0;
    for (int64_t t = 0; t < length; t++) {
        features[filled++] = tokens[t];
        if (pair_counts(config, tokens, t, length)) features[filled++] = pair_feature(config, tokens[t], tokens[t + 1]);
    }
    qsort(features, (size_t)filled, sizeof *features, compare_ids);
    for (int64_t i = 0; i < filled; i++) {
        if (distinct > 0 && features[distinct - 1] == features[i]) {
            counts[distinct - 1]++;
        } else {
            features[distinct] = features[i];
            counts[distinct++] = 1;
        }
    }
    return distinct;
}

/* Counts become values of length 1. */
static void weigh(const struct linear_bag *bag, const int32_t *features, float *values, int64_t count) {
    double squares = 0;
    for (int64_t i = 0; i < count; i++) {
        values[i] = (1 + logf(values[i])) * bag->idf[features[i]];
        squares += (double)values[i] * (double)values[i];
    }
    const float scale = squares > 0 ? (float)(1 / sqrt(squares)) : 0;
    for (int64_t i = 0; i < count; i++) values[i] *= scale;
}

void linear_bag_forward(const struct linear_bag *bag, struct linear_bag_run *run, const struct batch *batch,
                        float *logits) {
    const int64_t C = bag->config.labels;
#pragma omp parallel for schedule(dynamic, 1)
    for (int64_t n = 0; n < batch->N; n++) {
        const int64_t first = batch->offsets[n], length = batch->offsets[n + 1] - first;
        int32_t *features = run->features + 2 * first;
        float *values = run->values + 2 * first, *row = logits + n * C;
        const int64_t count = linear_bag_features(&bag->config, batch->tokens + first, length, features, values);
        run->counts[n] = count;
        weigh(bag, features, values, count);
        memcpy(row, bag->bias, (size_t)C * sizeof *row);
        for (int64_t i = 0; i < count; i++) {
            const float *weight = bag->weight + (int64_t)features[i] * C, value = values[i];
            for (int64_t c = 0; c < C; c++) row[c] += value * weight[c];
        }
    }
}

static int compare_occurrences(const void *a, const void *b) {
    const struct occurrence *x = a, *y = b;
    if (x->feature != y->feature) return x->feature < y->feature ? -1 : 1;
    return (x->text > y->text) - (x->text < y->text);
}

/* The features of all texts by feature; gives how many different ones there are. */
static int64_t group_occurrences(struct linear_bag_run *run, const struct batch *batch) {
    int64_t filled = 0, groups = 0;
    for (int64_t n = 0; n < batch->N; n++) {
        const int64_t first = 2 * (int64_t)batch->offsets[n];
        for (int64_t i = first; i < first + run->counts[n]; i++)
            run->occurrences[filled++] = (struct occurrence){run->features[i], (int32_t)n, run->values[i]};
    }
    qsort(run->occurrences, (size_t)filled, sizeof *run->occurrences, compare_occurrences);
    for (int64_t i = 0; i < filled; i++) {
        if (i == 0 || run->occurrences[i].feature != run->occurrences[i - 1].feature) run->groups[groups++] = i;
    }
    run->groups[groups] = filled;
    return groups;
}

void linear_bag_backward(const struct linear_bag *bag, struct linear_bag_run *run, const struct batch *batch,
                         const float *d_logits) {
    const int64_t C = bag->config.labels, groups = group_occurrences(run, batch);
    linear_backward_bias(bag->d_bias, d_logits, batch->N, C);
#pragma omp parallel for schedule(dynamic, 32)
    for (int64_t g = 0; g < groups; g++) {
        float *to = bag->d_weight + (int64_t)run->occurrences[run->groups[g]].feature * C;
        for (int64_t i = run->groups[g]; i < run->groups[g + 1]; i++) {
            const float *from = d_logits + (int64_t)run->occurrences[i].text * C, value = run->occurrences[i].value;
            for (int64_t c = 0; c < C; c++) to[c] += value * from[c];
        }
    }
}

/* Where a feature of the last forward stands among its text's. */
static int64_t find_feature(const int32_t *features, int64_t count, int32_t feature) {
    int64_t first = 0;
    while (count > 1) {
        const int64_t half = count / 2;
        if (features[first + half] <= feature) first += half;
        count -= half;
    }
    return first;
}

void linear_bag_attribute(const struct linear_bag *bag, struct linear_bag_run *run, const struct batch *batch,
                          int64_t n, int64_t label, float *shares) {
    const int64_t first = batch->offsets[n], length = batch->offsets[n + 1] - first, count = run->counts[n];
    const int32_t *tokens = batch->tokens + first, *features = run->features + 2 * first;
    const float *values = run->values + 2 * first, *weight = bag->weight + label;
    int64_t *times = run->groups; /* [count] how often each feature occurs */
    memset(times, 0, (size_t)count * sizeof *times);
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t t = 0; t < length; t++) {
            for (int64_t words = 1; words <= 2; words++) {
                if (words == 2 && !pair_counts(&bag->config, tokens, t, length)) continue;
                const int32_t feature = words == 1 ? tokens[t] : pair_feature(&bag->config, tokens[t], tokens[t + 1]);
                const int64_t i = find_feature(features, count, feature);
                if (pass == 0) {
                    times[i]++;
                    continue;
                }
                const float share = values[i] * weight[feature * bag->config.labels] / (float)(times[i] * words);
                for (int64_t word = 0; word < words; word++) shares[t + word] += share;
            }
        }
    }
}
