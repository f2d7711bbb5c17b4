/* Two-label runs from end to end: each network learns, repeats and resumes; what predict, eval and the C interface make
 * of the two heads; runs averaged; and the window of training that prediction keeps to. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/rng.h"
#include "casemix.h"
#include "command.h"
#include "folder.h"
#include "model/ensemble.h"
#include "small_run.h"
#include "tensor/kernels.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* Heart failure and COPD with three severities each, and one DRG without any. */
enum { DRGS = 7, V43_DRGS = 772 };

static const int codes[DRGS] = {189, 190, 191, 192, 291, 292, 293};

static const char *const bases[3][4] = {{"hypoxia", "bipap", "intubated", "hypercapnia"},
                                        {"wheeze", "bronchodilator", "smoker", "nebulizer"},
                                        {"edema", "furosemide", "orthopnea", "diuresis"}};
static const char *const severities[3][3] = {
    {"shock", "sepsis", "arrest"}, {"anemia", "cellulitis", "hyponatremia"}, {"stable", "uneventful", "improved"}};
static const char *const common[] = {"patient", "was", "admitted", "with", "and", "on", "day", "two"};

static void add_words(struct text *lines, struct rng *rng, int drg, int length) {
    const int base = drg == 0 ? 0 : drg < 4 ? 1 : 2, severity = drg == 0 ? 2 : (drg - 1) % 3;
    for (int w = 0; w < length; w++) {
        text_add(lines, w == 0 ? "" : " ");
        text_add(lines, w % 4 == 1   ? bases[base][rng_below(rng, 4)]
                        : w % 4 == 3 ? severities[severity][rng_below(rng, 3)]
                                     : common[rng_below(rng, 8)]);
    }
}

/* Behind `padding` words that say nothing. */
static void write_stays(const char *name, int count, uint64_t seed, int padding) {
    struct text lines = {0};
    struct rng rng;
    rng_seed(&rng, seed);
    for (int i = 0; i < count; i++) {
        text_printf(&lines, "{\"note_id\": \"%d\", \"drg\": %d, \"text\": \"", i, codes[i % DRGS]);
        for (int w = 0; w < padding; w++) text_printf(&lines, "%s ", common[rng_below(&rng, 8)]);
        add_words(&lines, &rng, i % DRGS, 8 + (int)rng_below(&rng, 6));
        text_add(&lines, ".\"}\n");
    }
    folder_write(name, lines.data, lines.length);
    text_free(&lines);
}

static void write_recipe(const char *name, const char *method, const char *sections) {
    const struct small_training training = {
        .epochs = "24", .micro_batch_tokens = "512", .schedule = "linear", .eval_every = "24", .save_every = "7"};
    small_recipe_write(name, method, sections, &training);
}

/* Trains RECIPE.yaml into RUN; `more` are further options. */
static void train(const char *recipe, const char *run, const char *more) {
    struct printed printed = {0};
    char file[64];
    snprintf(file, sizeof file, "%s.yaml", recipe);
    command_succeeds(&printed, "train %s --data %s --out %s --threads 1 %s%s %s", folder_path(file),
                     folder_path("data"), folder_path(run),
                     strcmp(recipe, "caml") == 0 || strcmp(recipe, "lora") == 0 ? "" : "--tokenizer ",
                     strcmp(recipe, "caml") == 0 || strcmp(recipe, "lora") == 0 ? "" : folder_path("tokenizer"), more);
    printed_free(&printed);
}

