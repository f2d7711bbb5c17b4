/* The losses of classifiers against their formulas in double precision, and their gradients against differences. */
#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"
#include "drg/catalog.h"
#include "train/objective.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { LABELS = 5, STAYS = 40, ROWS = 6, WIDEST = 400 };

static int codes[LABELS] = {189, 291, 292, 293, 871};
static const struct labels labels = {.grouper = GROUPER_V43, .codes = codes, .count = LABELS};

/* Training stays by label: 20, 10, 6, 4, 0. */
static void training_labels(int32_t label_of[STAYS]) {
    for (int i = 0; i < STAYS; i++) label_of[i] = i < 20 ? 0 : i < 30 ? 1 : i < 36 ? 2 : 3;
}

static struct objective open_with(enum method method, struct recipe_objective settings) {
    const struct recipe recipe = {.method = method, .objective = &settings};
    struct objective objective;
    struct error error = {0};
    int32_t label_of[STAYS];
    training_labels(label_of);
    if (!objective_open(&objective, &recipe, &labels, label_of, STAYS, &error)) fail_msg("%s", error.message);
    return objective;
}

static const int32_t row_labels[ROWS] = {0, 1, 2, 3, 4, 1};

static void random_scores(float *scores, int64_t count) {
    struct rng rng;
    rng_seed(&rng, 7);
    for (int64_t i = 0; i < count; i++) scores[i] = (float)(2 * rng_normal(&rng));
}

/* What one stay's cross-entropy over some columns should be. */
static double reference(const float *row, int64_t count, int32_t target, const double *counts,
                        const struct objective_settings *settings) {
    double z[WIDEST], sum = 0, loss = 0, weights = 0, weight = 1;
    for (int64_t c = 0; c < count; c++) {
        z[c] = (double)row[c];
        if (settings->loss == LOSS_LOGIT_ADJUSTED) z[c] += settings->tau * log(fmax(counts[c], 0.5) / STAYS);
        sum += exp(z[c]);
    }
    for (int64_t c = 0; c < count; c++) {
        const double share =
            (c == target ? 1 - settings->label_smoothing : 0) + settings->label_smoothing / (double)count;
        loss -= share * (z[c] - log(sum));
        weights += counts[c] * (1 - settings->beta) / (1 - pow(settings->beta, fmax(counts[c], 1)));
    }
    if (settings->loss == LOSS_CLASS_BALANCED)
        weight = (1 - settings->beta) / (1 - pow(settings->beta, fmax(counts[target], 1))) * STAYS / weights;
    return weight * loss;
}

/* The loss of every row by the definition, of one label or of two. */
static double expected_loss(const struct objective *objective, const float *row, int32_t label) {
    const double counts[LABELS] = {20, 10, 6, 4, 0};
    double loss = 0;
    for (int p = 0; p < objective->part_count; p++) {
        const struct objective_part *part = &objective->parts[p];
        double classes[WIDEST] = {0};
        for (int i = 0; i < LABELS; i++) classes[part->targets[i]] += counts[i];
        loss += part->weight * reference(row + part->columns.first, part->columns.count, part->targets[label], classes,
                                         &objective->settings);
    }
    return loss;
}

static void check_losses(const struct objective *objective) {
    const int64_t outputs = objective->outputs;
    float *scores = memory_alloc((size_t)(ROWS * outputs), sizeof *scores),
          *gradient = memory_alloc((size_t)(ROWS * outputs), sizeof *gradient), losses[ROWS], again[ROWS];
    random_scores(scores, ROWS * outputs);
    memcpy(gradient, scores, (size_t)(ROWS * outputs) * sizeof *gradient);
    objective_gradient(objective, losses, gradient, row_labels, ROWS, 0.25f);
    for (int n = 0; n < ROWS; n++) {
        float *row = scores + n * outputs;
        const double want = expected_loss(objective, row, row_labels[n]);
        if (fabs((double)losses[n] - want) > 1e-5 * (1 + fabs(want)))
            fail_msg("row %d: %.9g, expected %.9g", n, (double)losses[n], want);
        for (int64_t c = 0; c < outputs; c += c < 8 ? 1 : 7) {
            const double step = 1e-3;
            const float kept = row[c];
            row[c] = kept + (float)step;
            const double high = expected_loss(objective, row, row_labels[n]), up = (double)row[c];
            row[c] = kept - (float)step;
            const double low = expected_loss(objective, row, row_labels[n]), down = (double)row[c];
            row[c] = kept;
            const double slope = 0.25 * (high - low) / (up - down), found = (double)gradient[n * outputs + c];
            if (fabs(found - slope) > 1e-5 * (1 + fabs(slope)))
                fail_msg("row %d, score %d: gradient %.9g, difference %.9g", n, (int)c, found, slope);
        }
    }
    objective_losses(objective, again, scores, row_labels, ROWS);
    assert_memory_equal(losses, again, sizeof losses);
    memory_free(scores);
    memory_free(gradient);
}

