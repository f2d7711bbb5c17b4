/* BERT and CAML from end to end by the commands that serve the decoder: trained, resumed, evaluated, predicted with,
 * and refused. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "command.h"
#include "folder.h"
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

enum { DRGS = 4 };

static const int codes[DRGS] = {189, 291, 470, 871};

static const char *const told[DRGS][6] = {{"dyspnea", "hypoxia", "oxygen", "bipap", "intubated", "wheeze"},
                                          {"edema", "furosemide", "diuresis", "orthopnea", "ejection", "congestion"},
                                          {"knee", "arthroplasty", "prosthesis", "physiotherapy", "hip", "gait"},
                                          {"fever", "sepsis", "lactate", "cultures", "vancomycin", "pressors"}};

static const char *const common[] = {"patient", "was", "admitted", "with", "and", "improved", "on", "day", "two"};

/* Notes of words that tell the DRG among words that do not. */
static void write_stays(const char *name, int count, uint64_t seed) {
    struct text lines = {0};
    struct rng rng;
    rng_seed(&rng, seed);
    for (int i = 0; i < count; i++) {
        const int drg = i % DRGS, length = 8 + (int)rng_below(&rng, 9);
        text_printf(&lines, "{\"note_id\": \"%d\", \"drg\": %d, \"text\": \"", i, codes[drg]);
        for (int w = 0; w < length; w++) {
            text_add(&lines, w == 0 ? "" : " ");
            text_add(&lines, w % 3 == 1 ? told[drg][rng_below(&rng, 6)] : common[rng_below(&rng, 9)]);
        }
        text_add(&lines, ".\"}\n");
    }
    folder_write(name, lines.data, lines.length);
    text_free(&lines);
}

static const char train_section[] = "seed: 1\n"
                                    "train:\n"
                                    "  epochs: 24\n"
                                    "  batch_size: 12\n"
                                    "  micro_batch_tokens: 256\n"
                                    "  max_tokens: 60\n"
                                    "  learning_rate: 4e-3\n"
                                    "  schedule: linear\n"
                                    "  warmup_share: 0.1\n"
                                    "  weight_decay: 0.01\n"
                                    "  beta1: 0.9\n"
                                    "  beta2: 0.98\n"
                                    "  epsilon: 1e-8\n"
                                    "  max_grad_norm: 1.0\n"
                                    "  eval_every: 20\n"
                                    "  save_every: 3\n"
                                    "  log_every: 1\n"
                                    "  save_dtype: f32\n";

static const char bert_section[] = "bert:\n"
                                   "  layers: 2\n"
                                   "  width: 32\n"
                                   "  heads: 4\n"
                                   "  ffn_width: 64\n"
                                   "  positions: 64\n"
                                   "  dropout: 0.1\n"
                                   "  norm_eps: 1e-12\n";

static const char caml_section[] = "caml:\n"
                                   "  embed_size: 16\n"
                                   "  filter_maps: 24\n"
                                   "  kernel_size: 3\n"
                                   "  dropout: 0.2\n"
                                   "  minimum_count: 2\n";

static void write_recipe(const char *name, const char *method, const char *section) {
    char yaml[4096];
    snprintf(yaml, sizeof yaml, "method: %s\n%s%s", method, section, train_section);
    folder_write_text(name, yaml);
}

static int make_data(void **state) {
    struct printed printed = {0};
    if (folder_make(state) != 0 || mkdir(folder_path("data"), 0755) != 0) return 1;
    write_stays("data/train.jsonl", 60, 1);
    write_stays("data/dev.jsonl", 12, 2);
    write_stays("data/test.jsonl", 40, 3);
    folder_write_text("data/labels.tsv", "# grouper v43\nlabel\tdrg\n0\t189\n1\t291\n2\t470\n3\t871\n");
    folder_write_text("tokenizer.yaml", "method: tokenizer\ntokenizer:\n  vocabulary: 330\n  minimum_count: 2\n"
                                        "  special: [\"[PAD]\", \"[CLS]\", \"[SEP]\"]\n");
    write_recipe("bert.yaml", "bert", bert_section);
    write_recipe("caml.yaml", "caml", caml_section);
    write_recipe("tune.yaml", "bert", "");
    command_run(&printed, "train %s --data %s --out %s", folder_path("tokenizer.yaml"), folder_path("data"),
                folder_path("tokenizer"));
    const int status = printed.status;
    printed_free(&printed);
    return status;
}

/* The command that trains one of the two, less --out. */
static const char *command_of(const char *method) {
    static char command[2048];
    const bool bert = strcmp(method, "bert") == 0;
    snprintf(command, sizeof command, "train %s --data %s%s%s --threads 1",
             folder_path(bert ? "bert.yaml" : "caml.yaml"), folder_path("data"), bert ? " --tokenizer " : "",
             bert ? folder_path("tokenizer") : "");
    return command;
}

static void must_run(struct printed *printed, const char *command, const char *more) {
    command_run(printed, "%s%s", command, more);
    if (printed->status != 0) fail_msg("casemix %s%s: %s", command, more, printed->errors.data);
}

static void train(const char *method, const char *run, const char *more) {
    struct printed printed = {0};
    char rest[1200];
    snprintf(rest, sizeof rest, " --out %s%s", folder_path(run), more);
    must_run(&printed, command_of(method), rest);
    printed_free(&printed);
}

static const char *in_run(const char *run, const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", run, name);
    return folder_path(path);
}

static void assert_same_file(const char *run, const char *other, const char *name) {
    if (!files_equal(in_run(run, name), in_run(other, name))) fail_msg("%s of %s and %s differ", name, run, other);
}

/* acc@1 on the test stays, as `casemix eval` prints it. */
static double accuracy_of(const char *run) {
    struct printed printed = {0};
    struct json *document;
    struct error error = {0};
    char rest[1200];
    snprintf(rest, sizeof rest, "%s --data %s --json", folder_path(run), folder_path("data/test.jsonl"));
    must_run(&printed, "eval --model ", rest);
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

static void both_predict_a_note(void **state) {
    (void)state;
    struct printed printed = {0};
    folder_write_text("note.txt", "Patient was admitted with fever and sepsis, cultures, lactate, on vancomycin.\n");
    static const char *const runs[] = {"bert-straight", "caml-straight"};
    for (int i = 0; i < 2; i++) {
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
    must_run(&printed, "train", rest);
    assert_true(accuracy_of("tuned") > 0.8);
    printed_free(&printed);
}

static void a_plan_says_what_is_needed_and_writes_nothing(void **state) {
    (void)state;
    struct printed printed = {0};
    static const char *const methods[] = {"bert", "caml"};
    for (int i = 0; i < 2; i++) {
        char rest[1200];
        snprintf(rest, sizeof rest, " --plan --out %s", folder_path("planned"));
        must_run(&printed, command_of(methods[i]), rest);
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
        cmocka_unit_test(both_predict_a_note),
        cmocka_unit_test(a_trained_bert_is_tuned_further),
        cmocka_unit_test(a_plan_says_what_is_needed_and_writes_nothing),
        cmocka_unit_test(what_a_method_does_not_take_is_refused),
        cmocka_unit_test(a_run_whose_words_do_not_fit_is_refused),
    };
    return cmocka_run_group_tests(tests, make_data, folder_remove);
}
