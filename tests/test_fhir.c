/* FHIR R4: what is read of documents, and whether the answer has the structure that the standard publishes. All texts
 * are invented. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "command.h"
#include "data/fhir.h"
#include "data/xhtml_text.h"
#include "folder.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* The elements of the types that answers are made of, from the structure definitions of FHIR 4.0.1: type, element,
 * least and most, and the element's type; "*" for one that answers do not use. Elements that every resource or every
 * element has stand under "Resource" and "Element". Of codes with a required binding the values are listed. */
enum { MANY = 1 << 20 };
static const struct element {
    const char *type, *name;
    int least, most;
    const char *of;
} elements[] = {
    {"Resource", "resourceType", 1, 1, "code"},
    {"Resource", "id", 0, 1, "string"},
    {"Resource", "meta", 0, 1, "*"},
    {"Resource", "implicitRules", 0, 1, "*"},
    {"Resource", "language", 0, 1, "*"},
    {"Element", "id", 0, 1, "string"},
    {"Element", "extension", 0, MANY, "Extension"},
    {"Extension", "url", 1, 1, "string"},
    {"Extension", "valueCode", 0, 1, "code"},
    {"Reference", "reference", 0, 1, "string"},
    {"Reference", "type", 0, 1, "string"},
    {"Reference", "identifier", 0, 1, "Identifier"},
    {"Reference", "display", 0, 1, "string"},
    {"Identifier", "use", 0, 1, "code usual official temp secondary old"},
    {"Identifier", "type", 0, 1, "CodeableConcept"},
    {"Identifier", "system", 0, 1, "string"},
    {"Identifier", "value", 0, 1, "string"},
    {"Identifier", "period", 0, 1, "*"},
    {"Identifier", "assigner", 0, 1, "Reference"},
    {"CodeableConcept", "coding", 0, MANY, "Coding"},
    {"CodeableConcept", "text", 0, 1, "string"},
    {"Coding", "system", 0, 1, "string"},
    {"Coding", "version", 0, 1, "string"},
    {"Coding", "code", 0, 1, "code"},
    {"Coding", "display", 0, 1, "string"},
    {"Coding", "userSelected", 0, 1, "*"},
    {"Bundle", "identifier", 0, 1, "Identifier"},
    {"Bundle", "type", 1, 1,
     "code document message transaction transaction-response batch batch-response history searchset collection"},
    {"Bundle", "timestamp", 0, 1, "instant"},
    {"Bundle", "total", 0, 1, "*"},
    {"Bundle", "link", 0, MANY, "*"},
    {"Bundle", "entry", 0, MANY, "Bundle.entry"},
    {"Bundle", "signature", 0, 1, "*"},
    {"Bundle.entry", "link", 0, MANY, "*"},
    {"Bundle.entry", "fullUrl", 0, 1, "string"},
    {"Bundle.entry", "resource", 0, 1, "any resource"},
    {"ClaimResponse", "identifier", 0, MANY, "Identifier"},
    {"ClaimResponse", "status", 1, 1, "code active cancelled draft entered-in-error"},
    {"ClaimResponse", "type", 1, 1, "CodeableConcept"},
    {"ClaimResponse", "subType", 0, 1, "CodeableConcept"},
    {"ClaimResponse", "use", 1, 1, "code claim preauthorization predetermination"},
    {"ClaimResponse", "patient", 1, 1, "Reference"},
    {"ClaimResponse", "created", 1, 1, "dateTime"},
    {"ClaimResponse", "insurer", 1, 1, "Reference"},
    {"ClaimResponse", "requestor", 0, 1, "Reference"},
    {"ClaimResponse", "request", 0, 1, "Reference"},
    {"ClaimResponse", "outcome", 1, 1, "code queued complete error partial"},
    {"ClaimResponse", "disposition", 0, 1, "string"},
    {"ClaimResponse", "preAuthRef", 0, 1, "string"},
    {"ClaimResponse", "preAuthPeriod", 0, 1, "*"},
    {"ClaimResponse", "payeeType", 0, 1, "CodeableConcept"},
    {"ClaimResponse", "item", 0, MANY, "*"},
    {"ClaimResponse", "addItem", 0, MANY, "ClaimResponse.addItem"},
    {"ClaimResponse", "adjudication", 0, MANY, "ClaimResponse.adjudication"},
    {"ClaimResponse", "total", 0, MANY, "*"},
    {"ClaimResponse", "payment", 0, 1, "*"},
    {"ClaimResponse", "processNote", 0, MANY, "ClaimResponse.processNote"},
    {"ClaimResponse", "insurance", 0, MANY, "*"},
    {"ClaimResponse", "error", 0, MANY, "*"},
    {"ClaimResponse.addItem", "itemSequence", 0, MANY, "*"},
    {"ClaimResponse.addItem", "productOrService", 1, 1, "CodeableConcept"},
    {"ClaimResponse.addItem", "modifier", 0, MANY, "CodeableConcept"},
    {"ClaimResponse.addItem", "programCode", 0, MANY, "CodeableConcept"},
    {"ClaimResponse.addItem", "noteNumber", 0, MANY, "*"},
    {"ClaimResponse.addItem", "adjudication", 1, MANY, "ClaimResponse.adjudication"},
    {"ClaimResponse.adjudication", "category", 1, 1, "CodeableConcept"},
    {"ClaimResponse.adjudication", "reason", 0, 1, "CodeableConcept"},
    {"ClaimResponse.adjudication", "amount", 0, 1, "*"},
    {"ClaimResponse.adjudication", "value", 0, 1, "decimal"},
    {"ClaimResponse.processNote", "number", 0, 1, "decimal"},
    {"ClaimResponse.processNote", "type", 0, 1, "code display print printoper"},
    {"ClaimResponse.processNote", "text", 1, 1, "string"},
    {"ClaimResponse.processNote", "language", 0, 1, "CodeableConcept"},
    {"Device", "identifier", 0, MANY, "Identifier"},
    {"Device", "status", 0, 1, "code active inactive entered-in-error unknown"},
    {"Device", "manufacturer", 0, 1, "string"},
    {"Device", "serialNumber", 0, 1, "string"},
    {"Device", "deviceName", 0, MANY, "Device.deviceName"},
    {"Device", "modelNumber", 0, 1, "string"},
    {"Device", "type", 0, 1, "CodeableConcept"},
    {"Device", "version", 0, MANY, "Device.version"},
    {"Device", "note", 0, MANY, "*"},
    {"Device.deviceName", "name", 1, 1, "string"},
    {"Device.deviceName", "type", 1, 1,
     "code udi-label-name user-friendly-name patient-reported-name manufacturer-name model-name other"},
    {"Device.version", "type", 0, 1, "CodeableConcept"},
    {"Device.version", "component", 0, 1, "Identifier"},
    {"Device.version", "value", 1, 1, "string"},
    {"Provenance", "target", 1, MANY, "Reference"},
    {"Provenance", "occurredDateTime", 0, 1, "dateTime"},
    {"Provenance", "recorded", 1, 1, "instant"},
    {"Provenance", "policy", 0, MANY, "*"},
    {"Provenance", "location", 0, 1, "Reference"},
    {"Provenance", "reason", 0, MANY, "CodeableConcept"},
    {"Provenance", "activity", 0, 1, "CodeableConcept"},
    {"Provenance", "agent", 1, MANY, "Provenance.agent"},
    {"Provenance", "entity", 0, MANY, "Provenance.entity"},
    {"Provenance", "signature", 0, MANY, "*"},
    {"Provenance.agent", "type", 0, 1, "CodeableConcept"},
    {"Provenance.agent", "role", 0, MANY, "CodeableConcept"},
    {"Provenance.agent", "who", 1, 1, "Reference"},
    {"Provenance.agent", "onBehalfOf", 0, 1, "Reference"},
    {"Provenance.entity", "role", 1, 1, "code derivation revision quotation source removal"},
    {"Provenance.entity", "what", 1, 1, "Reference"},
    {"Provenance.entity", "agent", 0, MANY, "Provenance.agent"},
    {"OperationOutcome", "issue", 1, MANY, "OperationOutcome.issue"},
    {"OperationOutcome.issue", "severity", 1, 1, "code fatal error warning information"},
    {"OperationOutcome.issue", "code", 1, 1, "code invalid structure required value not-supported transient throttled"},
    {"OperationOutcome.issue", "details", 0, 1, "CodeableConcept"},
    {"OperationOutcome.issue", "diagnostics", 0, 1, "string"},
};
enum { ELEMENTS = sizeof elements / sizeof elements[0] };

