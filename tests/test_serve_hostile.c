/* Requests that nobody means well with: each is refused or dropped, others are answered meanwhile, and no word of a
 * note or of a request comes back or reaches a log. */
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "folder.h"
#include "served.h"
#include <setjmp.h>
#include <signal.h>
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
#define HEAD "Host: localhost\r\nConnection: close\r\n"
#define MARKER "quaggazebrafinch" /* stands in no file of the server's own */
#define NOTE "{\"text\": \"heart failure, diuresed\"}"

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED true
#elif defined(__has_feature)
#define SANITIZED __has_feature(address_sanitizer)
#else
#define SANITIZED false
#endif

static struct served_program program;
static struct reply reply;

static int set_up(void **state) {
    folder_make(state);
    served_start(&program, "--model models/tiny-classifier --batch-limit 1 --store %s", folder_path("store.sqlite"));
    return 0;
}

static int tear_down(void **state) {
    served_kill(&program);
    reply_free(&reply);
    return folder_remove(state);
}

/* Somebody who means well is answered. */
static void assert_answers(void) {
    struct reply well = {0};
    served_ask(&program, &well, "POST", "/v1/drg", JSON, NOTE);
    assert_int_equal(well.status, 200);
    reply_free(&well);
}

/* Bytes as they are; what comes back is in `reply`. */
static void send_raw(const char *bytes, size_t length) {
    const int socket_number = served_connect(&program, "127.0.0.1");
    assert_true(socket_number >= 0);
    send_bytes(socket_number, bytes, length);
    shutdown(socket_number, SHUT_WR);
    read_reply(socket_number, &reply);
}

static void slow_senders_hold_up_nobody(void **state) {
    static const char *const beginnings[] = {
        "P", "POST /v1/drg HTTP/1.1\r\nHost: localhost\r\nX-Slow: ",
        "POST /v1/drg HTTP/1.1\r\n" HEAD JSON "Content-Length: 100000\r\n\r\n{\"text\": \"slow",
        "POST /v1/drg/batch HTTP/1.1\r\n" HEAD
        "Content-Type: text/csv\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nid,te\r\n",
        "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n" /* and never reads */};
    enum { SLOW = 200 };
    static int sockets[SLOW];
    (void)state;
    for (int i = 0; i < SLOW; i++) {
        const char *beginning = beginnings[(size_t)i % (sizeof beginnings / sizeof beginnings[0])];
        sockets[i] = served_connect(&program, "127.0.0.1");
        assert_true(sockets[i] >= 0 && send_bytes(sockets[i], beginning, strlen(beginning)));
    }
    assert_answers();
    for (int i = 0; i < SLOW; i++) send_bytes(sockets[i], "x", 1);
    assert_answers();
    for (int i = 0; i < SLOW; i++) close(sockets[i]);
    assert_answers();
}

static void a_body_of_a_gigabyte_is_refused_by_its_head(void **state) {
    static const char *const lengths[] = {"1073741824", "9223372036854775807", "12582913"};
    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        struct text request = {0};
        text_printf(&request, "POST /v1/drg HTTP/1.1\r\n" HEAD JSON "Content-Length: %s\r\n\r\n", lengths[i]);
        const int socket_number = served_connect(&program, "127.0.0.1");
        send_bytes(socket_number, request.data, request.length); /* not a byte of the body */
        read_reply(socket_number, &reply);
        assert_int_equal(reply.status, 413);
        text_free(&request);
    }
    assert_answers();
}

