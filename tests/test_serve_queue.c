/* The queue before a model: what waits is coded together, what finds no room is told to come again, who leaves gives up
 * the place. The server runs within the test, which can hold its coder up for as long as it likes. */
#include "base/error.h"
#include "base/file.h"
#include "folder.h"
#include "serve/coder.h"
#include "serve/models.h"
#include "serve/server.h"
#include "serve/writer.h"
#include "served.h"
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define JSON "Content-Type: application/json\r\n"
#define STORIES "../shared/models/stories260k"

enum { QUEUE = 3, TRIES = 20 };

static struct server *server;
static struct served_program program; /* only its port */
static struct reply reply;
static bool writes;

static int set_up(void **state) {
    struct error error = {0};
    folder_make(state);
    writes = path_exists(STORIES "/model.safetensors");
    const struct server_settings settings = {.models = {"models/tiny-classifier", writes ? STORIES : NULL},
                                             .model_count = writes ? 2 : 1,
                                             .address = "127.0.0.1",
                                             .store = folder_path("store.sqlite"),
                                             .queue = QUEUE,
                                             .batch_limit = 1 << 20,
                                             .connections = 64,
                                             .cache_tokens = 16384,
                                             .timeout = 600,
                                             .compute = COMPUTE_AUTO,
                                             .version = "test"};
    if (!server_open(&server, &settings, &error)) fail_msg("%s", error.message);
    program.port = server->port;
    return 0;
}

static int tear_down(void **state) {
    server_close(server);
    reply_free(&reply);
    return folder_remove(state);
}

/* A note of the test's own that keeps the coder's thread until it is let go. */
static struct {
    struct coding coding;
    sem_t held, go;
} holder;

static void hold(struct coding *coding) {
    (void)coding;
    sem_post(&holder.held);
    sem_wait(&holder.go);
}

static struct coder *coder(void) {
    return models_first(server->models, false)->coder;
}

static void hold_coder(void) {
    sem_init(&holder.held, 0, 0);
    sem_init(&holder.go, 0, 0);
    holder.coding = (struct coding){.text = "a note", .length = 6, .k = 1, .done = hold};
    assert_true(coder_submit(coder(), &holder.coding));
    sem_wait(&holder.held);
}

static void let_go(void) {
    sem_post(&holder.go);
}

static int send_note(void) {
    char request[512];
    static const char body[] = "{\"text\": \"heart failure, diuresed\"}";
    const int socket_number = served_connect(&program, "127.0.0.1"),
              length = snprintf(request, sizeof request,
                                "POST /v1/drg HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" JSON
                                "Content-Length: %zu\r\n\r\n%s",
                                strlen(body), body);
    assert_true(socket_number >= 0 && send_bytes(socket_number, request, (size_t)length));
    return socket_number;
}

static void await_waiting(size_t count) {
    while (coder_waiting(coder()) != count) usleep(1000);
}

static long long metric(const char *name) {
    char line[128];
    snprintf(line, sizeof line, "\n%s ", name);
    served_ask(&program, &reply, "GET", "/metrics", "", NULL);
    const char *found = strstr(reply.body.data, line);
    assert_non_null(found);
    return strtoll(found + strlen(line), NULL, 10);
}

static void notes_that_wait_are_coded_together_and_more_are_told_to_come_again(void **state) {
    int sockets[QUEUE];
    (void)state;
    hold_coder();
    const long long blocks = metric("casemix_blocks_total"), notes = metric("casemix_notes_coded_total");
    for (int i = 0; i < QUEUE; i++) {
        sockets[i] = send_note();
        await_waiting((size_t)i + 1);
    }
    for (int i = 0; i < 5; i++) {
        read_reply(send_note(), &reply);
        assert_int_equal(reply.status, 429);
        assert_string_equal(reply_header(&reply, "Retry-After"), "1");
        assert_non_null(strstr(reply.body.data, "\"code\": \"busy\""));
    }
    served_ask(&program, &reply, "GET", "/health", "", NULL);
    assert_non_null(strstr(reply.body.data, "\"queue\": 3, \"queue_limit\": 3"));
    let_go();
    for (int i = 0; i < QUEUE; i++) {
        read_reply(sockets[i], &reply);
        assert_int_equal(reply.status, 200);
    }
    assert_int_equal(metric("casemix_notes_coded_total"), notes + QUEUE);
    assert_int_equal(metric("casemix_blocks_total"), blocks + 1);
    read_reply(send_note(), &reply);
    assert_int_equal(reply.status, 200);
}

/* That a client has left is noticed within a moment; the test waits longer and longer for it. */
static void who_leaves_is_not_coded(void **state) {
    const long long left = metric("casemix_clients_left_total"), notes = metric("casemix_notes_coded_total");
    long long coded = 0;
    (void)state;
    for (unsigned i = 1; metric("casemix_clients_left_total") == left; i++) {
        assert_in_range(i, 1, TRIES);
        hold_coder();
        const int socket_number = send_note();
        await_waiting(1);
        close(socket_number);
        usleep(i * 100000);
        let_go();
        await_waiting(0);
        read_reply(send_note(), &reply); /* behind it, so that the one before is settled */
        assert_int_equal(reply.status, 200);
        coded += 3;
    }
    /* The holder's own note and the one behind were coded, and of the last round not the one that left. */
    assert_int_equal(metric("casemix_notes_coded_total"), notes + coded - 1);
}

