/* The engine that answers: what a continuation becomes does not depend on its company, its log-probabilities are those
 * of the decoder, and every way to end is defined. */
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "generate/generator.h"
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

enum { POSITIONS = 256, TOKENS = 4096, SEQUENCES = 24 };

static struct decoder decoder;
static struct tokenizer *tokenizer;
static struct title_trie trie;

static int open_model(void **state) {
    (void)state;
    struct error error = {0};
    struct model_config config = {.architecture = ARCHITECTURE_QWEN2,
                                  .C = 32,
                                  .L = 2,
                                  .H = 4,
                                  .K = 2,
                                  .D = 8,
                                  .F = 48,
                                  .positions = POSITIONS,
                                  .norm_eps = 1e-6f,
                                  .rope_theta = 10000,
                                  .qkv_bias = true,
                                  .bos_id = -1,
                                  .eos_id = -1,
                                  .pad_id = -1,
                                  .initializer_range = 0.3f};
    if (!tokenizer_open(&tokenizer, "models/tiny-classifier", &error)) return 1;
    config.V = (int64_t)tokenizer_vocabulary(tokenizer);
    if (decoder_create(&decoder, &config, 5, &error) && title_trie_open(&trie, tokenizer, GROUPER_V43, &error))
        return 0;
    fprintf(stderr, "%s\n", error.message);
    return 1;
}

static int close_model(void **state) {
    (void)state;
    title_trie_close(&trie);
    tokenizer_close(tokenizer);
    decoder_close(&decoder);
    return 0;
}

/* What came of one continuation. */
struct completion {
    int32_t ids[POSITIONS];
    double log_probability[POSITIONS];
    size_t count;
    char text[4096];
    size_t length;
    enum generation_end end;
    size_t most; /* tokens after which it is cancelled from within; 0: never */
};

static bool collect(void *context, const struct generation_event *event) {
    struct completion *completion = (struct completion *)context + event->sample;
    completion->end = event->end;
    if (event->token == NULL) return true;
    completion->ids[completion->count] = event->token->id;
    completion->log_probability[completion->count++] = event->token->log_probability;
    assert_true(completion->length + event->length < sizeof completion->text);
    memcpy(completion->text + completion->length, event->bytes, event->length);
    completion->length += event->length;
    completion->text[completion->length] = '\0';
    return completion->most == 0 || completion->count < completion->most;
}

static struct generator *open_generator(int64_t tokens, int64_t sequences, int64_t rows, int64_t kept) {
    const struct generator_settings settings = {tokens, sequences, rows, kept};
    struct generator *generator;
    struct error error = {0};
    if (!generator_open(&generator, &decoder, tokenizer, &trie, &settings, &error)) fail_msg("%s", error.message);
    return generator;
}

static int64_t submit(struct generator *generator, const struct generation_request *request) {
    struct error error = {0};
    int64_t id;
    if (!generator_submit(generator, request, &id, &error)) fail_msg("%s", error.message);
    return id;
}

static void finish(struct generator *generator) {
    struct error error = {0};
    while (generator_busy(generator)) {
        if (!generator_step(generator, &error)) fail_msg("%s", error.message);
    }
}

static void make_prompt(int32_t *prompt, int64_t count, int32_t seed) {
    for (int64_t i = 0; i < count; i++) prompt[i] = (int32_t)((seed * 7919 + i * 104729) % 7000) + 300;
}

static struct generation_request greedy_request(const int32_t *prompt, int64_t count, struct completion *completion) {
    return (struct generation_request){.prompt = prompt,
                                       .prompt_count = count,
                                       .samples = 1,
                                       .max_tokens = 24,
                                       .sampling = {.temperature = 0, .top_p = 1, .repetition_penalty = 1},
                                       .function = collect,
                                       .context = completion};
}

static void same_completions(const struct completion *a, const struct completion *b) {
    assert_int_equal(a->count, b->count);
    for (size_t t = 0; t < a->count; t++) {
        assert_int_equal(a->ids[t], b->ids[t]);
        assert_true(fabs(a->log_probability[t] - b->log_probability[t]) < 1e-5);
    }
}

static void eight_at_once_are_as_one_by_one(void **state) {
    static const int64_t lengths[] = {3, 70, 1, 33, 120, 32, 64, 9};
    int32_t prompts[8][POSITIONS];
    struct completion alone[8] = {0}, together[8] = {0};
    (void)state;
    struct generator *all = open_generator(TOKENS, SEQUENCES, 40, 0);
    for (int i = 0; i < 8; i++) {
        make_prompt(prompts[i], lengths[i], i);
        struct generation_request request = greedy_request(prompts[i], lengths[i], &together[i]);
        submit(all, &request);
        struct generator *one = open_generator(512, 3, 256, 0);
        request.context = &alone[i];
        submit(one, &request);
        finish(one);
        generator_close(one);
    }
    finish(all);
    generator_close(all);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(alone[i].count, 24);
        assert_int_equal(together[i].end, GENERATION_LENGTH);
        same_completions(&alone[i], &together[i]);
    }
}

