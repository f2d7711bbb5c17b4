/* The server as its contract describes it: every route answers, with the types and members that openapi.json names. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "command.h"
#include "contract.h"
#include "folder.h"
#include "serve/kappa.h"
#include "serve/routes.h"
#include "served.h"
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#define NOTE                                                                                                    \
    "Brief Hospital Course:\\nAdmitted with acute decompensated heart failure, diuresed with furosemide until " \
    "euvolemic.\\n"
#define JSON "Content-Type: application/json\r\n"
#define STORIES "../shared/models/stories260k"

static struct served_program program;
static struct json *contract;
static struct reply reply;
static bool writes; /* a causal model is served too */

static int set_up(void **state) {
    folder_make(state);
    writes = path_exists(STORIES "/model.safetensors");
    assert_true(json_load(&contract, "src/serve/openapi.json", 0, NULL));
    served_start(&program, "--model models/tiny-classifier %s --store-notes --store %s",
                 writes ? "--model " STORIES : "", folder_path("store.sqlite"));
    return 0;
}

static int tear_down(void **state) {
    served_kill(&program);
    json_free(contract);
    reply_free(&reply);
    return folder_remove(state);
}

/* Asks, and holds the answer to the contract. `pattern` is the path as the contract has it. */
static void ask_as(const char *method, const char *pattern, const char *path, const char *head, const char *body,
                   int status) {
    char why[1024] = "", small[16];
    size_t length = strlen(method);
    for (size_t i = 0; i <= length; i++)
        small[i] = (char)(method[i] >= 'A' && method[i] <= 'Z' ? method[i] + 32 : method[i]);
    served_ask(&program, &reply, method, path, head, body);
    if (reply.status != status)
        fail_msg("%s %s: %d instead of %d: %.300s", method, path, reply.status, status, reply.body.data);
    const json_node *root = json_root(contract), *operation = contract_operation(root, small, pattern);
    assert_non_null(operation);
    if (!contract_allows(root, operation, status, reply_header(&reply, "Content-Type"), &reply.body, why, sizeof why))
        fail_msg("%s %s (%d): %s in %.600s", method, path, status, why, reply.body.data);
}

static void ask(const char *method, const char *path, const char *body, int status) {
    ask_as(method, path, path, body == NULL ? "" : JSON, body, status);
}

/* A member of the answer as a number or a string. */
static int64_t whole_of(const char *name) {
    struct json *document;
    int64_t value = -1;
    assert_true(json_parse(&document, "answer", reply.body.data, reply.body.length, NULL));
    json_integer(json_member(json_root(document), name), &value);
    json_free(document);
    return value;
}

static const char *string_of(const char *name) {
    static char value[256];
    struct json *document;
    assert_true(json_parse(&document, "answer", reply.body.data, reply.body.length, NULL));
    const char *string = json_string(json_member(json_root(document), name));
    snprintf(value, sizeof value, "%s", string == NULL ? "" : string);
    json_free(document);
    return value;
}

static void the_table_of_routes_is_the_contract(void **state) {
    size_t operations = 0;
    (void)state;
    const json_node *paths = json_member(json_root(contract), "paths");
    for (const json_node *path = json_first(paths); path != NULL; path = json_next(path)) {
        for (const json_node *method = json_first(path); method != NULL; method = json_next(method)) {
            bool found = false;
            operations++;
            for (size_t i = 0; i < route_count && !found; i++) {
                found = strcmp(routes[i].path, json_name(path)) == 0 &&
                        strcasecmp(routes[i].method, json_name(method)) == 0;
                const char *role = json_string(json_member(method, "x-role"));
                if (found && strcmp(role, routes[i].role == ROLE_NONE ? "none" : role_name(routes[i].role)) != 0)
                    fail_msg("%s %s: role %s", json_name(method), json_name(path), role);
            }
            if (!found) fail_msg("%s %s is not in routes.c", json_name(method), json_name(path));
        }
    }
    assert_int_equal(operations, route_count);
}

