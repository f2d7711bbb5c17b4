/* casemix generate as a user meets it: the known text of a real model, streaming and JSON alike, and what it refuses.
 */
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "command.h"
#include "folder.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define STORIES "../shared/models/stories260k"

static void need_stories(void) {
    if (path_exists(STORIES "/model.safetensors")) return;
    print_message("skipped: " STORIES " is absent\n");
    skip();
}

static void same_ids(const json_node *got, const json_node *expected) {
    const json_node *a = json_first(got), *b = json_first(expected);
    size_t count = 0;
    for (; a != NULL && b != NULL; a = json_next(a), b = json_next(b), count++) {
        int64_t x = -1, y = -2;
        assert_true(json_integer(a, &x) && json_integer(b, &y));
        if (x != y) fail_msg("token %zu is %lld, expected %lld", count, (long long)x, (long long)y);
    }
    assert_true(a == NULL && b == NULL && count > 0);
}

static void a_real_model_tells_its_known_story(void **state) {
    struct printed printed = {0};
    struct text expected = {0};
    struct json *got, *known;
    (void)state;
    need_stories();
    command_run(&printed, "generate --model " STORIES " --temperature 0 --max-tokens 200 --prompt ''");
    assert_int_equal(printed.status, 0);
    assert_true(file_read(&expected, STORIES "/expected-greedy-200.txt", 0, NULL));
    assert_string_equal(printed.out.data, expected.data);
    command_run(&printed, "generate --model " STORIES " --temperature 0 --max-tokens 200 --prompt '' --json");
    assert_true(json_parse(&got, "output", printed.out.data, printed.out.length, NULL));
    assert_true(json_load(&known, STORIES "/expected-greedy-200.json", 0, NULL));
    same_ids(json_member(json_root(got), "ids"), json_member(json_root(known), "ids"));
    assert_string_equal(json_string(json_member(json_root(got), "end")), "length");
    json_free(got);
    json_free(known);
    text_free(&expected);
    printed_free(&printed);
}

static void prompts_go_on_as_known(void **state) {
    struct printed printed = {0};
    struct json *known;
    (void)state;
    need_stories();
    assert_true(json_load(&known, STORIES "/expected-greedy-prompts.json", 0, NULL));
    for (const json_node *c = json_first(json_root(known)); c != NULL; c = json_next(c)) {
        struct json *got;
        command_run(&printed, "generate --model " STORIES " --temperature 0 --max-tokens 60 --json --prompt \"%s\"",
                    json_string(json_member(c, "prompt")));
        assert_int_equal(printed.status, 0);
        assert_true(json_parse(&got, "output", printed.out.data, printed.out.length, NULL));
        same_ids(json_member(json_root(got), "ids"), json_member(c, "new_ids"));
        json_free(got);
    }
    json_free(known);
    printed_free(&printed);
}

static void samples_follow_the_seed(void **state) {
    struct printed first = {0}, again = {0}, other = {0};
    static const char command[] = "generate --model " STORIES " --temperature 1 --samples 3 --max-tokens 30 --seed %d "
                                  "--prompt 'Once upon a time'";
    (void)state;
    need_stories();
    command_run(&first, command, 5);
    command_run(&again, command, 5);
    command_run(&other, command, 6);
    assert_string_equal(first.out.data, again.out.data);
    assert_string_not_equal(first.out.data, other.out.data);
    assert_non_null(strstr(first.out.data, "--- 3 ---"));
    printed_free(&first);
    printed_free(&again);
    printed_free(&other);
}

static void a_stop_text_ends_the_answer(void **state) {
    struct printed printed = {0};
    (void)state;
    need_stories();
    command_run(&printed,
                "generate --model " STORIES " --temperature 0 --prompt 'Once upon a time' --stop 'play outside'");
    assert_string_equal(printed.out.data, ", there was a little girl named Lily. She loved to \n");
    printed_free(&printed);
}

static void what_cannot_be_is_refused(void **state) {
    (void)state;
    command_refuses("is a classifier", "generate --model models/tiny-classifier --prompt x");
    command_refuses("No such file", "generate --model absent --prompt x");
    need_stories();
    command_refuses("chat_template", "generate --model " STORIES " --chat --prompt x");
    command_refuses("not UTF-8", "generate --model " STORIES " %s", folder_write("bad.txt", "a\xff", 2));
}

static void wrong_options_are_usage_errors(void **state) {
    static const char *const wrong[] = {"--temperature -1", "--top-p 0",  "--samples 0",    "--max-tokens x",
                                        "--system x",       "--stop ''",  "--compute fast", "--prompt a b",
                                        "--min-p 1",        "--nonsense", "--grouper v99"};
    struct printed printed = {0};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        command_run(&printed, "generate --model models/tiny-classifier %s", wrong[i]);
        if (printed.status != 2 && !(i == 10 && printed.status == 1))
            fail_msg("%s: status %d, %s", wrong[i], printed.status, printed.errors.data);
    }
    command_run(&printed, "generate");
    assert_int_equal(printed.status, 2);
    printed_free(&printed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_real_model_tells_its_known_story),
        cmocka_unit_test(prompts_go_on_as_known),
        cmocka_unit_test(samples_follow_the_seed),
        cmocka_unit_test(a_stop_text_ends_the_answer),
        cmocka_unit_test(what_cannot_be_is_refused),
        cmocka_unit_test(wrong_options_are_usage_errors),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
