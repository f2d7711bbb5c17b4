/* The decoder as a whole: gradients against finite differences, packing, pooling, LoRA, and what is written read back.
 */
#include "base/error.h"
#include "base/rng.h"
#include "model/decoder.h"
#include "tensor/kernels.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { TOKENS = 23, SEQUENCES = 4, LABELS = 5 };

static const int32_t tokens[TOKENS] = {3, 9, 4, 7, 7, 12, 5, 1, 30, 22, 17, 8, 8, 3, 2, 19, 28, 11, 6, 25, 14, 13, 10};
static const int32_t offsets[SEQUENCES + 1] = {0, 6, 7, 15, 23};
static const int32_t labels[SEQUENCES] = {1, 4, 0, 2};
static const struct batch batch = {TOKENS, SEQUENCES, tokens, offsets};

/* A Qwen2 with grouped keys and biases, small enough to differentiate by hand. */
static struct model_config small_config(void) {
    return (struct model_config){.architecture = ARCHITECTURE_QWEN2,
                                 .classifier = true,
                                 .V = 31,
                                 .C = 16,
                                 .L = 2,
                                 .H = 4,
                                 .K = 2,
                                 .D = 6,
                                 .F = 24,
                                 .labels = LABELS,
                                 .positions = 64,
                                 .norm_eps = 1e-6f,
                                 .rope_theta = 10000,
                                 .qkv_bias = true,
                                 .tied = true,
                                 .bos_id = -1,
                                 .eos_id = -1,
                                 .pad_id = -1,
                                 .initializer_range = 0.3f};
}

static void create(struct decoder *decoder) {
    const struct model_config config = small_config();
    struct error error = {0};
    assert_true(decoder_create(decoder, &config, 7, &error));
    /* Zero biases would hide their share: give every parameter some noise. */
    struct rng rng;
    rng_seed(&rng, 11);
    for (int64_t i = 0; i < decoder->parameters.total; i++)
        decoder->parameters.values[i] += 0.1f * (float)rng_normal(&rng);
}

static double loss_of(const struct decoder *decoder, struct decoder_run *run, uint64_t dropout_seed, float *d_logits) {
    float logits[SEQUENCES * LABELS], losses[SEQUENCES];
    decoder_classify_forward(decoder, run, &batch, dropout_seed, logits);
    cross_entropy(losses, d_logits, logits, labels, SEQUENCES, LABELS, 1.0f / SEQUENCES);
    double loss = 0;
    for (int n = 0; n < SEQUENCES; n++) loss += (double)losses[n] / SEQUENCES;
    return loss;
}

/* Central differences in f32 with step h = 2^-7: truncation h^2 f'''/6 and rounding 1e-7 f / h together stay near 1e-4
 * of a gradient of order 1, so each tensor's gradient must agree within 1 % of its norm plus 1e-4 an element. */
static void check_gradients(struct decoder *decoder, uint64_t dropout_seed) {
    struct error error = {0};
    struct decoder_run *run;
    assert_true(decoder_run_open(&run, decoder, TOKENS, SEQUENCES, true, &error));
    float d_logits[SEQUENCES * LABELS];
    struct parameters *set = &decoder->parameters;
    memset(set->gradients, 0, (size_t)set->total * sizeof(float));
    loss_of(decoder, run, dropout_seed, d_logits);
    decoder_classify_backward(decoder, run, &batch, d_logits);
    const float h = 0x1p-7f;
    for (size_t p = 0; p < set->count; p++) {
        const struct parameter *item = &set->items[p];
        float *value = parameter_value(set, p);
        const float *gradient = parameter_gradient(set, p);
        double difference = 0, norm = 0;
        const int64_t count = item->rows * item->cols;
        for (int64_t i = 0; i < count; i++) {
            const float kept = value[i];
            value[i] = kept + h;
            const double above = loss_of(decoder, run, dropout_seed, NULL);
            value[i] = kept - h;
            const double below = loss_of(decoder, run, dropout_seed, NULL);
            value[i] = kept;
            const double numeric = (above - below) / (2.0 * (double)h);
            difference += (numeric - (double)gradient[i]) * (numeric - (double)gradient[i]);
            norm += numeric * numeric;
        }
        if (sqrt(difference) > 0.01 * sqrt(norm) + 1e-4 * sqrt((double)count)) {
            fail_msg("%s: gradient off by %.3e, norm %.3e", item->name, sqrt(difference), sqrt(norm));
        }
    }
    decoder_run_close(run);
}

