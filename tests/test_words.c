/* CAML's words, and how classifiers read texts: what is one word, which are kept, the file, the frame of BERT. */
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "folder.h"
#include "model/text_reader.h"
#include "tokenizer/bpe_trainer.h"
#include "tokenizer/words.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct words *learn(const char *text, int64_t minimum) {
    struct word_counts *counts;
    struct words *words;
    struct error error = {0};
    assert_true(word_counts_open(&counts, &error));
    assert_true(word_counts_add(counts, text, strlen(text), &error));
    if (!words_learn(&words, counts, minimum, &error)) fail_msg("%s", error.message);
    word_counts_close(counts);
    return words;
}

/* words.txt of this vocabulary, lines joined by blanks. */
static void assert_vocabulary(const struct words *words, const char *want) {
    struct error error = {0};
    char got[1024];
    assert_true(words_write(words, folder_path("words.txt"), &error));
    FILE *file = fopen(folder_path("words.txt"), "rb");
    const size_t length = fread(got, 1, sizeof got - 1, file);
    fclose(file);
    got[length] = '\0';
    for (size_t i = 0; i < length; i++) got[i] = got[i] == '\n' ? ' ' : got[i];
    assert_string_equal(got, want);
}

static void assert_ids(const struct words *words, const char *text, const char *want) {
    struct token_list list = {0};
    struct error error = {0};
    struct text got = {0};
    assert_true(words_encode(words, text, strlen(text), &list, &error));
    for (size_t i = 0; i < list.count; i++) text_printf(&got, "%s%d", i == 0 ? "" : " ", list.ids[i]);
    assert_string_equal(got.data == NULL ? "" : got.data, want);
    text_free(&got);
    token_list_free(&list);
}

static void words_are_runs_of_letters_and_digits_in_lower_case_by_falling_frequency(void **state) {
    (void)state;
    struct words *words = learn("Sepsis, SEPSIS; sepsis! B12-deficit b12 a_b   2.5mg\n", 1);
    assert_vocabulary(words, "<pad> <unk> sepsis b12 2 5mg a b deficit ");
    assert_ids(words, "SEPSIS/b12 ... unheard-of, 2.5MG", "2 3 1 1 4 5");
    assert_ids(words, " .,- ", "");
    words_close(words);
    words = learn("\xc3\x89tat \xc3\xa9tat \xce\x94\xce\xa3 \xe5\xbf\x83\xe8\x87\x9f", 1);
    assert_vocabulary(words, "<pad> <unk> \xc3\xa9tat \xce\xb4\xcf\x83 \xe5\xbf\x83\xe8\x87\x9f ");
    words_close(words);
}

static void words_that_are_too_rare_are_the_unknown_one(void **state) {
    (void)state;
    struct words *words = learn("a a a b b c", 2);
    assert_vocabulary(words, "<pad> <unk> a b ");
    assert_ids(words, "c b a <unk> <pad>", "1 3 2 1 1");
    assert_int_equal(words_count(words), 4);
    words_close(words);
    struct word_counts *counts;
    struct error error = {0};
    assert_true(word_counts_open(&counts, &error));
    assert_true(word_counts_add(counts, "once", 4, &error));
    assert_false(words_learn(&words, counts, 2, &error));
    assert_non_null(strstr(error.message, "no word occurs 2 times"));
    assert_false(word_counts_add(counts, "a\xff", 2, &error));
    assert_non_null(strstr(error.message, "invalid UTF-8 at byte 1"));
    word_counts_close(counts);
}

static void a_written_vocabulary_reads_back_to_the_same_ids(void **state) {
    (void)state;
    struct error error = {0};
    struct words *words = learn("a a a b b \xc3\xa9tat", 1), *opened;
    assert_true(words_write(words, folder_path("words.txt"), &error));
    if (!words_open(&opened, folder_path("words.txt"), &error)) fail_msg("%s", error.message);
    assert_int_equal(words_count(opened), 5);
    assert_ids(opened, "\xc3\x89TAT a b x", "4 2 3 1");
    words_close(words);
    words_close(opened);
}

