/* Counters and a histogram of times, all atomic. */
#include "serve/counters.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "serve/routes.h"
#include <stdatomic.h>

enum { ROUTES_LIMIT = 64, STATUSES = 16, BUCKETS = 12 };

static const unsigned statuses[STATUSES] = {200, 201, 202, 400, 401, 403, 404, 405, 409, 413, 415, 429, 500, 503};
static const double bounds[BUCKETS] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30};

struct counters {
    atomic_ullong requests[ROUTES_LIMIT][STATUSES];
    atomic_ullong buckets[ROUTES_LIMIT][BUCKETS + 1]; /* not cumulative; the last: longer than all bounds */
    atomic_ullong microseconds[ROUTES_LIMIT];
    atomic_ullong notes, tokens, forwards, failed, generated, left;
};

bool counters_open(struct counters **counters, struct error *error) {
    *counters = memory_zero(1, sizeof **counters);
    return *counters != NULL || memory_error(error, sizeof **counters, "the counters");
}

void counters_close(struct counters *counters) {
    memory_free(counters);
}

void counters_request(struct counters *counters, size_t route, unsigned status, double seconds) {
    size_t s = 0, bucket = 0;
    while (s + 1 < STATUSES && statuses[s] != status && statuses[s] != 0) s++;
    while (bucket < BUCKETS && seconds > bounds[bucket]) bucket++;
    if (route >= ROUTES_LIMIT) route = ROUTES_LIMIT - 1;
    atomic_fetch_add(&counters->requests[route][s], 1);
    atomic_fetch_add(&counters->buckets[route][bucket], 1);
    atomic_fetch_add(&counters->microseconds[route], (unsigned long long)(seconds * 1e6));
}

void counters_coded(struct counters *counters, size_t notes, uint64_t tokens) {
    atomic_fetch_add(&counters->notes, notes);
    atomic_fetch_add(&counters->tokens, tokens);
    atomic_fetch_add(&counters->forwards, 1);
}

void counters_failed(struct counters *counters, size_t notes) {
    atomic_fetch_add(&counters->failed, notes);
}

void counters_generated(struct counters *counters, uint64_t tokens) {
    atomic_fetch_add(&counters->generated, tokens);
}

void counters_left(struct counters *counters) {
    atomic_fetch_add(&counters->left, 1);
}

static void add_head(struct text *out, const char *name, const char *type, const char *help) {
    text_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add_labels(struct text *out, size_t route) {
    const bool known = route < route_count;
    text_printf(out, "{method=\"%s\",route=\"%s\"", known ? routes[route].method : "",
                known ? routes[route].path : "none");
}

static void add_requests(struct text *out, const struct counters *counters) {
    add_head(out, "casemix_http_requests_total", "counter", "Requests answered.");
    for (size_t r = 0; r <= route_count; r++) {
        for (size_t s = 0; s < STATUSES; s++) {
            const unsigned long long count = atomic_load(&counters->requests[r][s]);
            if (count == 0) continue;
            text_add(out, "casemix_http_requests_total");
            add_labels(out, r);
            if (statuses[s] == 0)
                text_printf(out, ",status=\"other\"} %llu\n", count);
            else
                text_printf(out, ",status=\"%u\"} %llu\n", statuses[s], count);
        }
    }
}

static void add_times(struct text *out, const struct counters *counters) {
    add_head(out, "casemix_http_request_seconds", "histogram", "From a request's head to its answer.");
    for (size_t r = 0; r <= route_count; r++) {
        unsigned long long sum = 0;
        for (size_t b = 0; b <= BUCKETS; b++) sum += atomic_load(&counters->buckets[r][b]);
        if (sum == 0) continue;
        unsigned long long below = 0;
        for (size_t b = 0; b <= BUCKETS; b++) {
            below += atomic_load(&counters->buckets[r][b]);
            text_add(out, "casemix_http_request_seconds_bucket");
            add_labels(out, r);
            if (b < BUCKETS)
                text_printf(out, ",le=\"%g\"} %llu\n", bounds[b], below);
            else
                text_printf(out, ",le=\"+Inf\"} %llu\n", below);
        }
        text_add(out, "casemix_http_request_seconds_sum");
        add_labels(out, r);
        text_printf(out, "} %.6f\n", (double)atomic_load(&counters->microseconds[r]) * 1e-6);
        text_add(out, "casemix_http_request_seconds_count");
        add_labels(out, r);
        text_printf(out, "} %llu\n", below);
    }
}

void counters_add_text(struct text *out, const struct counters *counters, const struct gauge *gauges, size_t count) {
    const struct {
        const char *name, *help;
        unsigned long long value;
    } totals[] = {
        {"casemix_notes_coded_total", "Notes coded.", atomic_load(&counters->notes)},
        {"casemix_notes_failed_total", "Notes that could not be coded.", atomic_load(&counters->failed)},
        {"casemix_tokens_read_total", "Tokens of notes read by classifiers.", atomic_load(&counters->tokens)},
        {"casemix_blocks_total", "Blocks of notes that were coded together.", atomic_load(&counters->forwards)},
        {"casemix_tokens_generated_total", "Tokens written by generative models.", atomic_load(&counters->generated)},
        {"casemix_clients_left_total", "Requests given up because the client left.", atomic_load(&counters->left)},
    };
    add_requests(out, counters);
    add_times(out, counters);
    for (size_t i = 0; i < sizeof totals / sizeof totals[0]; i++) {
        add_head(out, totals[i].name, "counter", totals[i].help);
        text_printf(out, "%s %llu\n", totals[i].name, totals[i].value);
    }
    for (size_t i = 0; i < count; i++) {
        add_head(out, gauges[i].name, "gauge", gauges[i].help);
        text_printf(out, "%s %.17g\n", gauges[i].name, gauges[i].value);
    }
}
