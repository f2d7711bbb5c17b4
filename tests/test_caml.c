/* CAML as a whole: gradients against finite differences for even and odd kernels, packing, files, and what is refused.
 */
#include "base/error.h"
#include "base/rng.h"
#include "base/threads.h"
#include "folder.h"
#include "model/caml.h"
#include "model/safetensors.h"
#include "tensor/kernels.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TOKENS = 23, TEXTS = 4, LABELS = 5, CELLS = TEXTS * LABELS };

/* One text of a single word: shorter than any kernel. */
static const int32_t tokens[TOKENS] = {3, 9, 4, 7, 7, 12, 5, 1, 30, 22, 17, 8, 8, 3, 2, 19, 28, 11, 6, 25, 14, 13, 10};
static const int32_t offsets[TEXTS + 1] = {0, 6, 7, 15, 23};
static const int32_t labels[TEXTS] = {1, 4, 0, 2};
static const struct batch batch = {.T = TOKENS, .N = TEXTS, .tokens = tokens, .offsets = offsets};

static void create(struct caml *caml, int64_t kernel) {
    const struct caml_config config = {.V = 31, .E = 6, .F = 9, .K = kernel, .labels = LABELS, .dropout = 0.3};
    struct error error = {0};
    struct rng rng;
    assert_true(caml_create(caml, &config, 7, &error));
    rng_seed(&rng, 11);
    for (int64_t c = 0; c < 9; c++) caml->conv_bias.value[c] = 0.1f * (float)rng_normal(&rng);
    for (int64_t c = 0; c < LABELS; c++) caml->final_bias.value[c] = 0.1f * (float)rng_normal(&rng);
}

static double loss_of(const struct caml *caml, struct caml_run *run, uint64_t seed, float *d_logits) {
    float logits[CELLS], losses[TEXTS];
    caml_classify_forward(caml, run, &batch, seed, logits);
    cross_entropy(losses, d_logits, logits, labels, TEXTS, LABELS, 1.0f / TEXTS);
    double loss = 0;
    for (int n = 0; n < TEXTS; n++) loss += (double)losses[n] / TEXTS;
    return loss;
}

/* As in test_decoder.c: central differences in f32 with step 2^-7 are good to 1e-4 of a gradient of order 1. */
static void check_gradients(int64_t kernel, uint64_t seed) {
    struct caml caml;
    struct caml_run *run;
    struct error error = {0};
    float d_logits[CELLS];
    const int threads = threads_count();
    create(&caml, kernel);
    assert_true(caml_run_open(&run, &caml, TOKENS, TEXTS, true, &error));
    loss_of(&caml, run, seed, d_logits);
    caml_classify_backward(&caml, run, &batch, d_logits);
    threads_set(1); /* a thousand forwards of a few words: threads would wait for each other */
    for (size_t p = 0; p < caml.parameters.count; p++) {
        const struct parameter *item = &caml.parameters.items[p];
        float *value = parameter_value(&caml.parameters, p);
        const float *gradient = parameter_gradient(&caml.parameters, p), h = 0x1p-7f;
        double difference = 0, norm = 0;
        const int64_t count = item->rows * item->cols;
        for (int64_t i = 0; i < count; i++) {
            const float kept = value[i];
            value[i] = kept + h;
            const double above = loss_of(&caml, run, seed, NULL);
            value[i] = kept - h;
            const double numeric = (above - loss_of(&caml, run, seed, NULL)) / (2.0 * (double)h);
            value[i] = kept;
            difference += (numeric - (double)gradient[i]) * (numeric - (double)gradient[i]);
            norm += numeric * numeric;
        }
        if (sqrt(difference) > 0.01 * sqrt(norm) + 1e-4 * sqrt((double)count))
            fail_msg("kernel %d, %s: gradient off by %.3e, norm %.3e", (int)kernel, item->name, sqrt(difference),
                     sqrt(norm));
    }
    threads_set(threads);
    caml_run_close(run);
    caml_close(&caml);
}

