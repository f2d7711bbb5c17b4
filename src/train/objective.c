/* Losses of classifiers over the plain cross-entropy kernel: see objective.h. */
#include "train/objective.h"
#include "base/error.h"
#include "base/memory.h"
#include "drg/catalog.h"
#include <math.h>
#include <string.h>

/* Rows that go through a cross-entropy together; their targets and losses stand on the stack. */
enum { ROWS = 256 };

static bool open_targets(struct objective *objective, const struct labels *labels, struct error *error) {
    for (int p = 0; p < objective->part_count; p++) {
        struct objective_part *part = &objective->parts[p];
        part->targets = memory_alloc(labels->count, sizeof *part->targets);
        if (part->targets == NULL) return memory_error(error, labels->count * sizeof *part->targets, "the targets");
        for (size_t i = 0; i < labels->count; i++) {
            const struct drg *drg = catalog_find(objective->catalog, labels->codes[i]);
            if (drg == NULL && objective->part_count > 1) {
                return error_set(error, "DRG %03d of the labels is not in grouper %s, so it has no base and severity",
                                 labels->codes[i], grouper_name(labels->grouper));
            }
            part->targets[i] = objective->part_count == 1 ? (int32_t)i : p == 0 ? drg->base : two_label_severity(drg);
        }
    }
    return true;
}

/* Training stays of each class. */
static void count_classes(double *counts, const struct objective_part *part, const int32_t *label_of, size_t count) {
    for (int64_t c = 0; c < part->columns.count; c++) counts[c] = 0;
    for (size_t i = 0; i < count; i++) counts[part->targets[label_of[i]]]++;
}

static void fill_weights(struct objective_part *part, const double *counts, double beta, double stays) {
    double sum = 0;
    for (int64_t c = 0; c < part->columns.count; c++) {
        const double weight = (1 - beta) / (1 - pow(beta, fmax(counts[c], 1)));
        part->class_weight[c] = (float)weight;
        sum += weight * counts[c];
    }
    for (int64_t c = 0; c < part->columns.count; c++)
        part->class_weight[c] = (float)((double)part->class_weight[c] * stays / sum);
}

static bool balance(struct objective *objective, const int32_t *label_of, size_t count, struct error *error) {
    const struct objective_settings *settings = &objective->settings;
    for (int p = 0; p < objective->part_count && settings->loss != LOSS_CROSS_ENTROPY; p++) {
        struct objective_part *part = &objective->parts[p];
        const size_t classes = (size_t)part->columns.count;
        double *counts = memory_alloc(classes, sizeof *counts);
        float *values = memory_alloc(classes, sizeof *values);
        if (counts == NULL || values == NULL) {
            memory_free(counts);
            memory_free(values);
            return memory_error(error, classes * sizeof *counts, "the classes of an objective");
        }
        count_classes(counts, part, label_of, count);
        if (settings->loss == LOSS_CLASS_BALANCED) {
            part->class_weight = values;
            fill_weights(part, counts, settings->beta, (double)count);
        } else {
            part->adjustment = values;
            for (size_t c = 0; c < classes; c++)
                values[c] = (float)(settings->tau * log(fmax(counts[c], 0.5) / (double)count));
        }
        memory_free(counts);
    }
    return true;
}

bool objective_open(struct objective *objective, const struct recipe *recipe, const struct labels *labels,
                    const int32_t *label_of, size_t count, struct error *error) {
    const struct catalog *catalog = catalog_get(labels->grouper);
    *objective = (struct objective){.settings = recipe_objective(recipe), .catalog = catalog, .part_count = 1};
    objective->outputs = (int64_t)labels->count;
    objective->parts[0] = (struct objective_part){.columns = {0, objective->outputs}, .weight = 1};
    if (recipe->method == METHOD_TWO_LABEL) {
        const int64_t bases = (int64_t)catalog->bases;
        objective->part_count = 2;
        objective->outputs = bases + TWO_LABEL_SEVERITIES;
        objective->parts[0].columns.count = bases;
        objective->parts[1] =
            (struct objective_part){.columns = {bases, TWO_LABEL_SEVERITIES}, .weight = objective->settings.cc_weight};
    }
    return open_targets(objective, labels, error) && balance(objective, label_of, count, error);
}

void objective_close(struct objective *objective) {
    for (int p = 0; p < 2; p++) {
        memory_free(objective->parts[p].targets);
        memory_free(objective->parts[p].class_weight);
        memory_free(objective->parts[p].adjustment);
    }
    *objective = (struct objective){0};
}

static void adjust(const struct objective_part *part, float *scores, int64_t N, int64_t outputs) {
    for (int64_t n = 0; part->adjustment != NULL && n < N; n++) {
        float *row = scores + n * outputs + part->columns.first;
        for (int64_t c = 0; c < part->columns.count; c++) row[c] += part->adjustment[c];
    }
}

