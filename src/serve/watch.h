/* The thread that watches connections: ends those that are too slow to say what they want, notices clients that leave
 * while their request sleeps, wakes refusals that are sent late, and does what is to be done now and then. */
#ifndef CASEMIX_SERVE_WATCH_H
#define CASEMIX_SERVE_WATCH_H

#include <stdbool.h>

struct connection;
struct error;
struct request;
struct server;
struct stream;
struct watch;

/* Seconds in which a head and a body must have come. */
enum { HEAD_SECONDS = 30, BODY_SECONDS = 60 };

bool watch_open(struct watch **watch, struct server *server, struct error *error);
/* Stops the thread; connections may come and go until watch_close. */
void watch_stop(struct watch *watch);
void watch_close(struct watch *watch);

/* A connection that has been accepted, by its socket; NULL when memory is short. */
struct connection *watch_add(struct watch *watch, int socket);
void watch_remove(struct watch *watch, struct connection *connection);

/* What a connection is at. */
void watch_body(struct watch *watch, struct connection *connection);                          /* its body comes */
void watch_work(struct watch *watch, struct connection *connection, struct request *request); /* it sleeps or sends */
void watch_stream(struct watch *watch, struct connection *connection, struct stream *stream); /* it sends a stream */
void watch_idle(struct watch *watch, struct connection *connection); /* the next request's head is waited for */

/* Resumes a request that has left, with the answer that is set, after so many seconds. */
void watch_delay(struct watch *watch, struct connection *connection, struct request *request, double seconds);

/* Ends the streams that are being sent and treats every waiting client as gone. */
void watch_abandon_all(struct watch *watch);

#endif
