/* Mini-batches of rows: predictions are shared out by row, then the touched features by feature, so that every weight
 * has one writer. */
#include "eval/softmax_regression.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"
#include "base/threads.h"
#include "eval/ngrams.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 64 };

/* One feature of one row of the batch. */
struct occurrence {
    int32_t feature, row;
    float value;
};

/* What an epoch works in. */
struct workspace {
    uint32_t *order;                /* [rows] */
    float *errors;                  /* [BATCH, C] softmax less the label */
    float *gradients;               /* [threads, C] */
    struct occurrence *occurrences; /* those of the batch, by feature, then row */
    size_t *groups;                 /* where each feature's occurrences begin */
    size_t occurrence_capacity, group_capacity, occurrence_count, group_count;
};

bool softmax_regression_open(struct softmax_regression *model, int32_t features, int32_t C, struct error *error) {
    size_t cells;
    *model = (struct softmax_regression){.features = features, .C = C};
    if (!size_multiply((size_t)features + 1, (size_t)C, &cells))
        return memory_error(error, SIZE_MAX, "logistic regression");
    model->weights = memory_zero(cells, sizeof *model->weights);
    model->squares = memory_zero(cells, sizeof *model->squares);
    if (model->weights != NULL && model->squares != NULL) return true;
    softmax_regression_close(model);
    return memory_error(error, cells * 2 * sizeof *model->weights, "logistic regression");
}

void softmax_regression_close(struct softmax_regression *model) {
    memory_free(model->weights);
    memory_free(model->squares);
    *model = (struct softmax_regression){0};
}

static void predict(const struct softmax_regression *model, const struct sparse_rows *rows, size_t r, float *logits) {
    const size_t C = (size_t)model->C;
    memcpy(logits, model->weights + (size_t)model->features * C, C * sizeof *logits);
    for (size_t i = rows->starts[r]; i < rows->starts[r + 1]; i++) {
        const float *weights = model->weights + (size_t)rows->features[i] * C, value = rows->values[i];
        for (size_t c = 0; c < C; c++) logits[c] += value * weights[c];
    }
}

/* logits become softmax less one at the label: the gradient of the loss. */
static void subtract_label(float *logits, int32_t label, int32_t C) {
    float largest = logits[0], sum = 0;
    for (int32_t c = 1; c < C; c++) largest = fmaxf(largest, logits[c]);
    for (int32_t c = 0; c < C; c++) sum += logits[c] = expf(logits[c] - largest);
    for (int32_t c = 0; c < C; c++) logits[c] /= sum;
    logits[label] -= 1;
}

static int compare_occurrences(const void *a, const void *b) {
    const struct occurrence *x = a, *y = b;
    if (x->feature != y->feature) return x->feature < y->feature ? -1 : 1;
    return (x->row > y->row) - (x->row < y->row);
}

/* Lists the features of the batch's rows, the bias among them, grouped by feature. */
static bool list_occurrences(struct workspace *work, const struct sparse_rows *rows, const uint32_t *batch,
                             size_t count, int32_t bias, struct error *error) {
    size_t filled = 0;
    work->group_count = 0;
    for (size_t b = 0; b < count; b++) {
        const size_t start = rows->starts[batch[b]], end = rows->starts[batch[b] + 1];
        if (!memory_grow(&work->occurrences, &work->occurrence_capacity, filled + end - start + 1,
                         sizeof *work->occurrences, error))
            return false;
        for (size_t i = start; i < end; i++)
            work->occurrences[filled++] = (struct occurrence){rows->features[i], (int32_t)b, rows->values[i]};
        work->occurrences[filled++] = (struct occurrence){bias, (int32_t)b, 1};
    }
    qsort(work->occurrences, filled, sizeof *work->occurrences, compare_occurrences);
    if (!memory_grow(&work->groups, &work->group_capacity, filled + 1, sizeof *work->groups, error)) return false;
    for (size_t i = 0; i < filled; i++) {
        if (i == 0 || work->occurrences[i].feature != work->occurrences[i - 1].feature)
            work->groups[work->group_count++] = i;
    }
    work->groups[work->group_count] = filled;
    return true;
}