/* Without a length it is read only a little beyond what is allowed. */
static void a_body_without_end_is_cut_off(void **state) {
    static char chunk[65536 + 10];
    enum { GIBIBYTE = 1 << 30 };
    size_t sent = 0;
    (void)state;
    memset(chunk, 'x', sizeof chunk);
    memcpy(chunk, "10000\r\n", 7);
    memcpy(chunk + 7 + 65536, "\r\n", 2);
    const int socket_number = served_connect(&program, "127.0.0.1");
    const char head[] = "POST /v1/drg HTTP/1.1\r\n" HEAD JSON "Transfer-Encoding: chunked\r\n\r\n";
    assert_true(send_bytes(socket_number, head, sizeof head - 1));
    while (sent < GIBIBYTE && send_bytes(socket_number, chunk, 65536 + 9)) sent += 65536;
    close(socket_number);
    assert_in_range(sent, 1, 128 << 20);
    assert_answers();
}

static void what_is_no_json_is_refused(void **state) {
    struct text deep = {0}, wide = {0};
    (void)state;
    for (int i = 0; i < 60000; i++) text_add_char(&deep, '[');
    text_add_char(&wide, '{');
    for (int i = 0; i < 2000; i++) text_printf(&wide, "\"m%d\": {\"a\": [], \"b\": ", i % 7);
    const char *const bodies[] = {deep.data,
                                  wide.data,
                                  "{\"text\": \"\xff\xfe bad\"}",
                                  "{\"text\": \"\xed\xa0\x80 a surrogate\"}",
                                  "{\"text\": \"\\ud800 alone\"}",
                                  "{\"text\": \"a\\u0000b\"}",
                                  "{\"text\": \"twice\", \"text\": \"twice\"}",
                                  "{\"text\": \"behind\"} {}",
                                  "{\"text\": 1e999}",
                                  "{\"text\": \"x\", \"k\": 1e300}",
                                  "{\"text\": \"x\", \"k\": 1.5}",
                                  "{\"text\": [\"x\"]}",
                                  "\"text\"",
                                  ""};
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        static const char *const paths[] = {"/v1/drg", "/v1/reviews", "/v1/ratings", "/v1/completions"};
        for (size_t j = 0; j < sizeof paths / sizeof paths[0]; j++) {
            served_ask(&program, &reply, "POST", paths[j], JSON, bodies[i]);
            if (reply.status != 400) fail_msg("%s %.40s: %d", paths[j], bodies[i], reply.status);
        }
    }
    text_free(&deep);
    text_free(&wide);
    assert_answers();
}

static void no_path_leads_out_of_the_routes(void **state) {
    static const char *const paths[] = {"/../../../../etc/passwd",
                                        "/%2e%2e/%2e%2e/etc/passwd",
                                        "/..%2f..%2f..%2fetc%2fpasswd",
                                        "/app.js/../../etc/passwd",
                                        "//etc/passwd",
                                        "/v1/catalog/..%2f..%2fetc%2fpasswd",
                                        "/v1/notes/../../etc/passwd",
                                        "/v1/notes/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
                                        "/v1/drg/batch/..%2f..%2fetc%2fpasswd/result",
                                        "/v1/catalog/%00",
                                        "/v1/catalog/%ff%fe",
                                        "/v1/catalog/291%27%20OR%201=1",
                                        "/v1/reviews/1",
                                        "http://localhost/etc/passwd",
                                        "/%"};
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        served_ask(&program, &reply, "GET", paths[i], "", NULL);
        if (reply.status != 404 && reply.status != 400) fail_msg("%s: %d", paths[i], reply.status);
        assert_null(strstr(reply.body.data, "root:"));
    }
    assert_answers();
}

static void wrong_methods_are_told_the_right_ones(void **state) {
    static const char *const methods[] = {"PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "GEt", "BREW"};
    (void)state;
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        served_ask(&program, &reply, methods[i], "/v1/reviews", "", NULL);
        assert_int_equal(reply.status, 405);
        assert_string_equal(reply_header(&reply, "Allow"), "POST, GET");
    }
    served_ask(&program, &reply, "POST", "/health", JSON, "{}");
    assert_int_equal(reply.status, 405);
    assert_string_equal(reply_header(&reply, "Allow"), "GET");
    assert_answers();
}