static void what_needs_no_body_answers_as_described(void **state) {
    static const char *const paths[] = {"/",
                                        "/app.js",
                                        "/app.css",
                                        "/openapi.json",
                                        "/health",
                                        "/metrics",
                                        "/v1/session",
                                        "/v1/models",
                                        "/v1/drg/batch",
                                        "/v1/catalog",
                                        "/v1/reviews",
                                        "/v1/ratings",
                                        "/v1/ratings/agreement",
                                        "/v1/dashboard"};
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        if (strcmp(paths[i], "/openapi.json") == 0) {
            served_ask(&program, &reply, "GET", paths[i], "", NULL);
            assert_int_equal(reply.status, 200);
            struct text file = {0};
            assert_true(file_read(&file, "src/serve/openapi.json", 0, NULL));
            assert_int_equal(file.length, reply.body.length);
            assert_memory_equal(file.data, reply.body.data, file.length);
            text_free(&file);
        } else {
            ask("GET", paths[i], NULL, 200);
        }
        assert_string_equal(reply_header(&reply, "X-Content-Type-Options"), "nosniff");
        assert_non_null(strstr(reply_header(&reply, "Content-Security-Policy"), "default-src 'none'"));
        served_ask(&program, &reply, "HEAD", paths[i], "", NULL);
        assert_int_equal(reply.status, 200);
        assert_int_equal(reply.body.length, 0);
    }
}

static void the_catalog_finds_codes_words_and_the_severities_of_a_base(void **state) {
    (void)state;
    ask_as("GET", "/v1/catalog/{code}", "/v1/catalog/291", "", NULL, 200);
    assert_int_equal(whole_of("drg"), 291);
    ask_as("GET", "/v1/catalog/{code}", "/v1/catalog/291?grouper=v34", "", NULL, 200);
    ask_as("GET", "/v1/catalog/{code}", "/v1/catalog/990", "", NULL, 404);
    ask_as("GET", "/v1/catalog/{code}", "/v1/catalog/heart", "", NULL, 400);
    ask_as("GET", "/v1/catalog", "/v1/catalog?q=heart+fail&limit=2", "", NULL, 200);
    assert_true(whole_of("total") >= 2);
    ask_as("GET", "/v1/catalog", "/v1/catalog?q=291", "", NULL, 200);
    assert_int_equal(whole_of("total"), 1);
    ask_as("GET", "/v1/catalog", "/v1/catalog?limit=0", "", NULL, 400);
}

static void a_note_is_coded_reviewed_and_counted(void **state) {
    char path[128], body[256];
    (void)state;
    ask("POST", "/v1/drg", "{\"text\": \"" NOTE "\", \"k\": 3, \"id\": \"stay 1\", \"billed\": 292}", 200);
    const long long prediction = whole_of("prediction");
    assert_true(prediction > 0);
    snprintf(path, sizeof path, "/v1/notes/%s", string_of("note_sha256"));
    ask_as("GET", "/v1/notes/{note_sha256}", path, "", NULL, 200);
    assert_non_null(strstr(string_of("text"), "furosemide"));
    ask_as("GET", "/v1/notes/{note_sha256}", "/v1/notes/0", "", NULL, 404);

    snprintf(body, sizeof body, "{\"prediction\": %lld, \"decision\": \"change\", \"drg\": 292}", prediction);
    ask("POST", "/v1/reviews", body, 201);
    assert_int_equal(whole_of("drg"), 292);
    snprintf(body, sizeof body, "{\"prediction\": %lld, \"decision\": \"change\", \"drg\": 990}", prediction);
    ask("POST", "/v1/reviews", body, 400);
    ask("POST", "/v1/reviews", "{\"prediction\": 123456, \"decision\": \"accept\"}", 404);
    snprintf(body, sizeof body, "{\"prediction\": %lld, \"helpfulness\": 4, \"accuracy\": 5}", prediction);
    ask("POST", "/v1/ratings", body, 400); /* a classifier gives no reasoning to rate */
    ask("GET", "/v1/reviews", NULL, 200);
    assert_int_equal(whole_of("total"), 1);
    ask_as("GET", "/v1/reviews", "/v1/reviews?format=csv", "", NULL, 200);
    assert_non_null(strstr(reply.body.data, "stay 1"));
    ask("GET", "/v1/dashboard", NULL, 200);
    assert_int_equal(whole_of("reviewed"), 1);
}

