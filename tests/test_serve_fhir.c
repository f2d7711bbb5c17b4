/* POST /fhir/$drg as a FHIR client uses it, and as somebody who is none. */
#include "base/json.h"
#include "base/text.h"
#include "contract.h"
#include "folder.h"
#include "served.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define FHIR "Content-Type: application/fhir+json\r\n"
/* "Brief Hospital Course: elective right total knee arthroplasty." */
#define NOTE "QnJpZWYgSG9zcGl0YWwgQ291cnNlOiBlbGVjdGl2ZSByaWdodCB0b3RhbCBrbmVlIGFydGhyb3BsYXN0eS4="
#define DOCUMENT                                                                                               \
    "{\"resourceType\":\"DocumentReference\",\"id\":\"d1\",\"status\":\"current\",\"subject\":{\"reference\":" \
    "\"Patient/p1\"},\"content\":[{\"attachment\":{\"contentType\":\"text/plain\",\"data\":\"" NOTE "\"}}]}"

static struct served_program program;
static struct json *contract;
static struct reply reply;

static int set_up(void **state) {
    folder_make(state);
    assert_true(json_load(&contract, "src/serve/openapi.json", 0, NULL));
    served_start(&program, "--model models/tiny-classifier --store %s", folder_path("store.sqlite"));
    return 0;
}

static int tear_down(void **state) {
    served_kill(&program);
    json_free(contract);
    reply_free(&reply);
    return folder_remove(state);
}

static void ask(const char *path, const char *head, const char *body, int status) {
    char why[1024] = "";
    served_ask(&program, &reply, "POST", path, head, body);
    if (reply.status != status) fail_msg("%d instead of %d: %.300s", reply.status, status, reply.body.data);
    if (!contract_allows(json_root(contract), contract_operation(json_root(contract), "post", "/fhir/$drg"), status,
                         reply_header(&reply, "Content-Type"), &reply.body, why, sizeof why))
        fail_msg("%s", why);
    assert_null(strstr(reply.body.data, "MARKER"));
}

static void a_document_comes_back_as_a_bundle(void **state) {
    (void)state;
    ask("/fhir/$drg?k=2", FHIR, DOCUMENT, 200);
    assert_string_equal(reply_header(&reply, "Content-Type"), "application/fhir+json");
    struct json *bundle;
    assert_true(json_parse(&bundle, "answer", reply.body.data, reply.body.length, NULL));
    const json_node *response = json_member(json_first(json_member(json_root(bundle), "entry")), "resource");
    assert_string_equal(json_string(json_member(response, "resourceType")), "ClaimResponse");
    assert_string_equal(json_string(json_member(json_member(response, "patient"), "reference")), "Patient/p1");
    assert_int_equal(json_count(json_member(response, "addItem")), 2);
    assert_non_null(strstr(reply.body.data, "DocumentReference/d1"));
    json_free(bundle);
    ask("/fhir/$drg", "Content-Type: application/json\r\n", DOCUMENT, 200);
}

static void what_is_no_document_is_refused_with_an_outcome(void **state) {
    static const char *const bodies[] = {"{\"resourceType\":\"Patient\",\"id\":\"MARKER\"}", "MARKER", "[]",
                                         "{\"resourceType\":\"Composition\",\"title\":\"MARKER\"}",
                                         "{\"resourceType\":\"Bundle\",\"entry\":[{\"resource\":" DOCUMENT
                                         "},{\"resource\":" DOCUMENT "}]}"};
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        ask("/fhir/$drg", FHIR, bodies[i], 400);
        assert_non_null(strstr(reply.body.data, "\"OperationOutcome\""));
    }
    ask("/fhir/$drg?model=other", FHIR, DOCUMENT, 404);
    ask("/fhir/$drg?k=0", FHIR, DOCUMENT, 400);
    ask("/fhir/$drg", "Content-Type: text/plain\r\n", DOCUMENT, 415);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_document_comes_back_as_a_bundle),
        cmocka_unit_test(what_is_no_document_is_refused_with_an_outcome),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
