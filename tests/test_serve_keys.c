/* Who may ask what: keys and their roles, names of the server, pages of other origins, guesses, addresses, TLS. */
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "command.h"
#include "folder.h"
#include "serve/routes.h"
#include "served.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

enum { KEY_SPACE = 128, GUESSES = 10 };

static struct served_program program;
static struct reply reply;
static char keys[4][KEY_SPACE]; /* by role */

static void make_key(const char *role, const char *name, char key[KEY_SPACE]) {
    struct printed printed = {0};
    command_succeeds(&printed, "key new %s %s --keys %s", role, name, folder_path("keys"));
    snprintf(key, KEY_SPACE, "%.*s", (int)strcspn(printed.out.data, "\n"), printed.out.data);
    printed_free(&printed);
}

static int set_up(void **state) {
    folder_make(state);
    for (int role = ROLE_CODE; role <= ROLE_ADMIN; role++)
        make_key(role_name((enum role)role), role_name((enum role)role), keys[role]);
    served_start(&program, "--model models/tiny-classifier --keys %s --store %s --name drg.example.org",
                 folder_path("keys"), folder_path("store.sqlite"));
    return 0;
}

static int tear_down(void **state) {
    served_kill(&program);
    reply_free(&reply);
    return folder_remove(state);
}

static void ask_with(const char *key, const char *method, const char *path, const char *body) {
    char head[512];
    snprintf(head, sizeof head, "%s%s%s%s", key == NULL ? "" : "Authorization: Bearer ", key == NULL ? "" : key,
             key == NULL ? "" : "\r\n", body == NULL ? "" : "Content-Type: application/json\r\n");
    served_ask(&program, &reply, method, path, head, body);
}

static void assert_refused(int status, const char *code) {
    char member[64];
    snprintf(member, sizeof member, "\"code\": \"%s\"", code);
    if (reply.status != status || strstr(reply.body.data, member) == NULL)
        fail_msg("%d %.200s instead of %d %s", reply.status, reply.body.data, status, code);
}

/* A path that fits a route: what stands for {…} is none that there is. */
static void path_of(const struct route *route, char path[128]) {
    const char *open = strchr(route->path, '{'), *close = strchr(route->path, '}');
    if (open == NULL)
        snprintf(path, 128, "%s", route->path);
    else
        snprintf(path, 128, "%.*s0%s", (int)(open - route->path), route->path, close + 1);
}

static void every_route_asks_for_its_role(void **state) {
    (void)state;
    for (size_t i = 0; i < route_count; i++) {
        const struct route *route = &routes[i];
        const bool posts = strcmp(route->method, "POST") == 0;
        char path[128];
        path_of(route, path);
        if (route->role == ROLE_NONE) {
            ask_with(NULL, route->method, path, NULL);
            assert_int_equal(reply.status, 200);
            continue;
        }
        ask_with(NULL, route->method, path, posts ? "{}" : NULL);
        assert_refused(401, "missing_key");
        assert_non_null(strstr(reply_header(&reply, "WWW-Authenticate"), "Bearer"));
        for (int role = ROLE_CODE; role <= ROLE_ADMIN; role++) {
            ask_with(keys[role], route->method, path, posts ? "{}" : NULL);
            if (role < (int)route->role)
                assert_refused(403, "forbidden");
            else if (reply.status == 401 || reply.status == 403 || reply.status == 0 || reply.status >= 500)
                fail_msg("%s %s as %s: %d", route->method, path, role_name((enum role)role), reply.status);
        }
    }
}

static void a_session_says_who_one_is(void **state) {
    (void)state;
    ask_with(keys[ROLE_REVIEW], "GET", "/v1/session", NULL);
    assert_non_null(strstr(reply.body.data, "\"name\": \"review\", \"role\": \"review\", \"keys_required\": true"));
    ask_with(NULL, "GET", "/v1/session", NULL);
    assert_non_null(strstr(reply.body.data, "\"name\": \"\", \"role\": \"\", \"keys_required\": true"));
}

