/* BERT, CAML and the linear bag of words from end to end by the commands that serve the decoder: trained, resumed,
 * evaluated, predicted with, and refused. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "command.h"
#include "folder.h"
#include "small_cohort.h"
#include "small_run.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static const struct small_training training = {
    .epochs = "24", .learning_rate = "4e-3", .schedule = "linear", .eval_every = "20"};

static int make_data(void **state) {
    if (folder_make(state) != 0) return 1;
    small_data_make();
    small_recipe_write("bert.yaml", "bert", small_bert, &training);
    small_recipe_write("caml.yaml", "caml", small_caml, &training);
    small_recipe_write("linear.yaml", "linear", "linear:\n  pair_buckets: 512\n  minimum_count: 2\n", &training);
    small_recipe_write("tune.yaml", "bert", "", &training);
    return 0;
}

/* The command that trains one of the three, less --out. */
static const char *command_of(const char *method) {
    static char command[2048];
    char recipe[64];
    const bool bert = strcmp(method, "bert") == 0;
    snprintf(recipe, sizeof recipe, "%s.yaml", method);
    snprintf(command, sizeof command, "train %s --data %s%s%s --threads 1", folder_path(recipe), folder_path("data"),
             bert ? " --tokenizer " : "", bert ? folder_path("tokenizer") : "");
    return command;
}

static void train(const char *method, const char *run, const char *more) {
    struct printed printed = {0};
    char rest[1200];
    snprintf(rest, sizeof rest, " --out %s%s", folder_path(run), more);
    command_succeeds(&printed, "%s%s", command_of(method), rest);
    printed_free(&printed);
}

/* acc@1 on the test stays, as `casemix eval` prints it. */
static double accuracy_of(const char *run) {
    struct printed printed = {0};
    struct json *document;
    struct error error = {0};
    char rest[1200];
    snprintf(rest, sizeof rest, "%s --data %s --json", folder_path(run), folder_path("data/test.jsonl"));
    command_succeeds(&printed, "%s%s", "eval --model ", rest);
    if (!json_parse(&document, "eval", printed.out.data, printed.out.length, &error)) fail_msg("%s", error.message);
    const double accuracy = json_number(json_member(json_root(document), "acc1"));
    json_free(document);
    printed_free(&printed);
    return accuracy;
}

static void learns_repeats_and_resumes(const char *method) {
    struct printed printed = {0};
    char straight[64], again[64], broken[64], rest[1200];
    snprintf(straight, sizeof straight, "%s-straight", method);
    snprintf(again, sizeof again, "%s-again", method);
    snprintf(broken, sizeof broken, "%s-broken", method);
    train(method, straight, "");
    const double accuracy = accuracy_of(straight);
    if (accuracy < 0.8) fail_msg("%s names %.0f %% of the DRGs", method, 100 * accuracy);
    train(method, again, "");
    assert_same_file(straight, again, "model.safetensors");
    assert_same_file(straight, again, "checkpoint.bin");
    snprintf(rest, sizeof rest, " --out %s --stop-after 31", folder_path(broken));
    command_run(&printed, "%s%s", command_of(method), rest);
    assert_int_equal(printed.status, 1);
    assert_non_null(strstr(printed.errors.data, "--resume"));
    train(method, broken, " --resume");
    assert_same_file(straight, broken, "model.safetensors");
    assert_same_file(straight, broken, "checkpoint.bin");
    printed_free(&printed);
}

static void bert_learns_repeats_its_bytes_and_resumes_to_them(void **state) {
    (void)state;
    learns_repeats_and_resumes("bert");
    assert_true(path_exists(in_run("bert-straight", "tokenizer.json")));
}

static void caml_learns_repeats_its_bytes_and_resumes_to_them(void **state) {
    (void)state;
    learns_repeats_and_resumes("caml");
    assert_true(path_exists(in_run("caml-straight", "words.txt")));
}

static void linear_learns_repeats_its_bytes_and_resumes_to_them(void **state) {
    (void)state;
    learns_repeats_and_resumes("linear");
    train("linear", "linear-threads", " --threads 2");
    assert_same_file("linear-straight", "linear-threads", "model.safetensors");
}

