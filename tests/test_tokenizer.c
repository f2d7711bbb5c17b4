/* Tokenizers: the published vectors of Qwen2.5, Llama 2, Llama 3.1 and BERT, round trips, streams, hostile files, long
 * words, and the BPE trainer. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/text.h"
#include "tokenizer/bpe_trainer.h"
#include "tokenizer/token_stream.h"
#include "tokenizer/tokenizer.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const corpus[] = {
    "Patient admitted with acute on chronic systolic heart failure, diuresed with IV furosemide.",
    "No evidence of pulmonary embolism. Heart failure improved; creatinine peaked at 2.9.",
    "Acute kidney injury on chronic kidney disease, resolved with fluids and holding the diuretic.",
    "Pneumonia treated with ceftriaxone and azithromycin, weaned from oxygen on hospital day 3.",
};
static char folder[512];

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "%s/casemix-tokenizer-XXXXXX",
             getenv("TMPDIR") == NULL ? "/tmp" : getenv("TMPDIR"));
    log_quiet(true);
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state) {
    char command[1024];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static void train(const char *directory) {
    static const char *const special[] = {"<|endoftext|>", "<|im_end|>"};
    const struct bpe_settings settings = {
        .vocabulary = 320, .minimum_count = 2, .special = special, .special_count = 2};
    struct error error = {0};
    struct bpe_trainer *trainer;
    assert_true(bpe_trainer_open(&trainer, &settings, &error));
    for (size_t i = 0; i < sizeof corpus / sizeof corpus[0]; i++)
        assert_true(bpe_trainer_add(trainer, corpus[i], strlen(corpus[i]), &error));
    if (!bpe_trainer_write(trainer, directory, &error)) fail_msg("%s", error.message);
    bpe_trainer_close(trainer);
}

static struct tokenizer *own_tokenizer(void) {
    struct error error = {0};
    struct tokenizer *tokenizer;
    train(folder);
    if (!tokenizer_open(&tokenizer, folder, &error)) fail_msg("%s", error.message);
    return tokenizer;
}

static const struct tokenizer *current;

static bool check_vector(void *context, uint64_t line, const json_node *root, struct error *error) {
    struct token_list ids = {0};
    const char *text = json_string(json_member(root, "text"));
    (void)context;
    assert_true(tokenizer_encode(current, text, strlen(text), false, &ids, error));
    size_t i = 0;
    for (const json_node *id = json_first(json_member(root, "ids")); id != NULL; id = json_next(id), i++) {
        if (i >= ids.count || (int32_t)json_number(id) != ids.ids[i])
            fail_msg("line %llu: id %zu differs", (unsigned long long)line, i);
    }
    assert_int_equal(i, ids.count);
    struct text back = {0};
    assert_true(tokenizer_decode(current, ids.ids, ids.count, false, &back, error));
    text_free(&back);
    token_list_free(&ids);
    return true;
}

/* NULL, with a notice, if the file is not here. */
static struct tokenizer *shared_tokenizer(const char *name) {
    char path[256];
    struct error error = {0};
    struct tokenizer *tokenizer;
    snprintf(path, sizeof path, "../shared/tokenizers/%s", name);
    if (!path_exists(path)) {
        printf("skipped: ../shared/tokenizers/%s is not here\n", name);
        return NULL;
    }
    if (!tokenizer_open(&tokenizer, path, &error)) fail_msg("%s", error.message);
    return tokenizer;
}

static void check_vectors(const char *name, const char *directory) {
    char path[256];
    struct error error = {0};
    struct tokenizer *tokenizer = shared_tokenizer(name);
    if (tokenizer == NULL) skip();
    current = tokenizer;
    snprintf(path, sizeof path, "../shared/tokenizers/%s/vectors.jsonl", directory);
    if (!json_lines(path, check_vector, NULL, &error)) fail_msg("%s", error.message);
    tokenizer_close(tokenizer);
}

static void qwen_vectors_match(void **state) {
    (void)state;
    check_vectors("qwen2.5", "qwen2.5");
}

static void llama3_vectors_match(void **state) {
    (void)state;
    check_vectors("llama3.1", "llama3.1");
}

static void llama2_vectors_match_from_tokenizer_json(void **state) {
    (void)state;
    check_vectors("llama2", "llama2");
}

static void llama2_vectors_match_from_the_sentencepiece_model(void **state) {
    (void)state;
    check_vectors("llama2/tokenizer.model", "llama2");
}

static void bert_vectors_match(void **state) {
    (void)state;
    check_vectors("bert-uncased", "bert-uncased");
}

