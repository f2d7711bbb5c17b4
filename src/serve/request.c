/* Answers and refusals, and what a request says in its head. */
#include "serve/request.h"
#include "base/error.h"
#include "serve/stream.h"
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void request_answer(struct request *request, unsigned status, const char *type, struct text *body) {
    text_free(&request->answer.body);
    request->answer = (struct http_answer){.status = status, .type = type, .body = *body};
    *body = (struct text){0};
    if (!request->answer.body.failed) return;
    text_free(&request->answer.body);
    request_refuse_line(request, 500, "internal", "", "out of memory for an answer");
}

void request_answer_json(struct request *request, unsigned status, struct text *body) {
    request_answer(request, status, "application/json", body);
}

void request_answer_constant(struct request *request, const char *type, const char *bytes, size_t length) {
    request->answer = (struct http_answer){.status = 200, .type = type, .constant = bytes, .constant_length = length};
}

void request_answer_stream(struct request *request, const char *type, struct stream *stream) {
    text_free(&request->answer.body);
    request->answer = (struct http_answer){.status = 200, .type = type, .stream = stream};
}

static const char *kind_of(unsigned status) {
    switch (status) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 404:
        return "not_found_error";
    case 429:
        return "rate_limit_error";
    default:
        return status >= 500 ? "server_error" : "invalid_request_error";
    }
}

void error_add_json(struct text *out, unsigned status, const char *code, const struct error *error) {
    text_add(out, "{\"error\": {\"message\": ");
    text_add_json(out, error->message, strlen(error->message));
    text_printf(out, ", \"type\": \"%s\", \"code\": \"%s\", \"hint\": ", kind_of(status), code);
    text_add_json(out, error->hint, strlen(error->hint));
    text_add(out, "}}");
}

void request_refuse(struct request *request, unsigned status, const char *code, const struct error *error) {
    struct text body = {0};
    error_add_json(&body, status, code, error);
    text_add_char(&body, '\n');
    text_free(&request->answer.body);
    request->answer = (struct http_answer){.status = status, .type = "application/json", .body = body};
    if (status == 429 || status == 503) request->answer.retry_after = 1;
}

void request_refuse_line(struct request *request, unsigned status, const char *code, const char *hint,
                         const char *format, ...) {
    struct error error = {0};
    char line[sizeof error.message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    error_set(&error, "%s", line);
    error_hint(&error, "%s", hint);
    request_refuse(request, status, code, &error);
}

const char *request_query(const struct request *request, const char *name) {
    return MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
}

bool request_query_int(struct request *request, const char *name, long long low, long long high, long long *value) {
    const char *string = request_query(request, name);
    int64_t number;
    if (string == NULL) return true;
    if (!parse_int64(string, &number) || number < low || number > high) {
        request_refuse_line(request, 400, "bad_request", "", "\"%s\" takes a whole number from %lld to %lld", name, low,
                            high);
        return false;
    }
    *value = number;
    return true;
}

const char *request_header(const struct request *request, const char *name) {
    return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

void request_leave(struct request *request) {
    MHD_suspend_connection(request->connection);
}

void request_resume(struct request *request) {
    MHD_resume_connection(request->connection);
}