/* The data, the tokenizer, and the two decoders that most tests look at. */
static int make_runs(void **state) {
    if (folder_make(state) != 0 || mkdir(folder_path("data"), 0755) != 0) return 1;
    write_stays("data/train.jsonl", 84, 1, 0);
    write_stays("data/dev.jsonl", 21, 2, 0);
    write_stays("data/test.jsonl", 42, 3, 0);
    folder_write_text("data/labels.tsv",
                      "# grouper v43\nlabel\tdrg\n0\t189\n1\t190\n2\t191\n3\t192\n4\t291\n5\t292\n6\t293\n");
    small_tokenizer_learn("data", 330, "[\"<|endoftext|>\", \"[PAD]\", \"[CLS]\", \"[SEP]\"]");
    write_recipe("decoder.yaml", "two_label", small_decoder);
    write_recipe("single.yaml", "classify", small_decoder);
    write_recipe("bert.yaml", "two_label", small_bert);
    write_recipe("caml.yaml", "two_label", small_caml);
    write_recipe("lora.yaml", "two_label", small_lora);
    train("decoder", "two", "");
    train("single", "one", "");
    return 0;
}

static struct json *evaluate(const char *models, const char *more) {
    struct printed printed = {0};
    struct json *document;
    struct error error = {0};
    command_succeeds(&printed, "eval %s --data %s --json --resamples 50 %s", models, folder_path("data/test.jsonl"),
                     more);
    if (!json_parse(&document, "eval", printed.out.data, printed.out.length, &error)) fail_msg("%s", error.message);
    printed_free(&printed);
    return document;
}

static const char *model_option(const char *run) {
    static char options[4][1100];
    static int next;
    char *option = options[next++ % 4];
    snprintf(option, sizeof options[0], "--model %s", folder_path(run));
    return option;
}

static double number(const struct json *document, const char *object, const char *name) {
    const json_node *root = json_root(document);
    const double value = json_number(json_member(object == NULL ? root : json_member(root, object), name));
    if (isnan(value)) fail_msg("evaluation.json has no number \"%s\"", name);
    return value;
}

static double accuracy_of(const char *run) {
    struct json *document = evaluate(model_option(run), "");
    const double accuracy = number(document, NULL, "acc1");
    json_free(document);
    return accuracy;
}

static void the_card_says_task_grouper_and_bases_and_lists_every_drg(void **state) {
    (void)state;
    struct run_card card;
    struct error error = {0};
    assert_true(run_card_load(&card, folder_path("two"), &error));
    assert_string_equal(card.task, "two_label");
    assert_int_equal(card.grouper, GROUPER_V43);
    assert_int_equal(card.bases, catalog_get(GROUPER_V43)->bases);
    assert_int_equal(card.labels.count, V43_DRGS);
    run_card_free(&card);
    assert_true(run_card_load(&card, folder_path("one"), &error));
    assert_string_equal(card.task, "classify");
    assert_int_equal(card.bases, 0);
    assert_int_equal(card.labels.count, DRGS);
    run_card_free(&card);
}

/* Names at least this share of the DRGs (one in seven by chance), and goes on from a stop in the middle to the same
 * bytes. */
static void learns_and_resumes(const char *recipe, const char *straight, const char *weights, double least,
                               const char *more) {
    struct printed printed = {0};
    char broken[64], resume[1200], file[64];
    snprintf(broken, sizeof broken, "%s-broken", recipe);
    snprintf(file, sizeof file, "%s.yaml", recipe);
    const double accuracy = accuracy_of(straight);
    if (accuracy < least) fail_msg("%s names %.0f %% of the DRGs", straight, 100 * accuracy);
    const bool bare = strcmp(recipe, "caml") == 0 || strcmp(recipe, "lora") == 0;
    command_run(&printed, "train %s --data %s --out %s --threads 1 --stop-after 31 %s%s %s", folder_path(file),
                folder_path("data"), folder_path(broken), bare ? "" : "--tokenizer ",
                bare ? "" : folder_path("tokenizer"), more);
    assert_int_equal(printed.status, 1);
    snprintf(resume, sizeof resume, "--resume %s", more);
    train(recipe, broken, resume);
    assert_true(files_equal(in_run(straight, weights), in_run(broken, weights)));
    assert_true(files_equal(in_run(straight, "checkpoint.bin"), in_run(broken, "checkpoint.bin")));
    printed_free(&printed);
}