/* Any character but the surrogates and NUL, the likelier the lower. */
static void add_random_character(struct text *text, struct rng *rng) {
    static const uint32_t limits[] = {0x80, 0x80, 0x80, 0x250, 0x800, 0x3100, 0x10000, 0x20000, 0x110000};
    uint32_t code = (uint32_t)rng_below(rng, limits[rng_below(rng, sizeof limits / sizeof limits[0])]);
    if (code == 0 || (code >= 0xd800 && code < 0xe000)) code = ' ';
    if (code < 0x80) {
        text_add_char(text, (char)code);
        return;
    }
    const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    text_add_char(text, (char)((more == 1 ? 0xc0 : more == 2 ? 0xe0 : 0xf0) | code >> (6 * more)));
    for (int i = more - 1; i >= 0; i--) text_add_char(text, (char)(0x80 | ((code >> (6 * i)) & 0x3f)));
}

/* Ids of random texts decode to the text, all at once and pushed one by one, and never to half a character. */
static void check_round_trips(const struct tokenizer *tokenizer, bool leading_blank_kept) {
    struct error error = {0};
    struct rng rng;
    rng_seed(&rng, 7);
    for (int round = 0; round < 2000; round++) {
        struct text text = {0}, whole = {0}, pushed = {0};
        struct token_list ids = {0};
        struct token_stream stream;
        if (!leading_blank_kept) text_add_char(&text, 'x');
        for (uint64_t i = rng_below(&rng, 20) + 1; i > 0; i--) add_random_character(&text, &rng);
        assert_true(tokenizer_encode_content(tokenizer, text.data, text.length, true, &ids, &error));
        assert_true(tokenizer_decode(tokenizer, ids.ids, ids.count, false, &whole, &error));
        assert_int_equal(whole.length, text.length);
        assert_memory_equal(whole.data, text.data, text.length);
        token_stream_start(&stream, tokenizer, false);
        for (size_t i = 0; i < ids.count; i++) {
            assert_true(token_stream_push(&stream, ids.ids[i], &pushed, &error));
            assert_true(pushed.length == 0 || utf8_valid(pushed.data, pushed.length, NULL));
        }
        assert_true(token_stream_flush(&stream, &pushed, &error));
        assert_int_equal(pushed.length, text.length);
        assert_memory_equal(pushed.data, text.data, text.length);
        text_free(&text);
        text_free(&whole);
        text_free(&pushed);
        token_list_free(&ids);
    }
}

static void random_unicode_comes_back_from_byte_level_ids(void **state) {
    (void)state;
    struct tokenizer *tokenizer = shared_tokenizer("llama3.1");
    if (tokenizer == NULL) skip();
    check_round_trips(tokenizer, true);
    tokenizer_close(tokenizer);
}

static void random_unicode_comes_back_from_byte_fallback_ids(void **state) {
    (void)state;
    struct tokenizer *tokenizer = shared_tokenizer("llama2/tokenizer.model");
    if (tokenizer == NULL) skip();
    check_round_trips(tokenizer, false);
    tokenizer_close(tokenizer);
}

static void json_and_sentencepiece_model_of_llama2_agree(void **state) {
    (void)state;
    struct tokenizer *json = shared_tokenizer("llama2"), *model = shared_tokenizer("llama2/tokenizer.model");
    struct error error = {0};
    struct rng rng;
    if (json == NULL || model == NULL) skip();
    rng_seed(&rng, 8);
    for (int round = 0; round < 1000; round++) {
        struct text text = {0};
        struct token_list a = {0}, b = {0};
        for (uint64_t i = rng_below(&rng, 30) + 1; i > 0; i--) {
            if (rng_below(&rng, 3) == 0)
                text_add(&text, corpus[rng_below(&rng, sizeof corpus / sizeof corpus[0])]);
            else if (rng_below(&rng, 8) == 0)
                text_add(&text, "</s>");
            else
                add_random_character(&text, &rng);
        }
        assert_true(tokenizer_encode(json, text.data, text.length, true, &a, &error));
        assert_true(tokenizer_encode(model, text.data, text.length, true, &b, &error));
        assert_int_equal(a.count, b.count);
        assert_memory_equal(a.ids, b.ids, a.count * sizeof *a.ids);
        text_free(&text);
        token_list_free(&a);
        token_list_free(&b);
    }
    tokenizer_close(json);
    tokenizer_close(model);
}

