/* Drawing tokens: frequencies against the distributions asked for, by chi-square; log-probabilities; and the tree of
 * titles, out of which nothing can be drawn but a title that exists. */
#include "base/error.h"
#include "base/text.h"
#include "generate/sampler.h"
#include "generate/title_trie.h"
#include "tokenizer/tokenizer.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { V = 12, DRAWS = 60000 };
static const float logits[V] = {1.5f, -0.5f, 0.25f, 2.0f, -3.0f, 0.0f, 1.0f, 0.5f, -1.0f, 1.25f, -2.0f, 0.75f};

/* Probabilities by the definitions, one step after another, on a plain sorted list. */
static void expected_distribution(double p[V], const struct sampling *sampling, const int32_t *seen, size_t seen_count,
                                  const struct allowed_tokens *allowed) {
    double weight[V];
    int order[V], count = 0;
    for (int i = 0; i < V; i++) {
        bool may = allowed == NULL;
        for (size_t a = 0; allowed != NULL && a < allowed->count; a++) may = may || allowed->ids[a] == i;
        double logit = (double)logits[i];
        for (size_t s = 0; s < seen_count; s++) {
            if (seen[s] != i) continue;
            logit = logit > 0 ? logit / sampling->repetition_penalty : logit * sampling->repetition_penalty;
            break;
        }
        weight[i] = may ? exp(logit / sampling->temperature) : 0;
        p[i] = 0;
        if (may) order[count++] = i;
    }
    for (int i = 0; i < count; i++) {
        for (int j = i + 1; j < count; j++) {
            if (weight[order[j]] > weight[order[i]]) {
                const int kept = order[i];
                order[i] = order[j];
                order[j] = kept;
            }
        }
    }
    if (sampling->top_k > 0 && sampling->top_k < count) count = (int)sampling->top_k;
    double mass = 0, before = 0, left = 0;
    for (int i = 0; i < count; i++) mass += weight[order[i]];
    int kept = 0;
    for (; kept < count; kept++) {
        if (kept > 0 && sampling->top_p < 1 && before >= sampling->top_p * mass) break;
        if (kept > 0 && weight[order[kept]] < sampling->min_p * weight[order[0]]) break;
        before += weight[order[kept]];
    }
    for (int i = 0; i < kept; i++) left += weight[order[i]];
    for (int i = 0; i < kept; i++) p[order[i]] = weight[order[i]] / left;
}

/* Chi-square of the draws against the definition. With at most 11 degrees of freedom 31.3 is passed once in a thousand
 * seeds. */
static void check_draws(const struct sampling *sampling, const int32_t *seen, size_t seen_count,
                        const struct allowed_tokens *allowed, uint64_t seed) {
    struct sampler *sampler;
    struct rng rng;
    double p[V], chi_square = 0;
    int counts[V] = {0};
    assert_true(sampler_open(&sampler, V, NULL));
    expected_distribution(p, sampling, seen, seen_count, allowed);
    rng_seed(&rng, seed);
    const double total = logits_log_sum(logits, V);
    for (int d = 0; d < DRAWS; d++) {
        const struct sampled drawn = sampler_draw(sampler, sampling, logits, seen, seen_count, allowed, NULL, &rng);
        counts[drawn.id]++;
        if (fabs(drawn.log_probability - ((double)logits[drawn.id] - total)) > 1e-12)
            fail_msg("log-probability of %d: %g", drawn.id, drawn.log_probability);
        if (fabs(drawn.log_drawn - log(p[drawn.id])) > 1e-9)
            fail_msg("drawn with log-probability %g, expected %g", drawn.log_drawn, log(p[drawn.id]));
    }
    for (int i = 0; i < V; i++) {
        if (!(p[i] > 0)) {
            assert_int_equal(counts[i], 0);
            continue;
        }
        chi_square += (counts[i] - DRAWS * p[i]) * (counts[i] - DRAWS * p[i]) / (DRAWS * p[i]);
    }
    if (chi_square > 31.3) fail_msg("chi-square %.1f", chi_square);
    sampler_close(sampler);
}

