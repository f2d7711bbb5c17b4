/* An answer that is written while it is being made: server-sent events from one thread, sent by the server's.
 *
 * Two hold a stream, its writer and its connection; each lets go of it once, and the last frees it. */
#ifndef CASEMIX_SERVE_STREAM_H
#define CASEMIX_SERVE_STREAM_H

#include <stdbool.h>
#include <stddef.h>

struct MHD_Connection;
struct MHD_Response;
struct stream;
struct text;

/* One reference for the writer; NULL when memory is short. */
struct stream *stream_open(struct MHD_Connection *connection);
struct stream *stream_share(struct stream *stream);
void stream_release(struct stream *stream);

/* Adds bytes. False when the client has left, or does not read (over 1 MiB waits for it): nobody will see more. */
bool stream_write(struct stream *stream, const struct text *bytes);
/* Nothing follows. */
void stream_end(struct stream *stream);

/* The response that sends it; holds a reference of its own. */
struct MHD_Response *stream_response(struct stream *stream);

/* The client has left: the sleeping connection is woken, so that the server sees it. */
void stream_abandon(struct stream *stream);
bool stream_abandoned(struct stream *stream);

/* Sends a comment when nothing has been sent for so many seconds, to keep proxies from closing the connection. */
void stream_keep_alive(struct stream *stream, double seconds);

#endif