static void every_gradient_agrees_with_finite_differences_for_even_and_odd_kernels(void **state) {
    (void)state;
    for (int64_t kernel = 1; kernel <= 8; kernel++) check_gradients(kernel, 0);
}

static void every_gradient_agrees_with_finite_differences_under_dropout(void **state) {
    (void)state;
    check_gradients(5, 42);
    check_gradients(4, 42);
}

static void logits_of(const struct caml *caml, const struct batch *these, float *logits) {
    struct error error = {0};
    struct caml_run *run;
    assert_true(caml_run_open(&run, caml, these->T, these->N, false, &error));
    if (!caml_check(caml, run, these, &error)) fail_msg("%s", error.message);
    caml_classify_forward(caml, run, these, 9, logits); /* the seed says nothing without training */
    caml_run_close(run);
}

static void assert_close(const float *a, const float *b, int64_t count, double tolerance) {
    for (int64_t i = 0; i < count; i++) {
        if (!(fabs((double)a[i] - (double)b[i]) <= tolerance))
            fail_msg("element %lld: %g and %g", (long long)i, (double)a[i], (double)b[i]);
    }
}

static void packed_texts_get_the_logits_they_get_alone(void **state) {
    (void)state;
    for (int64_t kernel = 1; kernel <= 8; kernel++) {
        struct caml caml;
        float together[CELLS], alone[LABELS];
        create(&caml, kernel);
        logits_of(&caml, &batch, together);
        for (int n = 0; n < TEXTS; n++) {
            const int32_t ends[2] = {0, offsets[n + 1] - offsets[n]};
            logits_of(&caml, &(struct batch){.T = ends[1], .N = 1, .tokens = tokens + offsets[n], .offsets = ends},
                      alone);
            assert_close(alone, together + n * LABELS, LABELS, 1e-5);
        }
        caml_close(&caml);
    }
}

static void attention_is_a_distribution_over_the_text_s_own_positions(void **state) {
    (void)state;
    for (int64_t kernel = 3; kernel <= 4; kernel++) {
        struct caml caml;
        struct caml_run *run;
        struct error error = {0};
        float logits[CELLS];
        create(&caml, kernel);
        assert_true(caml_run_open(&run, &caml, TOKENS, TEXTS, false, &error));
        caml_classify_forward(&caml, run, &batch, 0, logits);
        for (int n = 0; n < TEXTS; n++) {
            for (int c = 0; c < LABELS; c++) {
                int64_t positions;
                double sum = 0;
                const float *weights = caml_attention(run, n, c, &positions);
                assert_int_equal(positions, offsets[n + 1] - offsets[n] + (kernel % 2 == 0));
                for (int64_t p = 0; p < positions; p++) sum += (double)weights[p];
                assert_true(fabs(sum - 1) < 1e-5);
            }
        }
        caml_run_close(run);
        caml_close(&caml);
    }
}

static void dropout_changes_the_loss_in_training_alone(void **state) {
    (void)state;
    struct caml caml;
    struct caml_run *run, *inference;
    struct error error = {0};
    create(&caml, 5);
    assert_true(caml_run_open(&run, &caml, TOKENS, TEXTS, true, &error));
    assert_true(caml_run_open(&inference, &caml, TOKENS, TEXTS, false, &error));
    const double without = loss_of(&caml, run, 0, NULL);
    assert_true(fabs(loss_of(&caml, run, 9, NULL) - without) > 1e-3);
    assert_true(fabs(loss_of(&caml, inference, 9, NULL) - without) <= 0);
    caml_run_close(run), caml_run_close(inference);
    caml_close(&caml);
}

