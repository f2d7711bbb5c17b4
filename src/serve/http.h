/* libmicrohttpd's callbacks: from a connection to a route's function, and from its answer back. */
#ifndef CASEMIX_SERVE_HTTP_H
#define CASEMIX_SERVE_HTTP_H

#include <stdbool.h>

struct error;
struct server;

/* Begins to answer on server->listener. */
bool http_start(struct server *server, struct error *error);
/* Takes no new connection; those that are there go on. */
void http_stop_listening(struct server *server);
/* Ends all connections. No request may sleep any more. */
void http_stop(struct server *server);

#endif
