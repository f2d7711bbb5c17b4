/* Training from end to end on a model of a few thousand weights: what is learned, repeated, resumed, refused, and kept
 * when the disk is full. */
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/rng.h"
#include "folder.h"
#include "model/adapter.h"
#include "model/classifier.h"
#include "small_cohort.h"
#include "small_run.h"
#include "tensor/kernels.h"
#include "train/checkpoint.h"
#include "train/train_classify.h"
#include "train/train_tokenizer.h"
#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* 60 stays in batches of 12 are 5 steps an epoch; a run has 4 epochs, and is broken off where it was neither evaluated
 * nor saved. */
enum { STEPS = SMALL_STEPS, MIDDLE = 8, EVALUATED = 5 };

static const struct small_training training = {.learning_rate = "1e-2", .weight_decay = "0.05", .eval_every = "5"};

/* One call of train_classify; what is left out is as in the straight run. */
struct attempt {
    const char *out;  /* within the test's folder */
    const char *data; /* "data" */
    const char *base; /* LoRA on this run of the folder; NULL: a model from scratch */
    const char *overrides[3];
    bool resume, plan, int8;
    int64_t stop_after;
};

static bool train(const struct attempt *attempt, struct error *error) {
    char data[1024], base[1024], vocabulary[1024], out[1024], file[1024];
    snprintf(data, sizeof data, "%s", folder_path(attempt->data == NULL ? "data" : attempt->data));
    snprintf(base, sizeof base, "%s", folder_path(attempt->base == NULL ? "" : attempt->base));
    snprintf(vocabulary, sizeof vocabulary, "%s", folder_path("tokenizer"));
    snprintf(out, sizeof out, "%s", folder_path(attempt->out));
    snprintf(file, sizeof file, "%s", folder_path("recipe.yaml"));
    small_recipe_write("recipe.yaml", "classify", attempt->base == NULL ? small_decoder : small_lora, &training);
    size_t overrides = 0;
    while (overrides < 3 && attempt->overrides[overrides] != NULL) overrides++;
    struct recipe *recipe = NULL;
    struct text text = {0};
    bool done = recipe_load(&recipe, &text, file, attempt->overrides, overrides, error);
    assert_true(done);
    const struct train_settings settings = {.recipe = recipe,
                                            .recipe_text = &text,
                                            .recipe_name = "recipe.yaml",
                                            .data = data,
                                            .model = attempt->base == NULL ? NULL : base,
                                            .tokenizer = attempt->base == NULL ? vocabulary : NULL,
                                            .out = out,
                                            .resume = attempt->resume,
                                            .plan = attempt->plan,
                                            .compute = attempt->int8 ? COMPUTE_INT8 : COMPUTE_AUTO,
                                            .stop_after = attempt->stop_after};
    done = train_classify(&settings, error);
    recipe_free(recipe);
    text_free(&text);
    return done;
}

static void must_train(const struct attempt *attempt) {
    struct error error = {0};
    if (!train(attempt, &error)) fail_msg("%s: %s", attempt->out, error.message);
}