static void the_padding_row_is_zero_and_gets_no_gradient(void **state) {
    (void)state;
    static const int32_t padded[TOKENS] = {0, 9, 4, 7, 7, 12, 5, 1, 0, 22, 17, 0, 8, 3, 2, 19, 0, 11, 6, 25, 14, 13, 0};
    const struct batch with_padding = {.T = TOKENS, .N = TEXTS, .tokens = padded, .offsets = offsets};
    struct caml caml;
    struct caml_run *run;
    struct error error = {0};
    float logits[CELLS], d_logits[CELLS], losses[TEXTS];
    create(&caml, 5);
    assert_true(caml_run_open(&run, &caml, TOKENS, TEXTS, true, &error));
    caml_classify_forward(&caml, run, &with_padding, 0, logits);
    cross_entropy(losses, d_logits, logits, labels, TEXTS, LABELS, 1);
    caml_classify_backward(&caml, run, &with_padding, d_logits);
    for (int e = 0; e < 6; e++) assert_true(fabsf(caml.embed.value[e]) <= 0 && fabsf(caml.embed.gradient[e]) <= 0);
    caml_run_close(run);
    caml_close(&caml);
}

static void gradient_of(struct caml *caml, float *gradient) {
    struct caml_run *run;
    struct error error = {0};
    float d_logits[CELLS];
    assert_true(caml_run_open(&run, caml, TOKENS, TEXTS, true, &error));
    memset(caml->parameters.gradients, 0, (size_t)caml->parameters.total * sizeof(float));
    loss_of(caml, run, 5, d_logits);
    caml_classify_backward(caml, run, &batch, d_logits);
    memcpy(gradient, caml->parameters.gradients, (size_t)caml->parameters.total * sizeof(float));
    caml_run_close(run);
}

static void one_thread_count_gives_the_same_bits_and_another_nearly_the_same(void **state) {
    (void)state;
    struct caml caml;
    const int before = threads_count();
    create(&caml, 5);
    const size_t total = (size_t)caml.parameters.total;
    float *first = malloc(total * sizeof *first), *again = malloc(total * sizeof *again),
          *single = malloc(total * sizeof *single);
    threads_set(2);
    gradient_of(&caml, first);
    gradient_of(&caml, again);
    threads_set(1);
    gradient_of(&caml, single);
    threads_set(before);
    assert_memory_equal(first, again, total * sizeof *first);
    assert_close(first, single, (int64_t)total, 1e-5);
    free(first), free(again), free(single);
    caml_close(&caml);
}

static void gradients_of_two_batches_add_up(void **state) {
    (void)state;
    struct caml caml;
    struct caml_run *run;
    struct error error = {0};
    float d_logits[CELLS];
    create(&caml, 5);
    const size_t total = (size_t)caml.parameters.total;
    float *once = malloc(total * sizeof *once);
    gradient_of(&caml, once);
    assert_true(caml_run_open(&run, &caml, TOKENS, TEXTS, true, &error));
    loss_of(&caml, run, 5, d_logits);
    caml_classify_backward(&caml, run, &batch, d_logits);
    for (size_t i = 0; i < total; i++) once[i] *= 2;
    assert_close(caml.parameters.gradients, once, (int64_t)total, 1e-5);
    free(once);
    caml_run_close(run);
    caml_close(&caml);
}

static void write_model(const struct caml *caml, enum dtype dtype) {
    struct error error = {0};
    assert_true(caml_config_write(&caml->config, folder_path("."), "float32", NULL, &error));
    assert_true(caml_write(caml, folder_path("."), dtype, &error));
}

static void a_written_model_reads_back_to_the_same_logits(void **state) {
    (void)state;
    struct caml made, opened;
    struct error error = {0};
    float before[CELLS], after[CELLS];
    create(&made, 4);
    logits_of(&made, &batch, before);
    write_model(&made, DTYPE_F32);
    if (!caml_open(&opened, folder_path("."), &error)) fail_msg("%s", error.message);
    assert_true(opened.config.dropout > 0.29 && opened.config.K == 4);
    logits_of(&opened, &batch, after);
    assert_memory_equal(before, after, sizeof before);
    caml_close(&opened);
    write_model(&made, DTYPE_BF16);
    assert_true(caml_open(&opened, folder_path("."), &error));
    logits_of(&opened, &batch, after);
    assert_close(before, after, CELLS, 0.05);
    caml_close(&opened);
    caml_close(&made);
}