static void floods_and_noise_are_dropped(void **state) {
    static const char *const noise[] = {
        "\r\n\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET /health HTTP/1.1\r\n\r\n",
        "POST /v1/drg HTTP/1.1\r\n" HEAD JSON "Content-Length: -1\r\n\r\n{}",
        "POST /v1/drg HTTP/1.1\r\n" HEAD JSON "Content-Length: 99999999999999999999999\r\n\r\n{}",
        "POST /v1/drg HTTP/1.1\r\n" HEAD JSON "Content-Length: 5\r\nContent-Length: 50\r\n\r\n{\"a\"}",
        "POST /v1/drg HTTP/1.1\r\n" HEAD JSON "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}",
        "POST /v1/drg HTTP/1.1\r\n" HEAD JSON "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}",
        "POST /v1/drg HTTP/1.1\r\n" HEAD JSON "Transfer-Encoding: gzip\r\n\r\n{}",
        "GET /health HTTP/1.1\r\nHost: localhost\r\n folded: yes\r\n\r\n",
        "GET /health HTTP/1.1\r\nHost: localhost\r\nnocolon\r\n\r\n"};
    struct text flood = {0};
    (void)state;
    for (size_t i = 0; i < sizeof noise / sizeof noise[0]; i++) {
        send_raw(noise[i], strlen(noise[i]));
        if (reply.status >= 500 && reply.status != 501 && reply.status != 505)
            fail_msg("%s: %d", noise[i], reply.status);
    }
    for (int kind = 0; kind < 3; kind++) {
        text_clear(&flood);
        text_add(&flood, "GET /health HTTP/1.1\r\nHost: localhost\r\n");
        for (int i = 0; kind == 0 && i < 20000; i++) text_printf(&flood, "X-%d: a\r\n", i);
        if (kind == 1) text_add(&flood, "X-Long: ");
        if (kind == 2) text_add(&flood, "Authorization: Bearer ");
        for (int i = 0; kind > 0 && i < 1 << 20; i++) text_add_char(&flood, 'x');
        text_add(&flood, "\r\n\r\n");
        send_raw(flood.data, flood.length);
        if (reply.status != 0 && (reply.status < 400 || reply.status > 499))
            fail_msg("flood %d: %d", kind, reply.status);
    }
    text_clear(&flood);
    text_add(&flood, "GET /v1/catalog?q=");
    for (int i = 0; i < 1 << 20; i++) text_add_char(&flood, 'x');
    text_add(&flood, " HTTP/1.1\r\n" HEAD "\r\n");
    send_raw(flood.data, flood.length);
    assert_true(reply.status == 0 || (reply.status >= 400 && reply.status < 500));
    text_free(&flood);
    assert_answers();
}

static void uploads_that_are_no_table_end_as_failed_jobs(void **state) {
    static const struct {
        const char *type, *body;
    } uploads[] = {{"text/csv", "id,text\n1,\"never closed\n"},
                   {"text/csv", "id,words\n1,heart\n"},
                   {"text/csv", "id,text\n\xff\xfe,\xff\n"},
                   {"text/csv", "\x1f\x8b\x08\x00 no gzip after all"},
                   {"application/x-ndjson", "{\"text\": \"x\"}\nnot json\n[[[[[[\n{\"id\": []}\n"}};
    char path[160], head[128];
    (void)state;
    for (size_t i = 0; i < sizeof uploads / sizeof uploads[0]; i++) {
        snprintf(head, sizeof head, "Content-Type: %s\r\n", uploads[i].type);
        served_ask(&program, &reply, "POST", "/v1/drg/batch", head, uploads[i].body);
        assert_int_equal(reply.status, 202);
        const char *job = strstr(reply.body.data, "\"job\": \"") + 8;
        snprintf(path, sizeof path, "/v1/drg/batch/%.*s/events", (int)strcspn(job, "\""), job);
        served_ask(&program, &reply, "GET", path, "", NULL);
        assert_non_null(strstr(reply.body.data, "event: end\n"));
    }
    assert_answers();
}