/* What is wrong, as a path with a word; empty: nothing. */
static char wrong[512];

static bool say(const char *type, const char *name, const char *what) {
    snprintf(wrong, sizeof wrong, "%s.%s: %s", type, name, what);
    return false;
}

static bool check_object(const json_node *node, const char *type);

static bool is_time(const char *time) {
    int year, month, day, hour, minute, second, used = 0;
    return sscanf(time, "%4d-%2d-%2dT%2d:%2d:%2dZ%n", &year, &month, &day, &hour, &minute, &second, &used) == 6 &&
           used == 20 && time[20] == '\0';
}

static bool among(const char *list, const char *word) {
    const size_t length = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at++) {
        if (at[-1] == ' ' && (at[length] == ' ' || at[length] == '\0')) return true;
    }
    return false;
}

static bool check_value(const json_node *node, const char *type, const char *name, const char *of) {
    const char *string = json_string(node);
    if (strcmp(of, "any resource") == 0) return check_object(node, json_string(json_member(node, "resourceType")));
    if (strcmp(of, "decimal") == 0) return json_is_number(node) || say(type, name, "is no number");
    if (of[0] >= 'A' && of[0] <= 'Z') return check_object(node, of);
    if (of[0] == '*') return say(type, name, "is not in the table");
    if (string == NULL || string[0] == '\0') return say(type, name, "is no string with something in it");
    if (strcmp(of, "instant") == 0 || strcmp(of, "dateTime") == 0)
        return is_time(string) || say(type, name, "is no time");
    if (strncmp(of, "code", 4) == 0 && strpbrk(string, " \n\t") != NULL) return say(type, name, "is no code");
    return strncmp(of, "code ", 5) != 0 || among(of + 4, string) || say(type, name, "is not among its codes");
}

