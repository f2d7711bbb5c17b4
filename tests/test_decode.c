/* Decoding with a cache of keys and values: the packed forward's logits, shared prompts, batches that change, and a
 * cache that runs full. */
#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"
#include "generate/decode.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { VOCABULARY = 61, LENGTH = 150 };

/* Grouped keys, biases and an odd head size, or as many keys as queries. */
static struct model_config small_config(bool grouped) {
    return (struct model_config){.architecture = grouped ? ARCHITECTURE_QWEN2 : ARCHITECTURE_LLAMA,
                                 .V = VOCABULARY,
                                 .C = 48,
                                 .L = 3,
                                 .H = 6,
                                 .K = grouped ? 2 : 6,
                                 .D = grouped ? 10 : 16,
                                 .F = 70,
                                 .positions = 200,
                                 .norm_eps = 1e-6f,
                                 .rope_theta = 10000,
                                 .qkv_bias = grouped,
                                 .initializer_range = 0.2f};
}

struct model {
    struct decoder decoder;
    int32_t tokens[LENGTH];
    float *logits; /* [LENGTH, V] of the packed forward */
};

static void open_model(struct model *model, bool grouped) {
    struct error error = {0};
    const struct model_config config = small_config(grouped);
    assert_true(decoder_create(&model->decoder, &config, 3, &error));
    struct rng rng;
    rng_seed(&rng, 5);
    for (int64_t i = 0; i < model->decoder.parameters.total; i++)
        model->decoder.parameters.values[i] += 0.05f * (float)rng_normal(&rng);
    for (int i = 0; i < LENGTH; i++) model->tokens[i] = (int32_t)rng_below(&rng, VOCABULARY);
    model->logits = malloc(sizeof(float) * LENGTH * VOCABULARY);
    const int32_t offsets[] = {0, LENGTH};
    const struct batch batch = {LENGTH, 1, model->tokens, offsets};
    struct decoder_run *run;
    assert_true(decoder_run_open(&run, &model->decoder, LENGTH, 1, false, &error));
    decoder_logits(&model->decoder, run, &batch, model->logits);
    decoder_run_close(run);
}

static void close_model(struct model *model) {
    decoder_close(&model->decoder);
    free(model->logits);
}

static void assert_logits(const struct model *model, const float *got, int64_t position) {
    const float *want = model->logits + position * VOCABULARY;
    double difference = 0, norm = 0;
    for (int v = 0; v < VOCABULARY; v++) {
        difference += pow((double)got[v] - (double)want[v], 2);
        norm += pow((double)want[v], 2);
    }
    if (!(sqrt(difference) <= 1e-5 * sqrt(norm)))
        fail_msg("position %d: relative difference %.2e", (int)position, sqrt(difference / norm));
}

static void check_against_the_packed_forward(bool grouped) {
    struct model model;
    struct error error = {0};
    struct kv_cache *cache;
    struct decode *decode;
    float logits[40 * VOCABULARY];
    open_model(&model, grouped);
    assert_true(kv_cache_open(&cache, &model.decoder.config, LENGTH, 1, &error));
    assert_true(decode_open(&decode, &model.decoder, cache, 40, &error));
    const int32_t sequence = kv_sequence_open(cache);
    /* A prompt in pieces, a step of many rows, and steps of one. */
    assert_true(decode_prompt(decode, sequence, model.tokens, 70, logits, &error));
    assert_logits(&model, logits, 69);
    struct decode_row rows[33];
    for (int i = 0; i < 33; i++) rows[i] = (struct decode_row){sequence, model.tokens[70 + i], true};
    assert_true(decode_step(decode, rows, 33, logits, &error));
    for (int i = 0; i < 33; i++) assert_logits(&model, logits + i * VOCABULARY, 70 + i);
    for (int i = 103; i < LENGTH; i++) {
        const struct decode_row row = {sequence, model.tokens[i], true};
        assert_true(decode_step(decode, &row, 1, logits, &error));
        assert_logits(&model, logits, i);
    }
    decode_close(decode);
    kv_cache_close(cache);
    close_model(&model);
}

