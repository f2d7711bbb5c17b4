/* POST /v1/drg: one note, through the coder and the store, and its record back. */
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "serve/body.h"
#include "serve/coded_note.h"
#include "serve/models.h"
#include "serve/request.h"
#include "serve/routes.h"
#include "serve/server.h"
#include <stdio.h>
#include <string.h>

/* A request on its way; freed when its note comes back. */
struct drg_request {
    struct coded_note note; /* first */
    struct request *request;
    struct json *document; /* holds the text */
};

static void refuse_note(struct request *request, const struct coded_note *note) {
    switch (note->coding.end) {
    case CODING_FAILED:
        request_refuse(request, 400, "bad_request", &note->error);
        break;
    case CODING_LATE:
        request_refuse_line(request, 503, "too_slow", "", "the note has waited too long");
        break;
    case CODING_STOPPED:
        request_refuse_line(request, 503, "stopping", "", "the server is stopping");
        break;
    case CODING_LEFT: /* nobody reads it */
        request_refuse_line(request, 503, "stopping", "", "the client has left");
        break;
    case CODING_DONE:
        log_warning("%s", note->error.message);
        request_refuse_line(request, 503, "internal", "the server's log says why",
                            "the answer could not be kept, so it is not given");
        break;
    }
}

static void answer_note(struct coded_note *note) {
    struct drg_request *drg = (struct drg_request *)note;
    struct request *request = drg->request;
    if (note->kept) {
        const struct record record = coded_note_record(note);
        struct text body = {0};
        record_add_json(&body, &record);
        text_add(&body, "}\n");
        request_answer_json(request, 200, &body);
    } else {
        refuse_note(request, note);
    }
    json_free(drg->document);
    text_free(&drg->note.explaining.members);
    memory_free(drg);
    request_resume(request);
}

/* The model that is asked, or the refusal. */
static struct served *choose_model(struct request *request, const struct drg_body *body) {
    struct models *models = request->server->models;
    struct served *served = body->model == NULL ? models_first(models, false) : models_find(models, body->model);
    if (served == NULL && body->model != NULL) {
        request_refuse_line(request, 404, "not_found", "GET /v1/models lists them", "there is no such model");
    } else if (served == NULL || served->generative) {
        request_refuse_line(request, 400, "unsupported", "serve a classifier too: --model RUN",
                            "this model does not code notes");
        return NULL;
    }
    return served;
}

static bool known_drgs(const struct served *served, const struct drg_body *body) {
    for (size_t i = 0; i < body->evidence_drg_count; i++) {
        if (catalog_find(catalog_get(served->grouper), (int)body->evidence_drgs[i]) == NULL) return false;
    }
    return true;
}

static bool check_wishes(struct request *request, const struct served *served, const struct drg_body *body) {
    if (!known_drgs(served, body))
        request_refuse_line(request, 400, "bad_request", "", "\"evidence_drgs\" holds something that is no DRG of %s",
                            grouper_name(served->grouper));
    else if (body->samples > 0 || body->stream)
        request_refuse_line(request, 400, "unsupported", "leave \"samples\" and \"stream\" out",
                            "a classifier writes no reasoning");
    else if (body->billed > 0 && catalog_find(catalog_get(served->grouper), (int)body->billed) == NULL)
        request_refuse_line(request, 400, "bad_request", "", "\"billed\" is no DRG of %s",
                            grouper_name(served->grouper));
    else
        return true;
    return false;
}

static void start(struct request *request, const struct drg_body *body, struct json *document, struct served *served) {
    struct server *server = request->server;
    struct drg_request *drg = memory_zero(1, sizeof *drg);
    if (drg == NULL) {
        json_free(document);
        request_refuse_line(request, 503, "internal", "", "out of memory");
        request_resume(request);
        return;
    }
    drg->request = request;
    drg->document = document;
    drg->note.server = server;
    drg->note.served = served;
    drg->note.who = request->who;
    drg->note.text = body->text;
    drg->note.length = strlen(body->text);
    drg->note.billed = (int)body->billed;
    drg->note.coding.k = (size_t)body->k;
    drg->note.coding.gone = &request->gone;
    drg->note.coding.deadline = time_now() + (double)server->settings.timeout;
    drg->note.evidence = body->evidence || body->evidence_drg_count > 0;
    drg->note.explaining.drg_count = body->evidence_drg_count;
    for (size_t i = 0; i < body->evidence_drg_count; i++) drg->note.explaining.drgs[i] = (int)body->evidence_drgs[i];
    drg->note.finished = answer_note;
    snprintf(drg->note.id, sizeof drg->note.id, "%s", body->id);
    if (coded_note_start(&drg->note)) return;
    request_refuse_line(request, 429, "busy", "", "%lld notes are waiting already", (long long)server->settings.queue);
    json_free(document);
    memory_free(drg);
    request_resume(request);
}

bool handle_drg(struct request *request) {
    struct json *document;
    struct drg_body body;
    struct error error = {0};
    struct served *served;
    if (!body_parse(&document, request->body.data == NULL ? "" : request->body.data, request->body.length,
                    drg_body_members, &error)) {
        request_refuse(request, 400, "bad_json", &error);
        return true;
    }
    text_free(&request->body); /* the document has its own copy */
    if (!drg_body_read(&body, json_root(document), &error))
        request_refuse(request, 400, "bad_request", &error);
    else if ((served = choose_model(request, &body)) != NULL && check_wishes(request, served, &body)) {
        request_leave(request);
        start(request, &body, document, served);
        return false;
    }
    json_free(document);
    return true;
}
