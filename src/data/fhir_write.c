/* Writing FHIR answers: see fhir.h.
 *
 * ClaimResponse asks for an insurer: none took part, and the reference says so. R4 has no element for a DRG in it but
 * the added item, whose productOrService is the code. Probability, relative weight and length of stay are adjudications
 * of categories of our own, since R4's example categories are sums of money. */
#include "base/hash.h"
#include "base/text.h"
#include "data/fhir.h"
#include <stdio.h>
#include <string.h>

#define CATEGORIES "urn:casemix:adjudication"

/* urn:uuid of a part of the answer: of what it rests on, as a version 8 UUID (RFC 9562: the bytes are ours). */
static void name_part(const struct fhir_answer *answer, const char *part, char urn[46]) {
    struct text basis = {0};
    char hash[65];
    text_printf(&basis, "%s\n%s\n%s\n%s\n%s\n%s\n%s\n%zu", part, answer->note->id, answer->note->reference,
                answer->note_sha256, answer->model_sha256, answer->adapter_sha256, answer->version, answer->count);
    sha256_hex(basis.data == NULL ? "" : basis.data, basis.length, hash);
    text_free(&basis);
    hash[12] = '8';
    hash[16] = "89ab"[hash[16] & 3];
    snprintf(urn, 46, "urn:uuid:%.8s-%.4s-%.4s-%.4s-%.12s", hash, hash + 8, hash + 12, hash + 16, hash + 20);
}

static void add_string(struct text *out, const char *string) {
    text_add_json(out, string, strlen(string));
}

static void add_member(struct text *out, const char *name, const char *value, bool *first) {
    if (value == NULL || value[0] == '\0') return;
    text_printf(out, "%s\"%s\":", *first ? "" : ",", name);
    add_string(out, value);
    *first = false;
}

/* A contained resource of the other document cannot be meant from here. */
static bool reference_holds(const struct fhir_reference *reference) {
    return (reference->reference != NULL && reference->reference[0] != '#' && reference->reference[0] != '\0') ||
           reference->value != NULL || reference->display != NULL;
}

static void add_reference(struct text *out, const struct fhir_reference *reference) {
    bool first = true;
    text_add_char(out, '{');
    if (reference->reference != NULL && reference->reference[0] != '#')
        add_member(out, "reference", reference->reference, &first);
    add_member(out, "type", reference->type, &first);
    if (reference->value != NULL && reference->value[0] != '\0') {
        bool inner = true;
        text_printf(out, "%s\"identifier\":{", first ? "" : ",");
        add_member(out, "system", reference->system, &inner);
        add_member(out, "value", reference->value, &inner);
        text_add_char(out, '}');
        first = false;
    }
    add_member(out, "display", reference->display, &first);
    text_add_char(out, '}');
}

static void add_time(struct text *out, time_t time) {
    struct tm utc;
    char string[32];
    gmtime_r(&time, &utc);
    strftime(string, sizeof string, "\"%Y-%m-%dT%H:%M:%SZ\"", &utc);
    text_add(out, string);
}

static void add_adjudication(struct text *out, const char *code, const char *display, const char *number) {
    text_printf(out, "{\"category\":{\"coding\":[{\"system\":\"" CATEGORIES "\",\"code\":\"%s\",\"display\":\"%s\"}]},",
                code, display);
    text_printf(out, "\"value\":%s}", number);
}

static void add_drg(struct text *out, const struct fhir_answer *answer, size_t i) {
    const struct drg *drg = answer->drgs[i].drg;
    char number[32];
    text_add(out, "{\"productOrService\":{\"coding\":[{\"system\":\"" FHIR_MS_DRG "\",");
    /* CMS writes its codes with three digits, and numbers its versions from 1. */
    text_printf(out, "\"version\":\"%s\",\"code\":\"%03d\",\"display\":", grouper_name(answer->grouper) + 1, drg->code);
    add_string(out, drg->title);
    text_add(out, "}]},\"adjudication\":[");
    snprintf(number, sizeof number, "%.6f", answer->drgs[i].p);
    add_adjudication(out, "probability", "Probability that the model gives", number);
    text_add_char(out, ',');
    snprintf(number, sizeof number, "%.4f", drg->weight);
    add_adjudication(out, "relative-weight", "Relative weight", number);
    text_add_char(out, ',');
    snprintf(number, sizeof number, "%.1f", drg->gmlos);
    add_adjudication(out, "gmlos", "Geometric mean length of stay in days", number);
    text_add(out, "]}");
}

static void add_patient(struct text *out, const struct fhir_reference *subject) {
    text_add(out, ",\"patient\":");
    if (reference_holds(subject))
        add_reference(out, subject);
    else
        text_add(out, "{\"extension\":[{\"url\":\"http://hl7.org/fhir/StructureDefinition/data-absent-reason\","
                      "\"valueCode\":\"unknown\"}]}");
}

