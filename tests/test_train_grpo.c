/* Reinforcement learning from end to end, by the command: reward rises, a stopped run goes on to the same bytes,
 * several updates on one batch, adapters with their references, resampling, curriculum, and what is said when nothing
 * can be learned. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "command.h"
#include "folder.h"
#include "small_run.h"
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

enum { STAYS = 48, DEV_STAYS = 8, KINDS = 4 };

static const struct {
    int drg;
    const char *title, *told[3];
} kinds[KINDS] = {{291, "HEART FAILURE AND SHOCK WITH MCC", {"edema", "furosemide", "hypoxia"}},
                  {292, "HEART FAILURE AND SHOCK WITH CC", {"diuresis", "dyspnea", "congestion"}},
                  {313, "CHEST PAIN", {"troponin", "angina", "stress"}},
                  {312, "SYNCOPE AND COLLAPSE", {"syncope", "fainted", "tilt"}}};

/* Stays, and their rationales. */
static void write_stays(const char *name, const char *split, int count, uint64_t seed, struct text *rationales) {
    struct text lines = {0};
    struct rng rng;
    rng_seed(&rng, seed);
    for (int i = 0; i < count; i++) {
        const int kind = i % KINDS, words = 2 + (int)rng_below(&rng, 4);
        text_printf(&lines, "{\"note_id\": \"%s-%d\", \"drg\": %d, \"text\": \"stay:", split, i, kinds[kind].drg);
        for (int w = 0; w < words; w++) text_printf(&lines, " %s", kinds[kind].told[rng_below(&rng, 3)]);
        text_add(&lines, "\"}\n");
        text_printf(rationales,
                    "{\"note_id\": \"%s-%d\", \"drg\": %d, \"title\": \"%s\", \"rationale\": \"because %s\"}\n", split,
                    i, kinds[kind].drg, kinds[kind].title, kinds[kind].told[0]);
    }
    folder_write(name, lines.data, lines.length);
    text_free(&lines);
}

static void write_data(void) {
    struct text rationales = {0};
    mkdir(folder_path("data"), 0755);
    write_stays("data/train.jsonl", "train", STAYS, 1, &rationales);
    write_stays("data/dev.jsonl", "dev", DEV_STAYS, 2, &rationales);
    folder_write("data/rationales.jsonl", rationales.data, rationales.length);
    folder_write_text("data/labels.tsv", "# grouper v34\nlabel\tdrg\n0\t291\n1\t292\n2\t312\n3\t313\n");
    text_free(&rationales);
}

/* A vocabulary of the words that occur. */
static void learn_tokenizer(void) {
    struct text lines = {0};
    for (int i = 0; i < 60; i++) {
        const int kind = i % KINDS;
        text_printf(
            &lines,
            "{\"text\": \"stay: %s %s\\n\\nMS-DRG?\\n<think>\\nbecause %s\\n</think>\\n<answer>\\n%s\\n</answer>\"}\n",
            kinds[kind].told[0], kinds[kind].told[1 + i / KINDS % 2], kinds[kind].told[0], kinds[kind].title);
    }
    mkdir(folder_path("words"), 0755);
    folder_write("words/train.jsonl", lines.data, lines.length);
    text_free(&lines);
    small_tokenizer_learn("words", 400, "[\"<|endoftext|>\"]");
}

static const char sft_section[] = "sft:\n"
                                  "  prompt: answer-short\n"
                                  "  rationales: rationales.jsonl\n";

static const char grpo_sections[] = "grpo:\n"
                                    "  group: 4\n"
                                    "  max_tokens: 32\n"
                                    "  temperature: 1\n"
                                    "  parallel: 32\n"
                                    "  updates: 1\n"
                                    "  loss: dapo\n"
                                    "  epsilon_low: 0.2\n"
                                    "  epsilon_high: 0.28\n"
                                    "  beta: 0.02\n"
                                    "  beta_schedule: cosine\n"
                                    "  mask_truncated: false\n"
                                    "  sample_every: 2\n"
                                    "  eval_stays: 4\n"
                                    "  eval_samples: 2\n"
                                    "  eval_temperature: 0.6\n"
                                    "  eval_top_p: 0.95\n"
                                    "reward:\n"
                                    "  kind: dense\n"
                                    "  accuracy: 1\n"
                                    "  format: 1\n";

