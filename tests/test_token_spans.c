/* Where tokens stand in the text that was encoded, whatever normalisation made of it: as a reader would underline them.
 */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "model/text_reader.h"
#include "tokenizer/token_spans.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/words.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SHIPPED "models/tiny-classifier"
#define SHARED "../shared/tokenizers"

static struct tokenizer *open_tokenizer(const char *path) {
    struct tokenizer *tokenizer;
    struct error error = {0};
    if (!path_exists(path)) {
        printf("skipped: %s is not here\n", path);
        skip();
    }
    if (!tokenizer_open(&tokenizer, path, &error)) fail_msg("%s", error.message);
    return tokenizer;
}

/* The ids are those of the usual way; the spans lie in the text, in order. */
static void encode(const struct tokenizer *tokenizer, const char *text, struct token_list *list,
                   struct token_spans *spans) {
    struct token_list usual = {0};
    struct error error = {0};
    const size_t length = strlen(text);
    assert_true(tokenizer_encode_content(tokenizer, text, length, true, &usual, &error));
    if (!tokenizer_encode_content_spans(tokenizer, text, length, true, list, spans, &error))
        fail_msg("%s", error.message);
    assert_int_equal(list->count, usual.count);
    assert_int_equal(spans->count, usual.count);
    if (usual.count > 0) assert_memory_equal(list->ids, usual.ids, usual.count * sizeof *usual.ids);
    for (size_t i = 0; i < spans->count; i++) {
        assert_true(spans->items[i].start <= spans->items[i].end && spans->items[i].end <= length);
        if (i > 0) assert_true(spans->items[i - 1].start <= spans->items[i].start);
        if (i > 0) assert_true(spans->items[i - 1].end <= spans->items[i].end);
    }
    token_list_free(&usual);
}

/* The stretches of the text that the tokens stand for, in brackets. */
static void assert_stretches(const char *path, const char *text, const char *want) {
    struct tokenizer *tokenizer = open_tokenizer(path);
    struct token_list list = {0};
    struct token_spans spans = {0};
    struct text got = {0};
    encode(tokenizer, text, &list, &spans);
    for (size_t i = 0; i < spans.count; i++)
        text_printf(&got, "[%.*s]", (int)(spans.items[i].end - spans.items[i].start), text + spans.items[i].start);
    assert_string_equal(got.data == NULL ? "" : got.data, want);
    text_free(&got);
    token_list_free(&list);
    token_spans_free(&spans);
    tokenizer_close(tokenizer);
}

static void an_unchanged_text_is_parted_from_end_to_end(void **state) {
    (void)state;
    assert_stretches(SHIPPED, "Acute on chronic systolic CHF;\r\nBNP 1,200",
                     "[Acute][ on][ chronic][ systolic][ CHF][;][\r][\n][B][NP][ ][1][,][2][0][0]");
}

static void composed_characters_stand_for_what_they_were_composed_of(void **state) {
    (void)state;
    assert_stretches(SHIPPED, "re\xcc\x81sume\xcc\x81 of sepsis",
                     /* é is two tokens of a byte each, which both stand for the letter and its accent */
                     "[r][e\xcc\x81][e\xcc\x81][s][um][e\xcc\x81][e\xcc\x81][ of][ sepsis]");
}

static void blanks_that_become_marks_and_marks_put_before_count_right(void **state) {
    (void)state;
    static const char text[] = "Sepsis,  due to\nE. coli \xf0\x9f\xa6\xa0",
                      want[] = "[Se][ps][is][,][ ][ due][ to][\n][E][.][ col][i][ ][\xf0][\x9f][\xa6][\xa0]";
    assert_stretches(SHARED "/llama2/tokenizer.json", text, want);
    assert_stretches(SHARED "/llama2/tokenizer.model", text, want);
}

