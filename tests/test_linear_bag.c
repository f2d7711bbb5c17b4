/* The linear bag of words: its logits by hand, its gradient, its files and what it refuses. */
#include "base/error.h"
#include "base/file.h"
#include "base/threads.h"
#include "folder.h"
#include "model/linear_bag.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

enum { WORDS = 7, BUCKETS = 16, LABELS = 3, TEXTS = 3, TOKENS = 11, CELLS = TEXTS * LABELS };

static const int32_t tokens[TOKENS] = {2, 3, 2, 2, 4, 1, 5, 6, 3, 3, 5};
static const int32_t offsets[TEXTS + 1] = {0, 4, 7, TOKENS};
static const struct batch batch = {.T = TOKENS, .N = TEXTS, .tokens = tokens, .offsets = offsets};

static void create(struct linear_bag *bag, int64_t buckets) {
    const struct linear_bag_config config = {WORDS, buckets, LABELS};
    const int64_t starts[TEXTS + 1] = {0, 4, 7, TOKENS};
    struct error error = {0};
    assert_true(linear_bag_create(bag, &config, &error));
    assert_true(linear_bag_weigh(bag, tokens, starts, TEXTS, &error));
    for (int64_t i = 0; i < bag->parameters.total; i++)
        bag->parameters.values[i] = (float)((i * 37 + 11) % 19) / 8.0f - 1;
}

static void logits_of(const struct linear_bag *bag, const struct batch *these, float *logits) {
    struct linear_bag_run *run;
    struct error error = {0};
    assert_true(linear_bag_run_open(&run, bag, these->T, these->N, &error));
    if (!linear_bag_check(bag, run, these, &error)) fail_msg("%s", error.message);
    linear_bag_forward(bag, run, these, logits);
    linear_bag_run_close(run);
}

/* Text 0 is words 2 3 2 2. Word 2 stands in one text of three, word 3 in two. */
static void logits_are_those_of_weighed_and_scaled_counts(void **state) {
    (void)state;
    struct linear_bag bag;
    float logits[CELLS];
    create(&bag, 0);
    logits_of(&bag, &batch, logits);
    const double two = (1 + log(3)) * (log(4.0 / 2) + 1), three = log(4.0 / 3) + 1, length = hypot(two, three);
    for (int c = 0; c < LABELS; c++) {
        const double expected =
            (double)bag.bias[c] +
            (two * (double)bag.weight[2 * LABELS + c] + three * (double)bag.weight[3 * LABELS + c]) / length;
        assert_true(fabs(expected - (double)logits[c]) < 1e-6);
    }
    linear_bag_close(&bag);
}

static void shares_of_words_add_up_to_the_logit(void **state) {
    (void)state;
    struct linear_bag bag;
    struct linear_bag_run *run;
    struct error error = {0};
    float logits[CELLS];
    create(&bag, BUCKETS);
    assert_true(linear_bag_run_open(&run, &bag, TOKENS, TEXTS, &error));
    linear_bag_forward(&bag, run, &batch, logits);
    for (int n = 0; n < TEXTS; n++) {
        for (int c = 0; c < LABELS; c++) {
            float shares[TOKENS] = {0};
            double sum = (double)bag.bias[c];
            linear_bag_attribute(&bag, run, &batch, n, c, shares);
            for (int t = 0; t < offsets[n + 1] - offsets[n]; t++) sum += (double)shares[t];
            assert_true(fabs(sum - (double)logits[n * LABELS + c]) < 1e-5);
        }
    }
    linear_bag_run_close(run);
    linear_bag_close(&bag);
    /* text 0: a word's shares are alike, and three times as often is not three times as much */
    create(&bag, 0);
    assert_true(linear_bag_run_open(&run, &bag, TOKENS, TEXTS, &error));
    linear_bag_forward(&bag, run, &batch, logits);
    float shares[4] = {0};
    linear_bag_attribute(&bag, run, &batch, 0, 1, shares);
    const double two = (1 + log(3)) * (log(4.0 / 2) + 1), three = log(4.0 / 3) + 1, length = hypot(two, three);
    const double expected = two / length * (double)bag.weight[2 * LABELS + 1] / 3;
    for (int t = 0; t < 4; t++) assert_true(t == 1 || fabs((double)shares[t] - expected) < 1e-6);
    linear_bag_run_close(run);
    linear_bag_close(&bag);
}