/* The decoder's own log-probabilities of a continuation, in one packed pass, differ by no more than the tolerance. */
static void check_against_decoder(const int32_t *prompt, int64_t count, const struct completion *completion,
                                  double tolerance) {
    int32_t tokens[POSITIONS], offsets[2] = {0, 0};
    const int64_t T = count + (int64_t)completion->count, V = decoder.config.V;
    struct decoder_run *run;
    memcpy(tokens, prompt, (size_t)count * sizeof *tokens);
    memcpy(tokens + count, completion->ids, completion->count * sizeof *tokens);
    offsets[1] = (int32_t)T;
    const struct batch batch = {.T = T, .N = 1, .tokens = tokens, .offsets = offsets};
    float *logits = memory_alloc((size_t)(T * V), sizeof *logits);
    assert_true(decoder_run_open(&run, &decoder, T, 1, false, NULL));
    decoder_logits(&decoder, run, &batch, logits);
    for (size_t t = 0; t < completion->count; t++) {
        const float *row = logits + (count + (int64_t)t - 1) * V;
        const double expected = (double)row[completion->ids[t]] - logits_log_sum(row, V);
        if (fabs(expected - completion->log_probability[t]) > tolerance)
            fail_msg("token %zu: %.8f, the decoder says %.8f", t, completion->log_probability[t], expected);
    }
    decoder_run_close(run);
    memory_free(logits);
}

static void log_probabilities_are_the_decoders(void **state) {
    int32_t prompt[POSITIONS];
    struct completion completions[6] = {0};
    (void)state;
    make_prompt(prompt, 75, 3);
    struct generator *generator = open_generator(TOKENS, SEQUENCES, 64, 2);
    struct generation_request request = greedy_request(prompt, 75, completions);
    request.samples = 6;
    request.seed = 11;
    request.sampling.temperature = 0.8;
    submit(generator, &request);
    finish(generator);
    for (int i = 0; i < 6; i++) check_against_decoder(prompt, 75, &completions[i], 1e-5);
    assert_true(memcmp(completions[0].ids, completions[1].ids, sizeof completions[0].ids) != 0);
    generator_close(generator);
}

static void a_seed_gives_the_same_and_kept_prompts_change_nothing(void **state) {
    int32_t prompt[POSITIONS];
    struct completion first[3] = {0}, second[3] = {0}, longer[1] = {0}, fresh[1] = {0};
    (void)state;
    make_prompt(prompt, 100, 4);
    struct generator *generator = open_generator(TOKENS, SEQUENCES, 64, 2);
    struct generation_request request = greedy_request(prompt, 80, first);
    request.samples = 3;
    request.seed = 21;
    request.sampling.temperature = 1;
    submit(generator, &request);
    finish(generator);
    assert_int_equal(generator_counts(generator).cached_tokens, 0);
    request.context = second;
    submit(generator, &request);
    finish(generator);
    assert_int_equal(generator_counts(generator).cached_tokens, 79);
    for (int i = 0; i < 3; i++) same_completions(&first[i], &second[i]);
    request.samples = 1;
    request.prompt_count = 100;
    request.context = longer;
    submit(generator, &request);
    finish(generator);
    assert_int_equal(generator_counts(generator).cached_tokens, 79 + 80);
    generator_close(generator);
    struct generator *other = open_generator(TOKENS, SEQUENCES, 64, 0);
    request.context = fresh;
    submit(other, &request);
    finish(other);
    generator_close(other);
    same_completions(longer, fresh);
}

/* A prompt read for one answer, shared by six, and taken from the kept ones: the same log-probabilities, which are
 * those of a pass over prompt and answer without any cache. */
static void cached_shared_and_from_scratch_agree(void **state) {
    int32_t prompt[POSITIONS];
    struct completion alone = {0}, shared[6] = {0}, cached[6] = {0};
    (void)state;
    make_prompt(prompt, 75, 13);
    struct generator *generator = open_generator(TOKENS, SEQUENCES, 64, 2);
    struct generation_request request = greedy_request(prompt, 75, shared);
    request.samples = 6;
    request.seed = 31;
    request.sampling.temperature = 1;
    submit(generator, &request);
    finish(generator);
    request.context = cached;
    submit(generator, &request);
    finish(generator);
    assert_int_equal(generator_counts(generator).cached_tokens, 74);
    generator_close(generator);
    generator = open_generator(TOKENS, SEQUENCES, 64, 0);
    request.samples = 1;
    request.context = &alone;
    submit(generator, &request);
    finish(generator);
    generator_close(generator);
    same_completions(&alone, &shared[0]);
    for (int i = 0; i < 6; i++) {
        same_completions(&shared[i], &cached[i]);
        check_against_decoder(prompt, 75, &shared[i], 1e-5);
        check_against_decoder(prompt, 75, &cached[i], 1e-5);
    }
}