static bool check_element(const json_node *node, const char *type, const struct element *element) {
    if (!json_is_array(node))
        return element->most > 1 ? say(type, element->name, "is no list")
                                 : check_value(node, type, element->name, element->of);
    if (element->most == 1) return say(type, element->name, "is a list");
    if (json_count(node) == 0) return say(type, element->name, "is an empty list");
    for (const json_node *item = json_first(node); item != NULL; item = json_next(item)) {
        if (!check_value(item, type, element->name, element->of)) return false;
    }
    return true;
}

static bool fits(const struct element *element, const char *type, bool resource) {
    return strcmp(element->type, type) == 0 || strcmp(element->type, resource ? "Resource" : "Element") == 0;
}

static bool check_object(const json_node *node, const char *type) {
    const bool resource = json_member(node, "resourceType") != NULL;
    if (type == NULL || !json_is_object(node) || json_count(node) == 0)
        return say(type, "", "is no object with members");
    for (const json_node *member = json_first(node); member != NULL; member = json_next(member)) {
        size_t i = 0;
        while (i < ELEMENTS &&
               !(fits(&elements[i], type, resource) && strcmp(elements[i].name, json_name(member)) == 0))
            i++;
        if (i == ELEMENTS) return say(type, json_name(member), "there is no such element");
        if (!check_element(member, type, &elements[i])) return false;
    }
    for (size_t i = 0; i < ELEMENTS; i++) {
        if (fits(&elements[i], type, resource) && elements[i].least > 0 && json_member(node, elements[i].name) == NULL)
            return say(type, elements[i].name, "is missing");
    }
    return true;
}

static const json_node *entry(const json_node *bundle, const char *type) {
    for (const json_node *item = json_first(json_member(bundle, "entry")); item != NULL; item = json_next(item)) {
        if (strcmp(json_string(json_member(json_member(item, "resource"), "resourceType")), type) == 0) return item;
    }
    return NULL;
}

static const char *string_at(const json_node *node, const char *name) {
    return json_string(json_member(node, name));
}

/* The structure, and that the Provenance speaks of the two others. */
static void check_bundle(const json_node *bundle) {
    if (!check_object(bundle, "Bundle")) fail_msg("%s", wrong);
    const json_node *response = entry(bundle, "ClaimResponse"), *device = entry(bundle, "Device"),
                    *provenance = json_member(entry(bundle, "Provenance"), "resource");
    assert_string_equal(string_at(json_first(json_member(provenance, "target")), "reference"),
                        string_at(response, "fullUrl"));
    assert_string_equal(string_at(json_member(json_first(json_member(provenance, "agent")), "who"), "reference"),
                        string_at(device, "fullUrl"));
    assert_int_equal(strlen(string_at(device, "fullUrl")), 45);
    assert_memory_equal(string_at(device, "fullUrl"), "urn:uuid:", 9);
    assert_string_not_equal(string_at(device, "fullUrl"), string_at(response, "fullUrl"));
}

static struct json *document;
static struct fhir_note *notes;
static size_t count;
static struct error error;

