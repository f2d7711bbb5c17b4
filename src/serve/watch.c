/* Every tenth of a second: one poll over all sockets, and a look at the clocks. */
#include "serve/watch.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "serve/access.h"
#include "serve/batches.h"
#include "serve/request.h"
#include "serve/server.h"
#include "serve/store.h"
#include "serve/stream.h"
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>

enum phase { PHASE_HEAD, PHASE_BODY, PHASE_WORK };

struct connection {
    struct connection *next, *previous;
    int socket;
    enum phase phase;
    double since;            /* of the phase */
    double hung_up;          /* when it was seen that the client sends no more; 0: not in this phase */
    struct request *request; /* that works */
    struct request *delayed; /* to be resumed at `due` */
    double due;
    struct stream *stream; /* that is being sent; a reference of our own */
};

struct watch {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_t thread;
    struct server *server;
    struct connection *connections;
    size_t count;
    struct pollfd *polled;
    struct connection **owners; /* of the sockets in polled */
    size_t polled_capacity, owner_capacity;
    bool stop, running;
};

struct connection *watch_add(struct watch *watch, int socket) {
    struct connection *connection = memory_zero(1, sizeof *connection);
    if (connection == NULL) return NULL;
    connection->socket = socket;
    connection->since = time_now();
    pthread_mutex_lock(&watch->mutex);
    connection->next = watch->connections;
    if (connection->next != NULL) connection->next->previous = connection;
    watch->connections = connection;
    watch->count++;
    pthread_mutex_unlock(&watch->mutex);
    return connection;
}

void watch_remove(struct watch *watch, struct connection *connection) {
    if (connection == NULL) return;
    pthread_mutex_lock(&watch->mutex);
    if (connection->previous != NULL)
        connection->previous->next = connection->next;
    else
        watch->connections = connection->next;
    if (connection->next != NULL) connection->next->previous = connection->previous;
    watch->count--;
    pthread_mutex_unlock(&watch->mutex);
    stream_release(connection->stream);
    memory_free(connection);
}

static void enter(struct watch *watch, struct connection *connection, enum phase phase, struct request *request) {
    if (connection == NULL) return;
    pthread_mutex_lock(&watch->mutex);
    connection->phase = phase;
    connection->since = time_now();
    connection->hung_up = 0;
    connection->request = request;
    connection->delayed = NULL;
    struct stream *stream = connection->stream;
    connection->stream = NULL;
    pthread_mutex_unlock(&watch->mutex);
    stream_release(stream);
}

void watch_body(struct watch *watch, struct connection *connection) {
    enter(watch, connection, PHASE_BODY, NULL);
}

void watch_work(struct watch *watch, struct connection *connection, struct request *request) {
    enter(watch, connection, PHASE_WORK, request);
}

void watch_idle(struct watch *watch, struct connection *connection) {
    enter(watch, connection, PHASE_HEAD, NULL);
}

void watch_stream(struct watch *watch, struct connection *connection, struct stream *stream) {
    if (connection == NULL) return;
    pthread_mutex_lock(&watch->mutex);
    connection->stream = stream_share(stream);
    pthread_mutex_unlock(&watch->mutex);
}

void watch_delay(struct watch *watch, struct connection *connection, struct request *request, double seconds) {
    if (connection == NULL) {
        request_resume(request);
        return;
    }
    pthread_mutex_lock(&watch->mutex);
    connection->phase = PHASE_WORK;
    connection->delayed = request;
    connection->due = time_now() + seconds;
    pthread_mutex_unlock(&watch->mutex);
}

/* The client has left, or must be taken for one that has. */
static void leave(struct connection *connection) {
    if (connection->request != NULL) atomic_store(&connection->request->gone, true);
    if (connection->stream != NULL) stream_abandon(connection->stream);
}

void watch_abandon_all(struct watch *watch) {
    pthread_mutex_lock(&watch->mutex);
    for (struct connection *connection = watch->connections; connection != NULL; connection = connection->next)
        leave(connection);
    pthread_mutex_unlock(&watch->mutex);
}

static bool too_slow(const struct connection *connection, double now) {
    if (connection->phase == PHASE_HEAD) return now - connection->since > HEAD_SECONDS;
    return connection->phase == PHASE_BODY && now - connection->since > BODY_SECONDS;
}

/* libmicrohttpd does not always see that a client has closed between two requests or within a body, and would keep the
 * connection until it is idle for too long. What the client had sent before is read in the second that it gets. */