static void steps_give_the_logits_of_the_packed_forward(void **state) {
    (void)state;
    check_against_the_packed_forward(true);
    check_against_the_packed_forward(false);
}

static void a_batch_of_different_lengths_gives_the_bits_of_one_by_one(void **state) {
    (void)state;
    enum { BATCH = 8, STEPS = 20 };
    struct model model;
    struct error error = {0};
    struct kv_cache *cache;
    struct decode *decode;
    open_model(&model, true);
    assert_true(kv_cache_open(&cache, &model.decoder.config, 2 * BATCH * LENGTH, 2 * BATCH, &error));
    assert_true(decode_open(&decode, &model.decoder, cache, 32, &error));
    int32_t alone[BATCH], together[BATCH];
    float one[VOCABULARY], all[BATCH * VOCABULARY];
    for (int b = 0; b < BATCH; b++) {
        alone[b] = kv_sequence_open(cache);
        together[b] = kv_sequence_open(cache);
        assert_true(decode_prompt(decode, alone[b], model.tokens, 3 + 11 * b, NULL, &error));
        assert_true(decode_prompt(decode, together[b], model.tokens, 3 + 11 * b, NULL, &error));
    }
    for (int step = 0; step < STEPS; step++) {
        struct decode_row rows[BATCH];
        int count = 0;
        /* Sequences leave one after another. */
        for (int b = step / 4; b < BATCH; b++)
            rows[count++] = (struct decode_row){together[b], model.tokens[(step * 7 + b) % LENGTH], true};
        assert_true(decode_step(decode, rows, count, all, &error));
        for (int i = 0; i < count; i++) {
            const struct decode_row row = {alone[step / 4 + i], rows[i].token, true};
            assert_true(decode_step(decode, &row, 1, one, &error));
            assert_memory_equal(one, all + i * VOCABULARY, sizeof one);
        }
    }
    decode_close(decode);
    kv_cache_close(cache);
    close_model(&model);
}

static void a_forked_prompt_is_shared_until_it_is_written_into(void **state) {
    (void)state;
    struct model model;
    struct error error = {0};
    struct kv_cache *cache;
    struct decode *decode;
    float logits[4 * VOCABULARY], again[VOCABULARY];
    open_model(&model, true);
    assert_true(kv_cache_open(&cache, &model.decoder.config, 12 * ATTENTION_BLOCK, 5, &error));
    assert_true(decode_open(&decode, &model.decoder, cache, 16, &error));
    const int64_t all = kv_blocks_free(cache);
    const int32_t parent = kv_sequence_open(cache);
    assert_true(decode_prompt(decode, parent, model.tokens, 70, NULL, &error)); /* 3 blocks, the last one partial */
    int32_t child[4];
    for (int i = 0; i < 4; i++) child[i] = kv_sequence_fork(cache, parent);
    assert_int_equal(kv_sequence_fork(cache, parent), -1);
    assert_int_equal(kv_blocks_free(cache), all - 3);
    assert_int_equal(kv_blocks_needed(cache, child[0], 1), 1);
    struct decode_row rows[4];
    for (int i = 0; i < 4; i++) rows[i] = (struct decode_row){child[i], (model.tokens[70] + i) % VOCABULARY, true};
    assert_true(decode_step(decode, rows, 4, logits, &error));
    assert_int_equal(kv_blocks_free(cache), all - 7);
    assert_logits(&model, logits, 70); /* the first went on as the text does */
    const struct decode_row next = {child[0], model.tokens[71], true};
    assert_true(decode_step(decode, &next, 1, logits, &error));
    assert_logits(&model, logits, 71);
    /* The parent did not notice. */
    assert_int_equal(kv_sequence_length(cache, parent), 70);
    const struct decode_row own = {parent, model.tokens[70], true};
    assert_true(decode_step(decode, &own, 1, again, &error));
    assert_logits(&model, again, 70);
    for (int i = 0; i < 4; i++) kv_sequence_close(cache, child[i]);
    kv_sequence_truncate(cache, parent, 64);
    assert_int_equal(kv_blocks_free(cache), all - 2);
    kv_sequence_close(cache, parent);
    assert_int_equal(kv_blocks_free(cache), all);
    decode_close(decode);
    kv_cache_close(cache);
    close_model(&model);
}

