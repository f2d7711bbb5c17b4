/* The program as a user meets it: what it prints, and that bad input gives one line, exit status 1 and leaves
 * everything as it was. */
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "command.h"
#include "folder.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MODEL "models/tiny-classifier"
#define NOTE "examples/notes/6-copd.txt"

/* A copy of the shipped model whose file NAME the caller may damage. */
static const char *copy_model(const char *name) {
    static char folder[1024];
    char command[4096];
    snprintf(folder, sizeof folder, "%s", folder_path(name));
    snprintf(command, sizeof command, "cp -r " MODEL " %s", folder);
    assert_int_equal(system(command), 0);
    return folder;
}

static void read_copy(struct text *bytes, const char *model, const char *file) {
    char path[4096];
    text_clear(bytes);
    assert_true(path_join(path, sizeof path, model, file) && file_read(bytes, path, 0, NULL));
}

static void write_copy(const char *model, const char *file, const char *bytes, size_t length) {
    char path[4096];
    assert_true(path_join(path, sizeof path, model, file) && file_write(path, bytes, length, NULL));
}

static void examples_give_ranked_rows_that_fit_the_page(void **state) {
    (void)state;
    struct printed printed = {0};
    command_run(&printed, "predict examples/notes/*.txt");
    assert_int_equal(printed.status, 0);
    size_t rows = 0;
    for (char *line = strtok(printed.out.data, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        assert_true(utf8_columns(line, strlen(line)) <= 100);
        int code;
        double p;
        rows += sscanf(line, "  %d  %lf%%", &code, &p) == 2;
    }
    assert_int_equal(rows, 6 * 5);
    printed_free(&printed);
}

static void every_help_page_fits_the_page(void **state) {
    static const char *const commands[] = {"",       "predict",  "drg",        "eval",   "metrics", "report",
                                           "reward", "train",    "prepare",    "export", "synth",   "tokenize",
                                           "bench",  "generate", "rationales", "serve",  "key",     "audit"};
    struct printed printed = {0};
    (void)state;
    for (size_t c = 0; c < sizeof commands / sizeof *commands; c++) {
        command_run(&printed, "%s --help", commands[c]);
        assert_int_equal(printed.status, 0);
        for (char *line = strtok(printed.out.data, "\n"); line != NULL; line = strtok(NULL, "\n")) {
            if (utf8_columns(line, strlen(line)) > 100) fail_msg("%s --help: %s", commands[c], line);
        }
    }
    printed_free(&printed);
}

static void json_csv_and_stdin_say_the_same(void **state) {
    (void)state;
    struct printed json = {0}, csv = {0}, piped = {0};
    struct json *document;
    command_run(&json, "predict --json --top-k 3 " NOTE);
    command_run(&csv, "predict --csv --top-k 3 " NOTE);
    command_run(&piped, "predict --json --top-k 3 - <" NOTE);
    assert_int_equal(json.status + csv.status, 0);
    assert_true(json_parse(&document, "output", json.out.data, json.out.length, NULL));
    const json_node *predictions = json_member(json_root(document), "predictions");
    assert_int_equal(json_count(predictions), 3);
    char row[64];
    double sum = 0;
    int rank = 1;
    for (const json_node *one = json_first(predictions); one != NULL; one = json_next(one)) {
        sum += json_number(json_member(one, "p"));
        snprintf(row, sizeof row, "\n" NOTE ",%d,%d,", rank++, (int)json_number(json_member(one, "drg")));
        assert_non_null(strstr(csv.out.data, row));
    }
    assert_true(sum > 0 && sum <= 1.000001);
    assert_non_null(strstr(piped.out.data, strstr(json.out.data, "\"predictions\"")));
    json_free(document);
    printed_free(&json);
    printed_free(&csv);
    printed_free(&piped);
}

/* One note, alone and among others, with one thread and with two: the same probabilities. */
static void a_note_is_coded_alike_alone_and_in_a_batch(void **state) {
    (void)state;
    struct printed alone = {0}, many = {0};
    command_run(&alone, "predict --json --threads 1 " NOTE);
    command_run(&many, "predict --json --threads 2 examples/notes/*.txt");
    const char *a = strstr(alone.out.data, "\"predictions\""), *b = strstr(many.out.data, NOTE);
    assert_non_null(b);
    b = strstr(b, "\"predictions\"");
    for (int i = 0; i < 5; i++) {
        int first, second;
        double p, q;
        a = strstr(a, "{\"drg\": ");
        b = strstr(b, "{\"drg\": ");
        assert_int_equal(sscanf(a, "{\"drg\": %d", &first) + sscanf(b, "{\"drg\": %d", &second), 2);
        a = strstr(a, "\"p\": ");
        b = strstr(b, "\"p\": ");
        assert_int_equal(sscanf(a, "\"p\": %lf", &p) + sscanf(b, "\"p\": %lf", &q), 2);
        assert_int_equal(first, second);
        assert_true(fabs(p - q) < 1e-4);
    }
    printed_free(&alone);
    printed_free(&many);
}

static void a_csv_of_notes_keeps_quotes_and_line_feeds(void **state) {
    (void)state;
    struct printed printed = {0};
    const char *path = folder_write_text(
        "notes.csv",
        "note_id,text\n\"a,1\",\"Brief Hospital Course:\nCame in with \"\"COPD\"\", steroids.\n\"\nb,Knee pain.\n");
    command_run(&printed, "predict --csv --top-k 1 %s", path);
    assert_int_equal(printed.status, 0);
    assert_non_null(strstr(printed.out.data, "\"a,1\",1,"));
    assert_non_null(strstr(printed.out.data, "\nb,1,"));
    printed_free(&printed);
}

static void notes_that_cannot_be_coded_are_refused_in_one_line(void **state) {
    (void)state;
    char *large = malloc(5 << 20);
    assert_non_null(large);
    memset(large, 'a', 5 << 20);
    command_refuses("is empty", "predict %s", folder_write_text("empty.txt", ""));
    command_refuses("is empty", "predict %s", folder_write_text("blank.txt", "\n \n"));
    command_refuses("more than a note may have", "predict %s", folder_write("large.txt", large, 5 << 20));
    command_refuses("invalid UTF-8 at byte 5", "predict %s", folder_write_text("latin.txt", "caf\x65 \xe9"));
    command_refuses("directory", "predict %s", folder_path("."));
    command_refuses("No such file", "predict %s", folder_path("absent.txt"));
    command_refuses("line 2", "predict %s", folder_write_text("open.csv", "text\n\"never closed\nand more\n"));
    command_refuses("text", "predict %s", folder_write_text("column.csv", "body\nx\n"));
    command_refuses("line 2", "predict %s", folder_write_text("bad.jsonl", "{\"text\":\"fine\"}\n{\"text\":\n"));
    free(large);
}

/* What stood before the bad row has been coded and printed. */
static void rows_before_a_bad_one_are_printed(void **state) {
    (void)state;
    struct printed printed = {0};
    command_run(&printed, "predict --csv --top-k 1 %s",
                folder_write_text("half.csv", "note_id,text\na,Knee pain.\nb,\"open\n"));
    assert_int_equal(printed.status, 1);
    assert_non_null(strstr(printed.out.data, "\na,1,"));
    printed_free(&printed);
}

static void damaged_models_are_refused_in_one_line(void **state) {
    (void)state;
    struct text bytes = {0};
    const char *model = copy_model("damaged");
    read_copy(&bytes, model, "model.safetensors");
    write_copy(model, "model.safetensors", bytes.data, bytes.length / 2);
    command_refuses("model.safetensors", "predict --model %s " NOTE, model);
    write_copy(model, "model.safetensors", bytes.data, 5);
    command_refuses("model.safetensors", "predict --model %s " NOTE, model);
    memcpy(bytes.data, "\0\0\0\0\0\0\0\x10", 8); /* a header of 2^60 bytes */
    write_copy(model, "model.safetensors", bytes.data, bytes.length);
    command_refuses("header", "predict --model %s " NOTE, model);
    read_copy(&bytes, MODEL, "model.safetensors");
    memcpy(bytes.data + bytes.length - 2, "\xc0\x7f", 2); /* the last weight becomes a NaN */
    write_copy(model, "model.safetensors", bytes.data, bytes.length);
    command_refuses("NaN", "predict --model %s " NOTE, model);
    text_free(&bytes);
}

static void models_that_do_not_fit_together_are_refused(void **state) {
    (void)state;
    struct text bytes = {0};
    const char *model = copy_model("misfit");
    read_copy(&bytes, model, "config.json");
    char *layers = strstr(bytes.data, "\"intermediate_size\": ");
    assert_non_null(layers);
    layers[strlen("\"intermediate_size\": ")] = '8';
    write_copy(model, "config.json", bytes.data, bytes.length);
    command_refuses("shape", "predict --model %s " NOTE, model);
    read_copy(&bytes, MODEL, "config.json");
    write_copy(model, "config.json", bytes.data, bytes.length / 2);
    command_refuses("config.json", "predict --model %s " NOTE, model);
    command_refuses("no casemix.json", "predict --model %s " NOTE, "examples");
    command_refuses("absent", "predict --model %s " NOTE, folder_path("absent"));
    text_free(&bytes);
}

static void a_full_device_is_reported(void **state) {
    (void)state;
    if (access("/dev/full", W_OK) != 0) skip();
    command_refuses("standard output", "drg list --tsv >/dev/full");
    command_refuses("standard output", "predict --json " NOTE " >/dev/full");
}

static void wrong_usage_ends_with_status_2_and_a_remedy(void **state) {
    (void)state;
    struct printed printed = {0};
    command_run(&printed, "predct");
    assert_int_equal(printed.status, 2);
    assert_non_null(strstr(printed.errors.data, "did you mean `casemix predict`"));
    static const char *const wrong[] = {"",
                                        "predict --top-k 0",
                                        "predict --frobnicate",
                                        "train",
                                        "eval",
                                        "metrics",
                                        "synth",
                                        "drg show",
                                        "drg frob",
                                        "eval --data x",
                                        "metrics classify",
                                        "synth --stays -1 --out x",
                                        "train recipe.yaml",
                                        "tokenize --nope"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        command_run(&printed, "%s", wrong[i]);
        if (printed.status != 2) fail_msg("casemix %s: status %d, %s", wrong[i], printed.status, printed.errors.data);
    }
    static const char *const names[] = {"predict", "drg",      "eval",  "metrics", "train",
                                        "synth",   "tokenize", "bench", "reward",  "report"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        command_run(&printed, "%s --help", names[i]);
        assert_int_equal(printed.status, 0);
        assert_non_null(strstr(printed.out.data, "usage: casemix"));
        assert_int_equal(printed.errors.length, 0);
    }
    printed_free(&printed);
}

/* The first line of a table of predictions that names a DRG. */
static int first_drg(struct text *out) {
    for (char *line = strtok(out->data, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        int code;
        double p;
        if (sscanf(line, "  %d  %lf%%", &code, &p) == 2) return code;
    }
    return -1;
}

static void weights_in_eight_bits_code_the_example_alike_and_can_be_kept(void **state) {
    (void)state;
    struct printed printed = {0};
    char cache[1024];
    snprintf(cache, sizeof cache, "%s", folder_path("eight-bits"));
    command_run(&printed, "predict --compute f32 " NOTE);
    assert_int_equal(printed.status, 0);
    const int wanted = first_drg(&printed.out);
    for (int start = 0; start < 2; start++) {
        command_run(&printed, "predict --compute int8 --int8-cache %s " NOTE, cache);
        assert_int_equal(printed.status, 0);
        assert_int_equal(first_drg(&printed.out), wanted);
        char command[1200];
        snprintf(command, sizeof command, "test $(ls %s | wc -l) = 1", cache);
        assert_int_equal(system(command), 0);
    }
    command_run(&printed, "predict --int8-cache %s " NOTE, cache);
    assert_int_equal(printed.status, 2);
    command_run(&printed, "bench --shape 13b");
    assert_int_equal(printed.status, 2);
    command_run(&printed, "eval --compute int4 --model " MODEL " --data x");
    assert_int_equal(printed.status, 2);
    printed_free(&printed);
}

static void drg_show_and_resolve_answer(void **state) {
    (void)state;
    struct printed printed = {0};
    command_run(&printed, "drg show 291");
    assert_int_equal(printed.status, 0);
    assert_non_null(strstr(printed.out.data, "HEART FAILURE AND SHOCK WITH MCC"));
    command_run(&printed, "drg resolve 4 3");
    assert_int_equal(printed.status, 0);
    assert_non_null(strstr(printed.out.data, "7"));
    command_refuses("DRG", "drg show 997");
    printed_free(&printed);
}

/* What the environment of a running program says of GNU's OpenMP, when SETTINGS were in it at its start. */
static void spin_count(struct text *found, const char *settings) {
    char command[4096];
    const char *build = getenv("B");
    snprintf(command, sizeof command,
             "mkfifo %s && { env -u OMP_WAIT_POLICY -u GOMP_SPINCOUNT %s %s/casemix tokenize --model " MODEL
             " <%s >%s & exec 3>%s; for try in $(seq 50); do "
             "tr '\\0' '\\n' </proc/$!/environ | grep ^GOMP_SPINCOUNT && break; sleep 0.02; done >%s; "
             "echo fever >&3; exec 3>&-; wait $!; test -s %s; status=$?; rm %s; exit $status; }",
             folder_path("waits"), settings, build == NULL ? "build" : build, folder_path("waits"), folder_path("ids"),
             folder_path("waits"), folder_path("found"), folder_path("ids"), folder_path("waits"));
    assert_int_equal(system(command), 0);
    text_clear(found);
    assert_true(file_read(found, folder_path("found"), 0, NULL));
    text_add(found, "");
}

static void waiting_threads_sleep_soon_unless_told_otherwise(void **state) {
    (void)state;
    struct text found = {0};
    spin_count(&found, "");
    assert_string_equal(found.data, "GOMP_SPINCOUNT=1000\n");
    spin_count(&found, "GOMP_SPINCOUNT=7");
    assert_string_equal(found.data, "GOMP_SPINCOUNT=7\n");
    spin_count(&found, "OMP_WAIT_POLICY=passive");
    assert_string_equal(found.data, "");
    text_free(&found);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(examples_give_ranked_rows_that_fit_the_page),
        cmocka_unit_test(every_help_page_fits_the_page),
        cmocka_unit_test(json_csv_and_stdin_say_the_same),
        cmocka_unit_test(a_note_is_coded_alike_alone_and_in_a_batch),
        cmocka_unit_test(a_csv_of_notes_keeps_quotes_and_line_feeds),
        cmocka_unit_test(notes_that_cannot_be_coded_are_refused_in_one_line),
        cmocka_unit_test(rows_before_a_bad_one_are_printed),
        cmocka_unit_test(damaged_models_are_refused_in_one_line),
        cmocka_unit_test(models_that_do_not_fit_together_are_refused),
        cmocka_unit_test(a_full_device_is_reported),
        cmocka_unit_test(wrong_usage_ends_with_status_2_and_a_remedy),
        cmocka_unit_test(weights_in_eight_bits_code_the_example_alike_and_can_be_kept),
        cmocka_unit_test(drg_show_and_resolve_answer),
        cmocka_unit_test(waiting_threads_sleep_soon_unless_told_otherwise),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
