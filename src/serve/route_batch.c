/* The routes of batches. */
#include "base/error.h"
#include "base/memory.h"
#include "serve/batches.h"
#include "serve/coder.h"
#include "serve/models.h"
#include "serve/request.h"
#include "serve/routes.h"
#include "serve/server.h"
#include "serve/stream.h"
#include <string.h>
#include <strings.h>

static bool refuse_unknown(struct request *request) {
    request_refuse_line(request, 404, "not_found", "jobs are forgotten an hour after their end, and with the server",
                        "there is no such job");
    return true;
}

static struct served *choose_model(struct request *request) {
    const char *id = request_query(request, "model");
    struct models *models = request->server->models;
    struct served *served = id == NULL ? models_first(models, false) : models_find(models, id);
    if (served != NULL && !served->generative) return served;
    if (served == NULL && id != NULL)
        request_refuse_line(request, 404, "not_found", "GET /v1/models lists them", "there is no such model");
    else
        request_refuse_line(request, 400, "unsupported", "serve a classifier too: --model RUN",
                            "this model does not code notes");
    return NULL;
}

bool handle_batch_start(struct request *request) {
    struct error error = {0};
    struct text body = {0};
    long long k = 5;
    struct served *served = choose_model(request);
    if (served == NULL || !request_query_int(request, "k", 1, CODING_TOP, &k)) return true;
    if (request->body.length == 0) {
        request_refuse_line(request, 400, "bad_request", "the body is the file", "the upload is empty");
        return true;
    }
    const struct batch_order order = {.who = request->who,
                                      .served = served,
                                      .k = (size_t)k,
                                      .csv = strncasecmp(request_header(request, "Content-Type"), "text/csv", 8) == 0,
                                      .text_column = request_query(request, "text_column"),
                                      .id_column = request_query(request, "id_column"),
                                      .billed_column = request_query(request, "billed_column")};
    switch (batches_start(request->server->batches, &order, &request->body, &body, &error)) {
    case BATCH_STARTED:
        text_add_char(&body, '\n');
        request_answer_json(request, 202, &body);
        break;
    case BATCH_BUSY:
        request_refuse_line(request, 429, "busy", "wait for one to end, or cancel one",
                            "as many jobs as may run are running");
        request->answer.retry_after = 10;
        break;
    case BATCH_FAILED:
        request_refuse(request, 503, "internal", &error);
        break;
    }
    return true;
}

bool handle_batch_list(struct request *request) {
    struct text body = {0};
    batches_list(request->server->batches, &request->who, &body);
    request_answer_json(request, 200, &body);
    return true;
}

bool handle_batch_status(struct request *request) {
    struct text body = {0};
    if (!batches_state(request->server->batches, request->part, &request->who, &body)) return refuse_unknown(request);
    text_add_char(&body, '\n');
    request_answer_json(request, 200, &body);
    return true;
}

bool handle_batch_cancel(struct request *request) {
    struct text body = {0};
    if (!batches_cancel(request->server->batches, request->part, &request->who, &body)) return refuse_unknown(request);
    text_add_char(&body, '\n');
    request_answer_json(request, 200, &body);
    return true;
}

bool handle_batch_events(struct request *request) {
    struct text state = {0};
    const bool known = batches_state(request->server->batches, request->part, &request->who, &state);
    text_free(&state);
    if (!known) return refuse_unknown(request);
    struct stream *stream = stream_open(request->connection);
    if (stream != NULL &&
        batches_listen(request->server->batches, request->part, &request->who, stream_share(stream))) {
        request_answer_stream(request, "text/event-stream", stream);
        return true;
    }
    if (stream != NULL) {
        stream_release(stream);
        stream_release(stream);
    }
    request_refuse_line(request, 429, "busy", "", "too many listen to this job");
    return true;
}

bool handle_batch_result(struct request *request) {
    const char *format = request_query(request, "format");
    const bool csv = format != NULL && strcmp(format, "csv") == 0;
    struct text body = {0};
    long long from = 0;
    if (format != NULL && !csv && strcmp(format, "jsonl") != 0) {
        request_refuse_line(request, 400, "bad_request", "", "\"format\" is neither jsonl nor csv");
        return true;
    }
    if (!request_query_int(request, "from", 0, 1LL << 53, &from)) return true;
    if (!batches_result(request->server->batches, request->part, &request->who, csv, (size_t)from, &body)) {
        text_free(&body);
        return refuse_unknown(request);
    }
    request_answer(request, 200, csv ? "text/csv; charset=utf-8" : "application/x-ndjson", &body);
    if (request->answer.status == 200 && csv) request->answer.attachment = "coded.csv";
    return true;
}
