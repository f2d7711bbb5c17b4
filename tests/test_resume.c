/* A run that is ended at any moment goes on to the bytes of the straight one; what is not that run is refused.
 *
 * CASEMIX_KILLS=N kills N runs instead of 5 (`make kills`). */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/rng.h"
#include "command.h"
#include "folder.h"
#include "small_cohort.h"
#include "small_run.h"
#include "train/checkpoint.h"
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* The command that trains into `run`, behind "casemix". */
static const char *command_of(const char *run, const char *more) {
    static char command[4096];
    snprintf(command, sizeof command, "train %s %s --out %s %s", folder_path("classify.yaml"), small_cohort_options(),
             folder_path(run), more);
    return command;
}

static void must_train(const char *run, const char *more) {
    struct printed printed = {0};
    command_succeeds(&printed, "%s", command_of(run, more));
    printed_free(&printed);
}

static void must_stop(const char *run, const char *more) {
    command_refuses("stopped after step", "%s", command_of(run, more));
}

/* Every file of the two runs, by name and byte; of the log what the clock does not decide. */
static void assert_same_run(const char *run, const char *other) {
    struct dirent **entries, **others;
    const int count = scandir(folder_path(run), &entries, NULL, alphasort),
              other_count = scandir(folder_path(other), &others, NULL, alphasort);
    assert_true(count > 2);
    for (int i = 0; i < count || i < other_count; i++) {
        const char *name = i < count ? entries[i]->d_name : "nothing";
        if (i >= count || i >= other_count || strcmp(name, others[i]->d_name) != 0)
            fail_msg("%s has %s, %s has %s", run, name, other, i < other_count ? others[i]->d_name : "nothing");
        if (strcmp(name, "log.jsonl") == 0)
            assert_true(logs_agree(in_run(run, name), in_run(other, name)));
        else if (name[0] != '.' && !files_equal(in_run(run, name), in_run(other, name)))
            fail_msg("%s of %s and %s differ", name, run, other);
        free(entries[i]);
        free(others[i]);
    }
    free(entries);
    free(others);
}

static int make_straight(void **state) {
    struct printed printed = {0};
    if (folder_make(state) != 0) return 1;
    small_cohort_make();
    command_succeeds(&printed, "%s", command_of("straight", ""));
    printed_free(&printed);
    return 0;
}

/* Starts the command, ends it after so many seconds as a power cut would, and says whether it was still running. */
static bool kill_after(const char *command, double seconds) {
    char line[8192];
    const char *build = getenv("B");
    snprintf(line, sizeof line, "exec %s/casemix %s >/dev/null 2>&1", build == NULL ? "build" : build, command);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        _exit(127);
    }
    usleep((useconds_t)(seconds * 1e6));
    kill(child, SIGKILL);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status);
}

/* A killed run goes on with --resume, unless it was killed before it made its directory. */
static const char *resumes(const char *run) {
    return path_is_directory(folder_path(run)) ? "--resume" : "";
}

/* Runs that save at every step and evaluate at every second, so that a kill often falls into the writing of a file. */
static void a_run_killed_at_any_moment_goes_on_to_the_same_bytes(void **state) {
    (void)state;
    static const char often[] = "--set train.save_every=1 --set train.eval_every=2";
    const char *wanted = getenv("CASEMIX_KILLS");
    const int trials = wanted != NULL ? atoi(wanted) : 5;
    char more[256];
    struct rng rng;
    rng_seed(&rng, 20);
    const double start = time_now();
    must_train("straight-often", often);
    const double whole = time_now() - start;
    int kills = 0;
    for (int trial = 0; trial < trials; trial++) {
        char run[32];
        int own = 0;
        snprintf(run, sizeof run, "killed-%d", trial);
        /* Each is killed at least once, half of them again while they go on. */
        const int most = 1 + (int)rng_below(&rng, 2);
        for (int tries = 0; own < most && tries < 100; tries++) {
            snprintf(more, sizeof more, "%s %s", often, resumes(run));
            const bool killed = kill_after(command_of(run, more), whole * rng_uniform(&rng));
            own += killed;
            if (!killed && own > 0) break;
            if (!killed) {
                char command[1024];
                snprintf(command, sizeof command, "rm -rf '%s'", folder_path(run));
                assert_int_equal(system(command), 0);
            }
        }
        kills += own;
        snprintf(more, sizeof more, "%s %s", often, resumes(run));
        must_train(run, more);
        assert_same_run("straight-often", run);
    }
    printf("%d runs killed %d times, each gone on to the straight run's bytes\n", trials, kills);
    assert_true(kills >= trials);
}

