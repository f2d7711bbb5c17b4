/* The ranked list of a generative model: probabilities of all titles, each the same as that title scored by itself. */
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "generate/sampler.h"
#include "generate/title_scores.h"
#include "model/decoder.h"
#include "tokenizer/tokenizer.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { POSITIONS = 512 };

static struct decoder decoder;
static struct tokenizer *tokenizer;
static struct title_trie trie;
static struct token_list context;

static int open_model(void **state) {
    (void)state;
    struct error error = {0};
    struct model_config config = {.architecture = ARCHITECTURE_LLAMA,
                                  .C = 16,
                                  .L = 2,
                                  .H = 2,
                                  .K = 1,
                                  .D = 8,
                                  .F = 32,
                                  .positions = POSITIONS,
                                  .norm_eps = 1e-6f,
                                  .rope_theta = 10000,
                                  .tied = true,
                                  .bos_id = -1,
                                  .eos_id = -1,
                                  .pad_id = -1,
                                  .initializer_range = 0.4f};
    static const char text[] = "<think>\nAn old man with a weak heart.\n</think>\n<answer>\n";
    if (!tokenizer_open(&tokenizer, "models/tiny-classifier", &error)) return 1;
    config.V = (int64_t)tokenizer_vocabulary(tokenizer);
    if (decoder_create(&decoder, &config, 9, &error) && title_trie_open(&trie, tokenizer, GROUPER_V34, &error) &&
        tokenizer_encode(tokenizer, text, sizeof text - 1, false, &context, &error))
        return 0;
    fprintf(stderr, "%s\n", error.message);
    return 1;
}

static int close_model(void **state) {
    (void)state;
    token_list_free(&context);
    title_trie_close(&trie);
    tokenizer_close(tokenizer);
    decoder_close(&decoder);
    return 0;
}

/* Scores with a cache of so many sequences and steps of so many rows. */
static struct title_scores score(double *p, int64_t sequences, int64_t rows, double tolerance, int64_t *free_after) {
    struct error error = {0};
    struct kv_cache *cache = NULL;
    struct decode *decode = NULL;
    struct title_scorer *scorer = NULL;
    struct title_scores scores = {.p = p};
    float *logits = memory_alloc((size_t)decoder.config.V, sizeof *logits);
    if (!kv_cache_open(&cache, &decoder.config, (sequences * 2 + 16) * ATTENTION_BLOCK, sequences, &error) ||
        !decode_open(&decode, &decoder, cache, rows, &error) ||
        !title_scorer_open(&scorer, &trie, decode, cache, decoder.config.V, rows, &error))
        fail_msg("%s", error.message);
    const int32_t sequence = kv_sequence_open(cache);
    const int64_t before = kv_blocks_free(cache);
    if (!decode_prompt(decode, sequence, context.ids, (int64_t)context.count, logits, &error) ||
        !title_scorer_run(scorer, sequence, logits, tolerance, &scores, &error))
        fail_msg("%s", error.message);
    assert_int_equal(kv_sequence_length(cache, sequence), context.count);
    kv_sequence_close(cache, sequence);
    *free_after = kv_blocks_free(cache) - before;
    assert_int_equal(kv_sequences_free(cache), sequences);
    title_scorer_close(scorer);
    decode_close(decode);
    kv_cache_close(cache);
    memory_free(logits);
    return scores;
}

/* One title after the context, in one pass of the decoder. */
static double brute_force(size_t title) {
    struct token_list tokens = {0};
    struct text text = {0};
    struct decoder_run *run;
    double sum = 0;
    const int64_t V = decoder.config.V;
    assert_true(tokenizer_decode(tokenizer, context.ids, context.count, false, &text, NULL));
    text_printf(&text, "%s\n</answer>", trie.catalog->drgs[title].title);
    assert_true(tokenizer_encode(tokenizer, text.data, text.length, false, &tokens, NULL));
    assert_memory_equal(tokens.ids, context.ids, context.count * sizeof *tokens.ids);
    const int32_t offsets[] = {0, (int32_t)tokens.count};
    const struct batch batch = {.T = (int64_t)tokens.count, .N = 1, .tokens = tokens.ids, .offsets = offsets};
    float *logits = memory_alloc(tokens.count * (size_t)V, sizeof *logits);
    assert_true(decoder_run_open(&run, &decoder, batch.T, 1, false, NULL));
    decoder_logits(&decoder, run, &batch, logits);
    for (size_t t = context.count; t < tokens.count; t++) {
        const float *row = logits + ((int64_t)t - 1) * V;
        sum += (double)row[tokens.ids[t]] - logits_log_sum(row, V);
    }
    decoder_run_close(run);
    memory_free(logits);
    token_list_free(&tokens);
    text_free(&text);
    return sum;
}

static void every_title_scores_as_by_itself(void **state) {
    double *p = memory_alloc(trie.catalog->count, sizeof *p), sum = 0;
    int64_t kept;
    (void)state;
    const struct title_scores scores = score(p, 200, 64, 0, &kept);
    assert_int_equal(kept, 0);
    for (size_t i = 0; i < trie.catalog->count; i++) sum += p[i];
    assert_true(fabs(sum - 1) < 1e-9);
    for (size_t i = 0; i < trie.catalog->count; i++) {
        /* Both as logarithms, but what is too small for a probability of its own is none. */
        const double expected = brute_force(i) - log(scores.mass), got = p[i] > 0 ? fmax(log(p[i]), -600) : -600;
        if (fabs(fmax(expected, -600) - got) > 1e-4)
            fail_msg("%s: %.6f, by itself %.6f", trie.catalog->drgs[i].title, got, expected);
    }
    memory_free(p);
}

static void few_sequences_give_the_same(void **state) {
    double *wide = memory_alloc(trie.catalog->count, sizeof *wide),
           *narrow = memory_alloc(trie.catalog->count, sizeof *narrow);
    int64_t kept;
    (void)state;
    const struct title_scores a = score(wide, 300, 128, 0, &kept),
                              b = score(narrow, (int64_t)trie.longest + 3, 8, 0, &kept);
    assert_int_equal(kept, 0);
    assert_true(fabs(a.mass - b.mass) < 1e-5 * a.mass);
    assert_int_equal(a.nodes_read, b.nodes_read);
    for (size_t i = 0; i < trie.catalog->count; i++) assert_true(fabs(wide[i] - narrow[i]) < 1e-5 * wide[i] + 1e-12);
    memory_free(wide);
    memory_free(narrow);
}

/* Leaving out what weighs little changes no probability by more than that, and saves work. */
static void a_tolerance_bounds_what_is_left_out(void **state) {
    double *all = memory_alloc(trie.catalog->count, sizeof *all),
           *some = memory_alloc(trie.catalog->count, sizeof *some);
    int64_t kept;
    (void)state;
    const struct title_scores a = score(all, 200, 16, 0, &kept), b = score(some, 200, 16, 0.05, &kept);
    assert_int_equal(kept, 0);
    assert_true(b.nodes_read < a.nodes_read);
    assert_true(b.mass <= a.mass * (1 + 1e-9) && b.mass + b.unseen >= a.mass * (1 - 1e-9));
    for (size_t i = 0; i < trie.catalog->count; i++) assert_true(fabs(all[i] - some[i]) <= 0.06);
    memory_free(all);
    memory_free(some);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_title_scores_as_by_itself),
        cmocka_unit_test(few_sequences_give_the_same),
        cmocka_unit_test(a_tolerance_bounds_what_is_left_out),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