static void add_response(struct text *out, const struct fhir_answer *answer) {
    text_add(out, "{\"resourceType\":\"ClaimResponse\",\"status\":\"active\",\"type\":{\"coding\":[{\"system\":"
                  "\"http://terminology.hl7.org/CodeSystem/claim-type\",\"code\":\"institutional\"}]},"
                  "\"use\":\"predetermination\"");
    add_patient(out, &answer->note->subject);
    text_add(out, ",\"created\":");
    add_time(out, answer->time);
    text_add(out, ",\"insurer\":{\"display\":\"none: no insurer took part\"},\"outcome\":\"complete\",\"disposition\":"
                  "\"DRGs that a model suggests from a note; a person decides\",\"addItem\":[");
    for (size_t i = 0; i < answer->count; i++) {
        if (i > 0) text_add_char(out, ',');
        add_drg(out, answer, i);
    }
    text_add_char(out, ']');
    if (answer->truncated)
        text_add(out,
                 ",\"processNote\":[{\"number\":1,\"type\":\"display\",\"text\":\"The note is longer than the model "
                 "reads; what lies beyond was left out.\"}]");
    text_add_char(out, '}');
}

static void add_version(struct text *out, const char *type, const char *value) {
    text_printf(out, "{\"type\":{\"text\":\"%s\"},\"value\":", type);
    add_string(out, value);
    text_add_char(out, '}');
}

static void add_device(struct text *out, const struct fhir_answer *answer) {
    text_add(out, "{\"resourceType\":\"Device\",\"status\":\"active\",\"deviceName\":[{\"name\":\"casemix\",\"type\":"
                  "\"user-friendly-name\"},{\"name\":");
    add_string(out, answer->model);
    text_add(out, ",\"type\":\"model-name\"}],\"version\":[");
    add_version(out, "casemix", answer->version);
    if (answer->model_sha256[0] != '\0') {
        text_add_char(out, ',');
        add_version(out, "SHA-256 of the model", answer->model_sha256);
    }
    if (answer->adapter_sha256[0] != '\0') {
        text_add_char(out, ',');
        add_version(out, "SHA-256 of the adapter", answer->adapter_sha256);
    }
    text_add(out, "]}");
}

/* The source: the document if it can be named, and always the hash of the text that was read. */
static void add_source(struct text *out, const struct fhir_answer *answer) {
    const struct fhir_reference source = {.reference =
                                              answer->note->reference[0] == '\0' ? NULL : answer->note->reference,
                                          .type = answer->note->type,
                                          .system = "urn:casemix:note-sha256",
                                          .value = answer->note_sha256};
    text_add(out, ",\"entity\":[{\"role\":\"source\",\"what\":");
    add_reference(out, &source);
    text_add_char(out, '}');
    if (reference_holds(&answer->note->encounter)) {
        text_add(out, ",{\"role\":\"source\",\"what\":");
        add_reference(out, &answer->note->encounter);
        text_add_char(out, '}');
    }
    text_add_char(out, ']');
}

static void add_provenance(struct text *out, const struct fhir_answer *answer, const char *response,
                           const char *device) {
    text_printf(out, "{\"resourceType\":\"Provenance\",\"target\":[{\"reference\":\"%s\"}],\"recorded\":", response);
    add_time(out, answer->time);
    text_printf(out,
                ",\"activity\":{\"text\":\"MS-DRG from a discharge summary\"},\"agent\":[{\"type\":{\"coding\":[{"
                "\"system\":\"http://terminology.hl7.org/CodeSystem/provenance-participant-type\",\"code\":"
                "\"assembler\"}]},\"who\":{\"reference\":\"%s\"}}]",
                device);
    add_source(out, answer);
    text_add_char(out, '}');
}

void fhir_add_answer(struct text *out, const struct fhir_answer *answer) {
    char bundle[46], response[46], device[46], provenance[46];
    name_part(answer, "bundle", bundle);
    name_part(answer, "response", response);
    name_part(answer, "device", device);
    name_part(answer, "provenance", provenance);
    text_printf(out,
                "{\"resourceType\":\"Bundle\",\"identifier\":{\"system\":\"urn:ietf:rfc:3986\",\"value\":\"%s\"},"
                "\"type\":\"collection\",\"timestamp\":",
                bundle);
    add_time(out, answer->time);
    text_printf(out, ",\"entry\":[{\"fullUrl\":\"%s\",\"resource\":", response);
    add_response(out, answer);
    text_printf(out, "},{\"fullUrl\":\"%s\",\"resource\":", device);
    add_device(out, answer);
    text_printf(out, "},{\"fullUrl\":\"%s\",\"resource\":", provenance);
    add_provenance(out, answer, response, device);
    text_add(out, "}]}");
}

void fhir_add_outcome(struct text *out, const char *code, const char *message, const char *hint) {
    text_printf(
        out,
        "{\"resourceType\":\"OperationOutcome\",\"issue\":[{\"severity\":\"error\",\"code\":\"%s\",\"diagnostics\":",
        code);
    struct text line = {0};
    text_printf(&line, hint[0] == '\0' ? "%s" : "%s (%s)", message, hint);
    text_add_json(out, line.data == NULL ? "" : line.data, line.length);
    text_free(&line);
    text_add(out, "}]}");
}