static bool read_json(const char *json) {
    error = (struct error){0};
    document = NULL;
    if (!json_parse(&document, "f", json, strlen(json), &error)) fail_msg("%s", error.message);
    if (fhir_read(json_root(document), 4, &notes, &count, &error)) return true;
    json_free(document);
    return false;
}

static void release(void) {
    for (size_t i = 0; i < count; i++) fhir_note_free(&notes[i]);
    memory_free(notes);
    json_free(document);
}

static void gives(const char *json, const char *id, const char *text) {
    if (!read_json(json)) fail_msg("%s", error.message);
    assert_int_equal(count, 1);
    assert_string_equal(notes[0].id, id);
    assert_string_equal(notes[0].text.data, text);
    release();
}

static void refuses(const char *json, const char *part) {
    assert_false(read_json(json));
    if (strstr(error.message, part) == NULL) fail_msg("\"%s\" without \"%s\"", error.message, part);
    assert_null(strstr(error.message, "MARKER"));
}

static void the_text_of_a_document_reference_is_found(void **state) {
    (void)state;
    gives("{\"resourceType\":\"DocumentReference\",\"id\":\"d1\",\"content\":[{\"attachment\":{\"contentType\":"
          "\"application/pdf\",\"data\":\"JVBERi0=\"}},{\"attachment\":{\"contentType\":\"text/plain; charset=utf-8\","
          "\"data\":\"aGVsbG8=\"}}]}",
          "d1", "hello");
    gives(
        "{\"resourceType\":\"DocumentReference\",\"identifier\":[{\"value\":\"I7\"}],\"contained\":[{\"resourceType\":"
        "\"Binary\",\"id\":\"b\",\"contentType\":\"text/plain;charset=iso-8859-1\",\"data\":\"Y2Fm6Q==\"}],"
        "\"content\":[{\"attachment\":{\"url\":\"#b\"}}]}",
        "I7", "café");
    gives(
        "{\"resourceType\":\"Bundle\",\"entry\":[{\"fullUrl\":\"urn:uuid:1\",\"resource\":{\"resourceType\":\"Binary\","
        "\"contentType\":\"text/html\",\"data\":\"PHA+aGk8L3A+\"}},{\"resource\":{\"resourceType\":"
        "\"DocumentReference\",\"content\":[{\"attachment\":{\"url\":\"urn:uuid:1\"}}]}}]}",
        "1", "hi");
}

static void the_sections_of_a_composition_are_the_note(void **state) {
    (void)state;
    gives(
        "{\"resourceType\":\"Composition\",\"id\":\"c\",\"section\":[{\"title\":\"Hospital Course\",\"text\":{\"div\":"
        "\"<div><p>One &amp; two</p></div>\"},\"section\":[{\"title\":\"Plan:\",\"text\":{\"div\":\"<b>x</b>\"}}]},"
        "{\"text\":{\"div\":\"<div>y</div>\"}}]}",
        "c", "Hospital Course:\nOne & two\n\nPlan:\nx\n\ny");
}

