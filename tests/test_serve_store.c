/* What the server has acknowledged outlives kill -9, and whoever touches the audit trail is found out. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "command.h"
#include "folder.h"
#include "serve/audit.h"
#include "serve/store.h"
#include "served.h"
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define JSON "Content-Type: application/json\r\n"

enum { REVIEWERS = 4, REVIEWS = 200, KILLED_AFTER = 120 };

static struct served_program program;
static struct reply reply;

static int tear_down(void **state) {
    served_kill(&program);
    reply_free(&reply);
    return folder_remove(state);
}

static void serve(const char *store) {
    served_start(&program, "--model models/tiny-classifier --store %s", folder_path(store));
}

static long long code_note(const char *text) {
    char body[256];
    snprintf(body, sizeof body, "{\"text\": \"%s\"}", text);
    served_ask(&program, &reply, "POST", "/v1/drg", JSON, body);
    assert_int_equal(reply.status, 200);
    return strtoll(strstr(reply.body.data, "\"prediction\": ") + 14, NULL, 10);
}

/* Reviewers who send what they have decided until the server is gone. */
struct reviewing {
    long long prediction;
    atomic_int next, acknowledged, over;
    atomic_bool kept[REVIEWS];
};

static void *review(void *context) {
    struct reviewing *reviewing = context;
    struct reply answer = {0};
    char body[256];
    for (int i; (i = atomic_fetch_add(&reviewing->next, 1)) < REVIEWS;) {
        snprintf(body, sizeof body, "{\"prediction\": %lld, \"decision\": \"comment\", \"comment\": \"remark %03d.\"}",
                 reviewing->prediction, i);
        served_ask(&program, &answer, "POST", "/v1/reviews", JSON, body);
        if (answer.status != 201) break;
        atomic_store(&reviewing->kept[i], true);
        atomic_fetch_add(&reviewing->acknowledged, 1);
    }
    reply_free(&answer);
    atomic_fetch_add(&reviewing->over, 1);
    return NULL;
}

/* The server is killed while requests are on their way, as soon as so many were acknowledged. */
static void kill_during(struct reviewing *reviewing) {
    pthread_t threads[REVIEWERS];
    for (int i = 0; i < REVIEWERS; i++) assert_int_equal(pthread_create(&threads[i], NULL, review, reviewing), 0);
    while (atomic_load(&reviewing->acknowledged) < KILLED_AFTER && atomic_load(&reviewing->over) < REVIEWERS)
        usleep(1000);
    assert_int_equal(served_stop(&program, SIGKILL), 128 + SIGKILL);
    for (int i = 0; i < REVIEWERS; i++) pthread_join(threads[i], NULL);
}

static void what_was_acknowledged_outlives_kill_9(void **state) {
    static struct reviewing reviewing;
    struct printed printed = {0};
    char remark[32];
    (void)state;
    serve("killed.sqlite");
    reviewing.prediction = code_note("heart failure, diuresed");
    kill_during(&reviewing);
    command_succeeds(&printed, "audit verify --store %s", folder_path("killed.sqlite"));
    serve("killed.sqlite");
    served_ask(&program, &reply, "GET", "/v1/reviews?format=csv", "", NULL);
    assert_int_equal(reply.status, 200);
    for (int i = 0; i < REVIEWS; i++) {
        snprintf(remark, sizeof remark, "remark %03d.", i);
        if (atomic_load(&reviewing.kept[i]) && strstr(reply.body.data, remark) == NULL)
            fail_msg("review %d was acknowledged and is lost", i);
    }
    /* It goes on where it was. */
    assert_true(code_note("pneumonia") > reviewing.prediction);
    assert_int_equal(served_stop(&program, SIGTERM), 0);
    command_succeeds(&printed, "audit verify --store %s", folder_path("killed.sqlite"));
    printed_free(&printed);
}

static void run_sql(sqlite3 *database, const char *sql) {
    char *message = NULL;
    if (sqlite3_exec(database, sql, NULL, NULL, &message) != SQLITE_OK) fail_msg("%s: %s", sql, message);
}

/* Three notes and a review: four rows. */
static int make_store(void **state) {
    char body[128];
    folder_make(state);
    serve("store.sqlite");
    const long long first = code_note("heart failure, diuresed");
    code_note("pneumonia");
    code_note("sepsis");
    snprintf(body, sizeof body, "{\"prediction\": %lld, \"decision\": \"accept\"}", first);
    served_ask(&program, &reply, "POST", "/v1/reviews", JSON, body);
    assert_int_equal(reply.status, 201);
    assert_int_equal(served_stop(&program, SIGTERM), 0);
    return 0;
}

