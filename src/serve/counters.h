/* What the server has done, for `GET /metrics` (Prometheus' text format 0.0.4). Every function may be called from any
 * thread. */
#ifndef CASEMIX_SERVE_COUNTERS_H
#define CASEMIX_SERVE_COUNTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct counters;
struct error;
struct text;

bool counters_open(struct counters **counters, struct error *error);
void counters_close(struct counters *counters);

/* A request has been answered; `route` is its place in routes[], route_count for none. */
void counters_request(struct counters *counters, size_t route, unsigned status, double seconds);
/* Notes that passed through a classifier together, and the tokens that were read. */
void counters_coded(struct counters *counters, size_t notes, uint64_t tokens);
void counters_failed(struct counters *counters, size_t notes);
void counters_generated(struct counters *counters, uint64_t tokens);
/* Places in the queue given up by clients that left. */
void counters_left(struct counters *counters);

/* A value of the moment that a caller adds to the report. */
struct gauge {
    const char *name, *help;
    double value;
};
void counters_add_text(struct text *out, const struct counters *counters, const struct gauge *gauges, size_t count);

#endif
