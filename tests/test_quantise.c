/* A decoder in eight bits: small effect on its logits, gradients through the same weights, and the kept form. */
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/rng.h"
#include "folder.h"
#include "generate/decode.h"
#include "model/quantise.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TOKENS = 40, SEQUENCES = 3, LABELS = 5, VOCABULARY = 53 };

static int32_t tokens[TOKENS];
static const int32_t offsets[SEQUENCES + 1] = {0, 9, 10, TOKENS};
static const struct batch batch = {.T = TOKENS, .N = SEQUENCES, .tokens = tokens, .offsets = offsets};
static char folder[512];

static const struct model_config config = {.architecture = ARCHITECTURE_QWEN2,
                                           .V = VOCABULARY,
                                           .C = 64,
                                           .L = 3,
                                           .H = 4,
                                           .K = 2,
                                           .D = 16,
                                           .F = 150,
                                           .positions = 64,
                                           .norm_eps = 1e-6f,
                                           .rope_theta = 10000,
                                           .qkv_bias = true,
                                           .tied = true,
                                           .bos_id = -1,
                                           .eos_id = -1,
                                           .pad_id = -1,
                                           .initializer_range = 0.1f};

/* A folder with the model in bf16. */
static int make_model(void **state) {
    struct decoder decoder;
    struct error error = {0};
    struct rng rng;
    if (folder_make(state) != 0) return -1;
    snprintf(folder, sizeof folder, "%s", folder_path(""));
    rng_seed(&rng, 8);
    for (int t = 0; t < TOKENS; t++) tokens[t] = (int32_t)rng_below(&rng, VOCABULARY);
    assert_true(decoder_create(&decoder, &config, 4, &error));
    assert_true(model_config_write(&config, folder, "bfloat16", NULL, &error));
    assert_true(decoder_write(&decoder, folder, DTYPE_BF16, &error));
    decoder_close(&decoder);
    return 0;
}

static void open_model(struct decoder *decoder) {
    struct error error = {0};
    assert_true(decoder_open(decoder, folder, &error));
}

static void logits_of(const struct decoder *decoder, float *logits) {
    struct error error = {0};
    struct decoder_run *run;
    assert_true(decoder_run_open(&run, decoder, TOKENS, SEQUENCES, false, &error));
    decoder_logits(decoder, run, &batch, logits);
    decoder_run_close(run);
}

static double relative(const float *got, const float *want, int64_t count) {
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        difference += pow((double)got[i] - (double)want[i], 2);
        norm += pow((double)want[i], 2);
    }
    return sqrt(difference / norm);
}

static void logits_of_a_random_model_change_by_three_percent_at_most(void **state) {
    (void)state;
    struct decoder decoder;
    struct error error = {0};
    float before[TOKENS * VOCABULARY], after[TOKENS * VOCABULARY];
    open_model(&decoder);
    logits_of(&decoder, before);
    const size_t bytes = decoder_quantise_size(&decoder, false), with_head = decoder_quantise_size(&decoder, true);
    assert_int_equal(with_head - bytes, VOCABULARY * (64 + 8));
    assert_true(decoder_quantise(&decoder, &(struct quantise_settings){0}, NULL, &error));
    assert_int_equal(decoder.layers[2].projections[PROJECTION_DOWN].weight.dtype, DTYPE_INT8);
    assert_int_equal(decoder.head.weight.dtype, DTYPE_BF16);
    assert_int_equal(decoder_quantise_size(&decoder, false), 0);
    logits_of(&decoder, after);
    assert_true(relative(after, before, TOKENS * VOCABULARY) < 0.03);
    assert_true(relative(after, before, TOKENS * VOCABULARY) > 1e-4);
    assert_false(decoder_quantise(&decoder, &(struct quantise_settings){0}, NULL, &error));
    decoder_close(&decoder);
    open_model(&decoder);
    assert_true(decoder_quantise(&decoder, &(struct quantise_settings){.head = true}, NULL, &error));
    assert_int_equal(decoder.head.weight.dtype, DTYPE_INT8);
    assert_int_equal(decoder.embedding.dtype, DTYPE_BF16);
    logits_of(&decoder, after);
    assert_true(relative(after, before, TOKENS * VOCABULARY) < 0.03);
    decoder_close(&decoder);
}