static void a_job_is_seen_by_its_owner_and_by_admins(void **state) {
    char head[512], path[160], *start, *end;
    (void)state;
    snprintf(head, sizeof head, "Authorization: Bearer %s\r\nContent-Type: text/csv\r\n", keys[ROLE_CODE]);
    served_ask(&program, &reply, "POST", "/v1/drg/batch", head, "id,text\n1,heart failure\n");
    assert_int_equal(reply.status, 202);
    start = strstr(reply.body.data, "\"job\": \"") + 8;
    end = strchr(start, '"');
    snprintf(path, sizeof path, "/v1/drg/batch/%.*s", (int)(end - start), start);
    ask_with(keys[ROLE_CODE], "GET", path, NULL);
    assert_int_equal(reply.status, 200);
    ask_with(keys[ROLE_REVIEW], "GET", path, NULL);
    assert_refused(404, "not_found");
    ask_with(keys[ROLE_REVIEW], "DELETE", path, NULL);
    assert_refused(404, "not_found");
    ask_with(keys[ROLE_ADMIN], "GET", path, NULL);
    assert_int_equal(reply.status, 200);
}

static void the_file_of_keys_holds_no_key_and_its_changes_are_taken_up(void **state) {
    struct text file = {0};
    char key[KEY_SPACE];
    (void)state;
    make_key("code", "guest", key);
    assert_true(file_read(&file, folder_path("keys"), 0, NULL));
    assert_null(strstr(file.data, key));
    text_free(&file);
    const struct timespec moment = {.tv_nsec = 50000000};
    /* However long it takes; a wrong key costs half a second, and ten would lock us out: as many tries as are safe. */
    ask_with(key, "GET", "/v1/models", NULL);
    for (int i = 0; reply.status != 200 && i < GUESSES - 3; i++) {
        nanosleep(&moment, NULL);
        ask_with(key, "GET", "/v1/models", NULL);
    }
    assert_int_equal(reply.status, 200);
    struct printed printed = {0};
    command_succeeds(&printed, "key remove guest --keys %s", folder_path("keys"));
    printed_free(&printed);
    for (int i = 0; reply.status == 200 && i < 600; i++) {
        nanosleep(&moment, NULL);
        ask_with(key, "GET", "/v1/models", NULL);
    }
    assert_refused(401, "wrong_key");
}

/* Asks from another address of loopback. */
static int connect_and_ask(const char *from, const char *key) {
    char request[512];
    const int socket_number = served_connect(&program, from);
    assert_true(socket_number >= 0);
    const int length = snprintf(request, sizeof request,
                                "GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                                "Authorization: Bearer %s\r\n\r\n",
                                key);
    send_bytes(socket_number, request, (size_t)length);
    return socket_number;
}

static void whoever_guesses_is_locked_out_alone(void **state) {
    int sockets[GUESSES];
    (void)state;
    for (int i = 0; i < GUESSES; i++) sockets[i] = connect_and_ask("127.0.0.9", "casemix_guess");
    for (int i = 0; i < GUESSES; i++) {
        read_reply(sockets[i], &reply);
        assert_true(reply.status == 401 || reply.status == 429);
    }
    read_reply(connect_and_ask("127.0.0.9", keys[ROLE_ADMIN]), &reply);
    assert_refused(429, "locked_out");
    assert_string_equal(reply_header(&reply, "Retry-After"), "60");
    read_reply(connect_and_ask("127.0.0.8", keys[ROLE_CODE]), &reply);
    assert_int_equal(reply.status, 200);
}

static void only_names_and_pages_of_the_server_are_answered(void **state) {
    static const struct {
        const char *head;
        int status;
    } asked[] = {
        {"Host: drg.example.org\r\n", 200},
        {"Host: DRG.example.org:443\r\n", 200},
        {"Host: localhost:1\r\n", 200},
        {"Host: [::1]:8080\r\n", 200},
        {"Host: evil.example\r\n", 403}, /* a name whose DNS points here */
        {"Host: drg.example.org.evil.example\r\n", 403},
        {"Host: localhost:80x\r\n", 403},
        {"Host: \r\n", 403},
        {"Host: localhost\r\nOrigin: http://localhost\r\n", 200},
        {"Host: localhost\r\nOrigin: http://evil.example\r\n", 403},
        {"Host: localhost\r\nOrigin: null\r\n", 403},
        {"Host: localhost\r\nSec-Fetch-Site: cross-site\r\n", 403},
        {"Host: localhost\r\nSec-Fetch-Site: same-site\r\n", 403},
        {"Host: localhost\r\nSec-Fetch-Site: same-origin\r\n", 200},
    };
    char request[512];
    (void)state;
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        const int length =
            snprintf(request, sizeof request, "GET /v1/session HTTP/1.1\r\nConnection: close\r\n%s\r\n", asked[i].head);
        const int socket_number = served_connect(&program, "127.0.0.1");
        assert_true(send_bytes(socket_number, request, (size_t)length));
        read_reply(socket_number, &reply);
        if (reply.status != asked[i].status) fail_msg("%s: %d", asked[i].head, reply.status);
        assert_string_equal(reply_header(&reply, "Access-Control-Allow-Origin"), "");
    }
}

