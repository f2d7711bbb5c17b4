/* `casemix serve`: an HTTP server over libmicrohttpd, its models, its store, and the page.
 *
 * libmicrohttpd's threads read requests and send answers; a request that needs a model or the store sleeps meanwhile.
 * One thread a model codes or writes for all clients together, one thread writes the store, one watches connections.
 */
#ifndef CASEMIX_SERVE_SERVER_H
#define CASEMIX_SERVE_SERVER_H

#include "serve/keys.h"
#include "tensor/compute.h"
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct access;
struct batches;
struct counters;
struct error;
struct MHD_Daemon;
struct models;
struct store;
struct watch;

enum { SERVER_MODELS = 8, SERVER_NAMES = 16 };

struct server_settings {
    const char *models[SERVER_MODELS]; /* run directories, or causal models */
    size_t model_count;
    const char *address;             /* numeric, or "localhost" */
    int64_t port;                    /* 0: one that is free */
    const char *names[SERVER_NAMES]; /* by which clients may call the server, besides addresses and localhost */
    size_t name_count;
    const char *keys;                          /* file of API keys; NULL: none */
    const char *certificate, *certificate_key; /* PEM files; NULL: plain HTTP */
    const char *store;                         /* SQLite file */
    bool store_notes;
    int64_t retention_days; /* 0: everything is kept */
    int64_t queue;          /* notes and generations that may wait */
    int64_t batch_limit;    /* bytes of an upload */
    int64_t connections;
    int64_t cache_tokens; /* positions of keys and values of a causal model */
    int64_t timeout;      /* seconds that a note may wait */
    enum compute_type compute;
    const char *int8_cache;
    const char *version;
};

struct server {
    struct server_settings settings;
    struct access *access;
    struct batches *batches;
    struct counters *counters;
    struct models *models;
    struct store *store;
    struct watch *watch;
    struct MHD_Daemon *daemon;
    char *certificate, *certificate_key; /* PEM texts */
    int listener;
    int port;
    double started;
    atomic_bool stopping;
    atomic_size_t body_bytes; /* held by requests that are being received or answered */
    atomic_int active;        /* requests that have begun and whose answer has not been sent */
};

/* Opens models, store and keys and begins to answer. What is wrong with the settings is an error before that. */
bool server_open(struct server **server, const struct server_settings *settings, struct error *error);

/* "http://127.0.0.1:8080", as a person would type it. */
void server_url(const struct server *server, char *url, size_t capacity);

/* Answers until SIGTERM or SIGINT; then takes no new work, ends what is under way (at most 30 s; a second signal ends
 * it at once) and returns. SIGINT, SIGTERM and SIGHUP must have been blocked before server_open. */
bool server_run(struct server *server, struct error *error);
void server_close(struct server *server);

#endif