static void a_step_that_cannot_be_done_changes_nothing(void **state) {
    (void)state;
    struct model model;
    struct error error = {0};
    struct kv_cache *cache;
    struct decode *decode;
    float logits[8 * VOCABULARY];
    open_model(&model, true);
    assert_true(kv_cache_open(&cache, &model.decoder.config, 4 * ATTENTION_BLOCK, 3, &error));
    assert_true(decode_open(&decode, &model.decoder, cache, 8, &error));
    const int32_t a = kv_sequence_open(cache), b = kv_sequence_open(cache);
    assert_true(decode_prompt(decode, a, model.tokens, 2 * ATTENTION_BLOCK, NULL, &error));
    assert_true(decode_prompt(decode, b, model.tokens, ATTENTION_BLOCK, NULL, &error));
    /* One free block, two wanted. */
    const struct decode_row both[] = {{a, 1, true}, {b, 1, true}};
    assert_false(decode_step(decode, both, 2, logits, &error));
    assert_non_null(strstr(error.message, "full"));
    assert_int_equal(kv_sequence_length(cache, a), 2 * ATTENTION_BLOCK);
    assert_int_equal(kv_blocks_free(cache), 1);
    assert_false(decode_prompt(decode, b, model.tokens, 3 * ATTENTION_BLOCK, logits, &error));
    assert_int_equal(kv_sequence_length(cache, b), ATTENTION_BLOCK);
    const struct decode_row strange[] = {{a, VOCABULARY, true}, {7, 1, true}, {2, 1, true}, {-1, 1, true}};
    for (int i = 0; i < 4; i++) assert_false(decode_step(decode, &strange[i], 1, logits, &error));
    assert_false(decode_step(decode, both, 0, logits, &error));
    assert_false(decode_prompt(decode, a, model.tokens, 0, logits, &error));
    assert_true(decode_step(decode, both, 1, logits, &error));
    decode_close(decode);
    kv_cache_close(cache);
    /* A sequence as long as the model's positions, and one more token. */
    assert_true(kv_cache_open(&cache, &model.decoder.config, 1000, 1, &error));
    assert_int_equal(kv_cache_positions(cache), 200);
    assert_true(decode_open(&decode, &model.decoder, cache, 64, &error));
    const int32_t long_one = kv_sequence_open(cache);
    assert_true(decode_prompt(decode, long_one, model.tokens, 150, NULL, &error));
    assert_true(decode_prompt(decode, long_one, model.tokens, 50, NULL, &error));
    const struct decode_row more = {long_one, 1, true};
    assert_false(decode_step(decode, &more, 1, logits, &error));
    assert_non_null(strstr(error.message, "200 positions"));
    decode_close(decode);
    kv_cache_close(cache);
    close_model(&model);
}

static void every_failed_allocation_leaves_nothing(void **state) {
    (void)state;
    struct model model;
    struct error error = {0};
    open_model(&model, true);
    for (int fail = 0; fail < 12; fail++) {
        struct kv_cache *cache = NULL;
        struct decode *decode = NULL;
        memory_fail_after(fail);
        const bool opened = kv_cache_open(&cache, &model.decoder.config, 64, 2, &error) &&
                            decode_open(&decode, &model.decoder, cache, 4, &error);
        memory_fail_after(-1);
        assert_int_equal(opened, fail >= 9);
        decode_close(decode);
        kv_cache_close(opened || fail >= 6 ? cache : NULL);
    }
    close_model(&model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_give_the_logits_of_the_packed_forward),
        cmocka_unit_test(a_batch_of_different_lengths_gives_the_bits_of_one_by_one),
        cmocka_unit_test(a_forked_prompt_is_shared_until_it_is_written_into),
        cmocka_unit_test(a_step_that_cannot_be_done_changes_nothing),
        cmocka_unit_test(every_failed_allocation_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
