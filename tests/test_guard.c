/* What watches over a run: numbers that are none are found where they first came up, and a gradient far above the usual
 * is told once. */
#include "base/error.h"
#include "train/guard.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { TENSORS = 4 };

static const char *const names[TENSORS] = {
    "model.embed_tokens.weight", "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
    "base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight", "score.weight"};

static struct parameters set;
static struct adamw optimizer;

static int open_set(void **state) {
    struct error error = {0};
    size_t index;
    (void)state;
    for (size_t i = 0; i < TENSORS; i++) {
        if (!parameters_declare(&set, names[i], 3, 5 + (int64_t)i, false, &index, &error)) return 1;
    }
    return parameters_allocate(&set, &error) && adamw_open(&optimizer, &set, &error) ? 0 : 1;
}

static int close_set(void **state) {
    (void)state;
    adamw_close(&optimizer);
    parameters_free(&set);
    return 0;
}

static void expect_message(const struct error *error, const char *part) {
    if (strstr(error->message, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", error->message, part);
    assert_non_null(strstr(error->hint, "checkpoint is kept"));
}

static void a_loss_that_is_no_number_is_told_with_its_step(void **state) {
    (void)state;
    struct error error = {0};
    assert_true(guard_gradients(&set, 7, 1.5, 2.5, &error));
    assert_false(guard_gradients(&set, 7, (double)NAN, (double)NAN, &error));
    expect_message(&error, "step 7: the loss is");
    assert_false(guard_gradients(&set, 8, (double)INFINITY, 1, &error));
    expect_message(&error, "step 8: the loss is inf");
}

/* The backward comes from the loss: of several the last in the order of the model went bad first. */
static void the_gradient_nearest_to_the_loss_is_named(void **state) {
    (void)state;
    struct error error = {0};
    parameter_gradient(&set, 0)[3] = NAN;
    parameter_gradient(&set, 2)[20] = -INFINITY; /* its last element */
    assert_false(guard_gradients(&set, 12, 1.5, (double)NAN, &error));
    expect_message(&error, "step 12: the gradient of base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight");
    expect_message(&error, "2 of 4 tensors");
    memset(set.gradients, 0, (size_t)set.total * sizeof *set.gradients);
}

static void a_weight_and_a_moment_that_are_no_numbers_are_named(void **state) {
    (void)state;
    struct error error = {0};
    assert_true(guard_weights(&set, &optimizer, 3, &error));
    set.values[set.items[1].first] = INFINITY;
    set.values[set.items[3].first + 2] = NAN;
    assert_false(guard_weights(&set, &optimizer, 3, &error));
    expect_message(&error, "step 3: the update made the weight base_model.model.model.layers.0.self_attn.q_proj");
    expect_message(&error, "2 tensors");
    memset(set.values, 0, (size_t)set.total * sizeof *set.values);
    optimizer.v[set.items[3].first + 20] = INFINITY;
    assert_false(guard_weights(&set, &optimizer, 4, &error));
    expect_message(&error, "the second moment of score.weight");
    optimizer.v[set.items[3].first + 20] = 3e38f; /* large is no fault */
    assert_true(guard_weights(&set, &optimizer, 5, &error));
    memset(optimizer.v, 0, (size_t)set.total * sizeof *optimizer.v);
}

static void the_median_is_that_of_the_last_steps(void **state) {
    (void)state;
    struct norm_window window = {0};
    double median;
    assert_true(norm_window_median(&window) == 0.0);
    for (int i = 1; i <= 5; i++) norm_window_add(&window, i, NULL);
    assert_true(norm_window_median(&window) == 3.0);
    norm_window_add(&window, 100, &median);
    assert_true(median == 3.0 && norm_window_median(&window) == 3.5);
    for (int i = 0; i < NORM_WINDOW; i++) norm_window_add(&window, 7, NULL);
    assert_true(norm_window_median(&window) == 7.0);
}

static void a_norm_far_above_the_median_warns_once_in_a_while(void **state) {
    (void)state;
    struct norm_window window = {0};
    assert_false(norm_window_add(&window, 1, NULL));
    assert_false(norm_window_add(&window, 50, NULL)); /* too early to know what is usual */
    for (int i = 0; i < 30; i++) assert_false(norm_window_add(&window, 1 + 0.1 * (i % 3), NULL));
    assert_false(norm_window_add(&window, 8.0, NULL));
    assert_true(norm_window_add(&window, 10, NULL));
    assert_false(norm_window_add(&window, 20, NULL)); /* told already */
    for (int i = 0; i < NORM_WINDOW; i++) assert_false(norm_window_add(&window, 1, NULL));
    assert_true(norm_window_add(&window, 20, NULL));
    assert_int_equal(window.alarms, 2);
}

static void norms_that_stay_high_become_the_usual_ones(void **state) {
    (void)state;
    struct norm_window window = {0};
    int alarms = 0;
    for (int i = 0; i < 100; i++) norm_window_add(&window, 1, NULL);
    for (int i = 0; i < 1000; i++) alarms += norm_window_add(&window, 100, NULL);
    assert_int_equal(alarms, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loss_that_is_no_number_is_told_with_its_step),
        cmocka_unit_test(the_gradient_nearest_to_the_loss_is_named),
        cmocka_unit_test(a_weight_and_a_moment_that_are_no_numbers_are_named),
        cmocka_unit_test(the_median_is_that_of_the_last_steps),
        cmocka_unit_test(a_norm_far_above_the_median_warns_once_in_a_while),
        cmocka_unit_test(norms_that_stay_high_become_the_usual_ones),
    };
    return cmocka_run_group_tests(tests, open_set, close_set);
}