static void decoding_agrees_with_the_packed_forward_in_eight_bits_too(void **state) {
    (void)state;
    struct decoder decoder;
    struct error error = {0};
    struct kv_cache *cache;
    struct decode *decode;
    float want[TOKENS * VOCABULARY], got[VOCABULARY];
    open_model(&decoder);
    assert_true(decoder_quantise(&decoder, &(struct quantise_settings){.head = true}, NULL, &error));
    logits_of(&decoder, want);
    assert_true(kv_cache_open(&cache, &decoder.config, TOKENS, 1, &error));
    assert_true(decode_open(&decode, &decoder, cache, 4, &error));
    const int32_t sequence = kv_sequence_open(cache);
    for (int t = offsets[2]; t < TOKENS; t++) {
        assert_true(decode_prompt(decode, sequence, &tokens[t], 1, got, &error));
        /* Rounding of an activation may fall the other way when its value differs in the last bit. */
        assert_true(relative(got, want + t * VOCABULARY, VOCABULARY) < 3e-3);
    }
    decode_close(decode);
    kv_cache_close(cache);
    decoder_close(&decoder);
}

/* Gradients of LoRA over the model, quantised or with the quantised values as f32 weights. */
static void lora_gradients(bool quantised, float *gradients, int64_t *count) {
    static const struct lora_settings lora = {
        .rank = 4, .alpha = 8, .targets = {true, true, true, true, true, true, true}};
    struct decoder decoder, twin;
    struct error error = {0};
    float logits[SEQUENCES * LABELS];
    open_model(&decoder);
    open_model(&twin);
    assert_true(decoder_add_lora(&decoder, &lora, LABELS, 5, &error));
    assert_true(decoder_quantise(&twin, &(struct quantise_settings){0}, NULL, &error));
    struct rng rng;
    rng_seed(&rng, 3);
    for (int64_t i = 0; i < decoder.parameters.total; i++)
        decoder.parameters.values[i] += 0.05f * (float)rng_normal(&rng);
    float *widened = malloc(sizeof(float) * 3 * 7 * 64 * 150), *next = widened;
    for (int64_t l = 0; l < 3; l++) {
        for (int kind = 0; kind < PROJECTIONS; kind++) {
            struct matrix *to = &decoder.layers[l].projections[kind].weight;
            const struct matrix *from = &twin.layers[l].projections[kind].weight;
            matrix_widen(next, from, 0, from->rows * from->cols);
            *to = quantised ? *from : (struct matrix){DTYPE_F32, from->rows, from->cols, next};
            next += from->rows * from->cols;
        }
    }
    struct decoder_run *run;
    assert_true(decoder_run_open(&run, &decoder, TOKENS, SEQUENCES, true, &error));
    decoder_classify_forward(&decoder, run, &batch, 0, logits);
    for (int i = 0; i < SEQUENCES * LABELS; i++) logits[i] = (float)(i % 4) - 1.5f;
    decoder_classify_backward(&decoder, run, &batch, logits);
    *count = decoder.parameters.total;
    memcpy(gradients, decoder.parameters.gradients, (size_t)*count * sizeof *gradients);
    decoder_run_close(run);
    decoder_close(&decoder);
    decoder_close(&twin);
    free(widened);
}