static void a_decoder_learns_and_resumes(void **state) {
    (void)state;
    learns_and_resumes("decoder", "two", "model.safetensors", 0.7, "");
}

static void a_bert_learns_and_resumes(void **state) {
    (void)state;
    static const char own[] = "--set train.learning_rate=3e-3 --set train.epochs=120 --set bert.dropout=0";
    train("bert", "bert-two", own);
    learns_and_resumes("bert", "bert-two", "model.safetensors", 0.4, own);
}

static void caml_learns_and_resumes(void **state) {
    (void)state;
    train("caml", "caml-two", "");
    learns_and_resumes("caml", "caml-two", "model.safetensors", 0.7, "");
}

static void lora_learns_two_labels_over_a_single_label_model(void **state) {
    (void)state;
    char more[1200];
    snprintf(more, sizeof more, "--model %s --set train.learning_rate=1e-2", folder_path("one"));
    train("lora", "lora-two", more);
    learns_and_resumes("lora", "lora-two", "adapter_model.safetensors", 0.7, more);
}

static void a_trained_bert_is_opened_by_what_its_config_says(void **state) {
    (void)state;
    char more[1200];
    write_recipe("open.yaml", "two_label", "");
    snprintf(more, sizeof more, "--model %s --set train.epochs=2 --set train.learning_rate=1e-4",
             folder_path("bert-two"));
    train("open", "bert-opened", more);
    assert_true(accuracy_of("bert-opened") > 0.4);
    char data[1024], out[1024], model[1024];
    snprintf(data, sizeof data, "%s", folder_path("data"));
    snprintf(out, sizeof out, "%s", folder_path("never"));
    snprintf(model, sizeof model, "%s", folder_path("bert-two"));
    command_refuses("is there for decoders", "train %s --data %s --out %s --model %s", folder_path("lora.yaml"), data,
                    out, model);
    assert_false(path_exists(out));
}

/* The log tells base and severity beside the DRG. */
static void the_log_tells_both_heads_on_dev(void **state) {
    (void)state;
    struct text log = {0};
    struct error error = {0};
    assert_true(file_read(&log, in_run("two", "log.jsonl"), 0, &error));
    assert_non_null(strstr(log.data, "\"dev_acc_base\": "));
    assert_non_null(strstr(log.data, "\"dev_acc_cc\": "));
    text_free(&log);
    assert_true(file_read(&log, in_run("one", "log.jsonl"), 0, &error));
    assert_null(strstr(log.data, "dev_acc_base"));
    text_free(&log);
}

static const char sick[] = "patient was furosemide and edema admitted with orthopnea shock sepsis.";

/* What the library says of a note must be the product of the two softmaxes, computed here from the raw scores. */
static void predictions_are_the_renormalised_product_of_the_heads(void **state) {
    (void)state;
    const struct catalog *v43 = catalog_get(GROUPER_V43);
    struct classifier classifier;
    struct error error = {0};
    const struct note note = {sick, sizeof sick - 1};
    double base[512], severity[TWO_LABEL_SEVERITIES], sum = 0, *p = memory_alloc(v43->count, sizeof *p);
    assert_true(classifier_open(&classifier, folder_path("two"), &error));
    const size_t width = classifier_width(&classifier);
    float *outputs = memory_alloc(width, sizeof *outputs);
    assert_true(classifier_outputs(&classifier, &note, 1, 0, outputs, NULL, NULL, NULL, NULL, &error));
    softmax_rows(outputs, outputs, 1, (int64_t)v43->bases);
    softmax_rows(outputs + v43->bases, outputs + v43->bases, 1, TWO_LABEL_SEVERITIES);
    for (size_t b = 0; b < v43->bases; b++) base[b] = (double)outputs[b];
    for (int s = 0; s < TWO_LABEL_SEVERITIES; s++) severity[s] = (double)outputs[v43->bases + (size_t)s];
    catalog_compose(v43, base, severity, p);
    struct casemix_model *model;
    struct casemix_prediction top[V43_DRGS];
    char message[CASEMIX_MESSAGE];
    assert_true(casemix_open(&model, folder_path("two"), message));
    assert_int_equal(casemix_labels(model), V43_DRGS);
    assert_true(casemix_predict(model, sick, sizeof sick - 1, top, V43_DRGS, message));
    for (int k = 0; k < V43_DRGS; k++) {
        const double want = p[catalog_find(v43, top[k].drg) - v43->drgs];
        if (fabs(top[k].p - want) > 1e-5 || (k > 0 && top[k].p > top[k - 1].p))
            fail_msg("place %d, DRG %d: p %g, expected %g", k + 1, top[k].drg, top[k].p, want);
        sum += top[k].p;
    }
    assert_true(fabs(sum - 1) < 1e-4);
    assert_int_equal(top[0].drg, 291);
    casemix_close(model);
    classifier_close(&classifier);
    memory_free(outputs);
    memory_free(p);
}