static void draws_follow_the_distribution_asked_for(void **state) {
    (void)state;
    const struct sampling cases[] = {
        sampling_plain,
        {.temperature = 0.7, .top_p = 1, .repetition_penalty = 1},
        {.temperature = 2, .top_k = 5, .top_p = 1, .repetition_penalty = 1},
        {.temperature = 1, .top_p = 0.8, .repetition_penalty = 1},
        {.temperature = 0.6, .top_p = 0.95, .repetition_penalty = 1},
        {.temperature = 1.5, .top_k = 7, .top_p = 0.7, .repetition_penalty = 1},
        {.temperature = 1, .top_p = 1, .min_p = 0.2, .repetition_penalty = 1},
        {.temperature = 1, .top_k = 9, .top_p = 0.9, .min_p = 0.1, .repetition_penalty = 1},
        {.temperature = 1, .top_k = 1, .top_p = 1, .repetition_penalty = 1},
        {.temperature = 1, .top_p = 1e-9, .repetition_penalty = 1},
    };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        assert_true(sampling_check(&cases[c], NULL));
        check_draws(&cases[c], NULL, 0, NULL, 100 + c);
    }
}

static void the_penalty_falls_on_what_was_seen(void **state) {
    static const int32_t seen[] = {3, 8, 3};
    const struct sampling sampling = {.temperature = 1, .top_p = 1, .repetition_penalty = 1.8};
    (void)state;
    check_draws(&sampling, seen, 3, NULL, 7);
}

static void only_allowed_tokens_are_drawn(void **state) {
    static const int32_t ids[] = {1, 4, 6, 10};
    const struct allowed_tokens allowed = {ids, 4};
    const struct sampling narrow = {.temperature = 2, .top_k = 3, .top_p = 0.95, .repetition_penalty = 1};
    (void)state;
    check_draws(&sampling_plain, NULL, 0, &allowed, 1);
    check_draws(&narrow, NULL, 0, &allowed, 2);
}

static void greedy_takes_the_largest_and_the_smaller_id_among_equals(void **state) {
    static const float equal[V] = {0, 5, 1, 5, 5};
    const struct sampling greedy = {.temperature = 0, .top_p = 1, .repetition_penalty = 1};
    struct sampler *sampler;
    struct rng rng;
    (void)state;
    rng_seed(&rng, 1);
    assert_true(sampler_open(&sampler, V, NULL));
    assert_int_equal(sampler_draw(sampler, &greedy, equal, NULL, 0, NULL, NULL, &rng).id, 1);
    static const int32_t ids[] = {4, 3};
    const struct allowed_tokens allowed = {ids, 2};
    assert_int_equal(sampler_draw(sampler, &greedy, equal, NULL, 0, &allowed, NULL, &rng).id, 3);
    sampler_close(sampler);
}

static void settings_that_mean_nothing_are_refused(void **state) {
    const struct sampling wrong[] = {{.temperature = -1, .top_p = 1, .repetition_penalty = 1},
                                     {.temperature = (double)NAN, .top_p = 1, .repetition_penalty = 1},
                                     {.temperature = 1, .top_p = 0, .repetition_penalty = 1},
                                     {.temperature = 1, .top_p = 1.1, .repetition_penalty = 1},
                                     {.temperature = 1, .top_p = 1, .min_p = 1, .repetition_penalty = 1},
                                     {.temperature = 1, .top_p = 1, .repetition_penalty = 0},
                                     {.temperature = 1, .top_k = -1, .top_p = 1, .repetition_penalty = 1}};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) assert_false(sampling_check(&wrong[i], NULL));
}

static struct tokenizer *tokenizer;
static struct title_trie trie;

static int open_titles(void **state) {
    (void)state;
    return !tokenizer_open(&tokenizer, "models/tiny-classifier", NULL) ||
           !title_trie_open(&trie, tokenizer, GROUPER_V43, NULL);
}

static int close_titles(void **state) {
    (void)state;
    title_trie_close(&trie);
    tokenizer_close(tokenizer);
    return 0;
}

static struct trie_state advance(struct trie_state state, int32_t token) {
    struct text bytes = {0};
    assert_true(tokenizer_decode(tokenizer, &token, 1, false, &bytes, NULL));
    state = trie_advance(&trie, state, token, bytes.data == NULL ? "" : bytes.data, bytes.length);
    text_free(&bytes);
    return state;
}

/* Each title once, and the tokens of "<think>…<answer>\nTITLE\n</answer>" lead to it. */
static void every_title_is_a_way_through_the_tree(void **state) {
    size_t ends = 0;
    struct text text = {0};
    struct token_list tokens = {0};
    (void)state;
    for (size_t n = 0; n < trie.count; n++) ends += trie.nodes[n].drg >= 0;
    assert_int_equal(ends, trie.catalog->count);
    for (size_t i = 0; i < trie.catalog->count; i++) {
        struct trie_state at = trie_start;
        text_clear(&text);
        tokens.count = 0;
        text_printf(&text, "<think>\nan <answer or <<answer>\n%s\n</answer>", trie.catalog->drgs[i].title);
        assert_true(tokenizer_encode(tokenizer, text.data, text.length, false, &tokens, NULL));
        for (size_t t = 0; t < tokens.count; t++) {
            size_t count;
            const int32_t *allowed = trie_allowed(&trie, &at, &count);
            bool may = allowed == NULL;
            for (size_t a = 0; a < count; a++) may = may || allowed[a] == tokens.ids[t];
            assert_true(may);
            at = advance(at, tokens.ids[t]);
        }
        assert_int_equal(at.node, TRIE_DONE);
    }
    text_free(&text);
    token_list_free(&tokens);
}

