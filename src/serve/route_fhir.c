/* POST /fhir/$drg: a FHIR R4 DocumentReference, Composition, or Bundle with one of them, through the coder and the
 * store; a Bundle back. What is refused for its content is an OperationOutcome. */
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "data/fhir.h"
#include "drg/note.h"
#include "serve/coded_note.h"
#include "serve/models.h"
#include "serve/request.h"
#include "serve/routes.h"
#include "serve/server.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

/* A document on its way; freed when its note comes back. */
struct fhir_request {
    struct coded_note note; /* first */
    struct request *request;
    struct json *document; /* holds what the note points into */
    struct fhir_note *read;
};

static void refuse(struct request *request, unsigned status, const char *code, const struct error *error) {
    struct text body = {0};
    fhir_add_outcome(&body, code, error->message, error->hint);
    text_add_char(&body, '\n');
    request_answer(request, status, FHIR_JSON, &body);
    if (status == 429 || status == 503) request->answer.retry_after = 1;
}

static void free_request(struct fhir_request *fhir) {
    fhir_note_free(fhir->read);
    memory_free(fhir->read);
    json_free(fhir->document);
    memory_free(fhir);
}

static void add_answer(struct text *out, const struct fhir_request *fhir) {
    const struct coded_note *note = &fhir->note;
    const struct record record = coded_note_record(note);
    struct fhir_drg drgs[CODING_TOP];
    for (size_t i = 0; i < record.k; i++) drgs[i] = (struct fhir_drg){record_drg(&record, i), (double)record.top[i].p};
    const struct fhir_answer answer = {.note = fhir->read,
                                       .grouper = note->served->grouper,
                                       .drgs = drgs,
                                       .count = record.k,
                                       .truncated = record.truncated,
                                       .version = note->server->settings.version,
                                       .model = note->served->id,
                                       .model_sha256 = note->served->sha256,
                                       .adapter_sha256 = note->served->adapter_sha256,
                                       .note_sha256 = note->sha256,
                                       .time = time(NULL)};
    fhir_add_answer(out, &answer);
    text_add_char(out, '\n');
}

static void answer_note(struct coded_note *note) {
    struct fhir_request *fhir = (struct fhir_request *)note;
    struct request *request = fhir->request;
    if (note->kept) {
        struct text body = {0};
        add_answer(&body, fhir);
        request_answer(request, 200, FHIR_JSON, &body);
    } else if (note->coding.end == CODING_FAILED) {
        refuse(request, 400, "invalid", &note->error);
    } else {
        struct error error;
        if (note->coding.end == CODING_DONE) log_warning("%s", note->error.message);
        error_set(&error, note->coding.end == CODING_LATE   ? "the note has waited too long"
                          : note->coding.end == CODING_DONE ? "the answer could not be kept, so it is not given"
                                                            : "the server is stopping");
        refuse(request, 503, "transient", &error);
    }
    free_request(fhir);
    request_resume(request);
}

/* The one document of the body. What the parser says may hold what the client wrote, and is not repeated. */
static bool read_body(struct request *request, struct fhir_request *fhir, struct error *error) {
    struct error told;
    size_t count;
    if (request->body.length == 0 ||
        !json_parse(&fhir->document, "body", request->body.data, request->body.length, &told))
        return error_set(error, "the body is not JSON that is read here");
    if (!fhir_read(json_root(fhir->document), 1, &fhir->read, &count, error)) {
        json_free(fhir->document);
        return false;
    }
    if (note_check(fhir->read->type, fhir->read->text.data, fhir->read->text.length, error)) return true;
    fhir_note_free(fhir->read);
    memory_free(fhir->read);
    json_free(fhir->document);
    return false;
}

static bool start(struct request *request, struct fhir_request *fhir, struct served *served, size_t k) {
    struct coded_note *note = &fhir->note;
    fhir->request = request;
    note->server = request->server;
    note->served = served;
    note->who = request->who;
    note->text = fhir->read->text.data;
    note->length = fhir->read->text.length;
    note->coding.k = k;
    note->coding.gone = &request->gone;
    note->coding.deadline = time_now() + (double)request->server->settings.timeout;
    note->finished = answer_note;
    snprintf(note->id, sizeof note->id, "%.200s", fhir->read->id);
    return coded_note_start(note);
}

bool handle_fhir_drg(struct request *request) {
    struct models *models = request->server->models;
    const char *name = request_query(request, "model");
    struct served *served = name == NULL ? models_first(models, false) : models_find(models, name);
    struct error error = {0};
    long long k = 5;
    if (!request_query_int(request, "k", 1, CODING_TOP, &k)) return true;
    if (served == NULL || served->generative) {
        error_set(&error, "there is no such model that codes notes");
        refuse(request, served == NULL && name != NULL ? 404 : 400, "not-supported", &error);
        return true;
    }
    struct fhir_request *fhir = memory_zero(1, sizeof *fhir);
    if (fhir == NULL) {
        error_set(&error, "out of memory");
        refuse(request, 503, "transient", &error);
        return true;
    }
    if (!read_body(request, fhir, &error)) {
        refuse(request, 400, "invalid", &error);
        memory_free(fhir);
        return true;
    }
    text_free(&request->body); /* the document has its own copy */
    request_leave(request);
    if (start(request, fhir, served, (size_t)k)) return false;
    error_set(&error, "%lld notes are waiting already", (long long)request->server->settings.queue);
    refuse(request, 429, "throttled", &error);
    free_request(fhir);
    request_resume(request);
    return false;
}