static void predict_tells_the_heads_and_the_rule_beside_the_product(void **state) {
    (void)state;
    struct printed printed = {0};
    struct json *document;
    char note[1024];
    snprintf(note, sizeof note, "%s", folder_write_text("sick.txt", sick));
    command_succeeds(&printed, "predict --model %s --top-k 3 --json %s", folder_path("two"), note);
    assert_true(json_parse(&document, "predict", printed.out.data, printed.out.length, NULL));
    const json_node *root = json_root(document), *heads = json_member(root, "two_label");
    assert_int_equal((int)json_number(json_member(heads, "rule")), 291);
    assert_int_equal((int)json_number(json_member(heads, "base")), catalog_find(catalog_get(GROUPER_V43), 291)->base);
    assert_int_equal((int)json_number(json_member(heads, "severity")), 2);
    assert_int_equal((int)json_number(json_member(json_first(json_member(root, "predictions")), "drg")), 291);
    json_free(document);
    command_succeeds(&printed, "predict --model %s --json %s", folder_path("one"), note);
    assert_null(strstr(printed.out.data, "two_label"));
    command_succeeds(&printed, "predict --model %s %s", folder_path("two"), note);
    assert_non_null(strstr(printed.out.data, "\n  291  "));
    printed_free(&printed);
}

static void eval_scores_the_heads_the_rule_and_the_product(void **state) {
    (void)state;
    struct json *document = evaluate(model_option("two"), "");
    const json_node *interval = json_member(json_member(json_root(document), "two_label"), "acc_drg_interval");
    assert_true(number(document, "two_label", "acc_base") >= 0.8);
    assert_true(number(document, "two_label", "acc_cc") >= 0.7);
    assert_true(fabs(number(document, "two_label", "acc_product") - number(document, NULL, "acc1")) < 1e-12);
    assert_true(fabs(number(document, "two_label", "acc_base") - number(document, "two_label", "acc1_base")) < 1e-12);
    assert_true(number(document, NULL, "acc5") >= number(document, NULL, "acc1"));
    assert_int_equal(json_count(interval), 2);
    assert_true(json_number(json_first(interval)) <= number(document, "two_label", "acc_drg"));
    json_free(document);
    document = evaluate(model_option("one"), "");
    assert_true(json_is_null(json_member(json_root(document), "two_label")));
    json_free(document);
    struct printed printed = {0};
    command_succeeds(&printed, "eval --model %s --data %s --resamples 50", folder_path("two"),
                     folder_path("data/test.jsonl"));
    assert_non_null(strstr(printed.out.data, "DRG by the paper's rule"));
    printed_free(&printed);
}