/* A model that knows nothing, at temperature 2, is led through the tree: what it writes is always a title that exists.
 */
static void whatever_is_drawn_is_a_title(void **state) {
    enum { SAMPLES = 10000 };
    const struct sampling hot = {.temperature = 2, .top_p = 1, .repetition_penalty = 1};
    const size_t vocabulary = tokenizer_vocabulary(tokenizer);
    float *random_logits = malloc(vocabulary * sizeof *random_logits);
    struct sampler *sampler;
    struct rng rng;
    struct text text = {0};
    size_t valid = 0;
    (void)state;
    assert_non_null(random_logits);
    assert_true(sampler_open(&sampler, (int64_t)vocabulary, NULL));
    rng_seed(&rng, 3);
    const double none = 0;
    for (size_t i = 0; i < vocabulary; i++) random_logits[i] = (float)(3 * rng_normal(&rng));
    for (int s = 0; s < SAMPLES; s++) {
        struct trie_state at = {.node = 0};
        text_clear(&text);
        for (size_t step = 0; at.node != TRIE_DONE && step <= trie.longest; step++) {
            struct allowed_tokens allowed;
            allowed.ids = trie_allowed(&trie, &at, &allowed.count);
            const struct sampled drawn = sampler_draw(sampler, &hot, random_logits, NULL, 0, &allowed, &none, &rng);
            assert_true(tokenizer_decode(tokenizer, &drawn.id, 1, false, &text, NULL));
            at = advance(at, drawn.id);
        }
        static const char closing[] = "\n</answer>";
        const size_t length = text.length - (sizeof closing - 1);
        bool found = text.length > sizeof closing && strcmp(text.data + length, closing) == 0;
        if (found) text.data[length] = '\0';
        bool title = false;
        for (size_t i = 0; found && i < trie.catalog->count; i++)
            title = title || strcmp(trie.catalog->drgs[i].title, text.data) == 0;
        valid += title;
    }
    assert_int_equal(valid, SAMPLES);
    text_free(&text);
    sampler_close(sampler);
    free(random_logits);
}

/* "<answer>" closed by a token that runs on is kept out; one that is closed alone waits for its line feed. */
static void no_token_slips_past_the_opening(void **state) {
    struct trie_state at = trie_start;
    size_t count;
    (void)state;
    at = trie_advance(&trie, at, 5, "the <ans", 8);
    assert_int_equal(at.matched, 4);
    at = trie_advance(&trie, at, 5, "wer", 3);
    assert_int_equal(at.matched, 7);
    const int32_t *allowed = trie_allowed(&trie, &at, &count);
    for (size_t a = 0; a < count; a++) {
        struct text bytes = {0};
        assert_true(tokenizer_decode(tokenizer, &allowed[a], 1, false, &bytes, NULL));
        if (bytes.length > 1 && bytes.data[0] == '>') assert_non_null(strchr(" \n\t\r", bytes.data[1]));
        text_free(&bytes);
    }
    at = trie_advance(&trie, at, 5, ">", 1);
    assert_int_equal(at.node, TRIE_LINE_FEED);
    allowed = trie_allowed(&trie, &at, &count);
    assert_int_equal(count, 1);
    at = advance(at, allowed[0]);
    assert_int_equal(at.node, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_follow_the_distribution_asked_for),
        cmocka_unit_test(the_penalty_falls_on_what_was_seen),
        cmocka_unit_test(only_allowed_tokens_are_drawn),
        cmocka_unit_test(greedy_takes_the_largest_and_the_smaller_id_among_equals),
        cmocka_unit_test(settings_that_mean_nothing_are_refused),
        cmocka_unit_test(every_title_is_a_way_through_the_tree),
        cmocka_unit_test(whatever_is_drawn_is_a_title),
        cmocka_unit_test(no_token_slips_past_the_opening),
    };
    return cmocka_run_group_tests(tests, open_titles, close_titles);
}