/* Asks with the marker in it; it must not come back. */
static void ask_marked(const char *method, const char *path, const char *head, const char *body, int status) {
    served_ask(&program, &reply, method, path, head, body);
    if (reply.status != status) fail_msg("%s %s: %d %s", method, path, reply.status, reply.body.data);
    if (strstr(reply.body.data, MARKER) != NULL || strstr(reply.head.data, MARKER) != NULL)
        fail_msg("%s %s repeats it: %s", method, path, reply.body.data);
}

static void assert_unmarked(const char *path) {
    struct text file = {0};
    if (!path_exists(path)) return;
    assert_true(file_read(&file, path, 0, NULL));
    if (file.length > 0 && memmem(file.data, file.length, MARKER, strlen(MARKER)) != NULL)
        fail_msg("%s holds a word of a note", path);
    text_free(&file);
}

static void no_word_of_a_note_comes_back_or_reaches_a_file(void **state) {
    char path[160], job[33];
    (void)state;
    ask_marked("POST", "/v1/drg", JSON, "{\"text\": \"heart " MARKER " failure\"}", 200);
    ask_marked("POST", "/v1/drg", JSON, "{\"text\": \"heart " MARKER " failure\", \"evidence\": true}", 200);
    ask_marked("POST", "/v1/drg", JSON, "{\"text\": \"heart " MARKER " failure\", \"k\": 0}", 400);
    ask_marked("POST", "/v1/drg", JSON, "{\"text\": \"heart " MARKER " failure\", \"model\": \"" MARKER "\"}", 404);
    ask_marked("POST", "/v1/drg", JSON, "{\"text\": \"" MARKER "\xff\"}", 400);
    ask_marked("POST", "/v1/drg", JSON, "{\"text\": \"" MARKER, 400);
    ask_marked("POST", "/v1/drg", JSON, "{\"" MARKER "\": 1}", 400);
    ask_marked("POST", "/v1/drg", JSON, "{\"text\": {\"" MARKER "\": 1}}", 400);
    ask_marked("POST", "/v1/drg", "Content-Type: " MARKER "\r\n", "{}", 415);
    ask_marked("POST", "/v1/reviews", JSON, "{\"prediction\": 1, \"decision\": \"" MARKER "\"}", 400);
    ask_marked("POST", "/v1/completions", JSON, "{\"prompt\": \"" MARKER "\"}", 400);
    ask_marked("POST", "/v1/completions", JSON, "{\"prompt\": \"x\", \"stop\": {\"" MARKER "\": 1}}", 400);
    ask_marked("GET", "/v1/catalog?q=" MARKER, "", NULL, 200);
    ask_marked("GET", "/v1/catalog/" MARKER, "", NULL, 400);
    ask_marked("GET", "/v1/catalog/1?grouper=" MARKER, "", NULL, 400);
    ask_marked("GET", "/" MARKER "?" MARKER "=" MARKER, "X-Note: " MARKER "\r\n", NULL, 404);
    ask_marked(MARKER, "/health", "", NULL, 405);
    ask_marked("GET", "/v1/session", "Origin: http://" MARKER "\r\n", NULL, 403);
    ask_marked("POST", "/v1/drg/batch?text_column=" MARKER, "Content-Type: text/csv\r\n", "id,text\n1,x\n", 202);
    ask_marked("POST", "/v1/drg/batch", "Content-Type: application/x-ndjson\r\n",
               "{\"text\": \"" MARKER "\", \"" MARKER "\n{\"id\": {\"" MARKER "\": 2}}\n", 202);
    ask_marked("POST", "/v1/drg/batch", "Content-Type: text/csv\r\n", "id,text\n1,\"" MARKER " never closed\n", 202);
    ask_marked("POST", "/v1/drg/batch", "Content-Type: text/csv\r\n",
               "id,text\n1," MARKER "\n2,\"" MARKER "\" " MARKER "\n3," MARKER "\xff\n", 202);
    snprintf(job, sizeof job, "%.32s", strstr(reply.body.data, "\"job\": \"") + 8);
    snprintf(path, sizeof path, "/v1/drg/batch/%s/events", job);
    ask_marked("GET", path, "", NULL, 200);
    snprintf(path, sizeof path, "/v1/drg/batch/%s/result", job);
    ask_marked("GET", path, "", NULL, 200);
    ask_marked("GET", "/v1/drg/batch", "", NULL, 200);
    ask_marked("GET", "/metrics", "", NULL, 200);
    assert_answers();
    /* The log has what was asked, by its route, and the store what was answered. */
    struct text log = {0};
    assert_true(file_read(&log, folder_path("serve.log"), 0, NULL));
    assert_non_null(strstr(log.data, "POST /v1/drg 200"));
    text_free(&log);
    assert_unmarked(folder_path("serve.log"));
    assert_unmarked(folder_path("store.sqlite"));
    assert_unmarked(folder_path("store.sqlite-wal"));
}