/* Every p of the two runs together is the mean of theirs; the single-label run knows seven DRGs, the other all. */
static void runs_are_averaged_by_their_probabilities(void **state) {
    (void)state;
    const char *const both[] = {folder_path("one"), folder_path("two")};
    static struct ensemble ensemble;
    struct error error = {0};
    const struct note note = {sick, sizeof sick - 1};
    float *own[2], *together = memory_alloc(V43_DRGS, sizeof *together);
    bool truncated;
    int32_t tokens;
    assert_true(ensemble_open(&ensemble, both, 2, DECODE_DIRECT, &error));
    assert_int_equal(ensemble.labels.count, V43_DRGS);
    assert_int_equal(ensemble_width(&ensemble), 0);
    assert_true(ensemble_logits(&ensemble, &note, 1, together, NULL, &tokens, &truncated, &error));
    assert_true(tokens > 10 && !truncated);
    for (int m = 0; m < 2; m++) {
        const struct classifier *member = &ensemble.members[m];
        const size_t count = member->card.labels.count;
        own[m] = memory_alloc(count, sizeof **own);
        assert_true(classifier_logits(member, &note, 1, 0, own[m], NULL, NULL, NULL, NULL, &error));
        softmax_rows(own[m], own[m], 1, (int64_t)count);
    }
    for (size_t i = 0; i < ensemble.labels.count; i++) {
        const int code = ensemble.labels.codes[i], single = labels_find(&ensemble.members[0].card.labels, code);
        const float want = ((single < 0 ? 0 : own[0][single]) + own[1][i]) / 2;
        assert_true(fabsf(expf(together[i]) - want) < 1e-6f);
    }
    for (int m = 0; m < 2; m++) memory_free(own[m]);
    memory_free(together);
    ensemble_close(&ensemble);
}

static void averaged_runs_predict_and_are_scored(void **state) {
    (void)state;
    struct printed printed = {0};
    char models[2300];
    snprintf(models, sizeof models, "%s %s", model_option("one"), model_option("two"));
    struct json *document = evaluate(models, "");
    assert_true(number(document, NULL, "acc1") >= 0.7);
    assert_int_equal(json_count(json_member(json_root(document), "models")), 2);
    json_free(document);
    command_succeeds(&printed, "predict %s --top-k 1 --csv %s", models, folder_write_text("sick.txt", sick));
    assert_non_null(strstr(printed.out.data, ",1,291,"));
    mkdir(folder_path("old-data"), 0755);
    write_stays("old-data/train.jsonl", 21, 1, 0);
    write_stays("old-data/dev.jsonl", 21, 2, 0);
    folder_write_text("old-data/labels.tsv",
                      "# grouper v34\nlabel\tdrg\n0\t189\n1\t190\n2\t191\n3\t192\n4\t291\n5\t292\n6\t293\n");
    command_succeeds(&printed, "train %s --data %s --out %s --tokenizer %s --set train.epochs=1",
                     folder_path("decoder.yaml"), folder_path("old-data"), folder_path("old"),
                     folder_path("tokenizer"));
    command_refuses("speaks v43", "predict %s --model %s %s", model_option("old"), folder_path("one"),
                    folder_path("sick.txt"));
    printed_free(&printed);
}

/* What eval calls the composed ranking of a single-label run is what --decode product answers with. */
static void a_single_label_run_is_decoded_by_base_and_severity(void **state) {
    (void)state;
    struct json *direct = evaluate(model_option("one"), ""),
                *product = evaluate(model_option("one"), "--decode product");
    const json_node *composed = json_member(json_member(json_root(direct), "ratios"), "composed1");
    assert_true(fabs(json_number(json_member(composed, "value")) - number(product, NULL, "acc1")) < 1e-12);
    assert_string_equal(json_string(json_member(json_root(product), "decode")), "product");
    json_free(direct);
    json_free(product);
}

