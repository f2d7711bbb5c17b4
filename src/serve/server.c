/* Opening a server, its listening socket, and its end. */
#include "serve/server.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "serve/access.h"
#include "serve/batches.h"
#include "serve/counters.h"
#include "serve/http.h"
#include "serve/models.h"
#include "serve/store.h"
#include "serve/watch.h"
#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DRAIN_SECONDS = 30 };
#define PEM_LIMIT ((size_t)1 << 20)

/* The address as the settings name it. */
static bool find_address(const struct server_settings *settings, struct sockaddr_storage *address, socklen_t *length,
                         struct error *error) {
    struct addrinfo wanted = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST}, *found;
    char port[8];
    const char *name = strcmp(settings->address, "localhost") == 0 ? "127.0.0.1" : settings->address;
    snprintf(port, sizeof port, "%d", (int)settings->port);
    if (getaddrinfo(name, port, &wanted, &found) != 0) {
        error_usage(error, "--address takes an IP address, not \"%s\"", settings->address);
        return error_hint(error, "127.0.0.1 is this machine alone, 0.0.0.0 all of its networks");
    }
    memcpy(address, found->ai_addr, found->ai_addrlen);
    *length = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

/* Nobody but this machine may ask without a key. */
static bool check_exposure(const struct server_settings *settings, const struct sockaddr *address,
                           struct error *error) {
    if (address_is_loopback(address)) return true;
    if (settings->keys == NULL) {
        error_usage(error, "%s can be reached from other machines, so API keys are needed", settings->address);
        return error_hint(error, "casemix key new admin NAME --keys FILE, then serve with --keys FILE");
    }
    if (settings->certificate == NULL)
        log_warning("notes and keys will cross the network in the clear: give --certificate and --certificate-key, or "
                    "put a proxy with TLS in front");
    return true;
}

static bool listen_on(struct server *server, const struct sockaddr_storage *address, socklen_t length,
                      struct error *error) {
    const int on = 1;
    struct sockaddr_storage bound;
    socklen_t size = sizeof bound;
    server->listener = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server->listener < 0) return error_system(error, "a socket");
    setsockopt(server->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(server->listener, (const struct sockaddr *)address, length) != 0 ||
        listen(server->listener, SOMAXCONN) != 0) {
        const bool taken = errno == EADDRINUSE;
        error_system(error, "%s port %d", server->settings.address, (int)server->settings.port);
        return error_hint(error, taken ? "another program has that port: choose one with --port" : "%s", "");
    }
    if (getsockname(server->listener, (struct sockaddr *)&bound, &size) != 0) return error_system(error, "a socket");
    char port[8];
    if (getnameinfo((struct sockaddr *)&bound, size, NULL, 0, port, sizeof port, NI_NUMERICSERV) != 0)
        return error_set(error, "the port of a socket cannot be told");
    int64_t number = 0;
    parse_int64(port, &number);
    server->port = (int)number;
    return true;
}

static bool read_pem(const char *path, const char *what, char **out, struct error *error) {
    struct text text = {0};
    bool done = file_read(&text, path, PEM_LIMIT, error);
    if (done && (text.data == NULL || strstr(text.data, "-----BEGIN ") == NULL)) {
        done = error_set(error, "%s: no %s in PEM form", path, what);
        error_hint(error, "--certificate takes the chain, --certificate-key its private key, both as PEM");
    }
    if (done) {
        *out = memory_copy_string(text.data, text.length);
        done = *out != NULL || memory_error(error, text.length, path);
    }
    text_free(&text);
    return done;
}

static bool read_certificate(struct server *server, struct error *error) {
    const struct server_settings *settings = &server->settings;
    if ((settings->certificate == NULL) != (settings->certificate_key == NULL))
        return error_usage(error, "--certificate and --certificate-key go together");
    return settings->certificate == NULL ||
           (read_pem(settings->certificate, "certificate", &server->certificate, error) &&
            read_pem(settings->certificate_key, "key", &server->certificate_key, error));
}

static bool open_parts(struct server *server, struct error *error) {
    struct sockaddr_storage address = {0};
    socklen_t length = 0;
    const struct server_settings *settings = &server->settings;
    return find_address(settings, &address, &length, error) &&
           check_exposure(settings, (const struct sockaddr *)&address, error) &&
           access_open(&server->access, settings, error) && read_certificate(server, error) &&
           listen_on(server, &address, length, error) && counters_open(&server->counters, error) &&
           models_open(&server->models, server, error) && store_open(&server->store, settings, error) &&
           batches_open(&server->batches, server, error) && watch_open(&server->watch, server, error) &&
           http_start(server, error);
}

bool server_open(struct server **out, const struct server_settings *settings, struct error *error) {
    struct server *server = memory_zero(1, sizeof *server);
    if (server == NULL) return memory_error(error, sizeof *server, "a server");
    server->settings = *settings;
    server->listener = -1;
    server->started = time_now();
    signal(SIGPIPE, SIG_IGN); /* a client that hangs up is an error of write() */
    if (!open_parts(server, error)) {
        server_close(server);
        return false;
    }
    *out = server;
    return true;
}

void server_url(const struct server *server, char *url, size_t capacity) {
    const char *address = server->settings.address;
    const bool six = strchr(address, ':') != NULL;
    snprintf(url, capacity, "%s://%s%s%s:%d", server->certificate == NULL ? "http" : "https", six ? "[" : "", address,
             six ? "]" : "", server->port);
}

/* Waits for a signal, or for so many seconds. */
static int wait_signal(double seconds) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    if (seconds < 0) {
        int number = 0;
        sigwait(&set, &number);
        return number;
    }
    const struct timespec time = {.tv_nsec = (long)(seconds * 1e9)};
    return sigtimedwait(&set, NULL, &time);
}

bool server_run(struct server *server, struct error *error) {
    (void)error;
    wait_signal(-1);
    atomic_store(&server->stopping, true);
    http_stop_listening(server);
    batches_cancel_all(server->batches);
    const double since = time_now();
    bool told = false;
    while (atomic_load(&server->active) > 0) {
        if (!told) log_info("stopping: %d requests are being answered", atomic_load(&server->active));
        told = true;
        if (wait_signal(0.05) > 0 || time_now() - since > DRAIN_SECONDS) break;
    }
    return true;
}

void server_close(struct server *server) {
    if (server == NULL) return;
    atomic_store(&server->stopping, true);
    watch_stop(server->watch);
    if (server->watch != NULL) watch_abandon_all(server->watch);
    if (server->batches != NULL) batches_cancel_all(server->batches);
    models_stop(server->models); /* answers all that waits */
    store_stop(server->store);
    batches_stop(server->batches);
    http_stop(server);
    watch_close(server->watch);
    batches_close(server->batches);
    models_close(server->models);
    store_close(server->store);
    counters_close(server->counters);
    access_close(server->access);
    if (server->listener >= 0) close(server->listener);
    memory_free(server->certificate);
    memory_free(server->certificate_key);
    memory_free(server);
}