static void a_run_ended_before_its_first_checkpoint_begins_anew(void **state) {
    (void)state;
    /* Nothing but the directory; then half of the first file; then the recipe, a model and no checkpoint. */
    assert_int_equal(mkdir(folder_path("early"), 0755), 0);
    must_stop("early", "--resume --stop-after 1");
    assert_int_equal(unlink(in_run("early", "checkpoint.bin")), 0);
    folder_write_text("early/model.safetensors.partial-4711", "half");
    must_train("early", "--resume");
    assert_same_run("straight", "early");
    /* Another recipe's beginning is not this run's. */
    assert_int_equal(unlink(in_run("early", "checkpoint.bin")), 0);
    command_refuses("no checkpoint to resume from", "%s", command_of("early", "--resume --set seed=2"));
    command_refuses("no checkpoint to resume from", "%s", command_of("absent", "--resume"));
    assert_false(path_exists(folder_path("absent")));
}

static void two_processes_do_not_train_into_one_directory(void **state) {
    (void)state;
    must_stop("shared", "--stop-after 3");
    const int held = open(folder_path("shared"), O_RDONLY | O_DIRECTORY);
    assert_true(held >= 0 && flock(held, LOCK_EX | LOCK_NB) == 0);
    command_refuses("another process is training into it", "%s", command_of("shared", "--resume"));
    close(held);
    must_train("shared", "--resume");
    assert_same_run("straight", "shared");
}

/* Two tensors of one shape, in one order or the other. */
static void write_checkpoint(const char *path, const char *first, const char *second, bool writes,
                             struct error *error) {
    struct parameters set = {0};
    struct adamw optimizer;
    struct progress_state progress = {0};
    size_t index;
    assert_true(parameters_declare(&set, first, 4, 8, false, &index, NULL) &&
                parameters_declare(&set, second, 4, 8, false, &index, NULL) && parameters_allocate(&set, NULL) &&
                adamw_open(&optimizer, &set, NULL));
    const bool done = writes ? checkpoint_write(path, 1, &progress, &set, &optimizer, error)
                             : checkpoint_read(path, 1, &progress, &set, &optimizer, error);
    assert_int_equal(done, error->message[0] == '\0');
    adamw_close(&optimizer);
    parameters_free(&set);
}

static void a_checkpoint_of_the_same_shapes_under_other_names_is_refused(void **state) {
    (void)state;
    static const char q[] = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
                      v[] = "base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight";
    char path[1024];
    struct error error = {0};
    snprintf(path, sizeof path, "%s", folder_path("named.bin"));
    write_checkpoint(path, q, v, true, &error);
    write_checkpoint(path, q, v, false, &error);
    write_checkpoint(path, v, q, false, &error);
    if (strstr(error.message, "its tensor 1 is base_model.model.model.layers.0.self_attn.q_proj") == NULL ||
        strstr(error.message, "expected base_model.model.model.layers.0.self_attn.v_proj") == NULL)
        fail_msg("%s", error.message);
}