static void all_predict_a_note(void **state) {
    (void)state;
    struct printed printed = {0};
    folder_write_text("note.txt", "Patient was admitted with fever and sepsis, cultures, lactate, on vancomycin.\n");
    static const char *const runs[] = {"bert-straight", "caml-straight", "linear-straight"};
    for (int i = 0; i < 3; i++) {
        command_run(&printed, "predict --model %s --top-k 1 --json %s", folder_path(runs[i]), folder_path("note.txt"));
        if (printed.status != 0) fail_msg("%s", printed.errors.data);
        if (strstr(printed.out.data, "\"drg\": 871") == NULL) fail_msg("%s: %s", runs[i], printed.out.data);
    }
    printed_free(&printed);
}

static void a_trained_bert_is_tuned_further(void **state) {
    (void)state;
    struct printed printed = {0};
    char rest[2048];
    snprintf(rest, sizeof rest, " %s --data %s --model %s --out %s --threads 1 --set train.epochs=1",
             folder_path("tune.yaml"), folder_path("data"), folder_path("bert-straight"), folder_path("tuned"));
    command_succeeds(&printed, "%s%s", "train", rest);
    assert_true(accuracy_of("tuned") > 0.8);
    printed_free(&printed);
}

static void a_plan_says_what_is_needed_and_writes_nothing(void **state) {
    (void)state;
    struct printed printed = {0};
    static const char *const methods[] = {"bert", "caml", "linear"};
    for (int i = 0; i < 3; i++) {
        char rest[1200];
        snprintf(rest, sizeof rest, " --plan --out %s", folder_path("planned"));
        command_succeeds(&printed, "%s%s", command_of(methods[i]), rest);
        assert_non_null(strstr(printed.out.data, "peak resident memory"));
        assert_false(path_exists(folder_path("planned")));
    }
    printed_free(&printed);
}

static void what_a_method_does_not_take_is_refused(void **state) {
    (void)state;
    char data[1024], out[1024];
    snprintf(data, sizeof data, "%s", folder_path("data"));
    snprintf(out, sizeof out, "%s", folder_path("refused"));
    command_refuses("needs a model to start from", "train %s --data %s --out %s --tokenizer %s",
                    folder_path("tune.yaml"), data, out, folder_path("tokenizer"));
    command_refuses("needs a tokenizer", "train %s --data %s --out %s", folder_path("bert.yaml"), data, out);
    command_refuses("a text has", "%s --out %s --set bert.positions=9", command_of("bert"), out);
    struct printed printed = {0};
    command_run(&printed, "train %s --data %s --out %s --tokenizer %s", folder_path("caml.yaml"), data, out,
                folder_path("tokenizer"));
    assert_int_equal(printed.status, 2);
    assert_non_null(strstr(printed.errors.data, "--tokenizer is not for method caml"));
    assert_false(path_exists(out));
    printed_free(&printed);
}

static void a_run_whose_words_do_not_fit_is_refused(void **state) {
    (void)state;
    struct text words = {0};
    struct error error = {0};
    char data[1024];
    snprintf(data, sizeof data, "%s", folder_path("data/test.jsonl"));
    assert_true(file_read(&words, in_run("caml-again", "words.txt"), 0, &error));
    text_add(&words, "oneword\ntoomany\n");
    folder_write("caml-again/words.txt", words.data, words.length);
    command_refuses("words.txt has ids up to", "eval --model %s --data %s", folder_path("caml-again"), data);
    unlink(in_run("caml-again", "words.txt"));
    command_refuses("words.txt", "eval --model %s --data %s", folder_path("caml-again"), data);
    text_free(&words);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bert_learns_repeats_its_bytes_and_resumes_to_them),
        cmocka_unit_test(caml_learns_repeats_its_bytes_and_resumes_to_them),
        cmocka_unit_test(linear_learns_repeats_its_bytes_and_resumes_to_them),
        cmocka_unit_test(all_predict_a_note),
        cmocka_unit_test(a_trained_bert_is_tuned_further),
        cmocka_unit_test(a_plan_says_what_is_needed_and_writes_nothing),
        cmocka_unit_test(what_a_method_does_not_take_is_refused),
        cmocka_unit_test(a_run_whose_words_do_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, make_data, folder_remove);
}