static void what_is_not_supported_is_refused_and_named(void **state) {
    static const struct {
        const char *body;
        int status;
        const char *code;
    } wrong[] = {
        {"{\"text\": \"a note\", \"evidence_drgs\": [990]}", 400, "bad_request"},
        {"{\"text\": \"a note\", \"evidence_drgs\": [1,2,3,4,5,6,7,8,9,10,11]}", 400, "bad_request"},
        {"{\"text\": \"a note\", \"samples\": 2}", 400, "unsupported"},
        {"{\"text\": \"a note\", \"stream\": true}", 400, "unsupported"},
        {"{\"text\": \"a note\", \"k\": 0}", 400, "bad_request"},
        {"{\"text\": \"a note\", \"k\": 51}", 400, "bad_request"},
        {"{\"text\": \"a note\", \"billed\": 990}", 400, "bad_request"},
        {"{\"text\": \"a note\", \"temperature\": 1}", 400, "bad_json"},
        {"{\"text\": \"\"}", 400, "bad_request"},
        {"{\"k\": 3}", 400, "bad_request"},
        {"[]", 400, "bad_json"},
        {"{\"text\": \"a note\"", 400, "bad_json"},
        {"{\"text\": \"a note\", \"model\": \"nobody\"}", 404, "not_found"},
    };
    char code[64];
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ask("POST", "/v1/drg", wrong[i].body, wrong[i].status);
        snprintf(code, sizeof code, "\"code\": \"%s\"", wrong[i].code);
        if (strstr(reply.body.data, code) == NULL) fail_msg("%s: %s", wrong[i].body, reply.body.data);
    }
    ask_as("POST", "/v1/drg", "/v1/drg", "Content-Type: text/plain\r\n", "a note", 415);
}

/* The spans of a DRG lie in the section that was read, and begin and end with words. */
static void check_spans(const json_node *spans, const char *note, const json_node *section) {
    int64_t from, to, start, end;
    assert_true(json_integer(json_member(section, "start"), &from) && json_integer(json_member(section, "end"), &to));
    for (const json_node *span = json_first(spans); span != NULL; span = json_next(span)) {
        assert_true(json_integer(json_member(span, "start"), &start) && json_integer(json_member(span, "end"), &end));
        assert_true(from <= start && start < end && end <= to);
        assert_true(strchr(" \n", note[start]) == NULL && strchr(" \n", note[end - 1]) == NULL);
    }
}

static void evidence_marks_words_of_the_note_as_it_was_sent(void **state) {
    static const char note[] =
        "Chief complaint: dyspnoea \xe2\x80\x93 worse.\nBrief Hospital Course:\nAcute heart failure, "
        "diuresed with furosemide.\nDischarge Medications:\nfurosemide\n";
    struct text body = {0};
    struct json *document;
    (void)state;
    text_add(&body, "{\"evidence\": true, \"evidence_drgs\": [291, 293, 999, 1], \"k\": 1, \"text\": ");
    text_add_json(&body, note, strlen(note));
    text_add(&body, "}");
    ask("POST", "/v1/drg", body.data, 200);
    assert_true(json_parse(&document, "answer", reply.body.data, reply.body.length, NULL));
    const json_node *root = json_root(document), *list = json_member(root, "evidence_by_drg");
    const int asked[] = {291, 293, 999, 1};
    assert_int_equal(json_count(list), 4);
    size_t i = 0, spans = 0;
    for (const json_node *one = json_first(list); one != NULL; one = json_next(one), i++) {
        int64_t drg;
        assert_true(json_integer(json_member(one, "drg"), &drg));
        assert_int_equal(drg, asked[i]);
        spans += json_count(json_member(one, "spans"));
        check_spans(json_member(one, "spans"), note, json_member(root, "section"));
    }
    assert_true(spans > 0);
    json_free(document);
    text_clear(&body);
    text_add(&body, "{\"evidence\": true, \"text\": ");
    text_add_json(&body, note, strlen(note));
    text_add(&body, "}");
    ask("POST", "/v1/drg", body.data, 200);
    assert_true(json_parse(&document, "answer", reply.body.data, reply.body.length, NULL));
    assert_true(json_count(json_member(json_root(document), "evidence")) > 0);
    json_free(document);
    text_free(&body);
}