static void threads_that_share_a_tokenizer_find_the_same_ids(void **state) {
    (void)state;
    struct tokenizer *tokenizer = own_tokenizer();
    enum { THREADS = 8 };
    struct token_list lists[THREADS] = {{0}};
    bool encoded[THREADS] = {false};
#pragma omp parallel for num_threads(THREADS)
    for (int i = 0; i < THREADS; i++) {
        encoded[i] = true;
        for (size_t c = 0; c < sizeof corpus / sizeof corpus[0]; c++)
            encoded[i] =
                encoded[i] && tokenizer_encode(tokenizer, corpus[c], strlen(corpus[c]), false, &lists[i], NULL);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_true(encoded[i]);
        assert_int_equal(lists[i].count, lists[0].count);
        assert_memory_equal(lists[i].ids, lists[0].ids, lists[0].count * sizeof *lists[0].ids);
    }
    for (int i = 0; i < THREADS; i++) token_list_free(&lists[i]);
    tokenizer_close(tokenizer);
}

static void content_never_becomes_a_special_token(void **state) {
    (void)state;
    static const char text[] = "a<|im_end|>b<|endoftext|>";
    struct tokenizer *tokenizer = own_tokenizer();
    struct error error = {0};
    struct token_list ids = {0};
    struct text back = {0};
    assert_true(tokenizer_encode_content(tokenizer, text, strlen(text), true, &ids, &error));
    for (size_t i = 0; i < ids.count; i++) assert_true(ids.ids[i] > 1);
    assert_true(tokenizer_decode(tokenizer, ids.ids, ids.count, true, &back, &error));
    assert_string_equal(back.data, text);
    text_free(&back);
    token_list_free(&ids);
    tokenizer_close(tokenizer);
}

static void random_text_comes_back_from_its_ids(void **state) {
    (void)state;
    static const char *const pieces[] = {"a",    "Heart", " failure", "  ", "\n", "\r\n",       "é", "漢字",
                                         "🙂", "'s",    "12",       "-",  "\t", "<|im_end|>", "ß", "…"};
    struct tokenizer *tokenizer = own_tokenizer();
    struct error error = {0};
    struct rng rng;
    rng_seed(&rng, 1);
    for (int round = 0; round < 300; round++) {
        struct text text = {0}, back = {0};
        struct token_list ids = {0};
        for (uint64_t i = rng_below(&rng, 40) + 1; i > 0; i--)
            text_add(&text, pieces[rng_below(&rng, sizeof pieces / sizeof pieces[0])]);
        assert_true(tokenizer_encode(tokenizer, text.data, text.length, false, &ids, &error));
        assert_true(tokenizer_decode(tokenizer, ids.ids, ids.count, false, &back, &error));
        assert_int_equal(back.length, text.length);
        assert_memory_equal(back.data, text.data, text.length);
        text_free(&text);
        text_free(&back);
        token_list_free(&ids);
    }
    tokenizer_close(tokenizer);
}

static void special_tokens_keep_their_ids(void **state) {
    (void)state;
    struct tokenizer *tokenizer = own_tokenizer();
    struct error error = {0};
    struct token_list ids = {0};
    struct text back = {0};
    assert_int_equal(tokenizer_token_id(tokenizer, "<|endoftext|>"), 0);
    assert_true(tokenizer_encode(tokenizer, "a<|im_end|>", 11, false, &ids, &error));
    assert_int_equal(ids.count, 2);
    assert_int_equal(ids.ids[1], 1);
    assert_true(tokenizer_decode(tokenizer, ids.ids, ids.count, true, &back, &error));
    assert_string_equal(back.data, "a");
    text_free(&back);
    token_list_free(&ids);
    tokenizer_close(tokenizer);
}

static void frequent_words_become_one_piece(void **state) {
    (void)state;
    struct tokenizer *tokenizer = own_tokenizer();
    struct error error = {0};
    struct token_list ids = {0};
    assert_true(tokenizer_encode(tokenizer, " failure", 8, false, &ids, &error));
    assert_int_equal(ids.count, 1);
    token_list_free(&ids);
    tokenizer_close(tokenizer);
}

static void training_twice_gives_the_same_bytes(void **state) {
    (void)state;
    char path[600], command[2048];
    snprintf(path, sizeof path, "%s/again", folder);
    train(folder);
    train(path);
    snprintf(command, sizeof command, "cmp -s '%s/tokenizer.json' '%s/tokenizer.json'", folder, path);
    assert_int_equal(system(command), 0);
}

