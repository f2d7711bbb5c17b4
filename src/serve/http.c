/* How a request goes: its head is looked at first (route, access, type, length), so that what is refused costs nothing;
 * then its body is gathered; then the route's function answers, or leaves it to another thread, which resumes it. */
#include "serve/http.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "serve/access.h"
#include "serve/counters.h"
#include "serve/request.h"
#include "serve/routes.h"
#include "serve/server.h"
#include "serve/stream.h"
#include "serve/watch.h"
#include <microhttpd.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Of all bodies together; seconds without a byte; bytes of a head; what is read of a body that is too large, so that
 * its sender sees the refusal. */
#define BODIES_LIMIT ((size_t)512 << 20)
enum { IDLE_SECONDS = 30, HEAD_BYTES = 32 << 10, SWALLOWED = 16 << 20 };

static struct connection *connection_of(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info == NULL ? NULL : info->socket_context;
}

static size_t body_limit(const struct server *server, const struct route *route) {
    return route->body == BODY_NOTES ? (size_t)server->settings.batch_limit : route->limit;
}

/* "application/json; charset=utf-8" is "application/json". */
static bool type_is(const char *given, const char *wanted) {
    const size_t length = strlen(wanted);
    return given != NULL && strncasecmp(given, wanted, length) == 0 && (strchr("; \t", given[length]) != NULL);
}

static bool check_type(struct request *request) {
    const char *type = request_header(request, "Content-Type");
    const enum body_kind kind = request->route->body;
    if (kind == BODY_NONE || (kind == BODY_JSON && type_is(type, "application/json"))) return true;
    if (kind == BODY_FHIR && (type_is(type, "application/fhir+json") || type_is(type, "application/json"))) return true;
    if (kind == BODY_NOTES &&
        (type_is(type, "text/csv") || type_is(type, "application/x-ndjson") || type_is(type, "application/jsonl")))
        return true;
    request_refuse_line(request, 415, "wrong_type", "",
                        kind == BODY_JSON ? "Content-Type is not application/json"
                        : kind == BODY_FHIR
                            ? "Content-Type is neither application/fhir+json nor application/json"
                            : "Content-Type is none of text/csv, application/x-ndjson, application/jsonl");
    return false;
}

static bool check_length(struct request *request) {
    const char *header = request_header(request, "Content-Length");
    const size_t limit = body_limit(request->server, request->route);
    int64_t length;
    if (header == NULL || (parse_int64(header, &length) && length >= 0 && (uint64_t)length <= limit)) return true;
    request_refuse_line(request, 413, "too_large", "", "the body is larger than the %zu bytes that are read here",
                        limit);
    return false;
}

static bool check_route(struct request *request, const char *methods) {
    if (request->route != NULL) return true;
    if (methods[0] == '\0')
        request_refuse_line(request, 404, "not_found", "GET /openapi.json lists what there is",
                            "there is no such path");
    else
        request_refuse_line(request, 405, "wrong_method", "", "this path takes %s", methods);
    return false;
}

/* Looks at the head. False: the answer is set, and *delayed says whether to wait before it is sent. */
static bool admit(struct request *request, const char *method, const char *path, bool *delayed) {
    char methods[64];
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    request->route = route_find(method, path, request->part, methods);
    request->head = strcmp(method, "HEAD") == 0;
    const enum access_verdict verdict = access_check(request->server->access, request, info->client_addr);
    *delayed = verdict == ACCESS_DELAYED;
    if (verdict != ACCESS_GRANTED || !check_route(request, methods) || !check_type(request) || !check_length(request))
        return false;
    const bool service = request->route->handle == handle_health;
    if (!atomic_load(&request->server->stopping) || service) return true;
    request_refuse_line(request, 503, "stopping", "", "the server is stopping");
    return false;
}