/* Writes FOLDER/NAME: these two sections, and how long and how fast it learns. */
static void write_recipe(const char *name, const char *method, const char *first, const char *second,
                         const char *epochs, const char *rate) {
    const struct small_training training = {.epochs = epochs,
                                            .batch_size = "8",
                                            .micro_batch_tokens = "600",
                                            .max_tokens = "100",
                                            .learning_rate = rate,
                                            .schedule = "constant",
                                            .warmup_share = "0.05",
                                            .weight_decay = "0",
                                            .save_every = "2"};
    struct text sections = {0};
    text_printf(&sections, "%s%s", first, second);
    small_recipe_write(name, method, sections.data, &training);
    text_free(&sections);
}

/* `casemix train RECIPE --model MODEL --out OUT …`; names within the test's folder. */
static void train(struct printed *printed, const char *recipe, const char *model, const char *out, const char *more) {
    command_run(printed, "train %s --data %s --out %s --model %s --threads 1 %s", folder_path(recipe),
                folder_path("data"), folder_path(out), folder_path(model), more);
}

static void must_train(const char *recipe, const char *model, const char *out, const char *more) {
    struct printed printed = {0};
    train(&printed, recipe, model, out, more);
    if (printed.status != 0) fail_msg("%s: %s", out, printed.errors.data);
    printed_free(&printed);
}