static void a_note_that_waits_too_long_is_given_back(void **state) {
    (void)state;
    hold_coder();
    server->settings.timeout = 0;
    const int socket_number = send_note();
    await_waiting(1);
    server->settings.timeout = 600;
    let_go();
    read_reply(socket_number, &reply);
    assert_int_equal(reply.status, 503);
    assert_string_equal(reply_header(&reply, "Retry-After"), "1");
    assert_non_null(strstr(reply.body.data, "\"code\": \"too_slow\""));
}

/* Reads until what has come holds `part`. */
static void read_until(int socket_number, struct text *got, const char *part) {
    char bytes[4096];
    while (got->data == NULL || strstr(got->data, part) == NULL) {
        const ssize_t count = recv(socket_number, bytes, sizeof bytes, 0);
        if (count <= 0) fail_msg("the stream ends before \"%s\": %s", part, got->data == NULL ? "" : got->data);
        text_append(got, bytes, (size_t)count);
    }
}

static int send_get(const char *path) {
    char request[512];
    const int socket_number = served_connect(&program, "127.0.0.1"),
              length = snprintf(request, sizeof request,
                                "GET %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", path);
    assert_true(socket_number >= 0 && send_bytes(socket_number, request, (size_t)length));
    return socket_number;
}

static void progress_is_told_while_a_job_runs_and_people_come_before_it(void **state) {
    char path[128];
    struct text events = {0};
    (void)state;
    hold_coder();
    served_ask(&program, &reply, "POST", "/v1/drg/batch", "Content-Type: text/csv\r\n",
               "id,text\n1,heart\n2,lung\n3,liver\n4,kidney\n5,spleen\n");
    assert_int_equal(reply.status, 202);
    snprintf(path, sizeof path, "/v1/drg/batch/%.32s/events", strstr(reply.body.data, "\"job\": \"") + 8);
    const int socket_number = send_get(path);
    read_until(socket_number, &events, "event: progress\ndata: ");
    await_waiting(5);
    assert_non_null(strstr(events.data, "\"status\": \"running\""));
    assert_non_null(strstr(events.data, "\"done\": 0"));
    const int person = send_note(); /* finds room: notes of a job do not fill the queue of people */
    await_waiting(6);
    let_go();
    read_reply(person, &reply);
    assert_int_equal(reply.status, 200);
    read_until(socket_number, &events, "event: end\ndata: ");
    read_until(socket_number, &events, "\"done\": 5");
    close(socket_number);
    text_free(&events);
}

static void a_job_that_is_stopped_codes_no_more(void **state) {
    char path[128], events[160];
    (void)state;
    hold_coder();
    served_ask(&program, &reply, "POST", "/v1/drg/batch", "Content-Type: text/csv\r\n", "id,text\n1,heart\n2,lung\n");
    snprintf(path, sizeof path, "/v1/drg/batch/%.32s", strstr(reply.body.data, "\"job\": \"") + 8);
    await_waiting(2);
    served_ask(&program, &reply, "DELETE", path, "", NULL);
    assert_int_equal(reply.status, 200);
    let_go();
    snprintf(events, sizeof events, "%s/events", path);
    served_ask(&program, &reply, "GET", events, "", NULL);
    assert_non_null(strstr(reply.body.data, "event: end\n"));
    assert_non_null(strstr(reply.body.data, "\"status\": \"cancelled\""));
    assert_non_null(strstr(reply.body.data, "\"done\": 0"));
}

static void who_leaves_a_stream_ends_the_writing(void **state) {
    static const char body[] = "{\"model\": \"stories260k\", \"prompt\": \"Once\", \"max_tokens\": 480, \"n\": 16, "
                               "\"stream\": true, \"seed\": 1}";
    (void)state;
    if (!writes) {
        print_message("skipped: " STORIES " is absent\n");
        skip();
    }
    const long long left = metric("casemix_clients_left_total");
    struct writer *writer = models_first(server->models, true)->writer;
    for (int i = 1; metric("casemix_clients_left_total") == left; i++) {
        char request[512];
        struct text got = {0};
        assert_in_range(i, 1, TRIES); /* a model that is done first has not noticed */
        const int length =
            snprintf(request, sizeof request,
                     "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n" JSON "Content-Length: %zu\r\n\r\n%s",
                     strlen(body), body);
        const int socket_number = served_connect(&program, "127.0.0.1");
        assert_true(send_bytes(socket_number, request, (size_t)length));
        read_until(socket_number, &got, "data: {");
        close(socket_number);
        text_free(&got);
        while (writer_waiting(writer) > 0) usleep(1000);
    }
    served_ask(&program, &reply, "POST", "/v1/completions", JSON,
               "{\"model\": \"stories260k\", \"prompt\": \"Once\", \"max_tokens\": 4}");
    assert_int_equal(reply.status, 200);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notes_that_wait_are_coded_together_and_more_are_told_to_come_again),
        cmocka_unit_test(who_leaves_is_not_coded),
        cmocka_unit_test(a_note_that_waits_too_long_is_given_back),
        cmocka_unit_test(progress_is_told_while_a_job_runs_and_people_come_before_it),
        cmocka_unit_test(a_job_that_is_stopped_codes_no_more),
        cmocka_unit_test(who_leaves_a_stream_ends_the_writing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
