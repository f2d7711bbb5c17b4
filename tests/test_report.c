/* The HTML report: one page that loads nothing, made of the run's own files, without notes unless asked for. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "command.h"
#include "eval/report_page.h"
#include "folder.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void read_whole(struct text *text, const char *path) {
    struct error error = {0};
    text_clear(text);
    if (!file_read(text, path, 0, &error)) fail_msg("%s", error.message);
}

/* A run directory with a card, a log whose last line a crash cut short, and an evaluation of two stays. */
static const char *make_run(void) {
    static const char card[] = "{\"format\": 1, \"task\": \"classify\", \"grouper\": \"v43\", \"max_tokens\": 64, "
                               "\"recipe\": \"r.yaml\", \"drgs\": [291, 292]}";
    struct error error = {0};
    static char run[512]; /* folder_path keeps eight paths only */
    snprintf(run, sizeof run, "%s", folder_path("run"));
    assert_true(directory_create(run, &error) && directory_create(folder_path("run/evaluation"), &error));
    folder_write_text("run/casemix.json", card);
    folder_write_text("run/log.jsonl",
                      "\n{\"step\": 1, \"loss\": 2.5}\n{\"step\": 2, \"dev_loss\": 2.25}\n{\"step\": 3, ");
    folder_write_text("run/recipe.yaml", "method: classify # </script><b>\n");
    folder_write_text("run/evaluation/evaluation.json", "{\"name\": \"model\", \"baselines\": []}");
    folder_write_text("run/evaluation/predictions.jsonl",
                      "{\"note_id\": \"a\", \"drg\": 291, \"predictions\": [{\"drg\": 291, \"p\": 0.5}]}\n"
                      "{\"note_id\": \"b\", \"drg\": 292, \"predictions\": [{\"drg\": 291, \"p\": 0.75}]}\n");
    folder_write_text("stays.jsonl", "{\"note_id\": \"a\", \"text\": \"SECRET ONE\", \"drg\": 291}\n"
                                     "{\"note_id\": \"b\", \"text\": \"SECRET TWO\", \"drg\": 292}\n");
    return run;
}

/* The JSON of a page. */
static struct json *page_data(const struct text *page) {
    static const char start[] = "<script type=\"application/json\" id=\"data\">";
    struct json *document;
    struct error error = {0};
    const char *from = strstr(page->data, start);
    assert_non_null(from);
    from += strlen(start);
    const char *end = strstr(from, "</script>");
    assert_non_null(end);
    if (!json_parse(&document, "page", from, (size_t)(end - from), &error)) fail_msg("%s", error.message);
    return document;
}

static void the_page_holds_the_runs_facts(void **state) {
    struct printed printed = {0};
    struct text page = {0};
    (void)state;
    const char *run = make_run();
    command_run(&printed, "report %s/ --out %s", run, folder_path("page.html"));
    assert_int_equal(printed.status, 0);
    read_whole(&page, folder_path("page.html"));
    struct json *document = page_data(&page);
    const json_node *root = json_root(document);
    assert_string_equal(json_string(json_member(root, "name")), "run");
    assert_int_equal(json_count(json_member(root, "log")), 2);
    assert_string_equal(json_string(json_member(root, "recipe")), "method: classify # </script><b>\n");
    assert_string_equal(json_string(json_member(json_member(root, "evaluation"), "name")), "model");
    assert_int_equal(json_count(json_member(root, "examples")), 0);
    assert_null(strstr(page.data, "SECRET"));
    json_free(document);
    text_free(&page);
    printed_free(&printed);
}

static void notes_are_shown_only_when_asked_for(void **state) {
    struct printed printed = {0};
    struct text page = {0};
    (void)state;
    const char *run = make_run();
    command_run(&printed, "report %s --out %s --examples %s", run, folder_path("page.html"),
                folder_path("stays.jsonl"));
    assert_int_equal(printed.status, 0);
    read_whole(&page, folder_path("page.html"));
    struct json *document = page_data(&page);
    const json_node *examples = json_member(json_root(document), "examples"), *first = json_first(examples);
    assert_int_equal(json_count(examples), 2);
    assert_string_equal(json_string(json_member(first, "text")), "SECRET TWO"); /* the wrong one comes first */
    assert_false(json_bool(json_member(first, "right"), true));
    json_free(document);
    folder_write_text("other.jsonl", "{\"note_id\": \"x\", \"text\": \"t\", \"drg\": 291}\n");
    command_refuses("not that of the examples' file", "report %s --out %s --examples %s", run,
                    folder_path("other.html"), folder_path("other.jsonl"));
    assert_false(path_exists(folder_path("other.html")));
    text_free(&page);
    printed_free(&printed);
}

static void the_page_asks_the_network_for_nothing(void **state) {
    static const char *const forbidden[] = {"src=\"", "<link", "@import", "url(", "fetch(", "XMLHttpRequest"};
    size_t length;
    (void)state;
    const char *bytes = report_page(&length);
    struct text page = {0};
    text_append(&page, bytes, length);
    assert_non_null(strstr(page.data, "default-src 'none'"));
    for (size_t i = 0; i < sizeof forbidden / sizeof forbidden[0]; i++) assert_null(strstr(page.data, forbidden[i]));
    assert_true(length < 300000);
    text_free(&page);
}

/* `make web` has been run since the script or the style was last changed. */
static void the_page_is_made_of_the_script_and_style_as_they_stand(void **state) {
    static const char *const parts[] = {"web/report/style.css", "web/report/report.js"};
    size_t length;
    struct text part = {0};
    (void)state;
    const char *page = report_page(&length);
    for (size_t i = 0; i < 2; i++) {
        read_whole(&part, parts[i]);
        if (memmem(page, length, part.data, part.length) == NULL) fail_msg("%s: run make web", parts[i]);
    }
    assert_non_null(memmem(page, length, "The MIT License", 15));
    text_free(&part);
}

static void what_is_damaged_or_missing_is_said(void **state) {
    (void)state;
    const char *run = make_run();
    command_refuses("no casemix.json", "report %s --out %s", folder_path("."), folder_path("none.html"));
    command_refuses("evaluation.json", "report %s --out %s --evaluation %s", run, folder_path("none.html"),
                    folder_path("nowhere"));
    folder_write_text("run/evaluation/evaluation.json", "{\"name\": ");
    command_refuses("evaluation.json", "report %s --out %s", run, folder_path("none.html"));
    assert_false(path_exists(folder_path("none.html")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_holds_the_runs_facts),
        cmocka_unit_test(notes_are_shown_only_when_asked_for),
        cmocka_unit_test(the_page_asks_the_network_for_nothing),
        cmocka_unit_test(the_page_is_made_of_the_script_and_style_as_they_stand),
        cmocka_unit_test(what_is_damaged_or_missing_is_said),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