static void calibration_of_a_two_label_run_is_kept_and_leaves_the_order(void **state) {
    (void)state;
    struct printed printed = {0};
    struct run_card card;
    struct error error = {0};
    char calibrate[1200];
    struct json *before = evaluate(model_option("two"), "");
    snprintf(calibrate, sizeof calibrate, "--calibrate %s", folder_path("data/dev.jsonl"));
    struct json *after = evaluate(model_option("two"), calibrate);
    assert_true(number(before, NULL, "acc1") >= number(after, NULL, "acc1") &&
                number(before, NULL, "acc1") <= number(after, NULL, "acc1"));
    assert_true(run_card_load(&card, folder_path("two"), &error));
    assert_true(card.temperature > 0 && card.bases > 0);
    run_card_free(&card);
    json_free(before);
    json_free(after);
    printed_free(&printed);
}

/* What tells the DRG stands at the end of long notes: only who reads the tail can learn it, and must read the tail of
 * new notes too. */
static void the_window_of_training_is_that_of_prediction(void **state) {
    (void)state;
    struct run_card card;
    struct error error = {0};
    struct printed printed = {0};
    char note[1024] = "";
    mkdir(folder_path("long"), 0755);
    write_stays("long/train.jsonl", 84, 1, 60);
    write_stays("long/dev.jsonl", 21, 2, 60);
    write_stays("long/test.jsonl", 42, 3, 60);
    struct text labels = {0};
    assert_true(file_read(&labels, folder_path("data/labels.tsv"), 0, &error));
    folder_write("long/labels.tsv", labels.data, labels.length);
    text_free(&labels);
    static const char *const windows[] = {"--set train.truncate=tail",
                                          "--set train.truncate=head_tail --set train.head_share=0.25",
                                          "--set train.truncate=head"};
    double reached[3];
    for (int w = 0; w < 3; w++) {
        char run[64];
        snprintf(run, sizeof run, "window-%d", w);
        command_succeeds(
            &printed, "train %s --data %s --out %s --threads 1 --tokenizer %s --set train.max_tokens=48 %s",
            folder_path("decoder.yaml"), folder_path("long"), folder_path(run), folder_path("tokenizer"), windows[w]);
        command_succeeds(&printed, "eval --model %s --data %s --json --resamples 20", folder_path(run),
                         folder_path("long/test.jsonl"));
        struct json *document;
        assert_true(json_parse(&document, "eval", printed.out.data, printed.out.length, &error));
        reached[w] = number(document, NULL, "acc1");
        json_free(document);
    }
    if (!(reached[0] > 0.6 && reached[1] > 0.6 && reached[2] < 0.4))
        fail_msg("tail %.2f, head and tail %.2f, head %.2f", reached[0], reached[1], reached[2]);
    assert_true(run_card_load(&card, folder_path("window-1"), &error));
    assert_int_equal(card.window.truncation, TRUNCATE_HEAD_TAIL);
    assert_true(card.window.head_share > 0.2499 && card.window.head_share < 0.2501);
    run_card_free(&card);
    for (int i = 0; i < 60; i++) strcat(note, "patient was ");
    strcat(note, sick);
    command_succeeds(&printed, "predict --model %s --top-k 1 --csv %s", folder_path("window-0"),
                     folder_write_text("long.txt", note));
    assert_non_null(strstr(printed.out.data, ",1,291,"));
    printed_free(&printed);
}