static void every_gradient_of_a_full_model_agrees_with_finite_differences(void **state) {
    (void)state;
    struct decoder decoder;
    create(&decoder);
    check_gradients(&decoder, 0);
    decoder_close(&decoder);
}

/* A folder of this test's own, and the small model in it as a causal checkpoint. */
static void make_folder(char *folder, size_t capacity) {
    const char *base = getenv("TMPDIR") == NULL ? "/tmp" : getenv("TMPDIR");
    snprintf(folder, capacity, "%s/casemix-decoder-XXXXXX", base);
    assert_non_null(mkdtemp(folder));
}

static void remove_folder(const char *folder) {
    char command[1024];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    assert_int_equal(system(command), 0);
}

static void write_model(const char *folder) {
    struct decoder decoder;
    struct error error = {0};
    create(&decoder);
    assert_true(model_config_write(&decoder.config, folder, "float32", NULL, &error));
    assert_true(decoder_write(&decoder, folder, DTYPE_F32, &error));
    decoder_close(&decoder);
}

static const struct lora_settings lora = {
    .rank = 3, .alpha = 6, .dropout = 0.3, .targets = {true, true, true, true, true, true, true}};

static void open_with_lora(struct decoder *decoder, const char *folder) {
    struct error error = {0};
    assert_true(decoder_open(decoder, folder, &error));
    assert_true(decoder_add_lora(decoder, &lora, LABELS, 5, &error));
    struct rng rng;
    rng_seed(&rng, 3);
    for (int64_t i = 0; i < decoder->parameters.total; i++)
        decoder->parameters.values[i] += 0.1f * (float)rng_normal(&rng);
}

static void every_gradient_of_lora_agrees_with_finite_differences_dropout_included(void **state) {
    (void)state;
    char folder[512];
    make_folder(folder, sizeof folder);
    write_model(folder);
    struct decoder decoder;
    open_with_lora(&decoder, folder);
    check_gradients(&decoder, 0);
    check_gradients(&decoder, 42);
    decoder_close(&decoder);
    remove_folder(folder);
}

static void logits_of(const struct decoder *decoder, const struct batch *these, float *logits) {
    struct error error = {0};
    struct decoder_run *run;
    assert_true(decoder_run_open(&run, decoder, these->T, these->N, false, &error));
    assert_true(batch_check(decoder, run, these, &error));
    decoder_classify_forward(decoder, run, these, 0, logits);
    decoder_run_close(run);
}

static void assert_close(const float *a, const float *b, int64_t count, double tolerance) {
    for (int64_t i = 0; i < count; i++) {
        if (!(fabs((double)a[i] - (double)b[i]) <= tolerance))
            fail_msg("element %lld: %g and %g", (long long)i, (double)a[i], (double)b[i]);
    }
}

static void packed_notes_get_the_logits_they_get_alone(void **state) {
    (void)state;
    struct decoder decoder;
    create(&decoder);
    float together[SEQUENCES * LABELS], alone[LABELS];
    logits_of(&decoder, &batch, together);
    for (int n = 0; n < SEQUENCES; n++) {
        const int32_t ends[2] = {0, offsets[n + 1] - offsets[n]};
        const struct batch single = {ends[1], 1, tokens + offsets[n], ends};
        logits_of(&decoder, &single, alone);
        assert_close(alone, together + n * LABELS, LABELS, 2e-5);
    }
    decoder_close(&decoder);
}