static void xhtml_reads_as_a_person_would(void **state) {
    static const char *const cases[][2] = {
        {"<p>a</p><p>b<br/>c</p>", "a\n\nb\nc"},
        {"  a\n  b <i>c</i>d ", "a b cd"},
        {"<ul><li>x</li><li>y</li></ul>", "- x\n- y"},
        {"<table><tr><td>Na</td><td>140</td></tr><tr><td>K</td><td>4</td></tr></table>", "Na 140\nK 4"},
        {"<pre>a\n  b</pre>", "a\n  b"},
        {"a<!-- <p>no</p> -->b<style>p{}</style>c<script>x < y</script>d", "abcd"},
        {"&lt;5 &#176;C &#xb1; &nbsp; &unknown; &", "<5 °C ± &unknown; &"},
        {"a < b <", "a < b <"},
        {"<a title=\"x > y\">z</a>", "z"},
        {"<p", "<p"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct text out = {0};
        xhtml_add_text(&out, cases[i][0], strlen(cases[i][0]));
        assert_string_equal(out.data, cases[i][1]);
        text_free(&out);
    }
}

static void what_holds_no_text_is_refused(void **state) {
    (void)state;
    refuses("{\"resourceType\":\"Patient\",\"id\":\"MARKER\"}", "no DocumentReference");
    refuses("[1]", "no DocumentReference");
    refuses("{\"resourceType\":\"DocumentReference\",\"id\":\"MARKER\",\"content\":[{\"attachment\":{\"url\":"
            "\"https://example.org/MARKER\"}}]}",
            "no content.attachment");
    refuses("{\"resourceType\":\"DocumentReference\",\"content\":[{\"attachment\":{\"data\":\"MARKER!\"}}]}", "base64");
    refuses("{\"resourceType\":\"Composition\",\"section\":[{\"text\":{\"div\":\"<p/>\"}}]}", "neither section.text");
}

static void predict_answers_in_the_published_structure(void **state) {
    (void)state;
    struct printed printed = {0};
    struct json *answer;
    command_succeeds(&printed, "predict --fhir --top-k 3 examples/messages/knee-replacement.fhir.json");
    assert_true(json_parse(&answer, "answer", printed.out.data, printed.out.length, &error));
    check_bundle(json_root(answer));
    const json_node *response = json_member(entry(json_root(answer), "ClaimResponse"), "resource");
    assert_string_equal(string_at(json_member(response, "patient"), "reference"), "Patient/invented-1");
    assert_int_equal(json_count(json_member(response, "addItem")), 3);
    const json_node *coding = json_first(
        json_member(json_member(json_first(json_member(response, "addItem")), "productOrService"), "coding"));
    assert_string_equal(string_at(coding, "system"), FHIR_MS_DRG);
    assert_string_equal(string_at(coding, "version"), "43");
    assert_int_equal(strlen(string_at(coding, "code")), 3);
    json_free(answer);
    printed_free(&printed);
}

/* Without a subject, cut short, with an adapter; quotes and line feeds in every string that comes from outside. */
static void an_answer_about_odd_documents_is_valid_too(void **state) {
    (void)state;
    struct text out = {0};
    struct json *answer;
    const struct fhir_drg drgs[] = {{catalog_find(catalog_get(GROUPER_V34), 1), 0.5}};
    struct fhir_note note = {.id = "a \"b\"\n", .type = "Composition", .subject = {.reference = "#p"}};
    note.encounter.value = "V\"1";
    const struct fhir_answer given = {.note = &note,
                                      .drgs = drgs,
                                      .count = 1,
                                      .truncated = true,
                                      .version = "1",
                                      .model = "a\\b",
                                      .model_sha256 = "00",
                                      .adapter_sha256 = "11",
                                      .note_sha256 = "22",
                                      .time = 0};
    fhir_add_answer(&out, &given);
    assert_true(json_parse(&answer, "answer", out.data, out.length, &error));
    check_bundle(json_root(answer));
    assert_non_null(strstr(out.data, "\"code\":\"001\""));
    assert_non_null(strstr(out.data, "data-absent-reason"));
    assert_non_null(strstr(out.data, "\"SHA-256 of the adapter\"},\"value\":\"11\""));
    json_free(answer);
    text_clear(&out);
    fhir_add_outcome(&out, "invalid", "a \"b\"", "c");
    assert_true(json_parse(&answer, "outcome", out.data, out.length, &error));
    if (!check_object(json_root(answer), "OperationOutcome")) fail_msg("%s", wrong);
    json_free(answer);
    text_free(&out);
}

static void the_check_of_structure_sees_what_is_wrong(void **state) {
    static const char *const cases[][2] = {
        {"{\"resourceType\":\"Provenance\",\"recorded\":\"2026-01-01T00:00:00Z\"}", "target: is missing"},
        {"{\"resourceType\":\"Device\",\"state\":\"active\"}", "no such element"},
        {"{\"resourceType\":\"Device\",\"status\":\"on\"}", "not among"},
        {"{\"resourceType\":\"Device\",\"deviceName\":{\"name\":\"a\"}}", "no list"},
        {"{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"entry\":[]}", "empty list"},
        {"{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"timestamp\":\"now\"}", "no time"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json *answer;
        assert_true(json_parse(&answer, "case", cases[i][0], strlen(cases[i][0]), &error));
        assert_false(check_object(json_root(answer), string_at(json_root(answer), "resourceType")));
        if (strstr(wrong, cases[i][1]) == NULL) fail_msg("\"%s\" without \"%s\"", wrong, cases[i][1]);
        json_free(answer);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_text_of_a_document_reference_is_found),
        cmocka_unit_test(the_sections_of_a_composition_are_the_note),
        cmocka_unit_test(xhtml_reads_as_a_person_would),
        cmocka_unit_test(what_holds_no_text_is_refused),
        cmocka_unit_test(predict_answers_in_the_published_structure),
        cmocka_unit_test(an_answer_about_odd_documents_is_valid_too),
        cmocka_unit_test(the_check_of_structure_sees_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