static void hang_up(struct connection *connection, double now) {
    if (connection->phase == PHASE_WORK) {
        leave(connection);
    } else if (connection->hung_up <= 0) {
        connection->hung_up = now;
    } else if (now - connection->hung_up > 1) {
        shutdown(connection->socket, SHUT_RDWR);
    }
}

/* With the mutex held, so that no socket is closed meanwhile; the poll does not wait. */
static void find_leavers(struct watch *watch, double now) {
    nfds_t count = 0;
    if (!memory_grow(&watch->polled, &watch->polled_capacity, watch->count, sizeof *watch->polled, NULL) ||
        !memory_grow(&watch->owners, &watch->owner_capacity, watch->count, sizeof *watch->owners, NULL))
        return;
    for (struct connection *connection = watch->connections; connection != NULL; connection = connection->next) {
        watch->polled[count] = (struct pollfd){.fd = connection->socket, .events = POLLRDHUP};
        watch->owners[count++] = connection;
    }
    if (count == 0 || poll(watch->polled, count, 0) <= 0) return;
    for (nfds_t i = 0; i < count; i++) {
        if ((watch->polled[i].revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0) hang_up(watch->owners[i], now);
    }
}

static void look_around(struct watch *watch) {
    const double now = time_now();
    for (struct connection *connection = watch->connections; connection != NULL; connection = connection->next) {
        if (too_slow(connection, now)) shutdown(connection->socket, SHUT_RDWR);
        if (connection->delayed != NULL && now >= connection->due) {
            struct request *request = connection->delayed;
            connection->delayed = NULL;
            request_resume(request);
        }
        if (connection->stream != NULL) stream_keep_alive(connection->stream, 15);
    }
    find_leavers(watch, now);
}

static void *run(void *context) {
    struct watch *watch = context;
    double refreshed = time_now(), retained = 0;
    pthread_mutex_lock(&watch->mutex);
    while (!watch->stop) {
        struct timespec until;
        look_around(watch);
        const double now = time_now();
        if (now - refreshed > 0.9) {
            refreshed = now;
            pthread_mutex_unlock(&watch->mutex);
            access_refresh(watch->server->access);
            batches_expire(watch->server->batches);
            pthread_mutex_lock(&watch->mutex);
        }
        if (watch->server->settings.retention_days > 0 && (retained <= 0 || now - retained > 3600)) {
            retained = now;
            pthread_mutex_unlock(&watch->mutex);
            store_retain(watch->server->store, watch->server->settings.retention_days);
            pthread_mutex_lock(&watch->mutex);
        }
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += 100000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_nsec -= 1000000000;
            until.tv_sec++;
        }
        if (!watch->stop) pthread_cond_timedwait(&watch->changed, &watch->mutex, &until);
    }
    pthread_mutex_unlock(&watch->mutex);
    return NULL;
}

bool watch_open(struct watch **out, struct server *server, struct error *error) {
    struct watch *watch = memory_zero(1, sizeof *watch);
    if (watch == NULL) return memory_error(error, sizeof *watch, "the watch over connections");
    watch->server = server;
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&watch->mutex, NULL);
    pthread_cond_init(&watch->changed, &clock);
    pthread_condattr_destroy(&clock);
    *out = watch;
    watch->running = pthread_create(&watch->thread, NULL, run, watch) == 0;
    return watch->running || error_set(error, "no thread can be started");
}

void watch_stop(struct watch *watch) {
    if (watch == NULL || !watch->running) return;
    pthread_mutex_lock(&watch->mutex);
    watch->stop = true;
    pthread_cond_signal(&watch->changed);
    pthread_mutex_unlock(&watch->mutex);
    pthread_join(watch->thread, NULL);
    watch->running = false;
    pthread_mutex_lock(&watch->mutex);
    for (struct connection *connection = watch->connections; connection != NULL; connection = connection->next) {
        if (connection->delayed != NULL) request_resume(connection->delayed);
        connection->delayed = NULL;
    }
    pthread_mutex_unlock(&watch->mutex);
}

void watch_close(struct watch *watch) {
    if (watch == NULL) return;
    watch_stop(watch);
    while (watch->connections != NULL) watch_remove(watch, watch->connections);
    pthread_mutex_destroy(&watch->mutex);
    pthread_cond_destroy(&watch->changed);
    memory_free(watch->polled);
    memory_free(watch->owners);
    memory_free(watch);
}
