/* Training on several ranks of an MPI job, and without one. In a build without MPI (make MPI=1 makes one with it) only
 * what concerns one rank is run. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "command.h"
#include "folder.h"
#include "small_cohort.h"
#include "train/cluster.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

static int make_cohort(void **state) {
    if (folder_make(state) != 0) return 1;
    small_cohort_make();
    return 0;
}

static int64_t weight(const void *context, int64_t index) {
    return ((const int64_t *)context)[index];
}

static void one_rank_takes_all_and_sums_nothing(void **state) {
    (void)state;
    const int64_t weights[3] = {5, 1, 9};
    int64_t first, end;
    float values[2] = {1.5f, -2};
    cluster_share(3, weight, weights, &first, &end);
    assert_true(first == 0 && end == 3);
    cluster_sum(values, 2);
    assert_true(values[0] == 1.5f && values[1] == -2.0f);
    assert_true(cluster_max(7) == 7 && cluster_ranks() == 1 && cluster_is_first());
}

#ifdef CASEMIX_MPI

/* Exit status of `mpirun -n RANKS casemix train …`; what it prints goes to FOLDER/job.txt. */
static int train_on(int ranks, const char *run, const char *before, const char *more) {
    char line[8192];
    snprintf(line, sizeof line,
             "%s OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --oversubscribe -n %d %s/casemix "
             "train %s %s --out %s %s </dev/null >%s 2>&1",
             before, ranks, getenv("B"), folder_path("classify.yaml"), small_cohort_options(), folder_path(run), more,
             folder_path("job.txt"));
    const int status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void must_train_on(int ranks, const char *run, const char *more) {
    const int status = train_on(ranks, run, "", more);
    struct text said = {0};
    struct error error = {0};
    if (status == 0) return;
    file_read(&said, folder_path("job.txt"), 0, &error);
    fail_msg("%s on %d ranks: status %d, %s", run, ranks, status, said.data);
}

/* Losses of the steps, then those on dev. */
struct losses {
    double values[2 * SMALL_STEPS];
    int count;
};

static bool add_loss(void *context, uint64_t line, const json_node *root, struct error *error) {
    struct losses *losses = context;
    (void)line;
    (void)error;
    const json_node *loss = json_member(root, "loss");
    assert_true(losses->count < 2 * SMALL_STEPS);
    losses->values[losses->count++] = json_number(loss != NULL ? loss : json_member(root, "dev_loss"));
    return true;
}

static struct losses losses_of(const char *run) {
    struct losses losses = {0};
    struct error error = {0};
    char path[256];
    snprintf(path, sizeof path, "%s/log.jsonl", run);
    if (!json_lines(folder_path(path), add_loss, &losses, &error)) fail_msg("%s", error.message);
    assert_int_equal(losses.count, SMALL_STEPS + (SMALL_STEPS + SMALL_EVALUATED - 1) / SMALL_EVALUATED);
    return losses;
}

static void assert_same_losses(const char *run, const char *other) {
    const struct losses a = losses_of(run), b = losses_of(other);
    for (int i = 0; i < a.count; i++) {
        if (!(fabs(a.values[i] - b.values[i]) <= 1e-5 * fabs(a.values[i])))
            fail_msg("line %d of the logs of %s and %s: %.9g and %.9g", i + 1, run, other, a.values[i], b.values[i]);
    }
}

static void two_ranks_have_the_losses_of_one(void **state) {
    (void)state;
    must_train_on(1, "one", "");
    must_train_on(2, "two", "");
    must_train_on(2, "again", "");
    assert_same_losses("one", "two");
    assert_true(files_equal(folder_path("two/checkpoint.bin"), folder_path("again/checkpoint.bin")));
}

/* Rank 1 is killed when the first checkpoint is there: the job ends and says so, and goes on on two ranks and on one.
 */
static void a_rank_that_dies_ends_the_job_and_any_number_goes_on(void **state) {
    (void)state;
    char killer[4096], copy[2048];
    snprintf(killer, sizeof killer,
             "(for i in $(seq 600); do [ -e %s/checkpoint.bin ] && break; sleep 0.05; done; "
             "for p in $(pgrep -x casemix); do grep -zq '^OMPI_COMM_WORLD_RANK=1$' /proc/$p/environ && "
             "grep -zq '%s' /proc/$p/cmdline && kill -9 $p; done) & ",
             folder_path("dies"), folder_path("dies"));
    assert_int_not_equal(train_on(2, "dies", killer, "--set train.epochs=60"), 0);
    struct text said = {0};
    struct error error = {0};
    assert_true(file_read(&said, folder_path("job.txt"), 0, &error));
    if (strstr(said.data, "signal 9") == NULL) fail_msg("%s", said.data);
    text_free(&said);
    snprintf(copy, sizeof copy, "cp -r %s %s", folder_path("dies"), folder_path("lives"));
    assert_int_equal(system(copy), 0);
    for (int ranks = 1; ranks <= 2; ranks++) {
        struct text end = {0};
        train_on(ranks, ranks == 1 ? "lives" : "dies", "", "--set train.epochs=60 --resume");
        assert_true(file_read(&end, folder_path("job.txt"), 0, &error));
        if (strstr(end.data, "best dev score") == NULL) fail_msg("%d ranks: %s", ranks, end.data);
        text_free(&end);
    }
}

static void an_error_of_all_ranks_is_told_once(void **state) {
    (void)state;
    struct text said = {0};
    struct error error = {0};
    assert_int_not_equal(train_on(2, "one", "", ""), 0);
    assert_true(file_read(&said, folder_path("job.txt"), 0, &error));
    const char *first = strstr(said.data, "casemix: ");
    assert_non_null(strstr(said.data, "not empty"));
    assert_true(first != NULL && strstr(first + 1, "casemix: ") == NULL);
    text_free(&said);
}

/* Status of `mpirun -n RANKS casemix COMMAND`, standard output in FOLDER/out, messages in FOLDER/job.txt. */
static int command_on(int ranks, const char *out, const char *command) {
    char line[8192], to[1024];
    snprintf(to, sizeof to, "%s", folder_path(out));
    snprintf(line, sizeof line,
             "OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 mpirun --oversubscribe -n %d %s/casemix %s "
             "</dev/null >%s 2>%s",
             ranks, getenv("B"), command, to, folder_path("job.txt"));
    const int status = system(line);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void must_command_on(int ranks, const char *out, const char *command) {
    struct text said = {0};
    struct error error = {0};
    const int status = command_on(ranks, out, command);
    if (status == 0) return;
    file_read(&said, folder_path("job.txt"), 0, &error);
    fail_msg("%s on %d ranks: status %d, %s", command, ranks, status, said.data);
}

/* Enough notes for several blocks of each rank, the last of them not full. */
static void write_many_notes(const char *name, const char *last) {
    struct text once = {0}, many = {0};
    struct error error = {0};
    assert_true(file_read(&once, folder_path("data/dev.jsonl"), 0, &error));
    while (many.length < 700 * once.length / 12) text_append(&many, once.data, once.length);
    text_add(&many, last);
    folder_write(name, many.data, many.length);
    text_free(&once);
    text_free(&many);
}

static void any_number_of_ranks_predicts_and_evaluates_to_the_same_bytes(void **state) {
    (void)state;
    char command[4096], notes[1024], run[1024];
    write_many_notes("many.jsonl", "");
    snprintf(notes, sizeof notes, "%s", folder_path("many.jsonl"));
    snprintf(run, sizeof run, "%s", folder_path("one"));
    static const char *const formats[] = {"--json", "--csv", ""};
    for (int ranks = 1; ranks <= 3; ranks++) {
        char name[64];
        for (int f = 0; f < 3; f++) {
            snprintf(name, sizeof name, "predicted-%d-%d", f, ranks);
            snprintf(command, sizeof command, "predict --model %s --threads 1 %s %s", run, formats[f], notes);
            must_command_on(ranks, name, command);
        }
        snprintf(name, sizeof name, "evaluation-%d", ranks);
        snprintf(command, sizeof command, "eval --model %s --threads 1 --resamples 20 --json --data %s --out %s", run,
                 notes, folder_path(name));
        snprintf(name, sizeof name, "evaluated-%d", ranks);
        must_command_on(ranks, name, command);
    }
    static const char *const same[] = {"predicted-0-%d", "predicted-1-%d", "predicted-2-%d", "evaluated-%d",
                                       "evaluation-%d/predictions.jsonl"};
    for (size_t i = 0; i < sizeof same / sizeof same[0]; i++) {
        char one[1024], name[64];
        snprintf(name, sizeof name, "%.*s1%s", (int)strcspn(same[i], "%"), same[i], strstr(same[i], "%d") + 2);
        snprintf(one, sizeof one, "%s", folder_path(name));
        for (int ranks = 2; ranks <= 3; ranks++) {
            snprintf(name, sizeof name, "%.*s%d%s", (int)strcspn(same[i], "%"), same[i], ranks,
                     strstr(same[i], "%d") + 2);
            if (!files_equal(one, folder_path(name))) fail_msg("%s differs from that of one rank", name);
        }
    }
}

static void a_note_that_cannot_be_read_ends_all_ranks_behind_those_before_it(void **state) {
    (void)state;
    char command[4096];
    struct text said = {0}, out = {0};
    struct error error = {0};
    write_many_notes("broken.jsonl", "{\"text\": 7}\n");
    snprintf(command, sizeof command, "predict --model %s --threads 1 --json %s", folder_path("one"),
             folder_path("broken.jsonl"));
    assert_int_not_equal(command_on(2, "out", command), 0);
    assert_true(file_read(&said, folder_path("job.txt"), 0, &error) && file_read(&out, folder_path("out"), 0, &error));
    const char *first = strstr(said.data, "casemix: ");
    if (first == NULL || strstr(first + 1, "casemix: ") != NULL) fail_msg("%s", said.data);
    assert_true(files_equal(folder_path("out"), folder_path("predicted-0-1")));
    assert_int_not_equal(command_on(2, "out", "predict -"), 0);
    text_free(&said);
    text_free(&out);
}

#else

static void a_build_without_mpi_refuses_to_run_under_it(void **state) {
    (void)state;
    assert_int_equal(setenv("OMPI_COMM_WORLD_SIZE", "2", 1), 0);
    command_refuses("built without MPI", "drg show 291");
    unsetenv("OMPI_COMM_WORLD_SIZE");
    printf("skipped: this build has no MPI (make MPI=1)\n");
}

#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_rank_takes_all_and_sums_nothing),
#ifdef CASEMIX_MPI
        cmocka_unit_test(two_ranks_have_the_losses_of_one),
        cmocka_unit_test(a_rank_that_dies_ends_the_job_and_any_number_goes_on),
        cmocka_unit_test(an_error_of_all_ranks_is_told_once),
        cmocka_unit_test(any_number_of_ranks_predicts_and_evaluates_to_the_same_bytes),
        cmocka_unit_test(a_note_that_cannot_be_read_ends_all_ranks_behind_those_before_it),
#else
        cmocka_unit_test(a_build_without_mpi_refuses_to_run_under_it),
#endif
    };
    return cmocka_run_group_tests(tests, make_cohort, folder_remove);
}