static void requests_wait_for_room(void **state) {
    int32_t prompts[12][POSITIONS];
    struct completion queued[12] = {0}, alone = {0};
    (void)state;
    struct generator *generator = open_generator(256, 3, 16, 1);
    for (int i = 0; i < 12; i++) {
        make_prompt(prompts[i], 40 + i, 30 + i);
        const struct generation_request request = greedy_request(prompts[i], 40 + i, &queued[i]);
        submit(generator, &request);
    }
    finish(generator);
    generator_close(generator);
    for (int i = 0; i < 12; i++) assert_int_equal(queued[i].count, 24);
    struct generator *one = open_generator(512, 3, 256, 0);
    const struct generation_request request = greedy_request(prompts[11], 51, &alone);
    submit(one, &request);
    finish(one);
    generator_close(one);
    same_completions(&alone, &queued[11]);
}

/* The text of a greedy continuation, to choose stop strings from. */
static void complete(const int32_t *prompt, int64_t count, struct completion *completion,
                     const struct generation_request *settings) {
    struct generator *generator = open_generator(TOKENS, SEQUENCES, 64, 0);
    struct generation_request request = settings == NULL ? greedy_request(prompt, count, completion) : *settings;
    request.function = collect;
    request.context = completion;
    submit(generator, &request);
    finish(generator);
    generator_close(generator);
}

static void text_ends_before_a_stop_string_over_the_borders_of_tokens(void **state) {
    int32_t prompt[POSITIONS];
    struct completion whole = {0}, stopped = {0};
    char stop[64];
    (void)state;
    make_prompt(prompt, 20, 8);
    complete(prompt, 20, &whole, NULL);
    /* From the middle of one token to the middle of another. */
    const size_t from = whole.length / 3, length = 14;
    assert_true(whole.length > from + length);
    memcpy(stop, whole.text + from, length);
    stop[length] = '\0';
    const char *const stops[] = {"never written", stop};
    struct generation_request request = greedy_request(prompt, 20, &stopped);
    request.stop_strings = stops;
    request.stop_string_count = 2;
    complete(prompt, 20, &stopped, &request);
    assert_int_equal(stopped.end, GENERATION_STOP_STRING);
    const char *found = strstr(whole.text, stop);
    assert_non_null(found);
    assert_int_equal(stopped.length, found - whole.text);
    assert_memory_equal(stopped.text, whole.text, stopped.length);
    assert_true(stopped.count < whole.count);
}

static void a_stop_token_ends_without_its_text(void **state) {
    int32_t prompt[POSITIONS];
    struct completion whole = {0}, stopped = {0};
    (void)state;
    make_prompt(prompt, 20, 9);
    complete(prompt, 20, &whole, NULL);
    struct generation_request request = greedy_request(prompt, 20, &stopped);
    request.stop_ids = &whole.ids[10];
    request.stop_id_count = 1;
    complete(prompt, 20, &stopped, &request);
    assert_int_equal(stopped.end, GENERATION_STOP_TOKEN);
    assert_int_equal(stopped.ids[stopped.count - 1], whole.ids[10]);
    assert_true(stopped.count <= 11);
}

static void the_context_fills_up_and_no_further(void **state) {
    int32_t prompt[POSITIONS];
    struct completion completion = {0};
    struct error error = {0};
    int64_t id;
    (void)state;
    make_prompt(prompt, POSITIONS, 2);
    struct generation_request request = greedy_request(prompt, POSITIONS - 5, &completion);
    request.max_tokens = 1000;
    complete(prompt, POSITIONS - 5, &completion, &request);
    assert_int_equal(completion.count, 5);
    assert_int_equal(completion.end, GENERATION_LENGTH);
    struct generator *generator = open_generator(TOKENS, SEQUENCES, 64, 0);
    request.prompt_count = POSITIONS;
    assert_false(generator_submit(generator, &request, &id, &error));
    assert_non_null(strstr(error.message, "leaves no room"));
    request.prompt_count = 0;
    assert_false(generator_submit(generator, &request, &id, &error));
    assert_non_null(strstr(error.message, "the prompt is empty"));
    request = greedy_request(prompt, 10, &completion);
    request.samples = SEQUENCES;
    assert_false(generator_submit(generator, &request, &id, &error));
    assert_non_null(strstr(error.message, "do not fit"));
    prompt[3] = (int32_t)decoder.config.V;
    request.samples = 1;
    assert_false(generator_submit(generator, &request, &id, &error));
    assert_non_null(strstr(error.message, "vocabulary"));
    generator_close(generator);
}