static void add_headers(const struct request *request, struct MHD_Response *response) {
    const struct http_answer *answer = &request->answer;
    char value[256];
    static const char *const headers[][2] = {
        {"Content-Security-Policy",
         "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
         "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
        {"X-Content-Type-Options", "nosniff"},
        {"X-Frame-Options", "DENY"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
        {"Permissions-Policy", "camera=(), microphone=(), geolocation=()"},
        {"Cache-Control", "no-store"},
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++)
        MHD_add_response_header(response, headers[i][0], headers[i][1]);
    MHD_add_response_header(response, "Content-Type", answer->type);
    if (request->server->certificate != NULL)
        MHD_add_response_header(response, "Strict-Transport-Security", "max-age=31536000");
    if (answer->status == 401) MHD_add_response_header(response, "WWW-Authenticate", "Bearer realm=\"casemix\"");
    if (answer->retry_after > 0) {
        snprintf(value, sizeof value, "%u", answer->retry_after);
        MHD_add_response_header(response, "Retry-After", value);
    }
    if (answer->attachment != NULL) {
        snprintf(value, sizeof value, "attachment; filename=\"%s\"", answer->attachment);
        MHD_add_response_header(response, "Content-Disposition", value);
    }
    if (atomic_load(&request->server->stopping)) MHD_add_response_header(response, "Connection", "close");
}

static void add_allow(const struct request *request, const char *method, const char *path,
                      struct MHD_Response *response) {
    char part[80], methods[64];
    if (request->answer.status != 405) return;
    route_find(method, path, part, methods);
    MHD_add_response_header(response, "Allow", methods);
}

static struct MHD_Response *make_response(struct request *request) {
    struct http_answer *answer = &request->answer;
    struct MHD_Response *response;
    if (answer->stream != NULL) return stream_response(answer->stream);
    if (answer->constant != NULL)
        return MHD_create_response_from_buffer(answer->constant_length, (void *)(uintptr_t)answer->constant,
                                               MHD_RESPMEM_PERSISTENT);
    if (answer->body.data == NULL) return MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT);
    response = MHD_create_response_from_buffer_with_free_callback(answer->body.length, answer->body.data, memory_free);
    if (response != NULL) answer->body = (struct text){0};
    return response;
}

/* The route as the table has it stands in the log, never what a client wrote. */
static void log_request(const struct request *request) {
    const struct route *route = request->route;
    log_info("%s %s %s %u %.1f ms", request->who.name[0] == '\0' ? "-" : request->who.name,
             route != NULL ? route->method : "-", route != NULL ? route->path : "(no route)", request->answer.status,
             1e3 * (time_now() - request->started));
}

static enum MHD_Result send_answer(struct request *request, const char *method, const char *path) {
    struct MHD_Response *response = make_response(request);
    if (response == NULL) return MHD_NO;
    request->answered = true;
    add_headers(request, response);
    add_allow(request, method, path, response);
    if (request->answer.stream != NULL)
        watch_stream(request->server->watch, connection_of(request->connection), request->answer.stream);
    const enum MHD_Result queued = MHD_queue_response(request->connection, request->answer.status, response);
    MHD_destroy_response(response);
    const size_t route = request->route == NULL ? route_count : (size_t)(request->route - routes);
    counters_request(request->server->counters, route, request->answer.status, time_now() - request->started);
    log_request(request);
    return queued;
}

static enum MHD_Result begin(struct server *server, struct MHD_Connection *connection, const char *method,
                             const char *path, void **state) {
    bool delayed = false;
    struct request *request = memory_zero(1, sizeof *request);
    if (request == NULL) return MHD_NO;
    request->server = server;
    request->connection = connection;
    request->started = time_now();
    atomic_fetch_add(&server->active, 1);
    *state = request;
    struct connection *watched = connection_of(connection);
    watch_body(server->watch, watched);
    if (admit(request, method, path, &delayed)) return MHD_YES;
    request->refused = true;
    if (!delayed) return send_answer(request, method, path);
    request_leave(request);
    watch_delay(server->watch, watched, request, 0.5);
    return MHD_YES;
}

/* Bytes of the body beyond the limits are dropped; when too many follow, the connection is closed. */
static enum MHD_Result take_body(struct request *request, const char *bytes, size_t *length) {
    struct server *server = request->server;
    const size_t limit = body_limit(server, request->route), size = *length;
    *length = 0;
    if (request->body.length + size > limit) request->too_large = true;
    request->body_counted += size;
    const size_t all = atomic_fetch_add(&server->body_bytes, size) + size;
    if (request->body_counted > limit + SWALLOWED) return MHD_NO;
    if (request->too_large || request->refused) return MHD_YES;
    if (all > BODIES_LIMIT) {
        request->refused = true;
        request_refuse_line(request, 429, "busy", "", "too much is being uploaded at the moment");
        text_free(&request->body);
        return MHD_YES;
    }
    text_append(&request->body, bytes, size);
    return request->body.failed ? MHD_NO : MHD_YES;
}

static enum MHD_Result answer_request(void *context, struct MHD_Connection *connection, const char *path,
                                      const char *method, const char *version, const char *body, size_t *body_length,
                                      void **state) {
    struct server *server = context;
    struct request *request = *state;
    (void)version;
    if (request == NULL) return begin(server, connection, method, path, state);
    if (request->answered) return MHD_YES;
    if (*body_length > 0) return take_body(request, body, body_length);
    if (!request->taken && !request->refused) {
        request->taken = true;
        watch_work(server->watch, connection_of(connection), request);
        if (request->too_large)
            request_refuse_line(request, 413, "too_large", "",
                                "the body is larger than the %zu bytes that are read here",
                                body_limit(server, request->route));
        else if (!request->route->handle(request))
            return MHD_YES;
    }
    return send_answer(request, method, path);
}

static void end_request(void *context, struct MHD_Connection *connection, void **state,
                        enum MHD_RequestTerminationCode how) {
    struct server *server = context;
    struct request *request = *state;
    (void)how;
    if (request == NULL) return;
    watch_idle(server->watch, connection_of(connection));
    if (request->answer.stream != NULL) {
        stream_abandon(request->answer.stream);
        stream_release(request->answer.stream);
    }
    atomic_fetch_sub(&server->body_bytes, request->body_counted);
    atomic_fetch_sub(&server->active, 1);
    text_free(&request->answer.body);
    text_free(&request->body);
    memory_free(request);
    *state = NULL;
}

static void note_connection(void *context, struct MHD_Connection *connection, void **socket_context,
                            enum MHD_ConnectionNotificationCode code) {
    struct server *server = context;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        watch_remove(server->watch, *socket_context);
        *socket_context = NULL;
        return;
    }
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    *socket_context = info == NULL ? NULL : watch_add(server->watch, info->connect_fd);
}

