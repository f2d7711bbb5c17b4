/* What is read of a text that is too long: head, tail, a share of both, or the sections that tell most. */
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "drg/sections.h"
#include "model/text_reader.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct words *learn(const char *text) {
    struct word_counts *counts;
    struct words *words;
    struct error error = {0};
    assert_true(word_counts_open(&counts, &error) && word_counts_add(counts, text, strlen(text), &error));
    if (!words_learn(&words, counts, 1, &error)) fail_msg("%s", error.message);
    word_counts_close(counts);
    return words;
}

/* The reader's tokens of `note` spelt as the words of `expected`. */
static void reads(const char *note, struct text_window window, int64_t limit, const char *expected, bool cut) {
    struct words *words = learn(note);
    struct text_reader reader = text_reader_of_words(words);
    struct token_list list = {0}, wanted = {0};
    struct error error = {0};
    bool truncated;
    reader.window = window;
    if (!text_reader_encode(&reader, note, strlen(note), limit, &list, &truncated, &error))
        fail_msg("%s", error.message);
    assert_true(words_encode(words, expected, strlen(expected), &wanted, &error));
    assert_int_equal(list.count, wanted.count);
    assert_memory_equal(list.ids, wanted.ids, wanted.count * sizeof *wanted.ids);
    assert_int_equal(truncated, cut);
    token_list_free(&list);
    token_list_free(&wanted);
    words_close(words);
}

static void head_tail_and_both_keep_so_many_words_in_order(void **state) {
    (void)state;
    static const char note[] = "one two three four five six seven eight nine ten";
    reads(note, (struct text_window){0}, 4, "one two three four", true);
    reads(note, (struct text_window){.truncation = TRUNCATE_TAIL}, 4, "seven eight nine ten", true);
    reads(note, (struct text_window){TRUNCATE_HEAD_TAIL, 0.75}, 4, "one two three ten", true);
    reads(note, (struct text_window){TRUNCATE_HEAD_TAIL, 0.5}, 5, "one two three nine ten", true);
    reads(note, (struct text_window){TRUNCATE_HEAD_TAIL, 0}, 3, "eight nine ten", true);
    reads(note, (struct text_window){TRUNCATE_HEAD_TAIL, 1}, 3, "one two three", true);
    for (int way = 0; way < TRUNCATIONS; way++)
        reads(note, (struct text_window){(enum truncation)way, 0.5}, 10, note, false);
}

static const char note[] = "Sex: F\nChief Complaint:\nfever cough\nSocial History:\nlives alone\n"
                           "Brief Hospital Course:\ntreated pneumonia with ceftriaxone\n"
                           "Discharge Diagnosis:\npneumonia sepsis\nFollowup Instructions:\nclinic\n";

static void sections_that_tell_the_drg_are_kept_first_and_stay_in_the_order_of_the_note(void **state) {
    (void)state;
    const struct text_window window = {.truncation = TRUNCATE_SECTIONS};
    /* Four words of the diagnosis with its heading, seven of the course, then the complaint's. */
    reads(note, window, 4, "discharge diagnosis pneumonia sepsis", true);
    reads(note, window, 3, "discharge diagnosis pneumonia", true);
    reads(note, window, 11,
          "brief hospital course treated pneumonia with ceftriaxone discharge diagnosis pneumonia sepsis", true);
    reads(
        note, window, 14,
        "chief complaint fever brief hospital course treated pneumonia with ceftriaxone discharge diagnosis pneumonia "
        "sepsis",
        true);
    reads("a text without any heading", window, 3, "a text without", true);
}

/* The frame of BERT or Llama's BOS stands whatever the window keeps. */
static void the_frame_survives_every_window(void **state) {
    (void)state;
    static const char text[] = "one two three four five";
    for (int way = 0; way < TRUNCATIONS; way++) {
        struct words *words = learn(text);
        struct text_reader reader = text_reader_of_words(words);
        struct token_list list = {0};
        struct error error = {0};
        bool truncated;
        reader.first = 700;
        reader.last = 800;
        reader.window = (struct text_window){(enum truncation)way, 0.5};
        assert_true(text_reader_encode(&reader, text, strlen(text), 4, &list, &truncated, &error));
        assert_true(truncated && list.count == 4 && list.ids[0] == 700 && list.ids[3] == 800);
        token_list_free(&list);
        words_close(words);
    }
}

static void sections_lie_end_to_end_and_carry_their_rank(void **state) {
    (void)state;
    struct note_section *sections;
    struct error error = {0};
    size_t count;
    static const int ranks[] = {7, 3, 7, 2, 0, 7};
    assert_true(sections_find(&sections, &count, note, sizeof note - 1, &error));
    assert_int_equal(count, 6);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(sections[i].start, i == 0 ? 0 : sections[i - 1].end);
        assert_int_equal(sections[i].rank, ranks[i]);
    }
    assert_int_equal(sections[5].end, sizeof note - 1);
    memory_free(sections);
    assert_true(sections_find(&sections, &count, "", 0, &error));
    assert_int_equal(count, 0);
    memory_free(sections);
}

static void ways_are_read_by_name(void **state) {
    (void)state;
    enum truncation way = TRUNCATE_HEAD;
    struct error error = {0};
    for (int i = 0; i < TRUNCATIONS; i++) {
        assert_true(truncation_parse(truncation_name((enum truncation)i), &way, &error));
        assert_int_equal(way, i);
    }
    assert_false(truncation_parse("middle", &way, &error));
    assert_non_null(strstr(error.message, "head_tail"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(head_tail_and_both_keep_so_many_words_in_order),
        cmocka_unit_test(sections_that_tell_the_drg_are_kept_first_and_stay_in_the_order_of_the_note),
        cmocka_unit_test(the_frame_survives_every_window),
        cmocka_unit_test(sections_lie_end_to_end_and_carry_their_rank),
        cmocka_unit_test(ways_are_read_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