static void a_long_word_takes_no_quadratic_time(void **state) {
    (void)state;
    enum { LENGTH = 1 << 20 };
    struct tokenizer *tokenizer = own_tokenizer();
    struct error error = {0};
    struct token_list ids = {0};
    char *word = malloc(LENGTH);
    memset(word, 'a', LENGTH);
    const double start = time_now();
    assert_true(tokenizer_encode(tokenizer, word, LENGTH, false, &ids, &error));
    assert_true(time_now() - start < 20);
    free(word);
    token_list_free(&ids);
    tokenizer_close(tokenizer);
}

static void refuse(const char *json, const char *part) {
    char path[600];
    struct error error = {0};
    struct tokenizer *tokenizer;
    snprintf(path, sizeof path, "%s/bad.json", folder);
    assert_true(file_write(path, json, strlen(json), &error));
    assert_false(tokenizer_open(&tokenizer, path, &error));
    if (strstr(error.message, part) == NULL) fail_msg("message \"%s\" does not say \"%s\"", error.message, part);
}

static void files_that_are_no_byte_level_bpe_are_refused_by_name(void **state) {
    (void)state;
    refuse("{\"model\": {\"type\": \"BPE\"", "not valid JSON");
    refuse("[]", "not a JSON object");
    refuse("{\"model\": {\"type\": \"Unigram\"}}", "Unigram");
    refuse("{\"model\": {\"type\": \"BPE\", \"vocab\": [], \"merges\": []}}", "model.vocab");
    refuse("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": -1}, \"merges\": []}}", "valid id");
    refuse("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 99999999999}, \"merges\": []}}", "valid id");
    refuse("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 0}, \"merges\": []}}", "twice");
    refuse("{\"pre_tokenizer\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, "
           "\"merges\": []}}",
           "byte 0x");
    refuse("{\"model\": {\"type\": \"BPE\", \"byte_fallback\": true, \"vocab\": {\"a\": 0}, \"merges\": []}}",
           "byte_fallback");
}

static void damaged_copies_never_crash(void **state) {
    (void)state;
    struct tokenizer *tokenizer = own_tokenizer();
    tokenizer_close(tokenizer);
    char path[600], bad[600];
    struct text whole = {0};
    struct error error = {0};
    struct rng rng;
    rng_seed(&rng, 5);
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    snprintf(bad, sizeof bad, "%s/mutant.json", folder);
    assert_true(file_read(&whole, path, 0, &error));
    for (int round = 0; round < 200; round++) {
        struct text mutant = {0};
        text_append(&mutant, whole.data, round % 4 == 0 ? rng_below(&rng, whole.length) : whole.length);
        for (int i = 0; i < 3 && mutant.length > 0; i++)
            mutant.data[rng_below(&rng, mutant.length)] = "0\"{}[]:,a-9\\"[rng_below(&rng, 12)];
        assert_true(file_write(bad, mutant.data == NULL ? "" : mutant.data, mutant.length, &error));
        if (tokenizer_open(&tokenizer, bad, &error)) tokenizer_close(tokenizer);
        text_free(&mutant);
    }
    text_free(&whole);
}

static void invalid_utf8_is_an_error_that_says_where(void **state) {
    (void)state;
    struct tokenizer *tokenizer = own_tokenizer();
    struct error error = {0};
    struct token_list ids = {0};
    assert_false(tokenizer_encode(tokenizer, "ab\xff", 3, false, &ids, &error));
    assert_non_null(strstr(error.message, "byte 2"));
    token_list_free(&ids);
    tokenizer_close(tokenizer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qwen_vectors_match),
        cmocka_unit_test(llama3_vectors_match),
        cmocka_unit_test(llama2_vectors_match_from_tokenizer_json),
        cmocka_unit_test(llama2_vectors_match_from_the_sentencepiece_model),
        cmocka_unit_test(bert_vectors_match),
        cmocka_unit_test(random_unicode_comes_back_from_byte_level_ids),
        cmocka_unit_test(random_unicode_comes_back_from_byte_fallback_ids),
        cmocka_unit_test(json_and_sentencepiece_model_of_llama2_agree),
        cmocka_unit_test(random_text_comes_back_from_its_ids),
        cmocka_unit_test(threads_that_share_a_tokenizer_find_the_same_ids),
        cmocka_unit_test(content_never_becomes_a_special_token),
        cmocka_unit_test(special_tokens_keep_their_ids),
        cmocka_unit_test(frequent_words_become_one_piece),
        cmocka_unit_test(training_twice_gives_the_same_bytes),
        cmocka_unit_test(a_long_word_takes_no_quadratic_time),
        cmocka_unit_test(files_that_are_no_byte_level_bpe_are_refused_by_name),
        cmocka_unit_test(damaged_copies_never_crash),
        cmocka_unit_test(invalid_utf8_is_an_error_that_says_where),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