/* The run ends with this exit status, and what it says holds `part`. */
static void must_say(const char *part, int status, const char *recipe, const char *model, const char *out,
                     const char *more) {
    struct printed printed = {0};
    train(&printed, recipe, model, out, more);
    if (printed.status != status) fail_msg("%s: exit status %d: %s", out, printed.status, printed.errors.data);
    if (printed.errors.data == NULL || strstr(printed.errors.data, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", printed.errors.data, part);
    printed_free(&printed);
}

/* The mean of a member over lines first … end of a run's log (lines of dev aside); all of its lines are counted. */
struct reading {
    const char *member;
    int first, end, lines;
    double sum;
};

static bool read_line(void *context, uint64_t line, const json_node *root, struct error *error) {
    struct reading *reading = context;
    (void)line;
    (void)error;
    if (json_member(root, "dev_loss") != NULL) return true;
    const double value = json_number(json_member(root, reading->member));
    if (reading->lines >= reading->first && reading->lines < reading->end) reading->sum += value;
    reading->lines++;
    return true;
}

static double mean_of(const char *run, const char *member, int first, int end) {
    struct reading reading = {.member = member, .first = first, .end = end};
    struct error error = {0};
    if (!json_lines(in_run(run, "log.jsonl"), read_line, &reading, &error)) fail_msg("%s", error.message);
    if (reading.lines < end) fail_msg("%s has %d lines", run, reading.lines);
    return reading.sum / (end - first);
}

static int make_runs(void **state) {
    if (folder_make(state) != 0) return 1;
    write_data();
    learn_tokenizer();
    write_recipe("sft.yaml", "sft", small_decoder, sft_section, "6", "1e-2");
    write_recipe("grpo.yaml", "grpo", grpo_sections, "", "4", "2e-3");
    write_recipe("lora.yaml", "grpo", small_lora, grpo_sections, "1", "2e-3");
    struct printed printed = {0};
    command_succeeds(&printed, "train %s --data %s --out %s --tokenizer %s --threads 1", folder_path("sft.yaml"),
                     folder_path("data"), folder_path("sft"), folder_path("tokenizer"));
    printed_free(&printed);
    must_train("grpo.yaml", "sft", "straight", "");
    return 0;
}

enum { STEPS = 24 };

static void the_reward_rises(void **state) {
    (void)state;
    const double before = mean_of("straight", "reward", 0, 4), after = mean_of("straight", "reward", STEPS - 4, STEPS);
    if (!(after > before + 0.15)) fail_msg("the reward went from %g to %g", before, after);
    assert_true(mean_of("straight", "right_rate", STEPS - 4, STEPS) >= mean_of("straight", "right_rate", 0, 4));
    assert_true(mean_of("straight", "kl", 0, 1) < 1e-6); /* the reference is the model at the start */
    assert_true(mean_of("straight", "kl", STEPS - 4, STEPS) > 1e-4);
}

static void a_stopped_run_goes_on_to_the_same_bytes(void **state) {
    (void)state;
    must_say("stopped after step 3", 1, "grpo.yaml", "sft", "resumed", "--stop-after 3");
    must_train("grpo.yaml", "sft", "resumed", "--resume");
    assert_same_file("straight", "resumed", "model.safetensors");
    assert_same_file("straight", "resumed", "checkpoint.bin");
    assert_same_file("straight", "resumed", "rollouts.jsonl");
}

/* All prompts begin alike for longer than a block of keys and values: what is kept of one must not outlive the weights
 * that made it. */
static void prompts_that_begin_alike_are_read_anew_when_the_weights_have_changed(void **state) {
    char more[1024];
    struct text prompt = {0};
    (void)state;
    text_add(&prompt, "[template]\nnone\n[user]\n");
    for (int i = 0; i < 20; i++) text_add(&prompt, "tilt syncope ");
    text_add(&prompt, "\n{note}\n");
    folder_write("long.txt", prompt.data, prompt.length);
    text_free(&prompt);
    snprintf(more, sizeof more,
             "--set grpo.prompt=%s --set train.epochs=0.6 --set train.max_tokens=128 "
             "--set reward.repetition=1 --set reward.repetition_ngram=2",
             folder_path("long.txt"));
    must_train("grpo.yaml", "sft", "alike", more);
    for (int step = 0; step < 4; step++) assert_true(mean_of("alike", "sampler_difference", step, step + 1) < 1e-4);
}

/* Rollouts of steps that a crash took back are forgotten. */
static void rollouts_behind_the_checkpoint_are_cut(void **state) {
    struct error error = {0};
    struct text rollouts = {0};
    (void)state;
    must_say("stopped after step 2", 1, "grpo.yaml", "sft", "crashed", "--stop-after 2 --set train.epochs=0.5");
    assert_true(file_read(&rollouts, in_run("crashed", "rollouts.jsonl"), 0, &error));
    text_add(&rollouts, "{\"step\": 3, \"note_id\": \"x\", \"gold\": \"y\"}\n{\"step\": 3, \"no");
    folder_write("crashed/rollouts.jsonl", rollouts.data, rollouts.length);
    must_train("grpo.yaml", "sft", "crashed", "--resume --set train.epochs=0.5");
    text_clear(&rollouts);
    assert_true(file_read(&rollouts, in_run("crashed", "rollouts.jsonl"), 0, &error));
    assert_null(strstr(rollouts.data, "\"x\""));
    int lines = 0;
    for (const char *c = rollouts.data; *c != '\0'; c++) lines += *c == '\n';
    assert_int_equal(lines, 3 * 8);
    text_free(&rollouts);
}

static void several_updates_share_their_rollouts_and_a_run_stops_between_batches_only(void **state) {
    const char *more = "--set grpo.updates=2 --set train.epochs=0.5";
    char stop[256];
    (void)state;
    must_train("grpo.yaml", "sft", "twice", more);
    /* Nothing is clipped on the batch's first update, where the weights are those that sampled. */
    assert_true(mean_of("twice", "clip_low", 0, 1) + mean_of("twice", "clip_high", 0, 1) < 1e-12);
    assert_true(fabs(mean_of("twice", "reward", 0, 1) - mean_of("twice", "reward", 1, 2)) < 1e-12);
    assert_true(mean_of("twice", "clip_low", 1, 6) + mean_of("twice", "clip_high", 1, 6) > 0);
    snprintf(stop, sizeof stop, "%s --stop-after 1", more);
    must_say("stopped after step 2", 1, "grpo.yaml", "sft", "twice-resumed", stop);
    snprintf(stop, sizeof stop, "%s --resume", more);
    must_train("grpo.yaml", "sft", "twice-resumed", stop);
    assert_same_file("twice", "twice-resumed", "model.safetensors");
    must_say("multiples of grpo.updates", 1, "grpo.yaml", "sft", "thrice", "--set grpo.updates=3");
}

/* How prompts and completions are cut into micro-batches is a matter of memory alone: one completion at a time with its
 * own prompt, or all of them. */
static void micro_batches_do_not_show(void **state) {
    (void)state;
    must_train("grpo.yaml", "sft", "whole", "--set train.epochs=0.2 --set train.micro_batch_tokens=3000");
    must_train("grpo.yaml", "sft", "single", "--set train.epochs=0.2 --set train.micro_batch_tokens=1");
    static const char *const members[] = {"loss", "grad_norm", "entropy"};
    for (size_t m = 0; m < 3; m++) {
        const double whole = mean_of("whole", members[m], 0, 1), single = mean_of("single", members[m], 0, 1);
        if (!(fabs(whole - single) < 1e-4 * (1 + fabs(whole)))) fail_msg("%s: %g, %g", members[m], whole, single);
    }
}

static void sampler_and_trainer_agree_and_a_tree_of_titles_is_renormalised_in_both(void **state) {
    (void)state;
    must_train("grpo.yaml", "sft", "trie", "--set grpo.answer_trie=true --set train.epochs=0.5");
    for (int step = 0; step < 3; step++) {
        assert_true(mean_of("straight", "sampler_difference", step, step + 1) < 1e-4);
        assert_true(mean_of("trie", "sampler_difference", step, step + 1) < 1e-4);
    }
    assert_true(mean_of("trie", "trie_rescued", 0, 3) > 0);
}

/* An adapter's reference is the base; one that goes on from an adapter has that as its reference, or the base. */
static void adapters_are_held_to_their_reference(void **state) {
    (void)state;
    must_train("lora.yaml", "sft", "lora", "--set lora.dropout=0");
    assert_true(mean_of("lora", "kl", 0, 1) < 1e-6 && mean_of("lora", "kl", 5, 6) > 1e-7);
    must_train("lora.yaml", "lora", "lora-on", "--set lora.dropout=0 --set train.epochs=0.2");
    assert_true(mean_of("lora-on", "kl", 0, 1) < 1e-6);
    must_train("lora.yaml", "lora", "lora-base",
               "--set lora.dropout=0 --set train.epochs=0.2 --set grpo.reference=base");
    assert_true(mean_of("lora-base", "kl", 0, 1) > 1e-7);
    must_say("there is no adapter to take off", 1, "grpo.yaml", "sft", "none", "--set grpo.reference=base");
}

struct resampled {
    bool positive;
    int again, tries; /* groups that were sampled again; the most tries of one */
};

/* Every group has what was asked for, or used up its tries; what was sampled again has a temperature of the list. */
static bool check_group(void *context, uint64_t line, const json_node *root, struct error *error) {
    struct resampled *resampled = context;
    const double tries = json_number(json_member(root, "tries")),
                 temperature = json_number(json_member(root, "temperature"));
    bool equal = true, above = false;
    const json_node *rewards = json_member(root, "rewards");
    for (const json_node *n = json_first(rewards); n != NULL; n = json_next(n)) {
        equal = equal && fabs(json_number(n) - json_number(json_first(rewards))) < 1e-9;
        above = above || json_number(n) > 0;
    }
    (void)error;
    if (tries < 3 && (equal || (resampled->positive && !above))) fail_msg("line %d was to be sampled again", (int)line);
    if (tries > 0 && fabs(temperature - 0.8) > 1e-9 && fabs(temperature - 1.6) > 1e-9)
        fail_msg("line %d: temperature %g", (int)line, temperature);
    if (tries < 1 && fabs(temperature - 1) > 1e-9) fail_msg("line %d: temperature %g", (int)line, temperature);
    resampled->again += tries > 0;
    if (tries > resampled->tries) resampled->tries = (int)tries;
    return true;
}

/* That sampler and trainer agree says that tokens, log-probabilities and temperature were all replaced together. */
static void groups_of_equal_rewards_are_sampled_again(void **state) {
    static const char *const ways[] = {"neutral", "positive"};
    (void)state;
    for (int way = 0; way < 2; way++) {
        char more[512];
        struct resampled resampled = {.positive = way == 1};
        struct error error = {0};
        snprintf(more, sizeof more,
                 "--set grpo.resampling=%s --set grpo.resampling_tries=3 --set train.epochs=0.5 "
                 "--set 'grpo.resampling_temperatures=[0.8, 1.6]' --set train.learning_rate=0",
                 ways[way]);
        must_train("grpo.yaml", "straight", ways[way], more);
        if (!json_lines(in_run(ways[way], "rollouts.jsonl"), check_group, &resampled, &error))
            fail_msg("%s", error.message);
        assert_true(resampled.again > 0 && resampled.tries <= 3);
        assert_true(mean_of(ways[way], "resampling_tries", 0, 3) > 0);
        for (int step = 0; step < 3; step++)
            assert_true(mean_of(ways[way], "sampler_difference", step, step + 1) < 1e-4);
    }
}

/* What an earlier run found: stay 4 easy, 5 and 6 hard (6 in one epoch only), 7 neither. */
static const char earlier[] = "{\"step\": 1, \"note_id\": \"train-4\", \"answers\": [2, 2, 2, 2]}\n"
                              "{\"step\": 1, \"note_id\": \"train-5\", \"answers\": [-0.5, -0.5, -0.5, -0.5]}\n"
                              "{\"step\": 1, \"note_id\": \"train-6\", \"answers\": [-2, -2, -2, -2]}\n"
                              "{\"step\": 1, \"note_id\": \"train-7\", \"answers\": [1.5, 1.5, 1.5, 1.5]}\n"
                              "{\"step\": 2, \"note_id\": \"train-6\", \"answers\": [2, 2, 2, -0.5]}\n";

static void expect_stays(int expected, const char *remove) {
    char more[1024];
    struct printed printed = {0};
    int stays = 0;
    snprintf(more, sizeof more, "--set grpo.curriculum=%s --set grpo.remove=%s --plan", folder_path("earlier"), remove);
    train(&printed, "grpo.yaml", "sft", "planned", more);
    if (printed.status != 0) fail_msg("plan: %s", printed.errors.data);
    assert_int_equal(sscanf(strstr(printed.out.data, "training stays"), "training stays %d", &stays), 1);
    assert_int_equal(stays, expected);
    printed_free(&printed);
}

static void a_later_run_leaves_out_what_was_easy_or_hard_and_goes_from_easy_to_hard(void **state) {
    static const char *const first[] = {"train-4", "train-7", "train-6", "train-5", "train-0", "train-1"};
    struct error error = {0};
    struct text rollouts = {0};
    char more[1024];
    (void)state;
    mkdir(folder_path("earlier"), 0755);
    folder_write_text("earlier/rollouts.jsonl", earlier);
    expect_stays(STAYS - 1, "easy");
    expect_stays(STAYS - 1, "hard");
    expect_stays(STAYS - 2, "both");
    snprintf(more, sizeof more, "--set grpo.curriculum=%s --set grpo.order=easy_first --set train.epochs=0.1",
             folder_path("earlier"));
    must_train("grpo.yaml", "sft", "easy", more);
    assert_true(file_read(&rollouts, in_run("easy", "rollouts.jsonl"), 0, &error));
    const char *at = rollouts.data;
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++) {
        char name[64];
        snprintf(name, sizeof name, "\"note_id\": \"%s\"", first[i]);
        at = strstr(at, "\"note_id\"");
        if (strncmp(at, name, strlen(name)) != 0) fail_msg("place %zu is not %s: %.30s", i, first[i], at);
        at++;
    }
    text_free(&rollouts);
    /* A run's own log is a curriculum too. */
    snprintf(more, sizeof more, "--set grpo.curriculum=%s --set grpo.remove=hard --plan", folder_path("straight"));
    must_train("grpo.yaml", "sft", "planned", more);
    must_say("grpo.curriculum", 1, "grpo.yaml", "sft", "nothing", "--set grpo.remove=easy");
    folder_write_text("earlier/rollouts.jsonl", "{\"step\": 1, \"note_id\": \"train-4\", \"answers\": [2, null]}\n");
    snprintf(more, sizeof more, "--set grpo.curriculum=%s --set grpo.remove=easy", folder_path("earlier"));
    must_say("no number", 1, "grpo.yaml", "sft", "nothing", more);
}

static void it_is_said_loudly_when_nothing_can_be_learned(void **state) {
    (void)state;
    must_say("fine-tuned to end its answers", 0, "grpo.yaml", "sft", "cut",
             "--set grpo.max_tokens=3 --set train.epochs=0.1 --set grpo.mask_truncated=true");
    assert_true(mean_of("cut", "truncated", 0, 1) > 0.99 && mean_of("cut", "grad_norm", 0, 1) < 1e-2);
    must_say("NOTHING CAN BE LEARNED", 0, "grpo.yaml", "sft", "format",
             "--set grpo.max_tokens=3 --set train.epochs=0.1");
}

static void what_cannot_be_trained_is_refused(void **state) {
    (void)state;
    must_say("grpo.group is 1", 1, "grpo.yaml", "sft", "r", "--set grpo.group=1");
    must_say("reward.full", 1, "grpo.yaml", "sft", "r", "--set reward.full=1");
    must_say("leaves nothing for a prompt", 1, "grpo.yaml", "sft", "r", "--set grpo.max_tokens=100");
    must_say("weight 0", 1, "grpo.yaml", "sft", "r", "--set reward.accuracy=0 --set reward.format=0");
    must_say("resampling_tries", 1, "grpo.yaml", "sft", "r", "--set grpo.resampling=neutral");
    must_say("resampling_tries", 1, "grpo.yaml", "sft", "r",
             "--set grpo.resampling=neutral --set grpo.resampling_tries=13");
    must_say("without dropout", 1, "lora.yaml", "sft", "r", "");
    must_say("go with method grpo, not with method sft", 1, "sft.yaml", "sft", "r", "--set reward.kind=dense");
}

#ifdef CASEMIX_MPI
/* `casemix train RECIPE … --out OUT` on this many ranks of one thread. */
static void must_train_on(int ranks, const char *recipe, const char *start, const char *out, const char *more) {
    struct text said = {0};
    char line[8192];
    snprintf(
        line, sizeof line,
        "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --oversubscribe -n %d %s/casemix train %s "
        "--data %s --out %s %s --threads 1 %s </dev/null >%s 2>&1",
        ranks, getenv("B"), folder_path(recipe), folder_path("data"), folder_path(out), start, more,
        folder_path("job.txt"));
    if (system(line) == 0) return;
    file_read(&said, folder_path("job.txt"), 0, NULL);
    fail_msg("%s on %d ranks: %s", out, ranks, said.data);
}

/* The same losses to 1e-5 of them in every step. */
static void assert_same_losses(const char *run, const char *other, int steps) {
    for (int step = 0; step < steps; step++) {
        const double a = mean_of(run, "loss", step, step + 1), b = mean_of(other, "loss", step, step + 1);
        if (!(fabs(a - b) <= 1e-5 * fabs(a) + 1e-7)) fail_msg("step %d: %.9g and %.9g", step + 1, a, b);
    }
}

/* Stays of fine-tuning and rollouts are shared out, and what a group becomes does not depend on who samples it: one
 * rank and two write the same groups in the same order, are paid the same and learn the same. */
static void two_ranks_share_stays_and_rollouts(void **state) {
    char start[600];
    (void)state;
    snprintf(start, sizeof start, "--tokenizer %s", folder_path("tokenizer"));
    must_train_on(1, "sft.yaml", start, "sft-one", "--set train.epochs=2");
    must_train_on(2, "sft.yaml", start, "sft-two", "--set train.epochs=2");
    assert_same_losses("sft-one", "sft-two", 12);
    snprintf(start, sizeof start, "--model %s", folder_path("sft"));
    static const char *const more = "--set train.epochs=1 --set grpo.advantage=batch";
    must_train_on(1, "grpo.yaml", start, "rank-one", more);
    must_train_on(2, "grpo.yaml", start, "rank-two", more);
    assert_same_file("rank-one", "rank-two", "rollouts.jsonl");
    assert_same_losses("rank-one", "rank-two", 6);
}
#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_reward_rises),
        cmocka_unit_test(a_stopped_run_goes_on_to_the_same_bytes),
        cmocka_unit_test(prompts_that_begin_alike_are_read_anew_when_the_weights_have_changed),
        cmocka_unit_test(rollouts_behind_the_checkpoint_are_cut),
        cmocka_unit_test(several_updates_share_their_rollouts_and_a_run_stops_between_batches_only),
        cmocka_unit_test(micro_batches_do_not_show),
        cmocka_unit_test(sampler_and_trainer_agree_and_a_tree_of_titles_is_renormalised_in_both),
        cmocka_unit_test(adapters_are_held_to_their_reference),
        cmocka_unit_test(groups_of_equal_rewards_are_sampled_again),
        cmocka_unit_test(a_later_run_leaves_out_what_was_easy_or_hard_and_goes_from_easy_to_hard),
        cmocka_unit_test(it_is_said_loudly_when_nothing_can_be_learned),
        cmocka_unit_test(what_cannot_be_trained_is_refused),
#ifdef CASEMIX_MPI
        cmocka_unit_test(two_ranks_share_stays_and_rollouts),
#endif
    };
    return cmocka_run_group_tests(tests, make_runs, folder_remove);
}