/* An adapter means nothing over another base, even if all shapes are the same. */
static void an_adapter_does_not_go_on_over_another_base(void **state) {
    (void)state;
    char lora[4096];
    small_cohort_lora();
    must_train("base", "");
    must_train("other-base", "--set seed=2");
    snprintf(lora, sizeof lora, "train %s %s --out %s", folder_path("lora.yaml"), small_cohort_options(),
             folder_path("adapter"));
    command_refuses("stopped after step", "%s --model %s --stop-after 5", lora, folder_path("base"));
    command_refuses("have changed", "%s --model %s --resume", lora, folder_path("other-base"));
    command_refuses("stopped after step", "%s --model %s --resume --stop-after 7", lora, folder_path("base"));
}

static double summary_of(const json_node *root, const char *what, const char *name) {
    return json_number(json_member(json_member(root, what), name));
}

static void seeds_are_runs_of_their_own_with_mean_and_deviation(void **state) {
    (void)state;
    struct error error = {0};
    struct json *document;
    must_train("second", "--set seed=2");
    must_stop("seeds", "--seeds 1,2 --stop-after 6"); /* the first is stopped, the second not begun */
    command_refuses("not empty", "%s", command_of("seeds", "--seeds 1,2"));
    must_train("seeds", "--seeds 1,2 --resume");
    assert_true(files_equal(in_run("straight", "model.safetensors"), in_run("seeds/seed-1", "model.safetensors")));
    assert_same_run("second", "seeds/seed-2");
    assert_true(json_load(&document, in_run("seeds", "seeds.json"), 1 << 16, &error));
    const json_node *root = json_root(document), *runs = json_member(root, "runs");
    assert_int_equal(json_count(runs), 2);
    const double a = json_number(json_member(json_first(runs), "dev_loss")),
                 b = json_number(json_member(json_next(json_first(runs)), "dev_loss"));
    assert_true(a > 0 && b > 0 && a != b);
    assert_true(fabs(summary_of(root, "mean", "dev_loss") - (a + b) / 2) < 1e-12);
    assert_true(fabs(summary_of(root, "sd", "dev_loss") - fabs(a - b) / sqrt(2)) < 1e-12);
    json_free(document);
}

static void a_list_of_seeds_that_is_none_is_refused(void **state) {
    (void)state;
    static const char *const lists[] = {"", "1,,2", "1,x", "3-1", "1,2,1", "-1", "1-", "1-100", "1,2,"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        struct printed printed = {0};
        char more[64];
        snprintf(more, sizeof more, "--seeds '%s'", lists[i]);
        command_run(&printed, "%s", command_of("none", more));
        if (printed.status != 2 || strstr(printed.errors.data, "--seeds") == NULL)
            fail_msg("--seeds \"%s\": status %d, %s", lists[i], printed.status, printed.errors.data);
        printed_free(&printed);
    }
    assert_false(path_exists(folder_path("none")));
}

static void the_log_says_when_the_run_will_end(void **state) {
    (void)state;
    struct text log = {0};
    struct error error = {0};
    int year, month, day, hour, minute, second;
    assert_true(file_read(&log, in_run("straight", "log.jsonl"), 0, &error));
    const char *finish = strstr(log.data, "\"finish\": \"");
    assert_non_null(finish);
    assert_int_equal(sscanf(finish + 11, "%d-%d-%dT%d:%d:%d", &year, &month, &day, &hour, &minute, &second), 6);
    assert_non_null(strstr(log.data, "\"seconds_left\": "));
    text_free(&log);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_killed_at_any_moment_goes_on_to_the_same_bytes),
        cmocka_unit_test(a_run_ended_before_its_first_checkpoint_begins_anew),
        cmocka_unit_test(two_processes_do_not_train_into_one_directory),
        cmocka_unit_test(a_checkpoint_of_the_same_shapes_under_other_names_is_refused),
        cmocka_unit_test(an_adapter_does_not_go_on_over_another_base),
        cmocka_unit_test(seeds_are_runs_of_their_own_with_mean_and_deviation),
        cmocka_unit_test(a_list_of_seeds_that_is_none_is_refused),
        cmocka_unit_test(the_log_says_when_the_run_will_end),
    };
    return cmocka_run_group_tests(tests, make_straight, folder_remove);
}