static void lower_case_accents_and_control_characters_are_traced_back(void **state) {
    (void)state;
    assert_stretches(SHARED "/bert-uncased/vocab.txt",
                     "M\xc3\xa9ni\xc3\xa8re's\x01 DISEASE\r\n\xe5\xbf\x83\xe7\x96\xbe \xe2\x98\x83zzqx re\xcc\x81sume",
                     "[M\xc3\xa9n][i\xc3\xa8re]['][s][DISEASE][\xe5\xbf\x83][\xe7\x96\xbe][\xe2\x98\x83zzqx]"
                     "[re\xcc\x81sume]");
}

static bool encode_vector(void *context, uint64_t line, const json_node *root, struct error *error) {
    struct token_list list = {0};
    struct token_spans spans = {0};
    const char *text = json_string(json_member(root, "text"));
    (void)line;
    (void)error;
    encode(context, text, &list, &spans);
    /* Nothing but white space is left out between two tokens. */
    for (size_t i = 0, at = 0; i < spans.count; i++) {
        for (; at < spans.items[i].start; at++) assert_non_null(strchr(" \t\r\n", text[at]));
        at = spans.items[i].end;
    }
    token_list_free(&list);
    token_spans_free(&spans);
    return true;
}

static void tokens_of_real_vocabularies_leave_no_letter_out(void **state) {
    (void)state;
    static const char *const names[] = {"qwen2.5", "llama3.1", "llama2", "bert-uncased"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[256];
        struct error error = {0};
        snprintf(path, sizeof path, SHARED "/%s", names[i]);
        struct tokenizer *tokenizer = open_tokenizer(path);
        snprintf(path, sizeof path, SHARED "/%s/vectors.jsonl", names[i]);
        assert_true(json_lines(path, encode_vector, tokenizer, &error));
        tokenizer_close(tokenizer);
    }
}

static void the_frame_stands_for_nothing_and_a_cut_text_has_as_many_spans_as_tokens(void **state) {
    (void)state;
    struct tokenizer *tokenizer = open_tokenizer(SHIPPED);
    struct text_reader reader;
    struct token_list list = {0};
    struct token_spans spans = {0};
    struct error error = {0};
    static const char text[] = "Acute on chronic systolic CHF";
    bool truncated;
    assert_true(text_reader_of_bert(&reader, tokenizer, &error));
    assert_true(text_reader_encode_spans(&reader, text, strlen(text), 3, &list, &spans, &truncated, &error));
    assert_true(truncated);
    assert_int_equal(list.count, 3);
    assert_int_equal(spans.count, 3);
    assert_int_equal(spans.items[0].end, 0);
    assert_int_equal(spans.items[2].end, 8); /* "Acute on" */
    token_list_free(&list);
    token_spans_free(&spans);
    tokenizer_close(tokenizer);
}

static void whole_words_are_found_between_what_parts_them(void **state) {
    (void)state;
    struct words *words = NULL;
    struct word_counts *counts = NULL;
    struct token_list list = {0};
    struct token_spans spans = {0};
    struct error error = {0};
    static const char text[] = "  M\xc3\x89NI\xc3\x88RE / sepsis.";
    assert_true(word_counts_open(&counts, &error) && word_counts_add(counts, "sepsis", 6, &error) &&
                words_learn(&words, counts, 1, &error));
    assert_true(words_encode_spans(words, text, strlen(text), &list, &spans, &error));
    assert_int_equal(spans.count, 2);
    assert_int_equal(spans.items[0].start, 2);
    assert_int_equal(spans.items[0].end, 11);
    assert_int_equal(spans.items[1].start, 14);
    assert_int_equal(spans.items[1].end, 20);
    word_counts_close(counts);
    words_close(words);
    token_list_free(&list);
    token_spans_free(&spans);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unchanged_text_is_parted_from_end_to_end),
        cmocka_unit_test(composed_characters_stand_for_what_they_were_composed_of),
        cmocka_unit_test(blanks_that_become_marks_and_marks_put_before_count_right),
        cmocka_unit_test(lower_case_accents_and_control_characters_are_traced_back),
        cmocka_unit_test(tokens_of_real_vocabularies_leave_no_letter_out),
        cmocka_unit_test(the_frame_stands_for_nothing_and_a_cut_text_has_as_many_spans_as_tokens),
        cmocka_unit_test(whole_words_are_found_between_what_parts_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