/* It ends before it listens, and says why. */
static void refuses(const char *part, const char *options) {
    struct printed printed = {0};
    command_run(&printed, "serve --store %s %s", folder_path("none.sqlite"), options);
    if ((printed.status != 1 && printed.status != 2) || strstr(printed.errors.data, part) == NULL)
        fail_msg("serve %s: status %d, %s", options, printed.status, printed.errors.data);
    assert_int_equal(printed.out.length, 0);
    printed_free(&printed);
    assert_false(path_exists(folder_path("none.sqlite")));
}

static void a_server_that_would_be_open_or_half_set_up_does_not_start(void **state) {
    char options[1024];
    (void)state;
    refuses("can be reached from other machines", "--address 0.0.0.0");
    refuses("can be reached from other machines", "--address ::");
    refuses("takes an IP address", "--address drg.example.org");
    snprintf(options, sizeof options, "--keys %s", folder_write_text("none", "# none\n"));
    refuses("holds no key", options);
    snprintf(options, sizeof options, "--keys %s", folder_write_text("bad", "ann admin secret\n"));
    refuses("not a key", options);
    snprintf(options, sizeof options, "--certificate %s", folder_path("keys"));
    refuses("go together", options);
    snprintf(options, sizeof options, "--certificate %s --certificate-key %s", folder_path("keys"),
             folder_path("keys"));
    refuses("no certificate in PEM form", options);
}

static void another_file_is_not_taken_for_a_store(void **state) {
    static const char letter[] = "a text that is no SQLite file";
    struct printed printed = {0};
    struct text file = {0};
    (void)state;
    command_run(&printed, "serve --port 0 --store %s", folder_write_text("letter", letter));
    assert_int_equal(printed.status, 1);
    printed_free(&printed);
    assert_true(file_read(&file, folder_path("letter"), 0, NULL));
    assert_string_equal(file.data, letter);
    text_free(&file);
}

static void with_a_certificate_it_speaks_tls(void **state) {
    char command[1024];
    struct served_program secure = {0};
    struct text answer = {0};
    (void)state;
    if (system("command -v openssl >/dev/null && command -v curl >/dev/null") != 0) {
        print_message("skipped: openssl or curl is absent\n");
        skip();
    }
    snprintf(command, sizeof command,
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
             " -addext subjectAltName=DNS:localhost -keyout %s -out %s 2>/dev/null",
             folder_path("key.pem"), folder_path("chain.pem"));
    assert_int_equal(system(command), 0);
    served_start(&secure, "--certificate %s --certificate-key %s --store %s", folder_path("chain.pem"),
                 folder_path("key.pem"), folder_path("secure.sqlite"));
    snprintf(command, sizeof command, "curl -sSi --cacert %s https://localhost:%d/health >%s", folder_path("chain.pem"),
             secure.port, folder_path("answer"));
    const int status = system(command);
    served_kill(&secure);
    assert_int_equal(status, 0);
    assert_true(file_read(&answer, folder_path("answer"), 0, NULL));
    assert_non_null(strstr(answer.data, "\"status\": \"ok\""));
    assert_non_null(strstr(answer.data, "Strict-Transport-Security"));
    text_free(&answer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_asks_for_its_role),
        cmocka_unit_test(a_session_says_who_one_is),
        cmocka_unit_test(a_job_is_seen_by_its_owner_and_by_admins),
        cmocka_unit_test(the_file_of_keys_holds_no_key_and_its_changes_are_taken_up),
        cmocka_unit_test(whoever_guesses_is_locked_out_alone),
        cmocka_unit_test(only_names_and_pages_of_the_server_are_answered),
        cmocka_unit_test(a_server_that_would_be_open_or_half_set_up_does_not_start),
        cmocka_unit_test(another_file_is_not_taken_for_a_store),
        cmocka_unit_test(with_a_certificate_it_speaks_tls),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
