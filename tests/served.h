/* A `casemix serve` of a test's own, and a client that speaks HTTP/1.1 over plain sockets, well or badly. */
#ifndef CASEMIX_TESTS_SERVED_H
#define CASEMIX_TESTS_SERVED_H

#include "base/text.h"
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* A server on a free port of 127.0.0.1; what it logs goes to FOLDER/serve.log. */
struct served_program {
    pid_t process;
    int port, output;
};

/* Starts it and waits until it listens. The options are words between blanks. Fails the test when it does not come up.
 */
void served_start(struct served_program *program, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Sends a signal and waits for the end: exit status, or 128 + signal. */
int served_stop(struct served_program *program, int signal);
/* Ends it where a test has failed before it could; a cmocka tear-down may call it twice. */
void served_kill(struct served_program *program);

/* An answer; zero-initialise, release with reply_free. status 0: the connection ended without one. */
struct reply {
    int status;
    struct text head, body; /* the body without its chunks */
};
void reply_free(struct reply *reply);
/* The value of a header; "" if it is not there. Valid until the next call. */
const char *reply_header(const struct reply *reply, const char *name);

/* A connection from an address of loopback ("127.0.0.1"); -1 if it is refused. */
int served_connect(const struct served_program *program, const char *from);
/* False when the server has closed the connection. */
bool send_bytes(int socket, const char *bytes, size_t length);
/* Reads to the end of the connection, and closes it. */
void read_reply(int socket, struct reply *reply);

/* One request. `head`: further header lines, each with its CRLF, or "". body NULL: none. */
void served_ask(const struct served_program *program, struct reply *reply, const char *method, const char *path,
                const char *head, const char *body);

#endif