/* A copy of it, and a connection to that. */
static sqlite3 *copy_store(const char *name) {
    sqlite3 *database, *copy;
    char sql[512];
    snprintf(sql, sizeof sql, "VACUUM INTO '%s'", folder_path(name));
    assert_int_equal(sqlite3_open(folder_path("store.sqlite"), &database), SQLITE_OK);
    run_sql(database, sql);
    sqlite3_close(database);
    assert_int_equal(sqlite3_open(folder_path(name), &copy), SQLITE_OK);
    return copy;
}

static void rows_of_the_trail_cannot_be_changed(void **state) {
    (void)state;
    sqlite3 *database = copy_store("kept.sqlite");
    assert_int_not_equal(sqlite3_exec(database, "UPDATE audit SET answer = '{}'", NULL, NULL, NULL), SQLITE_OK);
    assert_int_not_equal(sqlite3_exec(database, "DELETE FROM audit WHERE seq = 2", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(database);
}

/* Whoever has the file can drop its triggers; the chain tells. */
static void a_changed_removed_or_cut_trail_is_found_out(void **state) {
    static const struct {
        const char *sql, *found;
    } touches[] = {
        {"UPDATE audit SET who = 'nobody' WHERE seq = 2", "row 2 was changed"},
        {"UPDATE audit SET note_sha256 = replace(note_sha256, substr(note_sha256, 1, 1), 'x') WHERE seq = 3",
         "row 3 was changed"},
        {"DELETE FROM audit WHERE seq = 2", "row 2 is missing"},
        {"DELETE FROM audit WHERE seq = 4", "missing at its end"},
        {"DELETE FROM audit WHERE seq = 1", "row 1 is missing"},
        {"DELETE FROM audit WHERE seq = 1; UPDATE forgotten SET through = 1", "no row says that retention"},
    };
    (void)state;
    sqlite3 *database = copy_store("touched.sqlite"), *touched;
    struct text all = {0};
    sqlite3_stmt *statement;
    assert_int_equal(
        sqlite3_prepare_v2(database, "SELECT name FROM sqlite_schema WHERE type = 'trigger'", -1, &statement, NULL),
        SQLITE_OK);
    while (sqlite3_step(statement) == SQLITE_ROW)
        text_printf(&all, "DROP TRIGGER %s;", (const char *)sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    assert_true(all.length > 0);
    for (size_t i = 0; i < sizeof touches / sizeof touches[0]; i++) {
        char name[32];
        snprintf(name, sizeof name, "touched-%zu.sqlite", i);
        touched = copy_store(name);
        run_sql(touched, all.data);
        run_sql(touched, touches[i].sql);
        sqlite3_close(touched);
        command_refuses(touches[i].found, "audit verify --store %s", folder_path(name));
    }
    text_free(&all);
    sqlite3_close(database);
}

static void the_head_that_was_noted_stays_in_the_trail(void **state) {
    struct printed printed = {0};
    char head[65];
    (void)state;
    sqlite3_close(copy_store("head.sqlite"));
    command_succeeds(&printed, "audit verify --store %s", folder_path("head.sqlite"));
    assert_int_equal(sscanf(strstr(printed.out.data, "\nhead "), " head %64s", head), 1);
    assert_int_equal(strlen(head), 64);
    serve("head.sqlite");
    code_note("another");
    assert_int_equal(served_stop(&program, SIGTERM), 0);
    command_succeeds(&printed, "audit verify --store %s --head %s", folder_path("head.sqlite"), head);
    head[0] = head[0] == '0' ? '1' : '0';
    command_refuses("no row has the hash", "audit verify --store %s --head %s", folder_path("head.sqlite"), head);
    printed_free(&printed);
}

/* Retention takes all that is older than now, and says so in a row that stands in the chain. */
static void retention_forgets_and_what_is_left_verifies(void **state) {
    struct audit_state before, after;
    struct error error = {0};
    (void)state;
    sqlite3 *database = copy_store("old.sqlite");
    assert_true(audit_verify(database, &before, &error));
    assert_true(audit_forget(database, 0, &error));
    assert_true(audit_verify(database, &after, &error));
    assert_int_equal(after.forgotten, before.last);
    assert_int_equal(after.rows, 1);
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_prepare_v2(database,
                                        "SELECT (SELECT count(*) FROM predictions) + (SELECT count(*) FROM"
                                        " reviews) + (SELECT count(*) FROM notes)",
                                        -1, &statement, NULL),
                     SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_int_equal(sqlite3_column_int(statement, 0), 0);
    sqlite3_finalize(statement);
    sqlite3_close(database);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_acknowledged_outlives_kill_9),
        cmocka_unit_test(rows_of_the_trail_cannot_be_changed),
        cmocka_unit_test(a_changed_removed_or_cut_trail_is_found_out),
        cmocka_unit_test(the_head_that_was_noted_stays_in_the_trail),
        cmocka_unit_test(retention_forgets_and_what_is_left_verifies),
    };
    return cmocka_run_group_tests(tests, make_store, tear_down);
}