/* The run is refused, and the message names `part`. */
static void must_refuse(const struct attempt *attempt, const char *part) {
    struct error error = {0};
    if (train(attempt, &error)) fail_msg("%s was trained", attempt->out);
    if (strstr(error.message, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", error.message, part);
}

static void must_stop(struct attempt attempt, int64_t step) {
    attempt.stop_after = step;
    must_refuse(&attempt, "stopped after step");
}

static void copy_run_file(const char *from, const char *to, const char *name) {
    struct text bytes = {0};
    struct error error = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/%s", to, name);
    assert_true(file_read(&bytes, in_run(from, name), 0, &error));
    folder_write(path, bytes.data, bytes.length);
    text_free(&bytes);
}

static int is_file(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static void copy_run(const char *from, const char *to) {
    struct dirent **entries;
    const int count = scandir(folder_path(from), &entries, is_file, alphasort);
    assert_true(count > 0);
    mkdir(folder_path(to), 0755);
    for (int i = 0; i < count; i++) {
        copy_run_file(from, to, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
}

/* Every file of a run with its SHA-256, a line each, for comparing a directory before and after; without the log if
 * `logs` is false. */
static struct text list_run(const char *run, bool logs) {
    struct text list = {0};
    struct dirent **entries;
    const int count = scandir(folder_path(run), &entries, is_file, alphasort);
    assert_true(count > 0);
    for (int i = 0; i < count; i++) {
        char hash[65];
        struct error error = {0};
        assert_true(sha256_file(in_run(run, entries[i]->d_name), hash, &error));
        if (logs || strcmp(entries[i]->d_name, "log.jsonl") != 0)
            text_printf(&list, "%s %s\n", entries[i]->d_name, hash);
        free(entries[i]);
    }
    free(entries);
    return list;
}

static void assert_run_is(const char *run, bool logs, struct text *before) {
    struct text after = list_run(run, logs);
    assert_string_equal(after.data, before->data);
    text_free(&after);
    text_free(before);
}

/* The numbers of log.jsonl: those of its lines about training, in order, and the best loss on dev. */
struct run_log {
    double losses[STEPS], norms[STEPS], rates[STEPS], best_dev, last_dev;
    int lines, evaluations;
    int64_t last_step, best_step;
};

static bool read_line(void *context, uint64_t line, const json_node *root, struct error *error) {
    struct run_log *run = context;
    (void)line;
    (void)error;
    int64_t step = 0;
    assert_true(json_integer(json_member(root, "step"), &step) && step <= STEPS);
    if (!json_is_null(json_member(root, "dev_loss"))) {
        const double dev = json_number(json_member(root, "dev_loss"));
        assert_true(step >= run->last_step);
        assert_true(json_integer(json_member(root, "best_step"), &run->best_step));
        run->last_dev = dev;
        run->best_dev = run->evaluations++ == 0 || dev < run->best_dev ? dev : run->best_dev;
        return true;
    }
    assert_true(step > run->last_step); /* no step stands there twice */
    run->last_step = step;
    run->losses[run->lines] = json_number(json_member(root, "loss"));
    run->norms[run->lines] = json_number(json_member(root, "grad_norm"));
    run->rates[run->lines++] = json_number(json_member(root, "lr"));
    return true;
}

static struct run_log read_log(const char *run) {
    struct run_log log = {0};
    struct error error = {0};
    if (!json_lines(in_run(run, "log.jsonl"), read_line, &log, &error)) fail_msg("%s", error.message);
    return log;
}

/* Mean cross-entropy of a run over the stays of dev, as `casemix eval` finds it; *right: how many DRGs it names. */
static double dev_loss_of(const char *run, int *right) {
    struct classifier classifier;
    struct dataset dev = {0};
    struct error error = {0};
    struct note notes[SMALL_DEV_STAYS];
    int32_t labels[SMALL_DEV_STAYS];
    float logits[SMALL_DEV_STAYS * SMALL_DRGS], losses[SMALL_DEV_STAYS];
    if (!classifier_open(&classifier, folder_path(run), &error)) fail_msg("%s", error.message);
    assert_int_equal(classifier.card.labels.count, SMALL_DRGS);
    assert_true(dataset_load(&dev, folder_path("data/dev.jsonl"), &error));
    assert_int_equal(dev.count, SMALL_DEV_STAYS);
    for (size_t i = 0; i < SMALL_DEV_STAYS; i++) {
        notes[i] = (struct note){dev.stays[i].text, dev.stays[i].text_length};
        labels[i] = labels_find(&classifier.card.labels, dev.stays[i].drg);
    }
    assert_true(classifier_logits(&classifier, notes, SMALL_DEV_STAYS, 0, logits, NULL, NULL, NULL, NULL, &error));
    cross_entropy(losses, NULL, logits, labels, SMALL_DEV_STAYS, SMALL_DRGS, 1);
    double sum = 0;
    *right = 0;
    for (int n = 0; n < SMALL_DEV_STAYS; n++) {
        int best = 0;
        for (int v = 1; v < SMALL_DRGS; v++)
            best = logits[n * SMALL_DRGS + v] > logits[n * SMALL_DRGS + best] ? v : best;
        *right += best == labels[n];
        sum += (double)losses[n];
    }
    dataset_free(&dev);
    classifier_close(&classifier);
    return sum / SMALL_DEV_STAYS;
}

/* The data, the tokenizer, and two runs that most tests start from: `straight`, to the end, and `broken`, stopped in
 * the middle. */
static int make_runs(void **state) {
    struct error error = {0};
    if (folder_make(state) != 0) return 1;
    small_data_make();
    if (!train(&(struct attempt){.out = "straight"}, &error)) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    /* A run that is stopped ends in an error: that it did not is the failure. */
    return train(&(struct attempt){.out = "broken", .stop_after = MIDDLE}, &error);
}

static void the_loss_falls_and_the_classifier_codes_new_notes(void **state) {
    (void)state;
    const struct run_log run = read_log("straight");
    int right;
    assert_int_equal(run.lines, STEPS);
    assert_int_equal(run.evaluations, STEPS / EVALUATED);
    assert_true(fabs(run.losses[0] - log(SMALL_DRGS)) < 0.3); /* an untrained model takes all DRGs for equally likely */
    assert_true(run.losses[STEPS - 1] < 0.5 * run.losses[0]);
    assert_true(run.rates[0] == 0.0 && fabs(run.rates[2] - 1e-2) < 1e-12);
    assert_true(fabs(dev_loss_of("straight", &right) - run.best_dev) < 1e-5);
    assert_true(right >= SMALL_DEV_STAYS - 2);
}

static void a_run_directory_holds_its_recipe_and_its_tokenizer(void **state) {
    (void)state;
    struct text recipe = {0};
    struct error error = {0};
    assert_true(file_read(&recipe, in_run("straight", "recipe.yaml"), 0, &error));
    assert_non_null(strstr(recipe.data, "learning_rate: 1e-2"));
    text_free(&recipe);
    assert_true(files_equal(in_run("straight", "tokenizer.json"), folder_path("tokenizer/tokenizer.json")));
}

static void one_seed_gives_the_same_bytes_and_another_does_not(void **state) {
    (void)state;
    must_train(&(struct attempt){.out = "again"});
    assert_same_file("straight", "again", "model.safetensors");
    assert_same_file("straight", "again", "checkpoint.bin");
    must_train(&(struct attempt){.out = "other", .overrides = {"seed=2"}});
    assert_false(files_equal(in_run("straight", "model.safetensors"), in_run("other", "model.safetensors")));
}

static void a_run_that_was_stopped_goes_on_to_the_same_bytes(void **state) {
    (void)state;
    copy_run("broken", "resumed");
    assert_false(files_equal(in_run("straight", "checkpoint.bin"), in_run("resumed", "checkpoint.bin")));
    must_stop((struct attempt){.out = "resumed", .resume = true}, MIDDLE + 4);
    must_train(&(struct attempt){.out = "resumed", .resume = true});
    assert_same_file("straight", "resumed", "model.safetensors");
    assert_same_file("straight", "resumed", "checkpoint.bin");
    const struct run_log straight = read_log("straight"), resumed = read_log("resumed");
    assert_int_equal(resumed.lines, STEPS);
    assert_int_equal(resumed.evaluations, straight.evaluations);
    for (int s = 0; s < STEPS; s++) assert_true(resumed.losses[s] == straight.losses[s]);
    struct text before = list_run("resumed", false);
    must_train(&(struct attempt){.out = "resumed", .resume = true}); /* nothing is left to do */
    assert_run_is("resumed", false, &before);
}

/* The mean that a log line gives is of steps before and after the stop. */
static void a_resumed_run_logs_what_the_straight_one_does(void **state) {
    (void)state;
    struct attempt attempt = {.out = "seldom", .overrides = {"train.log_every=6", "train.eval_every=7"}};
    must_train(&attempt);
    attempt.out = "seldom-resumed";
    must_stop(attempt, MIDDLE);
    attempt.resume = true;
    must_train(&attempt);
    const struct run_log straight = read_log("seldom"), resumed = read_log("seldom-resumed");
    assert_int_equal(resumed.lines, 4); /* after 6, 12, 18 and the last */
    assert_memory_equal(resumed.losses, straight.losses, sizeof straight.losses);
    assert_memory_equal(resumed.norms, straight.norms, sizeof straight.norms);
    assert_true(resumed.best_dev == straight.best_dev);
    assert_same_file("seldom", "seldom-resumed", "model.safetensors");
}

/* A crash leaves a checkpoint that is older than the log, whose last line may be cut short. */
static void a_run_that_crashed_after_its_checkpoint_loses_nothing(void **state) {
    (void)state;
    struct text log = {0};
    struct error error = {0};
    copy_run("broken", "crashed");
    copy_run_file("straight", "crashed", "log.jsonl");
    copy_run_file("straight", "crashed", "model.safetensors");
    assert_true(file_read(&log, in_run("crashed", "log.jsonl"), 0, &error));
    folder_write("crashed/log.jsonl", log.data, log.length - 20);
    text_free(&log);
    must_train(&(struct attempt){.out = "crashed", .resume = true});
    assert_same_file("straight", "crashed", "model.safetensors");
    assert_same_file("straight", "crashed", "checkpoint.bin");
    assert_int_equal(read_log("crashed").lines, STEPS);
}

/* A run that is to be ended as a user would, from outside, when it has logged its first step. */
struct sender {
    pthread_t trainer;
    char log[1024];
};

static void *send_terminate(void *context) {
    const struct sender *sender = context;
    for (int tries = 0; tries < 20000 && !path_exists(sender->log); tries++) usleep(500);
    pthread_kill(sender->trainer, SIGTERM);
    return NULL;
}

static void a_terminated_run_stops_between_two_steps_with_a_checkpoint(void **state) {
    (void)state;
    struct attempt attempt = {.out = "terminated", .overrides = {"train.epochs=400"}};
    struct sender sender = {.trainer = pthread_self()};
    struct error error = {0};
    pthread_t thread;
    long long step = -1;
    snprintf(sender.log, sizeof sender.log, "%s", in_run("terminated", "log.jsonl"));
    assert_int_equal(pthread_create(&thread, NULL, send_terminate, &sender), 0);
    const bool done = train(&attempt, &error);
    pthread_join(thread, NULL);
    assert_false(done);
    assert_int_equal(sscanf(error.message, "stopped after step %lld of 2000", &step), 1);
    assert_non_null(strstr(error.hint, "--resume"));
    struct sigaction after;
    assert_true(sigaction(SIGTERM, NULL, &after) == 0 && after.sa_handler == SIG_DFL);
    attempt.resume = true;
    must_stop(attempt, step + 2);
    attempt.resume = false;
    attempt.out = "not-terminated";
    must_stop(attempt, step + 2);
    assert_same_file("terminated", "not-terminated", "checkpoint.bin");
}

/* Sums of up to 12 terms in another order: some 1e-7 a step, which twenty steps of Adam may amplify. */
static void smaller_micro_batches_give_the_same_loss(void **state) {
    (void)state;
    must_train(&(struct attempt){.out = "halved", .overrides = {"train.micro_batch_tokens=128"}});
    const struct run_log whole = read_log("straight"), halved = read_log("halved");
    assert_int_equal(halved.lines, STEPS);
    for (int s = 0; s < STEPS; s++) {
        const double tolerance = s < 3 ? 1e-5 : 2e-3;
        if (!(fabs(whole.losses[s] - halved.losses[s]) < tolerance &&
              fabs(whole.norms[s] - halved.norms[s]) < 10 * tolerance)) {
            fail_msg("step %d: loss %.9g and %.9g, norm %.9g and %.9g", s + 1, whole.losses[s], halved.losses[s],
                     whole.norms[s], halved.norms[s]);
        }
    }
}

/* On dev every stay has the DRG after its own: what is learned of train makes dev worse. */
static void the_model_that_a_run_keeps_is_the_best_on_dev(void **state) {
    (void)state;
    struct attempt attempt = {.out = "misled", .data = "misleading"};
    assert_int_equal(mkdir(folder_path("misleading"), 0755), 0);
    copy_run_file("data", "misleading", "labels.tsv");
    copy_run_file("data", "misleading", "train.jsonl");
    small_stays_write("misleading/dev.jsonl", SMALL_DEV_STAYS, 2, 1);
    must_train(&attempt);
    const struct run_log run = read_log("misled");
    assert_int_equal(run.best_step, EVALUATED);
    assert_true(run.last_dev > run.best_dev + 0.5);
    attempt.out = "misled-early";
    must_stop(attempt, EVALUATED + 1);
    assert_same_file("misled", "misled-early", "model.safetensors");
    attempt.resume = true;
    must_train(&attempt); /* what was best before the stop still is */
    assert_same_file("misled", "misled-early", "model.safetensors");
}

static void patience_ends_a_run_that_no_longer_gets_better(void **state) {
    (void)state;
    must_train(&(struct attempt){.out = "patient",
                                 .overrides = {"train.learning_rate=0", "train.patience=2", "train.save_every=1000"}});
    /* At rate 0 the first evaluation is the best, and two more are as good. */
    assert_int_equal(read_log("patient").lines, 3 * EVALUATED);
    assert_true(
        path_exists(in_run("patient", "checkpoint.bin"))); /* evaluations save too, so that model and state agree */
}

/* How long no better score came is part of the checkpoint: a stop does not make a run more patient. */
static void patience_outlasts_a_stop(void **state) {
    (void)state;
    struct attempt attempt = {.out = "patient-stopped", .overrides = {"train.learning_rate=0", "train.patience=2"}};
    must_stop(attempt, 2 * EVALUATED + 1);
    attempt.resume = true;
    must_train(&attempt);
    assert_int_equal(read_log("patient-stopped").lines, 3 * EVALUATED);
    struct text before = list_run("patient-stopped", false);
    must_train(&attempt); /* it is over */
    assert_run_is("patient-stopped", false, &before);
}

static const struct attempt adapted = {.out = "adapter", .base = "broken", .overrides = {"train.learning_rate=2e-2"}};

static void lora_trains_an_adapter_that_opens_as_a_classifier(void **state) {
    (void)state;
    struct adapter_config config;
    struct error error = {0};
    int before, after;
    struct text base = list_run("broken", true);
    must_train(&adapted);
    assert_run_is("broken", true, &base);
    assert_false(path_exists(in_run("adapter", "model.safetensors")));
    assert_true(path_exists(in_run("adapter", "adapter_model.safetensors")));
    assert_true(adapter_config_load(&config, folder_path("adapter"), &error));
    assert_int_equal(config.rank, 4);
    assert_true(config.alpha == 8.0 && config.saves_score);
    for (int kind = 0; kind < PROJECTIONS; kind++) {
        int64_t rank;
        double alpha;
        assert_true(adapter_config_term(&config, 0, (enum projection_kind)kind, &rank, &alpha, &error));
        assert_int_equal(
            rank,
            kind == PROJECTION_Q || kind == PROJECTION_V || kind == PROJECTION_O || kind == PROJECTION_DOWN ? 4 : 0);
    }
    adapter_config_free(&config);
    const struct run_log run = read_log("adapter");
    const double loss_of_base = dev_loss_of("broken", &before), loss = dev_loss_of("adapter", &after);
    assert_true(run.losses[STEPS - 1] < 0.5 * run.losses[0]);
    assert_true(fabs(loss - run.best_dev) < 1e-5);
    assert_true(loss < 0.8 * loss_of_base && after >= before);
}

static void lora_learns_over_a_base_in_eight_bits(void **state) {
    (void)state;
    struct error error = {0};
    struct text base = list_run("broken", true);
    const struct attempt eight = {
        .out = "eight", .base = "broken", .overrides = {"train.learning_rate=2e-2"}, .int8 = true};
    must_train(&eight);
    assert_run_is("broken", true, &base);
    const struct run_log exact = read_log("adapter"), run = read_log("eight");
    assert_true(run.losses[0] != exact.losses[0] && fabs(run.losses[0] - exact.losses[0]) < 0.05 * exact.losses[0]);
    assert_true(run.losses[STEPS - 1] < 0.5 * run.losses[0]);
    /* A checkpoint of one kind of arithmetic does not go on in another, and weights that train are not quantised. */
    const struct attempt otherwise = {
        .out = "eight", .base = "broken", .overrides = {"train.learning_rate=2e-2"}, .resume = true};
    assert_false(train(&otherwise, &error));
    const struct attempt whole = {.out = "whole-eight", .int8 = true};
    assert_false(train(&whole, &error));
    assert_non_null(strstr(error.message, "--compute int8"));
}

static void a_stopped_lora_run_goes_on_to_the_same_bytes_dropout_included(void **state) {
    (void)state;
    struct attempt attempt = adapted;
    attempt.out = "adapter-resumed";
    must_stop(attempt, MIDDLE);
    attempt.resume = true;
    must_train(&attempt);
    assert_same_file("adapter", "adapter-resumed", "adapter_model.safetensors");
    assert_same_file("adapter", "adapter-resumed", "adapter_config.json");
    assert_same_file("adapter", "adapter-resumed", "checkpoint.bin");
}

/* --resume refuses the checkpoint of `damaged` and leaves every file as it was. */
static void refuse_checkpoint(const char *bytes, size_t length, const char *part) {
    struct error error = {0};
    folder_write("damaged/checkpoint.bin", bytes, length);
    struct text before = list_run("damaged", true);
    if (train(&(struct attempt){.out = "damaged", .resume = true}, &error)) fail_msg("%zu bytes were taken", length);
    if (strstr(error.message, "checkpoint.bin: ") == NULL || strstr(error.message, part) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", error.message, part);
    }
    assert_run_is("damaged", true, &before);
}

static void a_damaged_checkpoint_is_refused(void **state) {
    (void)state;
    struct text good = {0};
    struct error error = {0};
    copy_run("broken", "damaged");
    assert_true(file_read(&good, in_run("broken", "checkpoint.bin"), 0, &error));
    const size_t cuts[] = {1, 40, good.length / 2, good.length - 1};
    for (size_t i = 0; i < sizeof cuts / sizeof cuts[0]; i++) refuse_checkpoint(good.data, cuts[i], "bytes");
    refuse_checkpoint("", 0, "0 bytes");
    text_add_char(&good, 'x');
    refuse_checkpoint(good.data, good.length, "bytes");
    good.length--;
    /* Magic, version, fingerprint, tensors, size, step, state, the names, weights, moments, the last byte. */
    static const struct {
        double place; /* of a byte of the header, or a share of the file */
        const char *part;
    } flips[] = {{0, "no checkpoint"}, {7, "another version"}, {8, "checksum"},   {16, "expected"},
                 {24, "expected"},     {32, "checksum"},       {40, "checksum"},  {800, "checksum"},
                 {0.3, "checksum"},    {0.5, "checksum"},      {0.8, "checksum"}, {-1, "checksum"}};
    for (size_t i = 0; i < sizeof flips / sizeof flips[0]; i++) {
        const double p = flips[i].place;
        const size_t at = p < 0 ? good.length - 1 : p > 0 && p < 1 ? (size_t)(p * (double)good.length) : (size_t)p;
        good.data[at] ^= 0x10;
        refuse_checkpoint(good.data, good.length, flips[i].part);
        good.data[at] ^= 0x10;
    }
    folder_write("damaged/checkpoint.bin", good.data, good.length);
    text_free(&good);
    must_train(&(struct attempt){.out = "damaged", .resume = true});
    assert_same_file("straight", "damaged", "checkpoint.bin");
}

static void a_refused_checkpoint_changes_nothing_in_memory(void **state) {
    (void)state;
    struct error error = {0};
    struct parameters set = {0};
    struct adamw optimizer;
    size_t index;
    const struct progress_state written = {.step = 7, .tokens = 99};
    struct progress_state read = {.step = 3};
    const char *path = folder_path("small.bin");
    assert_true(parameters_declare(&set, "weight", 4, 4, false, &index, &error) && parameters_allocate(&set, &error));
    assert_true(adamw_open(&optimizer, &set, &error));
    set.values[5] = 5;
    optimizer.v[6] = 6;
    optimizer.step = 7;
    assert_true(checkpoint_write(path, 1, &written, &set, &optimizer, &error));
    set.values[5] = 50;
    optimizer.v[6] = 60;
    optimizer.step = 70;
    assert_false(checkpoint_read(path, 2, &read, &set, &optimizer, &error));
    assert_true(strlen(error.hint) > 0);
    assert_true(read.step == 3 && set.values[5] == 50.0f && optimizer.v[6] == 60.0f && optimizer.step == 70);
    assert_true(checkpoint_read(path, 1, &read, &set, &optimizer, &error));
    assert_true(read.step == 7 && read.tokens == 99 && set.values[5] == 5.0f && optimizer.v[6] == 6.0f &&
                optimizer.step == 7);
    adamw_close(&optimizer);
    parameters_free(&set);
}

static void a_checkpoint_of_another_recipe_or_other_data_is_refused(void **state) {
    (void)state;
    assert_int_equal(mkdir(folder_path("other-data"), 0755), 0);
    copy_run_file("data", "other-data", "labels.tsv");
    copy_run_file("data", "other-data", "train.jsonl");
    small_stays_write("other-data/dev.jsonl", SMALL_DEV_STAYS, 3, 0);
    struct text before = list_run("broken", true);
    must_refuse(&(struct attempt){.out = "broken", .resume = true, .overrides = {"train.learning_rate=1e-3"}},
                "have changed");
    must_refuse(&(struct attempt){.out = "broken", .resume = true, .data = "other-data"}, "have changed");
    must_refuse(&(struct attempt){.out = "broken", .resume = true, .overrides = {"model.layers=1"}}, "expected");
    assert_run_is("broken", true, &before);
}

static void a_directory_that_holds_something_is_not_trained_into(void **state) {
    (void)state;
    assert_int_equal(mkdir(folder_path("full"), 0755), 0);
    folder_write_text("full/thesis.txt", "all of it");
    struct text before = list_run("full", true);
    must_refuse(&(struct attempt){.out = "full"}, "not empty");
    must_refuse(&(struct attempt){.out = "full", .resume = true}, "no checkpoint");
    assert_run_is("full", true, &before);
    before = list_run("straight", true);
    must_refuse(&(struct attempt){.out = "straight"}, "not empty");
    assert_run_is("straight", true, &before);
}

static void a_run_that_cannot_begin_leaves_no_directory(void **state) {
    (void)state;
    assert_int_equal(mkdir(folder_path("strange"), 0755), 0);
    copy_run_file("data", "strange", "labels.tsv");
    copy_run_file("data", "strange", "train.jsonl");
    folder_write_text("strange/dev.jsonl", "{\"text\": \"fever\", \"drg\": 871}\n{\"text\": \"fall\", \"drg\": 872}\n");
    must_refuse(&(struct attempt){.out = "never", .data = "strange"}, "stay 2 has DRG 872");
    must_refuse(&(struct attempt){.out = "never", .data = "absent"}, "labels.tsv");
    must_refuse(&(struct attempt){.out = "never", .overrides = {"model.positions=4"}}, "positions");
    must_refuse(&(struct attempt){.out = "never", .base = "data"}, "tokenizer.json");
    assert_false(path_exists(folder_path("never")));
}

static void a_plan_writes_nothing(void **state) {
    (void)state;
    must_train(&(struct attempt){.out = "planned", .plan = true});
    assert_false(path_exists(folder_path("planned")));
}

/* Training with a limit on the size of files in place of a full disk; the message it ends with names `part`. */
static void train_on_a_full_disk(const struct attempt *attempt, size_t bytes, const char *part) {
    struct rlimit old, small;
    struct error error = {0};
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const bool done = train(attempt, &error);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_false(done);
    if (strstr(error.message, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", error.message, part);
}

static void a_full_disk_leaves_model_and_checkpoint_as_they_were(void **state) {
    (void)state;
    struct stat model, checkpoint;
    copy_run("broken", "squeezed");
    assert_int_equal(stat(in_run("squeezed", "model.safetensors"), &model), 0);
    assert_int_equal(stat(in_run("squeezed", "checkpoint.bin"), &checkpoint), 0);
    assert_true(checkpoint.st_size > 2 * model.st_size);
    /* Step 9 is saved and not evaluated, step 10 evaluated: the checkpoint fails first where only it is too large … */
    struct text before = list_run("squeezed", false);
    train_on_a_full_disk(&(struct attempt){.out = "squeezed", .resume = true}, 2 * (size_t)model.st_size,
                         "checkpoint.bin");
    assert_run_is("squeezed", false, &before);
    /* … and the model where a checkpoint was just written. */
    must_stop((struct attempt){.out = "squeezed", .resume = true}, 9);
    before = list_run("squeezed", false);
    train_on_a_full_disk(&(struct attempt){.out = "squeezed", .resume = true}, (size_t)model.st_size / 2,
                         "model.safetensors");
    assert_run_is("squeezed", false, &before);
    must_train(&(struct attempt){.out = "squeezed", .resume = true}); /* with room again */
    assert_same_file("straight", "squeezed", "model.safetensors");
    assert_same_file("straight", "squeezed", "checkpoint.bin");
    assert_int_equal(read_log("squeezed").lines, STEPS);
}

/* Decay of 10 at rate 10 multiplies the weights by -99 a step until they overflow: a tensor, or the forward before it,
 * whichever comes first with this processor's sums. */
static void a_run_that_diverges_ends_in_an_error_and_keeps_its_checkpoint(void **state) {
    (void)state;
    struct error first = {0}, second = {0};
    struct attempt attempt = {.out = "wild", .overrides = {"train.learning_rate=10", "train.weight_decay=10"}};
    assert_false(train(&attempt, &first));
    const bool tensor = strstr(first.message, "no finite number") != NULL && strstr(first.message, " model.") != NULL;
    if (!tensor && strstr(first.message, "the forward overflowed") == NULL) fail_msg("%s", first.message);
    assert_non_null(strstr(first.hint, "checkpoint is kept"));
    struct text before = list_run("wild", false);
    attempt.resume = true;
    assert_false(train(&attempt, &second));
    assert_string_equal(second.message, first.message);
    assert_run_is("wild", false, &before);
}

/* The seed of the dropout of a step is made from it: in UBSan's build a product that overflows ends the program. */
static void the_largest_seed_trains(void **state) {
    (void)state;
    must_stop((struct attempt){.out = "seeded", .overrides = {"seed=9223372036854775807"}}, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loss_falls_and_the_classifier_codes_new_notes),
        cmocka_unit_test(a_run_directory_holds_its_recipe_and_its_tokenizer),
        cmocka_unit_test(one_seed_gives_the_same_bytes_and_another_does_not),
        cmocka_unit_test(a_run_that_was_stopped_goes_on_to_the_same_bytes),
        cmocka_unit_test(a_resumed_run_logs_what_the_straight_one_does),
        cmocka_unit_test(a_run_that_crashed_after_its_checkpoint_loses_nothing),
        cmocka_unit_test(a_terminated_run_stops_between_two_steps_with_a_checkpoint),
        cmocka_unit_test(smaller_micro_batches_give_the_same_loss),
        cmocka_unit_test(the_model_that_a_run_keeps_is_the_best_on_dev),
        cmocka_unit_test(patience_ends_a_run_that_no_longer_gets_better),
        cmocka_unit_test(patience_outlasts_a_stop),
        cmocka_unit_test(lora_trains_an_adapter_that_opens_as_a_classifier),
        cmocka_unit_test(lora_learns_over_a_base_in_eight_bits),
        cmocka_unit_test(a_stopped_lora_run_goes_on_to_the_same_bytes_dropout_included),
        cmocka_unit_test(a_damaged_checkpoint_is_refused),
        cmocka_unit_test(a_refused_checkpoint_changes_nothing_in_memory),
        cmocka_unit_test(a_checkpoint_of_another_recipe_or_other_data_is_refused),
        cmocka_unit_test(a_directory_that_holds_something_is_not_trained_into),
        cmocka_unit_test(a_run_that_cannot_begin_leaves_no_directory),
        cmocka_unit_test(a_plan_writes_nothing),
        cmocka_unit_test(a_full_disk_leaves_model_and_checkpoint_as_they_were),
        cmocka_unit_test(a_run_that_diverges_ends_in_an_error_and_keeps_its_checkpoint),
        cmocka_unit_test(the_largest_seed_trains),
    };
    return cmocka_run_group_tests(tests, make_runs, folder_remove);
}
