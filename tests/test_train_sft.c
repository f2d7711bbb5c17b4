/* Fine-tuning and pre-training from end to end, by the command: what is learned, what counts towards the loss, resumed,
 * planned, adapted and refused. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "command.h"
#include "folder.h"
#include "model/decoder.h"
#include "small_run.h"
#include "tokenizer/tokenizer.h"
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

/* 48 examples in batches of 8 are 6 steps an epoch. */
enum { EXAMPLES = 48, DEV_EXAMPLES = 8, STEPS = 48, MIDDLE = 8, KINDS = 4, VOCABULARY = 330 };

static const char *const told[KINDS][3] = {{"dyspnea", "hypoxia", "oxygen"},
                                           {"edema", "furosemide", "diuresis"},
                                           {"knee", "hip", "gait"},
                                           {"fever", "sepsis", "lactate"}};

static const char *const answers[KINDS] = {"RESPIRATORY FAILURE", "HEART FAILURE", "JOINT REPLACEMENT", "SEPTICEMIA"};

static void write_examples(const char *name, int count, uint64_t seed) {
    struct text lines = {0};
    struct rng rng;
    rng_seed(&rng, seed);
    for (int i = 0; i < count; i++) {
        const int kind = i % KINDS, words = 1 + (int)rng_below(&rng, 6);
        text_add(&lines, "{\"prompt\": \"note:");
        for (int w = 0; w < words; w++) text_printf(&lines, " %s", told[kind][rng_below(&rng, 3)]);
        text_printf(&lines, "\\nDRG?\", \"completion\": \" %s\"}\n", answers[kind]);
    }
    folder_write(name, lines.data, lines.length);
    text_free(&lines);
}

static const struct small_training training = {.epochs = "8",
                                               .batch_size = "8",
                                               .learning_rate = "2e-2",
                                               .warmup_share = "0.05",
                                               .weight_decay = "0",
                                               .eval_every = "6",
                                               .save_every = "5"};

/* A vocabulary of the words that occur. */
static void learn_tokenizer(void) {
    struct text lines = {0};
    for (int i = 0; i < 60; i++)
        text_printf(&lines, "{\"text\": \"note: %s\\nDRG? %s\"}\n", told[i % KINDS][i % 3], answers[i % KINDS]);
    mkdir(folder_path("words"), 0755);
    folder_write("words/train.jsonl", lines.data, lines.length);
    text_free(&lines);
    small_tokenizer_learn("words", 330, "[\"<|endoftext|>\"]");
}

/* `casemix train RECIPE --data DATA --out OUT …`; names within the test's folder. */
static void train(struct printed *printed, const char *recipe, const char *data, const char *out, const char *more) {
    command_run(printed, "train %s --data %s --out %s --tokenizer %s --threads 1 %s", folder_path(recipe),
                folder_path(data), folder_path(out), folder_path("tokenizer"), more);
}

static void must_train(const char *recipe, const char *data, const char *out, const char *more) {
    struct printed printed = {0};
    train(&printed, recipe, data, out, more);
    if (printed.status != 0) fail_msg("%s: %s", out, printed.errors.data);
    printed_free(&printed);
}