/* The events of a job, to its end. */
static void follow_job(const char *job) {
    char path[128];
    snprintf(path, sizeof path, "/v1/drg/batch/%s/events", job);
    ask_as("GET", "/v1/drg/batch/{job}/events", path, "", NULL, 200);
    if (strstr(reply.body.data, "event: end\n") == NULL) fail_msg("no end in %s", reply.body.data);
}

static void a_batch_gives_its_records_in_order_and_a_summary(void **state) {
    char job[64], path[160];
    (void)state;
    ask_as("POST", "/v1/drg/batch", "/v1/drg/batch?k=2&billed_column=billed", "Content-Type: text/csv\r\n",
           "id,text,billed\none,\"heart failure, diuresed\",291\ntwo,,\nthree,pneumonia with sepsis,871\n", 202);
    snprintf(job, sizeof job, "%s", string_of("job"));
    follow_job(job);
    snprintf(path, sizeof path, "/v1/drg/batch/%s", job);
    ask_as("GET", "/v1/drg/batch/{job}", path, "", NULL, 200);
    assert_string_equal(string_of("status"), "done");
    assert_int_equal(whole_of("notes"), 3);
    assert_int_equal(whole_of("done"), 2);
    assert_int_equal(whole_of("failed"), 1);
    snprintf(path, sizeof path, "/v1/drg/batch/%s/result", job);
    served_ask(&program, &reply, "GET", path, "", NULL);
    assert_int_equal(reply.status, 200);
    const char *one = strstr(reply.body.data, "\"one\""), *two = strstr(reply.body.data, "\"two\""),
               *three = strstr(reply.body.data, "\"three\"");
    assert_true(one != NULL && two != NULL && three != NULL && one < two && two < three);
    snprintf(path, sizeof path, "/v1/drg/batch/%s/result?from=2", job);
    ask_as("GET", "/v1/drg/batch/{job}/result", path, "", NULL, 200);
    assert_true(strstr(reply.body.data, "\"three\"") != NULL && strstr(reply.body.data, "\"one\"") == NULL);
    snprintf(path, sizeof path, "/v1/drg/batch/%s/result?format=csv", job);
    ask_as("GET", "/v1/drg/batch/{job}/result", path, "", NULL, 200);
    assert_non_null(strstr(reply_header(&reply, "Content-Disposition"), "attachment"));
    ask("GET", "/v1/drg/batch", NULL, 200);
    snprintf(path, sizeof path, "/v1/drg/batch/%s", job);
    ask_as("DELETE", "/v1/drg/batch/{job}", path, "", NULL, 200);
    ask_as("GET", "/v1/drg/batch/{job}", path, "", NULL, 404);
}

static void json_lines_are_read_as_a_batch_too(void **state) {
    char path[160];
    (void)state;
    ask_as("POST", "/v1/drg/batch", "/v1/drg/batch", "Content-Type: application/x-ndjson\r\n",
           "{\"id\": \"a\", \"text\": \"heart failure\"}\n{\"id\": \"b\", \"text\": \"pneumonia\"}\n", 202);
    snprintf(path, sizeof path, "/v1/drg/batch/%s/result", string_of("job"));
    follow_job(string_of("job"));
    ask_as("GET", "/v1/drg/batch/{job}/result", path, "", NULL, 200);
    assert_true(strstr(reply.body.data, "\"a\"") < strstr(reply.body.data, "\"b\""));
    ask_as("POST", "/v1/drg/batch", "/v1/drg/batch", "Content-Type: application/x-ndjson\r\n", "", 400);
}