static void update_feature(struct softmax_regression *model, const struct workspace *work, size_t group,
                           float *gradient, float rate) {
    const size_t C = (size_t)model->C, first = work->groups[group], end = work->groups[group + 1];
    const size_t feature = (size_t)work->occurrences[first].feature;
    float *weights = model->weights + feature * C, *squares = model->squares + feature * C;
    memset(gradient, 0, C * sizeof *gradient);
    for (size_t i = first; i < end; i++) {
        const float *errors = work->errors + (size_t)work->occurrences[i].row * C, value = work->occurrences[i].value;
        for (size_t c = 0; c < C; c++) gradient[c] += value * errors[c];
    }
    for (size_t c = 0; c < C; c++) {
        squares[c] += gradient[c] * gradient[c];
        weights[c] -= rate * gradient[c] / (sqrtf(squares[c]) + 1e-6f);
    }
}

static void update(struct softmax_regression *model, const struct sparse_rows *rows, const int32_t *labels,
                   const uint32_t *batch, size_t count, struct workspace *work, double rate) {
    const size_t C = (size_t)model->C;
#pragma omp parallel
    {
        float *gradient = work->gradients + (size_t)threads_index() * C;
#pragma omp for schedule(static)
        for (size_t b = 0; b < count; b++) {
            predict(model, rows, batch[b], work->errors + b * C);
            subtract_label(work->errors + b * C, labels[batch[b]], model->C);
        }
#pragma omp for schedule(dynamic, 32)
        for (size_t group = 0; group < work->group_count; group++)
            update_feature(model, work, group, gradient, (float)rate);
    }
}

static bool workspace_open(struct workspace *work, size_t rows, size_t C, struct error *error) {
    *work = (struct workspace){.order = memory_alloc(rows, sizeof *work->order),
                               .errors = memory_alloc(BATCH * C, sizeof *work->errors),
                               .gradients = memory_alloc((size_t)threads_count() * C, sizeof *work->gradients)};
    return (work->order != NULL && work->errors != NULL && work->gradients != NULL) ||
           memory_error(error, (rows + BATCH * C) * 4, "logistic regression");
}

static void workspace_close(struct workspace *work) {
    memory_free(work->order);
    memory_free(work->errors);
    memory_free(work->gradients);
    memory_free(work->occurrences);
    memory_free(work->groups);
}

bool softmax_regression_epoch(struct softmax_regression *model, const struct sparse_rows *rows, const int32_t *labels,
                              double rate, uint64_t seed, struct error *error) {
    struct workspace work;
    struct rng rng;
    bool done = workspace_open(&work, rows->count, (size_t)model->C, error);
    if (done) {
        rng_seed(&rng, seed);
        for (size_t r = 0; r < rows->count; r++) work.order[r] = (uint32_t)r;
        rng_shuffle(&rng, work.order, rows->count, sizeof *work.order);
    }
    for (size_t first = 0; done && first < rows->count; first += BATCH) {
        const size_t count = rows->count - first < BATCH ? rows->count - first : BATCH;
        done = list_occurrences(&work, rows, work.order + first, count, model->features, error);
        if (done) update(model, rows, labels, work.order + first, count, &work, rate);
    }
    workspace_close(&work);
    return done;
}

void softmax_regression_logits(const struct softmax_regression *model, const struct sparse_rows *rows, double *logits) {
    const size_t C = (size_t)model->C;
#pragma omp parallel for schedule(static)
    for (size_t r = 0; r < rows->count; r++) {
        double *row = logits + r * C;
        for (size_t c = 0; c < C; c++) row[c] = (double)model->weights[(size_t)model->features * C + c];
        for (size_t i = rows->starts[r]; i < rows->starts[r + 1]; i++) {
            const float *weights = model->weights + (size_t)rows->features[i] * C;
            for (size_t c = 0; c < C; c++) row[c] += (double)rows->values[i] * (double)weights[c];
        }
    }
}