static void files_that_are_no_vocabulary_are_refused_by_line(void **state) {
    (void)state;
    static const struct {
        const char *text, *part;
    } wrong[] = {{"", "expected <pad>"},
                 {"<pad>\n<unk>\n", "expected <pad>"},
                 {"word\n<unk>\na\n", "line 1 is not <pad>"},
                 {"<pad>\n<pad>\na\n", "line 2 is not <unk>"},
                 {"<pad>\n<unk>\na\n\nb\n", "line 4 is empty"},
                 {"<pad>\n<unk>\na\nb\na\n", "line 5: the word \"a\" stands there twice"},
                 {"<pad>\n<unk>\na\xff\n", "invalid UTF-8 at byte 13"}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct words *words;
        struct error error = {0};
        if (words_open(&words, folder_write_text("bad.txt", wrong[i].text), &error))
            fail_msg("opened; expected \"%s\"", wrong[i].part);
        if (strstr(error.message, wrong[i].part) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", error.message, wrong[i].part);
    }
}

/* A tokenizer of bytes with these special tokens. */
static struct tokenizer *open_tokenizer(const char *const *special, size_t count) {
    const struct bpe_settings settings = {
        .vocabulary = 256 + count, .minimum_count = 2, .special = special, .special_count = count};
    struct bpe_trainer *trainer;
    struct tokenizer *tokenizer;
    struct error error = {0};
    assert_true(bpe_trainer_open(&trainer, &settings, &error));
    assert_true(bpe_trainer_add(trainer, "abcd", 4, &error));
    if (!bpe_trainer_write(trainer, folder_path("."), &error)) fail_msg("%s", error.message);
    bpe_trainer_close(trainer);
    assert_true(tokenizer_open(&tokenizer, folder_path("."), &error));
    return tokenizer;
}

static void assert_framed(const char *const *special, size_t count, int64_t limit, const char *first, const char *last,
                          size_t length, bool cut) {
    struct tokenizer *tokenizer = open_tokenizer(special, count);
    struct text_reader reader;
    struct token_list list = {0};
    struct error error = {0};
    bool truncated;
    assert_true(text_reader_of_bert(&reader, tokenizer, &error));
    assert_true(text_reader_encode(&reader, "abcdef", 6, limit, &list, &truncated, &error));
    assert_int_equal(list.count, length);
    assert_int_equal(truncated, cut);
    assert_int_equal(list.ids[0], tokenizer_token_id(tokenizer, first));
    assert_int_equal(list.ids[1], tokenizer_token_id(tokenizer, "a"));
    assert_int_equal(list.ids[length - 1], tokenizer_token_id(tokenizer, last));
    token_list_free(&list);
    tokenizer_close(tokenizer);
}

static void bert_reads_a_text_between_cls_and_sep_and_cutting_leaves_both(void **state) {
    (void)state;
    static const char *const bert[] = {"[PAD]", "[CLS]", "[SEP]"}, *const other[] = {"<|endoftext|>"};
    assert_framed(bert, 3, 100, "[CLS]", "[SEP]", 8, false);
    assert_framed(bert, 3, 8, "[CLS]", "[SEP]", 8, false);
    assert_framed(bert, 3, 5, "[CLS]", "[SEP]", 5, true);
    assert_framed(other, 1, 100, "<|endoftext|>", "f", 7, false);
    assert_framed(other, 1, 3, "<|endoftext|>", "b", 3, true);
    static const char *const neither[] = {"<s>"};
    struct tokenizer *tokenizer = open_tokenizer(neither, 1);
    struct text_reader reader;
    struct error error = {0};
    assert_false(text_reader_of_bert(&reader, tokenizer, &error));
    assert_non_null(strstr(error.message, "[CLS]"));
    tokenizer_close(tokenizer);
}

/* Llama's BOS stands before a note and counts among its tokens; Qwen2.5 has none; a note cannot write one. */
static void a_decoder_reads_a_text_behind_its_own_bos(void **state) {
    static const struct {
        const char *directory;
        int32_t first;
    } cases[] = {{"../shared/tokenizers/llama2", 1},
                 {"../shared/tokenizers/llama3.1", 128000},
                 {"../shared/tokenizers/qwen2.5", -1},
                 {"models/tiny-classifier", -1}};
    static const char note[] = "chest pain <|endoftext|> and <s> dyspnea on exertion";
    (void)state;
    if (!path_exists(cases[0].directory)) {
        print_message("skipped: %s is absent\n", cases[0].directory);
        skip();
    }
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        struct tokenizer *tokenizer;
        struct text_reader reader;
        struct token_list list = {0};
        struct text back = {0};
        struct error error = {0};
        bool truncated;
        if (!tokenizer_open(&tokenizer, cases[c].directory, &error)) fail_msg("%s", error.message);
        assert_true(text_reader_of_decoder(&reader, tokenizer, &error));
        assert_int_equal(reader.first, cases[c].first);
        assert_true(text_reader_encode(&reader, note, sizeof note - 1, 512, &list, &truncated, &error));
        if (cases[c].first >= 0) assert_int_equal(list.ids[0], cases[c].first);
        /* Special tokens are left out of the text, and nothing is missing: the note has written none. */
        assert_true(tokenizer_decode(tokenizer, list.ids, list.count, true, &back, &error));
        assert_string_equal(back.data, note);
        list.count = 0;
        assert_true(text_reader_encode(&reader, note, sizeof note - 1, 5, &list, &truncated, &error));
        assert_int_equal(list.count, 5);
        assert_true(truncated);
        text_free(&back);
        token_list_free(&list);
        tokenizer_close(tokenizer);
    }
}

static void a_text_without_words_is_an_error(void **state) {
    (void)state;
    struct words *words = learn("a b", 1);
    const struct text_reader reader = text_reader_of_words(words);
    struct token_list list = {0};
    struct error error = {0};
    bool truncated;
    assert_false(text_reader_encode(&reader, " .. ", 4, 10, &list, &truncated, &error));
    assert_non_null(strstr(error.message, "no words"));
    assert_true(text_reader_encode(&reader, "a b a", 5, 2, &list, &truncated, &error));
    assert_true(truncated && list.count == 2);
    token_list_free(&list);
    words_close(words);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_runs_of_letters_and_digits_in_lower_case_by_falling_frequency),
        cmocka_unit_test(words_that_are_too_rare_are_the_unknown_one),
        cmocka_unit_test(a_written_vocabulary_reads_back_to_the_same_ids),
        cmocka_unit_test(files_that_are_no_vocabulary_are_refused_by_line),
        cmocka_unit_test(bert_reads_a_text_between_cls_and_sep_and_cutting_leaves_both),
        cmocka_unit_test(a_decoder_reads_a_text_behind_its_own_bos),
        cmocka_unit_test(a_text_without_words_is_an_error),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