static void training_and_inference_give_the_same_logits(void **state) {
    (void)state;
    struct decoder decoder;
    create(&decoder);
    float trained[SEQUENCES * LABELS], inferred[SEQUENCES * LABELS];
    struct error error = {0};
    struct decoder_run *run;
    assert_true(decoder_run_open(&run, &decoder, TOKENS, SEQUENCES, true, &error));
    decoder_classify_forward(&decoder, run, &batch, 0, trained);
    decoder_run_close(run);
    logits_of(&decoder, &batch, inferred);
    assert_memory_equal(trained, inferred, sizeof trained);
    decoder_close(&decoder);
}

static void a_written_model_reads_back_to_the_same_logits(void **state) {
    (void)state;
    char folder[512];
    make_folder(folder, sizeof folder);
    write_model(folder);
    struct decoder made, opened;
    struct error error = {0};
    create(&made);
    assert_true(decoder_open(&opened, folder, &error));
    float before[SEQUENCES * LABELS], after[SEQUENCES * LABELS];
    logits_of(&made, &batch, before);
    logits_of(&opened, &batch, after);
    assert_memory_equal(before, after, sizeof before);
    decoder_close(&made);
    decoder_close(&opened);
    remove_folder(folder);
}

static void a_written_adapter_reads_back_to_the_same_logits(void **state) {
    (void)state;
    char folder[512], adapter[600];
    make_folder(folder, sizeof folder);
    write_model(folder);
    snprintf(adapter, sizeof adapter, "%s/adapter", folder);
    struct error error = {0};
    struct decoder trained, opened;
    open_with_lora(&trained, folder);
    char command[1300];
    snprintf(command, sizeof command, "mkdir '%s'", adapter);
    assert_int_equal(system(command), 0);
    assert_true(decoder_write_adapter(&trained, adapter, &lora, folder, &error));
    assert_true(decoder_open(&opened, folder, &error));
    if (!decoder_open_adapter(&opened, adapter, false, &error)) fail_msg("%s", error.message);
    float before[SEQUENCES * LABELS], after[SEQUENCES * LABELS];
    logits_of(&trained, &batch, before);
    logits_of(&opened, &batch, after);
    assert_memory_equal(before, after, sizeof before);
    decoder_close(&trained);
    decoder_close(&opened);
    remove_folder(folder);
}

static void batches_that_cannot_be_run_are_refused(void **state) {
    (void)state;
    struct decoder decoder;
    create(&decoder);
    struct error error = {0};
    struct decoder_run *run;
    size_t bytes;
    assert_false(decoder_run_size(&decoder, 0, 1, true, &bytes, &error));
    assert_false(decoder_run_size(&decoder, (int64_t)1 << 40, 1, true, &bytes, &error));
    assert_true(decoder_run_open(&run, &decoder, 80, 4, false, &error));
    const int32_t outside[] = {1, 31}, ends[] = {0, 2}, empty[] = {0, 0, 2}, far[] = {0, 65};
    const int32_t many[65] = {0};
    assert_false(batch_check(&decoder, run, &(struct batch){2, 1, outside, ends}, &error));
    assert_non_null(strstr(error.message, "vocabulary"));
    assert_false(batch_check(&decoder, run, &(struct batch){2, 2, tokens, empty}, &error));
    assert_false(batch_check(&decoder, run, &(struct batch){65, 1, many, far}, &error));
    assert_non_null(strstr(error.message, "positions"));
    assert_false(batch_check(&decoder, run, &(struct batch){2, 5, tokens, offsets}, &error));
    decoder_run_close(run);
    decoder_close(&decoder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_gradient_of_a_full_model_agrees_with_finite_differences),
        cmocka_unit_test(every_gradient_of_lora_agrees_with_finite_differences_dropout_included),
        cmocka_unit_test(packed_notes_get_the_logits_they_get_alone),
        cmocka_unit_test(training_and_inference_give_the_same_logits),
        cmocka_unit_test(a_written_model_reads_back_to_the_same_logits),
        cmocka_unit_test(a_written_adapter_reads_back_to_the_same_logits),
        cmocka_unit_test(batches_that_cannot_be_run_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