bool http_start(struct server *server, struct error *error) {
    const bool tls = server->certificate != NULL;
    const unsigned flags =
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ITC | (tls ? (unsigned)MHD_USE_TLS : 0);
    const struct MHD_OptionItem secure[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, server->certificate},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, server->certificate_key},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t) "NORMAL:-VERS-TLS-ALL:+VERS-TLS1.2:+VERS-TLS1.3"},
        {MHD_OPTION_END, 0, NULL}};
    const struct MHD_OptionItem plain[] = {{MHD_OPTION_END, 0, NULL}};
    server->daemon = MHD_start_daemon(
        flags, 0, NULL, NULL, answer_request, server, MHD_OPTION_LISTEN_SOCKET, server->listener,
        MHD_OPTION_THREAD_POOL_SIZE, 2u, MHD_OPTION_CONNECTION_LIMIT, (unsigned)server->settings.connections,
        MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HEAD_BYTES,
        MHD_OPTION_NOTIFY_COMPLETED, end_request, server, MHD_OPTION_NOTIFY_CONNECTION, note_connection, server,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_ARRAY, tls ? secure : plain, MHD_OPTION_END);
    if (server->daemon != NULL) return true;
    error_set(error, "the HTTP server does not start");
    return tls ? error_hint(error, "do certificate and key belong together?") : false;
}

void http_stop_listening(struct server *server) {
    const MHD_socket listener = MHD_quiesce_daemon(server->daemon);
    if (listener == MHD_INVALID_SOCKET) return;
    shutdown(listener, SHUT_RDWR);
}

void http_stop(struct server *server) {
    if (server->daemon != NULL) MHD_stop_daemon(server->daemon);
    server->daemon = NULL;
}