static void the_order_of_words_counts_through_their_pairs_alone(void **state) {
    (void)state;
    static const int32_t swapped[4] = {3, 2, 2, 2}, ends[2] = {0, 4};
    for (int64_t buckets = 0; buckets <= BUCKETS; buckets += BUCKETS) {
        struct linear_bag bag;
        float a[CELLS], b[LABELS];
        create(&bag, buckets);
        logits_of(&bag, &batch, a);
        logits_of(&bag, &(struct batch){.T = 4, .N = 1, .tokens = swapped, .offsets = ends}, b);
        assert_int_equal(memcmp(a, b, sizeof b) == 0, buckets == 0);
        linear_bag_close(&bag);
    }
}

static double loss_of(const struct linear_bag *bag, struct linear_bag_run *run, float *d_logits) {
    float logits[CELLS];
    double loss = 0;
    linear_bag_forward(bag, run, &batch, logits);
    for (int i = 0; i < CELLS; i++) {
        loss += 0.5 * (double)(i + 1) * (double)logits[i] * (double)logits[i];
        if (d_logits != NULL) d_logits[i] = (float)(i + 1) * logits[i];
    }
    return loss;
}

static void the_gradient_agrees_with_finite_differences(void **state) {
    (void)state;
    struct linear_bag bag;
    struct linear_bag_run *run;
    struct error error = {0};
    float d_logits[CELLS];
    create(&bag, BUCKETS);
    assert_true(linear_bag_run_open(&run, &bag, TOKENS, TEXTS, &error));
    loss_of(&bag, run, d_logits);
    linear_bag_backward(&bag, run, &batch, d_logits);
    for (int64_t i = 0; i < bag.parameters.total; i++) {
        float *value = bag.parameters.values + i;
        const float kept = *value, h = 0x1p-6f;
        *value = kept + h;
        const double above = loss_of(&bag, run, NULL);
        *value = kept - h;
        const double numeric = (above - loss_of(&bag, run, NULL)) / (2 * (double)h);
        *value = kept;
        const double found = (double)bag.parameters.gradients[i];
        if (!(fabs(numeric - found) <= 1e-3 * (1 + fabs(numeric))))
            fail_msg("parameter %lld: %g, by differences %g", (long long)i, found, numeric);
    }
    linear_bag_run_close(run);
    linear_bag_close(&bag);
}

static void threads_and_neighbours_change_no_bit(void **state) {
    (void)state;
    struct linear_bag bag;
    float one[CELLS], two[CELLS], gradients[(WORDS + BUCKETS + 1) * LABELS];
    const int threads = threads_count();
    create(&bag, BUCKETS);
    for (int pass = 0; pass < 2; pass++) {
        struct linear_bag_run *run;
        struct error error = {0};
        float d_logits[CELLS];
        threads_set(pass == 0 ? 1 : 3);
        assert_true(linear_bag_run_open(&run, &bag, TOKENS, TEXTS, &error));
        memset(bag.parameters.gradients, 0, sizeof gradients);
        loss_of(&bag, run, d_logits);
        linear_bag_backward(&bag, run, &batch, d_logits);
        linear_bag_run_close(run);
        logits_of(&bag, &batch, pass == 0 ? one : two);
        if (pass == 0) memcpy(gradients, bag.parameters.gradients, sizeof gradients);
    }
    threads_set(threads);
    assert_memory_equal(one, two, sizeof one);
    assert_memory_equal(gradients, bag.parameters.gradients, sizeof gradients);
    for (int n = 0; n < TEXTS; n++) {
        const int32_t ends[2] = {0, offsets[n + 1] - offsets[n]};
        logits_of(&bag, &(struct batch){.T = ends[1], .N = 1, .tokens = tokens + offsets[n], .offsets = ends}, two);
        assert_memory_equal(one + n * LABELS, two, LABELS * sizeof *two);
    }
    linear_bag_close(&bag);
}