static void cancelling_ends_at_once_and_leaves_the_others(void **state) {
    int32_t prompts[3][POSITIONS];
    struct completion cancelled = {0}, inner = {.most = 4}, left = {0}, alone = {0};
    struct error error = {0};
    (void)state;
    for (int i = 0; i < 3; i++) make_prompt(prompts[i], 50, 60 + i);
    struct generator *generator = open_generator(TOKENS, SEQUENCES, 200, 0);
    struct generation_request request = greedy_request(prompts[0], 50, &cancelled);
    const int64_t id = submit(generator, &request);
    request = greedy_request(prompts[1], 50, &inner);
    submit(generator, &request);
    request = greedy_request(prompts[2], 50, &left);
    submit(generator, &request);
    for (int s = 0; s < 6; s++) assert_true(generator_step(generator, &error));
    generator_cancel(generator, id);
    assert_int_equal(cancelled.end, GENERATION_CANCELLED);
    assert_int_equal(cancelled.count, 6);
    const int64_t queued = submit(generator, &request);
    generator_cancel(generator, queued);
    finish(generator);
    generator_close(generator);
    assert_int_equal(inner.count, 4);
    complete(prompts[2], 50, &alone, NULL);
    same_completions(&alone, &left);
}

static void what_is_streamed_is_whole_characters(void **state) {
    int32_t prompt[POSITIONS];
    struct completion completion = {0};
    size_t bad;
    (void)state;
    make_prompt(prompt, 10, 1);
    struct generation_request request = greedy_request(prompt, 10, &completion);
    request.max_tokens = 200;
    request.seed = 4;
    request.sampling.temperature = 5; /* bytes of all kinds */
    complete(prompt, 10, &completion, &request);
    assert_true(utf8_valid(completion.text, completion.length, &bad));
    assert_int_equal(completion.count, 200);
}

static size_t count_titles(bool with_trie, int samples) {
    struct token_list prompt = {0};
    struct completion *completions = memory_zero((size_t)samples, sizeof *completions);
    size_t valid = 0;
    static const char text[] = "Answer as <answer>TITLE</answer>.\n<think>\nno\n</think>\n<answer>\n";
    assert_true(tokenizer_encode(tokenizer, text, sizeof text - 1, false, &prompt, NULL));
    struct generator *generator = open_generator(TOKENS, SEQUENCES, 64, 1);
    const char *const stops[] = {"</answer>"};
    for (int first = 0; first < samples; first += 20) {
        struct generation_request request = greedy_request(prompt.ids, (int64_t)prompt.count, completions + first);
        request.max_tokens = (int64_t)trie.longest;
        request.samples = 20;
        request.seed = (uint64_t)first;
        request.sampling.temperature = 2;
        request.stop_strings = stops;
        request.stop_string_count = 1;
        request.answer_trie = with_trie;
        submit(generator, &request);
    }
    finish(generator);
    generator_close(generator);
    for (int s = 0; s < samples; s++) {
        const struct completion *c = &completions[s];

        for (size_t i = 0; i < trie.catalog->count && c->end == GENERATION_STOP_STRING; i++) {
            const char *title = trie.catalog->drgs[i].title;
            const size_t length = strlen(title);
            valid += c->length == length + 1 && memcmp(c->text, title, length) == 0;
        }
    }
    memory_free(completions);
    token_list_free(&prompt);
    return valid;
}

static void with_the_tree_every_answer_is_a_title_and_without_it_none(void **state) {
    const char *asked = getenv("CASEMIX_SAMPLES"); /* 10000 once in a while: with sanitizers that takes a minute */
    const int samples = asked == NULL ? 1000 : atoi(asked);
    (void)state;
    assert_int_equal(count_titles(true, samples), samples);
    assert_true(count_titles(false, samples / 10) <= (size_t)samples / 100);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eight_at_once_are_as_one_by_one),
        cmocka_unit_test(log_probabilities_are_the_decoders),
        cmocka_unit_test(a_seed_gives_the_same_and_kept_prompts_change_nothing),
        cmocka_unit_test(cached_shared_and_from_scratch_agree),
        cmocka_unit_test(requests_wait_for_room),
        cmocka_unit_test(text_ends_before_a_stop_string_over_the_borders_of_tokens),
        cmocka_unit_test(a_stop_token_ends_without_its_text),
        cmocka_unit_test(the_context_fills_up_and_no_further),
        cmocka_unit_test(cancelling_ends_at_once_and_leaves_the_others),
        cmocka_unit_test(what_is_streamed_is_whole_characters),
        cmocka_unit_test(with_the_tree_every_answer_is_a_title_and_without_it_none),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