static void gradients_go_through_the_quantised_weights(void **state) {
    (void)state;
    static float eight[1 << 17], wide[1 << 17];
    int64_t count;
    lora_gradients(true, eight, &count);
    lora_gradients(false, wide, &count);
    assert_true(count < 1 << 17);
    /* The activations differ by their rounding to eight bits, nothing else does: 1.8 to 2.4 % by the values drawn
     * (a scale that is 4 % off turns this red; the backward alone is compared exactly in test_int8). */
    assert_true(relative(eight, wide, count) < 0.03);
}

static void the_kept_form_gives_the_same_bits_and_damage_is_mended(void **state) {
    (void)state;
    struct decoder decoder;
    struct error error = {0};
    char cache[600], command[1400];
    float first[TOKENS * VOCABULARY], again[TOKENS * VOCABULARY];
    bool kept = true;
    snprintf(cache, sizeof cache, "%s/kept/deeper", folder);
    const struct quantise_settings settings = {.head = true, .cache = cache};
    open_model(&decoder);
    assert_true(decoder_quantise(&decoder, &settings, &kept, &error));
    assert_false(kept);
    logits_of(&decoder, first);
    decoder_close(&decoder);
    open_model(&decoder);
    assert_true(decoder_quantise(&decoder, &settings, &kept, &error));
    assert_true(kept);
    logits_of(&decoder, again);
    assert_memory_equal(first, again, sizeof first);
    decoder_close(&decoder);
    /* Without the head it is another form. */
    open_model(&decoder);
    assert_true(decoder_quantise(&decoder, &(struct quantise_settings){.cache = cache}, &kept, &error));
    assert_false(kept);
    decoder_close(&decoder);
    /* Cut short, and a scale that is no number. */
    const char *const damages[] = {"for f in '%s'/int8-*; do truncate -s 3000 \"$f\"; done",
                                   "for f in '%s'/int8-*; do printf '\\377\\377\\377\\377' | dd of=\"$f\" bs=1 "
                                   "seek=$(($(stat -c %%s \"$f\") - 4)) conv=notrunc 2>/dev/null; done"};
    for (int i = 0; i < 2; i++) {
        snprintf(command, sizeof command, damages[i], cache);
        assert_int_equal(system(command), 0);
        open_model(&decoder);
        assert_true(decoder_quantise(&decoder, &settings, &kept, &error));
        assert_false(kept);
        logits_of(&decoder, again);
        assert_memory_equal(first, again, sizeof first);
        decoder_close(&decoder);
    }
    open_model(&decoder);
    assert_true(decoder_quantise(&decoder, &settings, &kept, &error));
    assert_true(kept);
    decoder_close(&decoder);
    /* A place where nothing can be written. */
    snprintf(cache, sizeof cache, "%s/config.json/below", folder);
    open_model(&decoder);
    assert_true(decoder_quantise(&decoder, &settings, &kept, &error));
    assert_false(kept);
    decoder_close(&decoder);
}

static void a_failed_allocation_leaves_the_model_as_it_was(void **state) {
    (void)state;
    struct decoder decoder;
    struct error error = {0};
    open_model(&decoder);
    int failures = 0;
    for (int fail = 0; fail < 20 && decoder.quantised == NULL; fail++) {
        memory_fail_after(fail);
        const bool done = decoder_quantise(&decoder, &(struct quantise_settings){0}, NULL, &error);
        memory_fail_after(-1);
        failures += !done;
        assert_int_equal(decoder.layers[0].projections[0].weight.dtype, done ? DTYPE_INT8 : DTYPE_BF16);
    }
    assert_int_equal(failures, 6);
    decoder_close(&decoder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_of_a_random_model_change_by_three_percent_at_most),
        cmocka_unit_test(decoding_agrees_with_the_packed_forward_in_eight_bits_too),
        cmocka_unit_test(gradients_go_through_the_quantised_weights),
        cmocka_unit_test(the_kept_form_gives_the_same_bits_and_damage_is_mended),
        cmocka_unit_test(a_failed_allocation_leaves_the_model_as_it_was),
    };
    return cmocka_run_group_tests(tests, make_model, folder_remove);
}
