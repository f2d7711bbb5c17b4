/* Naive Bayes over sparse counts: what smoothing gives to n-grams that a class has not seen is one number a class. */
#include "eval/naive_bayes.h"
#include "base/error.h"
#include "base/memory.h"
#include "eval/ngrams.h"
#include <math.h>

/* Sorts the entries of the rows by feature, each with the label of its row. Afterwards starts[f] is where feature f
 * ends. */
static void sort_by_feature(struct naive_bayes *model, const struct sparse_rows *rows, const int32_t *labels) {
    for (size_t i = 0; i < rows->starts[rows->count]; i++) model->starts[rows->features[i] + 1]++;
    for (int32_t f = 0; f < model->features; f++) model->starts[f + 1] += model->starts[f];
    for (size_t r = 0; r < rows->count; r++) {
        for (size_t i = rows->starts[r]; i < rows->starts[r + 1]; i++) {
            const size_t place = model->starts[rows->features[i]]++;
            model->classes[place] = labels[r];
            model->counts[place] = rows->values[i];
        }
    }
}

/* Adds up the entries of one class within each feature; `sums` [C] is zeroed. */
static void merge_classes(struct naive_bayes *model, float *sums) {
    size_t begin = 0, filled = 0;
    for (int32_t f = 0; f < model->features; f++) {
        const size_t end = model->starts[f];
        for (size_t i = begin; i < end; i++) sums[model->classes[i]] += model->counts[i];
        model->starts[f] = filled;
        for (int32_t c = 0; c < model->C; c++) {
            if (!(sums[c] > 0)) continue;
            model->classes[filled] = c;
            model->counts[filled++] = sums[c];
            model->totals[c] += (double)sums[c];
            sums[c] = 0;
        }
        begin = end;
    }
    model->starts[model->features] = filled;
}

static bool allocate(struct naive_bayes *model, size_t entries, struct error *error) {
    const size_t C = (size_t)model->C;
    model->starts = memory_zero((size_t)model->features + 1, sizeof *model->starts);
    model->classes = memory_alloc(entries, sizeof *model->classes);
    model->counts = memory_alloc(entries, sizeof *model->counts);
    model->weights = memory_alloc(entries, sizeof *model->weights);
    model->totals = memory_zero(C, sizeof *model->totals);
    model->notes = memory_zero(C, sizeof *model->notes);
    model->priors = memory_alloc(C, sizeof *model->priors);
    model->absent = memory_alloc(C, sizeof *model->absent);
    return (model->starts != NULL && model->classes != NULL && model->counts != NULL && model->weights != NULL &&
            model->totals != NULL && model->notes != NULL && model->priors != NULL && model->absent != NULL) ||
           memory_error(error, entries * 12 + C * 32, "naive Bayes");
}

bool naive_bayes_open(struct naive_bayes *model, const struct sparse_rows *rows, const int32_t *labels,
                      int32_t features, int32_t C, struct error *error) {
    *model = (struct naive_bayes){.features = features, .C = C};
    float *sums = memory_zero((size_t)C, sizeof *sums);
    const bool done = (sums != NULL || memory_error(error, (size_t)C * sizeof *sums, "naive Bayes")) &&
                      allocate(model, rows->starts[rows->count], error);
    if (done) {
        sort_by_feature(model, rows, labels);
        merge_classes(model, sums);
        for (size_t r = 0; r < rows->count; r++) model->notes[labels[r]]++;
        for (int32_t c = 0; c < C; c++)
            model->priors[c] = log((1 + model->notes[c]) / ((double)C + (double)rows->count));
    } else {
        naive_bayes_close(model);
    }
    memory_free(sums);
    return done;
}

void naive_bayes_close(struct naive_bayes *model) {
    memory_free(model->starts);
    memory_free(model->classes);
    memory_free(model->counts);
    memory_free(model->weights);
    memory_free(model->totals);
    memory_free(model->notes);
    memory_free(model->priors);
    memory_free(model->absent);
    *model = (struct naive_bayes){0};
}

void naive_bayes_smooth(struct naive_bayes *model, double alpha) {
    for (size_t i = 0; i < model->starts[model->features]; i++)
        model->weights[i] = (float)log1p((double)model->counts[i] / alpha);
    for (int32_t c = 0; c < model->C; c++)
        model->absent[c] = log(alpha / (model->totals[c] + alpha * (double)model->features));
}

void naive_bayes_logits(const struct naive_bayes *model, const struct sparse_rows *rows, double *logits) {
    const int32_t C = model->C;
#pragma omp parallel for schedule(static)
    for (size_t r = 0; r < rows->count; r++) {
        double *row = logits + r * (size_t)C, length = 0;
        for (size_t i = rows->starts[r]; i < rows->starts[r + 1]; i++) length += (double)rows->values[i];
        for (int32_t c = 0; c < C; c++) row[c] = model->priors[c] + length * model->absent[c];
        for (size_t i = rows->starts[r]; i < rows->starts[r + 1]; i++) {
            const int32_t feature = rows->features[i];
            for (size_t e = model->starts[feature]; e < model->starts[feature + 1]; e++) {
                row[model->classes[e]] += (double)rows->values[i] * (double)model->weights[e];
            }
        }
        double largest = row[0];
        for (int32_t c = 1; c < C; c++) largest = fmax(largest, row[c]);
        for (int32_t c = 0; c < C; c++) row[c] -= largest;
    }
}