/* The run ends with an error that holds `part`. */
static void must_refuse(const char *part, const char *recipe, const char *data, const char *out, const char *more) {
    struct printed printed = {0};
    train(&printed, recipe, data, out, more);
    if (printed.status != 1) fail_msg("%s: exit status %d", out, printed.status);
    if (strstr(printed.errors.data, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", printed.errors.data, part);
    printed_free(&printed);
}

struct run_log {
    double losses[STEPS], dev_loss, dev_accuracy;
    int lines;
};

static bool read_line(void *context, uint64_t line, const json_node *root, struct error *error) {
    struct run_log *log = context;
    (void)line;
    (void)error;
    if (json_member(root, "dev_loss") != NULL) {
        log->dev_loss = json_number(json_member(root, "dev_loss"));
        log->dev_accuracy = json_number(json_member(root, "dev_token_accuracy"));
    } else if (log->lines < STEPS) {
        log->losses[log->lines++] = json_number(json_member(root, "loss"));
    }
    return true;
}

static struct run_log read_log(const char *run) {
    struct run_log log = {0};
    struct error error = {0};
    if (!json_lines(in_run(run, "log.jsonl"), read_line, &log, &error)) fail_msg("%s", error.message);
    return log;
}

/* The answer of a run to a prompt, by the likeliest tokens. */
static void expect_answer(const char *run, const char *prompt, const char *answer) {
    struct printed printed = {0};
    command_run(&printed, "generate --model %s --threads 1 --temperature 0 --max-tokens 20 --prompt '%s'",
                folder_path(run), prompt);
    if (printed.status != 0) fail_msg("%s", printed.errors.data);
    printed.out.data[strcspn(printed.out.data, "\n")] = '\0';
    assert_string_equal(printed.out.data, answer);
    printed_free(&printed);
}

static int make_runs(void **state) {
    if (folder_make(state) != 0 || mkdir(folder_path("data"), 0755) != 0) return 1;
    write_examples("data/train.jsonl", EXAMPLES, 1);
    write_examples("data/dev.jsonl", DEV_EXAMPLES, 2);
    learn_tokenizer();
    small_recipe_write("sft.yaml", "sft", small_decoder, &training);
    small_recipe_write("lora.yaml", "sft", small_lora, &training);
    small_recipe_write("lm.yaml", "lm", small_decoder, &training);
    must_train("sft.yaml", "data", "straight", "");
    return 0;
}

static void the_loss_falls_and_the_model_answers_as_it_was_taught(void **state) {
    (void)state;
    const struct run_log run = read_log("straight");
    assert_int_equal(run.lines, STEPS);
    assert_true(fabs(run.losses[0] - log(VOCABULARY)) <
                0.2); /* an untrained model takes all tokens for equally likely */
    assert_true(run.losses[STEPS - 1] < 0.1);
    assert_true(run.dev_loss < 0.1 && run.dev_accuracy > 0.97);
    expect_answer("straight", "note: fever lactate\nDRG?", " SEPTICEMIA"); /* and stops there */
    expect_answer("straight", "note: gait\nDRG?", " JOINT REPLACEMENT");
}

static void a_stopped_run_goes_on_to_the_same_bytes(void **state) {
    (void)state;
    char stop[64];
    snprintf(stop, sizeof stop, "--stop-after %d", MIDDLE);
    must_refuse("stopped after step", "sft.yaml", "data", "resumed", stop);
    must_train("sft.yaml", "data", "resumed", "--resume");
    assert_same_file("straight", "resumed", "model.safetensors");
    assert_same_file("straight", "resumed", "checkpoint.bin");
    const struct run_log straight = read_log("straight"), resumed = read_log("resumed");
    assert_memory_equal(straight.losses, resumed.losses, sizeof straight.losses);
}

/* Examples that lie end to end in a micro-batch do not see each other. */
static void packed_examples_are_learned_as_one_by_one(void **state) {
    (void)state;
    must_train("sft.yaml", "data", "single", "--set train.micro_batch_tokens=1");
    const struct run_log packed = read_log("straight"), single = read_log("single");
    for (int s = 0; s < 4; s++) {
        if (!(fabs(packed.losses[s] - single.losses[s]) < 1e-4 * (s + 1)))
            fail_msg("step %d: %.9g packed, %.9g one by one", s + 1, packed.losses[s], single.losses[s]);
    }
}

/* -log p of ids[first …] in a sequence, from the logits of all its tokens. */
static double sequence_loss(const struct decoder *decoder, struct decoder_run *run, const struct token_list *list,
                            size_t first, float *logits) {
    const int64_t V = decoder->config.V;
    const int32_t offsets[] = {0, (int32_t)list->count};
    const struct batch batch = {.T = (int64_t)list->count, .N = 1, .tokens = list->ids, .offsets = offsets};
    double loss = 0;
    decoder_logits(decoder, run, &batch, logits);
    for (size_t t = first; t < list->count; t++) {
        const float *row = logits + (int64_t)(t - 1) * V;
        double sum = 0;
        for (int64_t v = 0; v < V; v++) sum += exp((double)row[v]);
        loss += log(sum) - (double)row[list->ids[t]];
    }
    return loss;
}

struct by_hand {
    struct decoder decoder;
    struct tokenizer *tokenizer;
    struct decoder_run *run;
    float *logits;
    double sum[2]; /* over completions, over all */
    int64_t tokens[2];
};

static bool add_example(void *context, uint64_t line, const json_node *root, struct error *error) {
    struct by_hand *hand = context;
    struct token_list list = {0};
    const char *prompt = json_string(json_member(root, "prompt")),
               *completion = json_string(json_member(root, "completion"));
    (void)line;
    assert_true(tokenizer_encode(hand->tokenizer, prompt, strlen(prompt), true, &list, error));
    const size_t first = list.count;
    assert_true(tokenizer_encode(hand->tokenizer, completion, strlen(completion), false, &list, error));
    const size_t end = list.count;
    assert_true(tokenizer_encode(hand->tokenizer, "<|endoftext|>", 13, false, &list, error));
    assert_int_equal(list.count, end + 1); /* the end is a token, which is learned */
    for (int all = 0; all < 2; all++) {
        const size_t from = all ? 1 : first;
        hand->sum[all] += sequence_loss(&hand->decoder, hand->run, &list, from, hand->logits);
        hand->tokens[all] += (int64_t)(list.count - from);
    }
    token_list_free(&list);
    return true;
}

/* The loss of one update over everything, by a model at rate 0, against logits taken one example after the other. */
static void the_loss_is_of_completions_and_their_end_and_of_nothing_else(void **state) {
    (void)state;
    static const char *const settings = "--set train.batch_size=48 --set train.epochs=1 --set train.learning_rate=0";
    struct by_hand hand = {0};
    struct error error = {0};
    char all[256];
    snprintf(all, sizeof all, "%s --set sft.loss_on=all", settings);
    must_train("sft.yaml", "data", "completions", settings);
    must_train("sft.yaml", "data", "everything", all);
    assert_true(decoder_open(&hand.decoder, folder_path("completions"), &error));
    assert_true(tokenizer_open(&hand.tokenizer, folder_path("tokenizer"), &error));
    assert_true(decoder_run_open(&hand.run, &hand.decoder, 64, 1, false, &error));
    hand.logits = memory_alloc((size_t)64 * VOCABULARY, sizeof *hand.logits);
    assert_true(json_lines(folder_path("data/train.jsonl"), add_example, &hand, &error));
    const double on_completions = read_log("completions").losses[0], on_all = read_log("everything").losses[0];
    assert_true(hand.tokens[1] > 2 * hand.tokens[0] && fabs(on_completions - on_all) > 1e-4);
    assert_true(fabs(on_completions - hand.sum[0] / (double)hand.tokens[0]) < 1e-5);
    assert_true(fabs(on_all - hand.sum[1] / (double)hand.tokens[1]) < 1e-5);
    memory_free(hand.logits);
    decoder_run_close(hand.run);
    tokenizer_close(hand.tokenizer);
    decoder_close(&hand.decoder);
}

static void lora_trains_an_adapter_that_writes_and_can_be_trained_on(void **state) {
    (void)state;
    char model[1024];
    struct text before = {0}, after = {0};
    struct error error = {0};
    must_train("sft.yaml", "data", "half", "--set train.epochs=4");
    assert_true(file_read(&before, in_run("half", "model.safetensors"), 0, &error));
    snprintf(model, sizeof model, "--model %s", folder_path("half"));
    must_train("lora.yaml", "data", "adapter", model);
    assert_false(path_exists(in_run("adapter", "model.safetensors")));
    const struct run_log half = read_log("half"), adapter = read_log("adapter");
    assert_true(adapter.dev_loss < 0.8 * half.dev_loss);
    expect_answer("adapter", "note: fever lactate\nDRG?", " SEPTICEMIA");
    /* Another run begins where this one ended, over the same base. */
    snprintf(model, sizeof model, "--model %s --set train.epochs=1", folder_path("adapter"));
    must_train("lora.yaml", "data", "adapter-on", model);
    assert_true(fabs(read_log("adapter-on").losses[0] - adapter.losses[STEPS - 1]) < 0.3);
    expect_answer("adapter-on", "note: fever lactate\nDRG?", " SEPTICEMIA");
    /* And from the middle to the same bytes, dropout included. */
    snprintf(model, sizeof model, "--model %s", folder_path("half"));
    snprintf(model + strlen(model), 64, " --stop-after %d", MIDDLE);
    must_refuse("stopped after step", "lora.yaml", "data", "adapter-resumed", model);
    snprintf(model, sizeof model, "--model %s --resume", folder_path("half"));
    must_train("lora.yaml", "data", "adapter-resumed", model);
    assert_same_file("adapter", "adapter-resumed", "adapter_model.safetensors");
    assert_same_file("adapter", "adapter-resumed", "checkpoint.bin");
    snprintf(model, sizeof model, "--model %s --set lora.rank=2", folder_path("adapter"));
    must_refuse("has rank 4", "lora.yaml", "data", "other-rank", model);
    small_recipe_write("whole.yaml", "sft", "", &training);
    snprintf(model, sizeof model, "--model %s", folder_path("adapter"));
    must_refuse("casemix export", "whole.yaml", "data", "whole", model);
    assert_true(file_read(&after, in_run("half", "model.safetensors"), 0, &error));
    assert_true(before.length == after.length && memcmp(before.data, after.data, before.length) == 0);
    text_free(&before);
    text_free(&after);
}

/* The backbone of a classifier with tied embeddings learns to write. */
static void a_classifier_learns_to_write(void **state) {
    (void)state;
    small_recipe_write("whole.yaml", "sft", "", &training);
    must_train("whole.yaml", "data", "writer",
               "--model models/tiny-classifier --tokenizer models/tiny-classifier --set train.epochs=1 --set "
               "train.learning_rate=2e-3");
    const struct run_log log = read_log("writer");
    assert_true(log.losses[2] < 0.9 * log.losses[0]);
    command_refuses("leave no room for a prompt", "predict --model %s README.md", folder_path("writer"));
}

static void a_plan_tells_what_a_run_will_need_and_writes_nothing(void **state) {
    (void)state;
    struct printed printed = {0};
    train(&printed, "sft.yaml", "data", "planned", "--plan");
    assert_int_equal(printed.status, 0);
    assert_non_null(strstr(printed.out.data, "training examples                 48"));
    assert_non_null(strstr(printed.out.data, "48 of 8 examples"));
    assert_non_null(strstr(printed.out.data, "peak resident memory"));
    assert_false(path_exists(folder_path("planned")));
    printed_free(&printed);
}

static void write_data(const char *name, const char *train_lines) {
    char path[512];
    mkdir(folder_path(name), 0755);
    snprintf(path, sizeof path, "%s/train.jsonl", name);
    folder_write_text(path, train_lines);
    snprintf(path, sizeof path, "%s/dev.jsonl", name);
    write_examples(path, DEV_EXAMPLES, 2);
}

#define GOOD "{\"prompt\": \"note: fever\", \"completion\": \" SEPTICEMIA\"}\n"

static void bad_examples_are_refused_with_their_line(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {GOOD "{\"prompt\": \"note\", \"completion\": \"\"}\n", "train.jsonl, line 2: \"completion\" is empty"},
        {GOOD GOOD "{\"prompt\": \"\", \"completion\": \"x\"}\n", "train.jsonl, line 3: \"prompt\" is empty"},
        {GOOD "{\"prompt\": \"note\"}\n", "train.jsonl, line 2"},
        {GOOD "{\"prompt\": 5, \"completion\": \"x\"}\n", "train.jsonl, line 2"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}\n", "no chat template"},
        {"{\"text\": \"a note\", \"note_id\": \"1\", \"drg\": 291}\n", "names no rationales"},
        {"[1]\n", "train.jsonl, line 1"},
        {"\n", "no examples"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_data("bad", cases[i][0]);
        must_refuse(cases[i][1], "sft.yaml", "bad", "never", "");
    }
    assert_false(path_exists(folder_path("never")));
}

static void examples_that_are_too_long_are_left_out_and_counted(void **state) {
    (void)state;
    struct printed printed = {0};
    struct text lines = {0};
    for (int i = 0; i < 3; i++) {
        text_add(&lines, GOOD "{\"prompt\": \"note:");
        for (int w = 0; w < 60; w++) text_add(&lines, " fever");
        text_add(&lines, "\", \"completion\": \" SEPTICEMIA\"}\n");
    }
    write_data("long", lines.data);
    train(&printed, "sft.yaml", "long", "long-run", "");
    assert_int_equal(printed.status, 0);
    assert_non_null(strstr(printed.errors.data, "3 of 6 examples are longer than 60 tokens"));
    printed_free(&printed);
    must_refuse("all 6 examples are longer than 3 tokens", "sft.yaml", "long", "never", "--set train.max_tokens=3");
    text_free(&lines);
}

/* A text of 200 words in sequences of 60 tokens, learned until it is known by heart. */
static void plain_text_is_learned_whole(void **state) {
    (void)state;
    struct text lines = {0};
    text_add(&lines, "{\"text\": \"");
    for (int w = 0; w < 200; w++) text_printf(&lines, "%s ", told[w % KINDS][(w / 7) % 3]);
    text_add(&lines, "\"}\n{\"text\": \"edema\"}\n");
    mkdir(folder_path("texts"), 0755);
    folder_write("texts/train.jsonl", lines.data, lines.length);
    folder_write("texts/dev.jsonl", lines.data, lines.length);
    must_train("lm.yaml", "texts", "by-heart", "--set train.epochs=24 --set train.eval_every=24");
    const struct run_log log = read_log("by-heart");
    assert_true(log.losses[0] > 5 && log.dev_loss < 0.3 * log.losses[0]);
    must_refuse("\"text\"", "lm.yaml", "data", "never", "");
    text_free(&lines);
}

/* The right answer is to be preferred to that of the next kind. */
static void write_pairs(const char *name, int count, uint64_t seed) {
    struct text lines = {0};
    struct rng rng;
    rng_seed(&rng, seed);
    for (int i = 0; i < count; i++) {
        const int kind = i % KINDS;
        text_printf(&lines, "{\"prompt\": \"note: %s\\nDRG?\", \"chosen\": \" %s\", \"rejected\": \" %s\"}\n",
                    told[kind][rng_below(&rng, 3)], answers[kind], answers[(kind + 1) % KINDS]);
    }
    folder_write(name, lines.data, lines.length);
    text_free(&lines);
}

struct preference_log {
    double first_loss, first_dev, last_dev, last_accuracy, last_margin;
    int evaluations;
};

static bool read_preference(void *context, uint64_t line, const json_node *root, struct error *error) {
    struct preference_log *log = context;
    (void)error;
    if (line == 1) log->first_loss = json_number(json_member(root, "loss"));
    if (json_member(root, "dev_loss") == NULL) return true;
    log->last_dev = json_number(json_member(root, "dev_loss"));
    if (log->evaluations++ == 0) log->first_dev = log->last_dev;
    log->last_accuracy = json_number(json_member(root, "dev_accuracy"));
    log->last_margin = json_number(json_member(root, "dev_margin"));
    return true;
}

/* `more` names the model that the run is started from and the reference with it. */
static void prefers_and_resumes(const char *recipe, const char *out, const char *weights, const char *more) {
    struct preference_log found = {0};
    struct error error = {0};
    char broken[64], options[1200];
    snprintf(broken, sizeof broken, "%s-broken", out);
    must_train(recipe, "pairs", out, more);
    if (!json_lines(in_run(out, "log.jsonl"), read_preference, &found, &error)) fail_msg("%s", error.message);
    /* At the start policy and reference are one. */
    assert_true(fabs(found.first_loss - log(2)) < 1e-5);
    if (!(found.last_dev < found.first_dev && found.last_accuracy > 0.7 && found.last_margin > 0.05))
        fail_msg("%s: dev loss %g, then %g, accuracy %g, margin %g", out, found.first_dev, found.last_dev,
                 found.last_accuracy, found.last_margin);
    snprintf(options, sizeof options, "%s --stop-after 5", more);
    must_refuse("stopped after step", recipe, "pairs", broken, options);
    snprintf(options, sizeof options, "%s --resume", more);
    must_train(recipe, "pairs", broken, options);
    assert_same_file(out, broken, weights);
    assert_same_file(out, broken, "checkpoint.bin");
}

static void preferences_are_learned_against_the_model_of_the_start(void **state) {
    (void)state;
    char more[1100];
    mkdir(folder_path("pairs"), 0755);
    write_pairs("pairs/train.jsonl", 24, 5);
    write_pairs("pairs/dev.jsonl", 8, 6);
    small_recipe_write("prefer.yaml", "dpo", "dpo:\n  beta: 0.1\n", &training);
    char adapted[512];
    snprintf(adapted, sizeof adapted, "dpo:\n  beta: 0.1\n%s", small_lora);
    small_recipe_write("prefer-lora.yaml", "dpo", adapted, &training);
    must_train("sft.yaml", "data", "beginner", "--set train.epochs=1");
    snprintf(more, sizeof more,
             "--model %s --set train.epochs=4 --set train.warmup_share=0 --set train.learning_rate=3e-3 --set "
             "train.eval_every=3",
             folder_path("beginner"));
    prefers_and_resumes("prefer.yaml", "prefers", "model.safetensors", more);
    snprintf(more, sizeof more,
             "--model %s --set train.epochs=12 --set train.warmup_share=0 --set train.learning_rate=2e-2 --set "
             "train.eval_every=3 --set lora.dropout=0",
             folder_path("beginner"));
    prefers_and_resumes("prefer-lora.yaml", "prefers-lora", "adapter_model.safetensors", more);
    must_refuse("chosen", "prefer-lora.yaml", "data", "no-pairs", more); /* lines without a rejected completion */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loss_falls_and_the_model_answers_as_it_was_taught),
        cmocka_unit_test(a_stopped_run_goes_on_to_the_same_bytes),
        cmocka_unit_test(packed_examples_are_learned_as_one_by_one),
        cmocka_unit_test(the_loss_is_of_completions_and_their_end_and_of_nothing_else),
        cmocka_unit_test(lora_trains_an_adapter_that_writes_and_can_be_trained_on),
        cmocka_unit_test(a_classifier_learns_to_write),
        cmocka_unit_test(a_plan_tells_what_a_run_will_need_and_writes_nothing),
        cmocka_unit_test(bad_examples_are_refused_with_their_line),
        cmocka_unit_test(examples_that_are_too_long_are_left_out_and_counted),
        cmocka_unit_test(plain_text_is_learned_whole),
        cmocka_unit_test(preferences_are_learned_against_the_model_of_the_start),
    };
    return cmocka_run_group_tests(tests, make_runs, folder_remove);
}