static void what_is_written_is_read_to_the_same_logits(void **state) {
    (void)state;
    struct linear_bag bag, read;
    struct error error = {0};
    float before[CELLS], after[CELLS];
    create(&bag, BUCKETS);
    assert_true(linear_bag_write(&bag, folder_path("."), DTYPE_F32, &error));
    assert_true(linear_bag_config_write(&bag.config, folder_path("."), "float32", NULL, &error));
    if (!linear_bag_open(&read, folder_path("."), &error)) fail_msg("%s", error.message);
    logits_of(&bag, &batch, before);
    logits_of(&read, &batch, after);
    assert_memory_equal(before, after, sizeof before);
    linear_bag_close(&read);
    linear_bag_close(&bag);
}

static void refuse_config(const char *json, const char *why) {
    struct linear_bag_config config;
    struct error error = {0};
    assert_false(linear_bag_config_parse(&config, "config.json", json, strlen(json), &error));
    if (strstr(error.message, why) == NULL) fail_msg("%s: %s", json, error.message);
}

static void a_hostile_config_is_refused(void **state) {
    (void)state;
    struct linear_bag bag;
    struct error error = {0};
    refuse_config("[]", "not a JSON object");
    refuse_config("{\"model_type\": \"caml\"}", "expected \"linear_bag\"");
    refuse_config("{\"model_type\": \"linear_bag\", \"vocab_size\": 0, \"pair_buckets\": 1, \"num_labels\": 1}",
                  "vocab_size");
    refuse_config("{\"model_type\": \"linear_bag\", \"vocab_size\": 5, \"pair_buckets\": -1, \"num_labels\": 1}",
                  "pair_buckets");
    refuse_config("{\"model_type\": \"linear_bag\", \"vocab_size\": 5, \"pair_buckets\": 1, \"num_labels\": 1e12}",
                  "num_labels");
    folder_write_text("config.json", "{\"model_type\": \"linear_bag\", \"vocab_size\": 1000000000, \"pair_buckets\": "
                                     "268435456, \"num_labels\": 1000000}");
    assert_false(linear_bag_open(&bag, folder_path("."), &error));
    if (strstr(error.message, "weight") == NULL) fail_msg("%s", error.message);
}

static void a_batch_that_does_not_fit_is_refused(void **state) {
    (void)state;
    struct linear_bag bag;
    struct linear_bag_run *run;
    struct error error = {0};
    int32_t bad[TOKENS], holes[TEXTS + 1] = {0, 4, 4, TOKENS};
    create(&bag, BUCKETS);
    assert_true(linear_bag_run_open(&run, &bag, TOKENS, TEXTS, &error));
    memcpy(bad, tokens, sizeof bad);
    bad[3] = WORDS;
    assert_false(linear_bag_check(&bag, run,
                                  &(struct batch){.T = TOKENS, .N = TEXTS, .tokens = bad, .offsets = offsets}, &error));
    assert_non_null(strstr(error.message, "word id 7"));
    assert_false(linear_bag_check(
        &bag, run, &(struct batch){.T = TOKENS, .N = TEXTS, .tokens = tokens, .offsets = holes}, &error));
    assert_non_null(strstr(error.message, "text 1 of a batch is empty"));
    linear_bag_run_close(run);
    assert_false(linear_bag_run_open(&run, &bag, 2, 3, &error));
    linear_bag_close(&bag);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_those_of_weighed_and_scaled_counts),
        cmocka_unit_test(shares_of_words_add_up_to_the_logit),
        cmocka_unit_test(the_order_of_words_counts_through_their_pairs_alone),
        cmocka_unit_test(the_gradient_agrees_with_finite_differences),
        cmocka_unit_test(threads_and_neighbours_change_no_bit),
        cmocka_unit_test(what_is_written_is_read_to_the_same_logits),
        cmocka_unit_test(a_hostile_config_is_refused),
        cmocka_unit_test(a_batch_that_does_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