/* What smoothing adds to the loss: e (score of the label - mean score), as the mean over all classes of their
 * cross-entropies is log Z - mean score. */
static float smoothing_loss(const float *row, int64_t count, int32_t target, double e) {
    double sum = 0;
    for (int64_t c = 0; c < count; c++) sum += (double)row[c];
    return (float)(e * ((double)row[target] - sum / (double)count));
}

/* To scale * (softmax - label) of a row: scale * e (label - uniform), and the class's weight over all. */
static void finish_gradient(const struct objective *objective, const struct objective_part *part, float *row,
                            int32_t target, float scale) {
    const int64_t count = part->columns.count;
    const float e = scale * (float)objective->settings.label_smoothing;
    if (e > 0) {
        for (int64_t c = 0; c < count; c++) row[c] -= e / (float)count;
        row[target] += e;
    }
    for (int64_t c = 0; part->class_weight != NULL && c < count; c++) row[c] *= part->class_weight[target];
}

/* Adds one part's losses of up to ROWS stays. */
static void add_part(const struct objective *objective, const struct objective_part *part, float *losses, float *scores,
                     const int32_t *label_of, int64_t N, float scale, bool gradient) {
    int32_t targets[ROWS] = {0};
    float own[ROWS] = {0}, smoothed[ROWS] = {0};
    const int64_t outputs = objective->outputs, first = part->columns.first;
    const double e = objective->settings.label_smoothing;
    const float weight = (float)part->weight, share = weight * scale;
    adjust(part, scores, N, outputs);
    for (int64_t n = 0; n < N; n++) {
        targets[n] = part->targets[label_of[n]];
        smoothed[n] = e > 0 ? smoothing_loss(scores + n * outputs + first, part->columns.count, targets[n], e) : 0;
    }
    cross_entropy_columns(own, gradient ? scores : NULL, scores, targets, N, outputs, part->columns, share);
    for (int64_t n = 0; n < N; n++) {
        const float class_weight = part->class_weight == NULL ? 1 : part->class_weight[targets[n]];
        losses[n] += weight * class_weight * (own[n] + smoothed[n]);
        if (gradient) finish_gradient(objective, part, scores + n * outputs + first, targets[n], share);
    }
}

static void run(const struct objective *objective, float *losses, float *scores, const int32_t *label_of, int64_t N,
                float scale, bool gradient) {
    for (int64_t first = 0; first < N; first += ROWS) {
        const int64_t count = N - first < ROWS ? N - first : ROWS;
        memset(losses + first, 0, (size_t)count * sizeof *losses);
        for (int p = 0; p < objective->part_count; p++) {
            add_part(objective, &objective->parts[p], losses + first, scores + first * objective->outputs,
                     label_of + first, count, scale, gradient);
        }
    }
}

void objective_gradient(const struct objective *objective, float *losses, float *scores, const int32_t *label_of,
                        int64_t N, float scale) {
    run(objective, losses, scores, label_of, N, scale, true);
}

void objective_losses(const struct objective *objective, float *losses, float *scores, const int32_t *label_of,
                      int64_t N) {
    run(objective, losses, scores, label_of, N, 1, false);
}

static int64_t first_largest(const float *row, int64_t count) {
    int64_t best = 0;
    for (int64_t c = 1; c < count; c++) best = row[c] > row[best] ? c : best;
    return best;
}

/* The DRG whose base and severity score highest together. */
static const struct drg *best_pair(const struct objective *objective, const float *row) {
    const struct catalog *catalog = objective->catalog;
    const float *severities = row + catalog->bases;
    const struct drg *best = NULL;
    float best_score = -INFINITY;
    for (size_t i = 0; i < catalog->count; i++) {
        const struct drg *drg = &catalog->drgs[i];
        const float score = row[drg->base] + severities[two_label_severity(drg)];
        if (best != NULL && !(score > best_score)) continue;
        best = drg;
        best_score = score;
    }
    return best;
}

void objective_count(const struct objective *objective, const struct labels *labels, const float *scores,
                     const int32_t *label_of, int64_t N, struct objective_hits *hits) {
    const struct objective_part *parts = objective->parts;
    for (int64_t n = 0; n < N; n++) {
        const float *row = scores + n * objective->outputs;
        const int64_t first = first_largest(row, parts[0].columns.count);
        if (objective->part_count == 1) {
            hits->drg += first == label_of[n];
            continue;
        }
        hits->base += first == parts[0].targets[label_of[n]];
        hits->severity +=
            first_largest(row + parts[1].columns.first, parts[1].columns.count) == parts[1].targets[label_of[n]];
        hits->drg += best_pair(objective, row)->code == labels->codes[label_of[n]];
    }
}
