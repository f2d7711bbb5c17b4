/* One request on its way: what it asks, who sends it, and its answer.
 *
 * A route's function either answers at once (and returns true) or takes the request away (request_leave, returns
 * false), after which another thread sets the answer and calls request_resume. The request belongs to the connection
 * and lives until its answer has been sent. */
#ifndef CASEMIX_SERVE_REQUEST_H
#define CASEMIX_SERVE_REQUEST_H

#include "base/text.h"
#include "serve/keys.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct error;
struct MHD_Connection;
struct route;
struct server;
struct stream;

/* What goes back: a body, or a stream. */
struct http_answer {
    unsigned status;
    const char *type;       /* of the content; lives as long as the process */
    const char *attachment; /* name of the file that a browser saves it as; NULL: none */
    unsigned retry_after;   /* seconds; 0: no such header */
    struct text body;
    const char *constant; /* instead of body: bytes of the program */
    size_t constant_length;
    struct stream *stream; /* instead of either */
};

struct request {
    struct server *server;
    struct MHD_Connection *connection;
    const struct route *route; /* NULL: no route fits */
    char part[80];             /* what stands in the path for {…} */
    struct principal who;
    struct text body;
    size_t body_counted; /* bytes that stand in the server's sum of bodies */
    double started;      /* time_now() */
    bool head;           /* HEAD: GET without a body */
    bool taken;          /* the head has been looked at */
    bool refused;        /* answer is set; what follows of the body is dropped */
    bool too_large;
    bool answered;
    atomic_bool gone; /* the client has left */
    struct http_answer answer;
};

/* Sets the answer; `body` is taken over. */
void request_answer(struct request *request, unsigned status, const char *type, struct text *body);
void request_answer_json(struct request *request, unsigned status, struct text *body);
/* Bytes of the program itself. */
void request_answer_constant(struct request *request, const char *type, const char *bytes, size_t length);
/* Takes over one reference of the stream. */
void request_answer_stream(struct request *request, const char *type, struct stream *stream);

/* Sets a refusal (docs/serve.md, Error). `code` is one of openapi.json's. */
void request_refuse(struct request *request, unsigned status, const char *code, const struct error *error);
void request_refuse_line(struct request *request, unsigned status, const char *code, const char *hint,
                         const char *format, ...) __attribute__((format(printf, 5, 6)));

/* The same object for a stream. */
void error_add_json(struct text *out, unsigned status, const char *code, const struct error *error);

/* A parameter of the query, decoded; NULL if it is not there. */
const char *request_query(const struct request *request, const char *name);
/* A whole number of the query within bounds, or `otherwise`; false and refused when it is no such number. */
bool request_query_int(struct request *request, const char *name, long long low, long long high, long long *value);
const char *request_header(const struct request *request, const char *name);

/* The connection sleeps until request_resume; to be called before another thread may know the request. */
void request_leave(struct request *request);
void request_resume(struct request *request);

#endif