static void a_causal_model_completes_prompts_whole_and_streaming(void **state) {
    (void)state;
    if (!writes) {
        print_message("skipped: " STORIES " is absent\n");
        skip();
    }
    ask("POST", "/v1/completions",
        "{\"model\": \"stories260k\", \"prompt\": \"Once upon a time\", \"max_tokens\": 8, \"temperature\": 0}", 200);
    char text[256];
    struct json *document;
    assert_true(json_parse(&document, "answer", reply.body.data, reply.body.length, NULL));
    const json_node *choice = json_first(json_member(json_root(document), "choices"));
    snprintf(text, sizeof text, "%s", json_string(json_member(choice, "text")));
    json_free(document);
    assert_true(text[0] != '\0');
    ask("POST", "/v1/completions",
        "{\"model\": \"stories260k\", \"prompt\": \"Once upon a time\", \"max_tokens\": 8, \"temperature\": 0, "
        "\"stream\": true}",
        200);
    struct text streamed = {0};
    for (const char *at = reply.body.data; (at = strstr(at, "data: {")) != NULL; at += 7) {
        const char *end = strchr(at, '\n');
        assert_true(json_parse(&document, "chunk", at + 6, (size_t)(end - at - 6), NULL));
        text_add(&streamed, json_string(json_member(json_first(json_member(json_root(document), "choices")), "text")));
        json_free(document);
    }
    assert_string_equal(streamed.data, text);
    assert_non_null(strstr(reply.body.data, "data: [DONE]\n\n"));
    text_free(&streamed);
    ask("POST", "/v1/chat/completions",
        "{\"model\": \"stories260k\", \"messages\": [{\"role\": \"user\", \"content\": \"hello\"}]}", 400);
    ask("POST", "/v1/completions", "{\"model\": \"tiny-classifier\", \"prompt\": \"x\"}", 400);
}

static void weighted_kappa_is_that_of_cohen(void **state) {
    (void)state;
    /* Ten items of two raters; the definition written out. */
    const int64_t pairs[5][5] = {{2, 1, 0, 0, 0}, {0, 2, 1, 0, 0}, {0, 1, 2, 0, 0}, {0, 0, 0, 1, 0}, {0}};
    double observed = 0, expected = 0, rows[5] = {3, 3, 3, 1, 0}, columns[5] = {2, 4, 3, 1, 0};
    for (int i = 0; i < 5; i++) {
        for (int j = 0; j < 5; j++) {
            const double weight = (double)(i > j ? i - j : j - i) / 4;
            observed += weight * (double)pairs[i][j] / 10;
            expected += weight * rows[i] * columns[j] / 100;
        }
    }
    assert_true(observed > 0.0749 && observed < 0.0751);
    const double kappa = weighted_kappa(pairs, KAPPA_LINEAR);
    assert_true(kappa - (1 - observed / expected) < 1e-12 && kappa - (1 - observed / expected) > -1e-12);
    const int64_t same[5][5] = {{0}, {0}, {0, 0, 9, 0, 0}, {0}, {0}};
    const double undefined = weighted_kappa(same, KAPPA_QUADRATIC);
    assert_true(isnan(undefined));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_of_routes_is_the_contract),
        cmocka_unit_test(a_note_is_coded_reviewed_and_counted),
        cmocka_unit_test(what_needs_no_body_answers_as_described),
        cmocka_unit_test(the_catalog_finds_codes_words_and_the_severities_of_a_base),
        cmocka_unit_test(what_is_not_supported_is_refused_and_named),
        cmocka_unit_test(evidence_marks_words_of_the_note_as_it_was_sent),
        cmocka_unit_test(a_batch_gives_its_records_in_order_and_a_summary),
        cmocka_unit_test(json_lines_are_read_as_a_batch_too),
        cmocka_unit_test(a_causal_model_completes_prompts_whole_and_streaming),
        cmocka_unit_test(weighted_kappa_is_that_of_cohen),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