static void every_loss_and_gradient_is_what_its_formula_says(void **state) {
    (void)state;
    double beta = 0.9, tau = 1.5, cc_weight = 0.7;
    const struct recipe_objective settings[] = {
        {.loss = LOSS_CROSS_ENTROPY},
        {.loss = LOSS_CLASS_BALANCED, .beta = &beta},
        {.loss = LOSS_LOGIT_ADJUSTED, .tau = &tau},
        {.loss = LOSS_CROSS_ENTROPY, .label_smoothing = 0.2},
        {.loss = LOSS_CLASS_BALANCED, .label_smoothing = 0.1},
        {.loss = LOSS_LOGIT_ADJUSTED, .label_smoothing = 0.1},
    };
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        struct objective objective = open_with(METHOD_CLASSIFY, settings[i]);
        assert_int_equal(objective.outputs, LABELS);
        check_losses(&objective);
        objective_close(&objective);
        struct recipe_objective two = settings[i];
        two.cc_weight = i % 2 == 0 ? &cc_weight : NULL;
        objective = open_with(METHOD_TWO_LABEL, two);
        assert_int_equal(objective.outputs, catalog_get(GROUPER_V43)->bases + TWO_LABEL_SEVERITIES);
        assert_true(objective.parts[1].weight == (i % 2 == 0 ? 0.7 : 0.5));
        check_losses(&objective);
        objective_close(&objective);
    }
}

/* Plain training must not change by a bit: it is the kernel alone. */
static void plain_cross_entropy_is_the_kernel_to_the_bit(void **state) {
    (void)state;
    struct objective objective = open_with(METHOD_CLASSIFY, (struct recipe_objective){0});
    float scores[ROWS * LABELS], kernel[ROWS * LABELS], losses[ROWS], kernel_losses[ROWS];
    random_scores(scores, ROWS * LABELS);
    cross_entropy(kernel_losses, kernel, scores, row_labels, ROWS, LABELS, 0.1f);
    objective_gradient(&objective, losses, scores, row_labels, ROWS, 0.1f);
    assert_memory_equal(losses, kernel_losses, sizeof losses);
    assert_memory_equal(scores, kernel, sizeof scores);
    objective_close(&objective);
}

static void rare_classes_weigh_more_and_training_stays_weigh_one_in_the_mean(void **state) {
    (void)state;
    double beta = 0.99;
    struct objective objective =
        open_with(METHOD_CLASSIFY, (struct recipe_objective){.loss = LOSS_CLASS_BALANCED, .beta = &beta});
    const float *weight = objective.parts[0].class_weight;
    const double counts[LABELS] = {20, 10, 6, 4, 0};
    double mean = 0;
    for (int c = 0; c < LABELS; c++) mean += counts[c] * (double)weight[c] / STAYS;
    assert_true(fabs(mean - 1) < 1e-6);
    for (int c = 1; c < LABELS; c++) assert_true(weight[c] > weight[c - 1]);
    objective_close(&objective);
}

/* Row 0: base of 291, MCC: both heads and the DRG are right. Row 1: base of 189 wins, whose one severity is not the
 * likeliest: the product takes another pair only if it is more probable. */
static void hits_are_counted_by_head_and_by_the_product_of_existing_pairs(void **state) {
    (void)state;
    struct objective objective = open_with(METHOD_TWO_LABEL, (struct recipe_objective){0});
    const struct catalog *v43 = catalog_get(GROUPER_V43);
    const int failure = catalog_find(v43, 291)->base, respiratory = catalog_find(v43, 189)->base;
    const int64_t outputs = objective.outputs;
    float *scores = memory_zero((size_t)(2 * outputs), sizeof *scores);
    const int32_t label_of[] = {1, 3}; /* 291, 293 */
    struct objective_hits hits = {0};
    scores[failure] = 5;
    scores[v43->bases + 2] = 3; /* MCC */
    scores[outputs + respiratory] = 5;
    scores[outputs + failure] = 4;
    scores[outputs + (int64_t)v43->bases + 0] = 3; /* without CC/MCC, which 189 has not */
    objective_count(&objective, &labels, scores, label_of, 2, &hits);
    assert_int_equal(hits.base, 1);
    assert_int_equal(hits.severity, 2);
    assert_int_equal(hits.drg, 2); /* 4 + 3 for 293 is more than 5 + 0 for 189 */
    memory_free(scores);
    objective_close(&objective);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_loss_and_gradient_is_what_its_formula_says),
        cmocka_unit_test(plain_cross_entropy_is_the_kernel_to_the_bit),
        cmocka_unit_test(rare_classes_weigh_more_and_training_stays_weigh_one_in_the_mean),
        cmocka_unit_test(hits_are_counted_by_head_and_by_the_product_of_existing_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