static void must_refuse(const char *config, const char *part) {
    struct caml caml;
    struct error error = {0};
    folder_write_text("config.json", config);
    if (caml_open(&caml, folder_path("."), &error)) fail_msg("opened; expected \"%s\"", part);
    if (strstr(error.message, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", error.message, part);
}

static void what_does_not_fit_is_refused_by_name(void **state) {
    (void)state;
    struct caml made;
    create(&made, 5);
    write_model(&made, DTYPE_F32);
    must_refuse(
        "{\"vocab_size\": 31, \"embed_size\": 6, \"num_filter_maps\": 9, \"kernel_size\": 3, \"num_labels\": 5}",
        "conv.weight has shape [9, 6, 5], config.json says [9, 6, 3]");
    must_refuse("{\"vocab_size\": 2147483647, \"embed_size\": 65536, \"num_filter_maps\": 9, \"kernel_size\": 5, "
                "\"num_labels\": 5}",
                "embed.weight has shape [31, 6]");
    must_refuse(
        "{\"vocab_size\": 31, \"embed_size\": 6, \"num_filter_maps\": 9, \"kernel_size\": 0, \"num_labels\": 5}",
        "kernel_size");
    must_refuse("{\"vocab_size\": 31, \"embed_size\": 6, \"num_filter_maps\": 9, \"kernel_size\": 5}", "num_labels");
    must_refuse("{\"model_type\": \"bert\"}", "model_type");
    must_refuse(
        "{\"vocab_size\": 31, \"embed_size\": 6, \"num_filter_maps\": 9, \"kernel_size\": 5, \"num_labels\": 5, "
        "\"dropout\": 1}",
        "dropout");
    must_refuse("[1]", "not a JSON object");
    made.conv_weight.value[7] = INFINITY;
    write_model(&made, DTYPE_F32);
    must_refuse(
        "{\"vocab_size\": 31, \"embed_size\": 6, \"num_filter_maps\": 9, \"kernel_size\": 5, \"num_labels\": 5}",
        "conv.weight holds a NaN or an infinity at element 7");
    caml_close(&made);
}

static void batches_that_cannot_be_run_are_refused(void **state) {
    (void)state;
    struct caml caml;
    struct caml_run *run;
    struct error error = {0};
    size_t bytes;
    create(&caml, 5);
    assert_false(caml_run_size(&caml, 0, 1, true, &bytes, &error));
    assert_false(caml_run_size(&caml, (int64_t)1 << 40, 1, true, &bytes, &error));
    assert_true(caml_run_open(&run, &caml, 40, 4, false, &error));
    const int32_t outside[] = {1, 31}, ends[] = {0, 2}, empty[] = {0, 0, 2};
    const struct batch wrong[] = {{.T = 2, .N = 1, .tokens = outside, .offsets = ends},
                                  {.T = 2, .N = 2, .tokens = tokens, .offsets = empty},
                                  {.T = 2, .N = 5, .tokens = tokens, .offsets = offsets}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) assert_false(caml_check(&caml, run, &wrong[i], &error));
    caml_run_close(run);
    caml_close(&caml);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_gradient_agrees_with_finite_differences_for_even_and_odd_kernels),
        cmocka_unit_test(every_gradient_agrees_with_finite_differences_under_dropout),
        cmocka_unit_test(packed_texts_get_the_logits_they_get_alone),
        cmocka_unit_test(attention_is_a_distribution_over_the_text_s_own_positions),
        cmocka_unit_test(dropout_changes_the_loss_in_training_alone),
        cmocka_unit_test(the_padding_row_is_zero_and_gets_no_gradient),
        cmocka_unit_test(one_thread_count_gives_the_same_bits_and_another_nearly_the_same),
        cmocka_unit_test(gradients_of_two_batches_add_up),
        cmocka_unit_test(a_written_model_reads_back_to_the_same_logits),
        cmocka_unit_test(what_does_not_fit_is_refused_by_name),
        cmocka_unit_test(batches_that_cannot_be_run_are_refused),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
