/* What people see of a prediction: nothing leaves the table's columns, and nothing moves the cursor. */
#include "base/text.h"
#include "cli/prediction_table.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void words_are_wrapped_within_the_columns_and_indented(void **state) {
    (void)state;
    struct text words = {0}, out = {0};
    for (int i = 0; i < 60; i++) text_printf(&words, "%sépisode %d", i == 0 ? "\n" : " ", i);
    table_add_words(&out, "reasoning", words.data, words.length);
    int lines = 0;
    for (const char *line = out.data, *end; *line != '\0'; line = end + 1, lines++) {
        end = strchr(line, '\n');
        assert_non_null(end);
        assert_true(utf8_columns(line, (size_t)(end - line)) <= TABLE_COLUMNS);
        assert_memory_equal(line, lines == 0 ? "  reasoning: é" : "    ", lines == 0 ? 15 : 4);
        if (end[1] != '\0') assert_true(utf8_columns(line, (size_t)(end - line)) > TABLE_COLUMNS - 12);
    }
    assert_true(lines > 5);
    text_free(&words);
    text_free(&out);
}

static void line_ends_stay_and_control_characters_do_not(void **state) {
    (void)state;
    static const char words[] = "One.\r\n\nTwo\x1b[2J three\t\x07 \xc2\x9b"
                                "4 \xc2\xb5g \xc2";
    struct text out = {0};
    table_add_words(&out, "reasoning", words, sizeof words - 1);
    assert_string_equal(out.data, "  reasoning: One.\n    Two [2J three 4 \xc2\xb5g \xc2\n");
    text_clear(&out);
    table_add_words(&out, "reasoning", "", 0);
    assert_string_equal(out.data, "  reasoning:\n");
    text_free(&out);
}

static void a_word_longer_than_a_line_stands_alone(void **state) {
    (void)state;
    char words[300];
    memset(words, 'x', sizeof words);
    memcpy(words, "a ", 2);
    memcpy(words + sizeof words - 2, " b", 2);
    struct text out = {0};
    table_add_words(&out, "r", words, sizeof words);
    assert_memory_equal(out.data, "  r: a\n    xx", 13);
    assert_string_equal(out.data + out.length - 8, "x\n    b\n");
    text_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_are_wrapped_within_the_columns_and_indented),
        cmocka_unit_test(line_ends_stay_and_control_characters_do_not),
        cmocka_unit_test(a_word_longer_than_a_line_stands_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