static long resident_kibibytes(void) {
    char path[64], line[128];
    long size = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)program.process);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "VmRSS:", 6) == 0) size = strtol(line + 6, NULL, 10);
    }
    fclose(file);
    return size;
}

static void ask_around(int rounds) {
    struct text large = {0};
    text_add(&large, "{\"text\": \"x\", \"unknown\": \"");
    for (int i = 0; i < 1 << 17; i++) text_add_char(&large, 'x');
    text_add(&large, "\"}");
    for (int i = 0; i < rounds; i++) {
        served_ask(&program, &reply, "POST", "/v1/drg", JSON, NOTE);
        assert_int_equal(reply.status, 200);
        served_ask(&program, &reply, "POST", "/v1/drg", JSON, large.data);
        assert_int_equal(reply.status, 400);
        served_ask(&program, &reply, "GET", "/v1/catalog?q=heart", "", NULL);
        served_ask(&program, &reply, "POST", "/v1/drg/batch", "Content-Type: text/csv\r\n", "id,text\n1,heart\n");
        served_ask(&program, &reply, "GET", "/app.js", "", NULL);
        const int half = served_connect(&program, "127.0.0.1");
        send_bytes(half, large.data, 1000);
        close(half);
    }
    text_free(&large);
}

/* A leak of one body a round would be 12 MiB in the end. */
static void memory_stays_where_it_was(void **state) {
    (void)state;
    if (SANITIZED) {
        print_message("skipped: the sanitizer keeps freed memory; it looks for leaks itself\n");
        skip();
    }
    ask_around(50);
    const long before = resident_kibibytes();
    ask_around(100);
    const long after = resident_kibibytes();
    if (after - before >= 6 << 10) fail_msg("%ld KiB, then %ld KiB", before, after);
}

/* Last: the process is still the first one, ends by itself, and (under the sanitizer) leaks nothing. */
static void it_is_still_there_and_ends_when_it_is_told_to(void **state) {
    (void)state;
    assert_answers();
    assert_int_equal(served_stop(&program, SIGTERM), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slow_senders_hold_up_nobody),
        cmocka_unit_test(a_body_of_a_gigabyte_is_refused_by_its_head),
        cmocka_unit_test(a_body_without_end_is_cut_off),
        cmocka_unit_test(what_is_no_json_is_refused),
        cmocka_unit_test(no_path_leads_out_of_the_routes),
        cmocka_unit_test(wrong_methods_are_told_the_right_ones),
        cmocka_unit_test(floods_and_noise_are_dropped),
        cmocka_unit_test(uploads_that_are_no_table_end_as_failed_jobs),
        cmocka_unit_test(no_word_of_a_note_comes_back_or_reaches_a_file),
        cmocka_unit_test(memory_stays_where_it_was),
        cmocka_unit_test(it_is_still_there_and_ends_when_it_is_told_to),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