/* A run of whole notes reads what stands outside of the hospital course. */
static void a_run_of_whole_notes_reads_the_whole_note(void **state) {
    (void)state;
    static const char note[] =
        "Discharge Diagnosis:\nshock\n\nBrief Hospital Course:\nfurosemide\n\nFacility:\nedema\n";
    static const char *const sets[] = {"false", "true"};
    struct printed printed = {0};
    struct json *document;
    for (int whole = 0; whole < 2; whole++) {
        char run[64];
        snprintf(run, sizeof run, "whole-%d", whole);
        command_succeeds(
            &printed, "train %s --data %s --out %s --tokenizer %s --set train.epochs=1 --set train.whole_note=%s",
            folder_path("decoder.yaml"), folder_path("data"), folder_path(run), folder_path("tokenizer"), sets[whole]);
        command_succeeds(&printed, "predict --model %s --json %s", folder_path(run),
                         folder_write_text("whole.txt", note));
        assert_true(json_parse(&document, "predict", printed.out.data, printed.out.length, NULL));
        const json_node *section = json_member(json_root(document), "section");
        const size_t length = strlen(note);
        assert_int_equal((size_t)json_number(json_member(section, "end")) -
                             (size_t)json_number(json_member(section, "start")),
                         whole ? length - 1 : strlen("furosemide"));
        json_free(document);
    }
    command_refuses("reads the", "predict --model %s --model %s %s", folder_path("whole-0"), folder_path("whole-1"),
                    folder_path("whole.txt"));
    printed_free(&printed);
}

static void cards_that_contradict_the_model_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *from, *to, *part;
    } changes[] = {{"\"bases\": 346", "\"bases\": 340", "bases"},
                   {"\"bases\": 346,", "", "bases"},
                   {"\"task\": \"two_label\"", "\"task\": \"classify\"", "DRGs"},
                   {"\"task\": \"two_label\"", "\"task\": \"three_label\"", "three_label"},
                   {"\"bases\": 346", "\"bases\": 346, \"truncate\": \"middle\"", "middle"},
                   {"\"bases\": 346", "\"bases\": 346, \"head_share\": 2", "head_share"},
                   {"\"bases\": 346", "\"bases\": 346, \"whole_note\": 3", "whole_note"}};
    struct text card = {0};
    struct error error = {0};
    struct printed printed = {0};
    char command[2200];
    snprintf(command, sizeof command, "cp -r %s %s", folder_path("two"), folder_path("damaged"));
    assert_int_equal(system(command), 0);
    assert_true(file_read(&card, in_run("two", "casemix.json"), 0, &error));
    text_add_char(&card, '\0');
    folder_write_text("sick.txt", sick);
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        struct text changed = {0};
        const char *at = strstr(card.data, changes[i].from);
        assert_non_null(at);
        text_append(&changed, card.data, (size_t)(at - card.data));
        text_add(&changed, changes[i].to);
        text_add(&changed, at + strlen(changes[i].from));
        folder_write("damaged/casemix.json", changed.data, changed.length);
        command_refuses(changes[i].part, "predict --model %s %s", folder_path("damaged"), folder_path("sick.txt"));
        text_free(&changed);
    }
    text_free(&card);
    printed_free(&printed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_card_says_task_grouper_and_bases_and_lists_every_drg),
        cmocka_unit_test(a_decoder_learns_and_resumes),
        cmocka_unit_test(a_bert_learns_and_resumes),
        cmocka_unit_test(caml_learns_and_resumes),
        cmocka_unit_test(lora_learns_two_labels_over_a_single_label_model),
        cmocka_unit_test(a_trained_bert_is_opened_by_what_its_config_says),
        cmocka_unit_test(the_log_tells_both_heads_on_dev),
        cmocka_unit_test(predictions_are_the_renormalised_product_of_the_heads),
        cmocka_unit_test(predict_tells_the_heads_and_the_rule_beside_the_product),
        cmocka_unit_test(eval_scores_the_heads_the_rule_and_the_product),
        cmocka_unit_test(runs_are_averaged_by_their_probabilities),
        cmocka_unit_test(averaged_runs_predict_and_are_scored),
        cmocka_unit_test(a_single_label_run_is_decoded_by_base_and_severity),
        cmocka_unit_test(calibration_of_a_two_label_run_is_kept_and_leaves_the_order),
        cmocka_unit_test(the_window_of_training_is_that_of_prediction),
        cmocka_unit_test(a_run_of_whole_notes_reads_the_whole_note),
        cmocka_unit_test(cards_that_contradict_the_model_are_refused),
    };
    return cmocka_run_group_tests(tests, make_runs, folder_remove);
}
