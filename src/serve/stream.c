/* A buffer between the thread that writes events and the server's thread that sends them. While it is empty the
 * connection sleeps. */
#include "serve/stream.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include <microhttpd.h>
#include <pthread.h>
#include <string.h>

#define WAITING_LIMIT ((size_t)1 << 20)

struct stream {
    pthread_mutex_t mutex;
    struct MHD_Connection *connection;
    struct text waiting;
    size_t sent; /* of waiting */
    double last; /* time_now() of the last bytes */
    int references;
    bool ended, abandoned, asleep;
};

struct stream *stream_open(struct MHD_Connection *connection) {
    struct stream *stream = memory_zero(1, sizeof *stream);
    if (stream == NULL) return NULL;
    pthread_mutex_init(&stream->mutex, NULL);
    stream->connection = connection;
    stream->references = 1;
    stream->last = time_now();
    return stream;
}

struct stream *stream_share(struct stream *stream) {
    pthread_mutex_lock(&stream->mutex);
    stream->references++;
    pthread_mutex_unlock(&stream->mutex);
    return stream;
}

void stream_release(struct stream *stream) {
    if (stream == NULL) return;
    pthread_mutex_lock(&stream->mutex);
    const int left = --stream->references;
    pthread_mutex_unlock(&stream->mutex);
    if (left > 0) return;
    pthread_mutex_destroy(&stream->mutex);
    text_free(&stream->waiting);
    memory_free(stream);
}

/* With the mutex held. */
static void wake(struct stream *stream) {
    if (!stream->asleep) return;
    stream->asleep = false;
    MHD_resume_connection(stream->connection);
}

bool stream_write(struct stream *stream, const struct text *bytes) {
    pthread_mutex_lock(&stream->mutex);
    if (stream->waiting.length - stream->sent + bytes->length > WAITING_LIMIT) stream->abandoned = true;
    if (!stream->abandoned && bytes->length > 0) {
        text_append(&stream->waiting, bytes->data, bytes->length);
        stream->last = time_now();
        if (stream->waiting.failed) stream->abandoned = true;
    }
    wake(stream);
    const bool wanted = !stream->abandoned;
    pthread_mutex_unlock(&stream->mutex);
    return wanted;
}

void stream_end(struct stream *stream) {
    pthread_mutex_lock(&stream->mutex);
    stream->ended = true;
    wake(stream);
    pthread_mutex_unlock(&stream->mutex);
}

void stream_abandon(struct stream *stream) {
    pthread_mutex_lock(&stream->mutex);
    stream->abandoned = true;
    wake(stream);
    pthread_mutex_unlock(&stream->mutex);
}

bool stream_abandoned(struct stream *stream) {
    pthread_mutex_lock(&stream->mutex);
    const bool abandoned = stream->abandoned;
    pthread_mutex_unlock(&stream->mutex);
    return abandoned;
}

void stream_keep_alive(struct stream *stream, double seconds) {
    pthread_mutex_lock(&stream->mutex);
    if (!stream->ended && !stream->abandoned && time_now() - stream->last > seconds) {
        text_add(&stream->waiting, ": alive\n\n");
        stream->last = time_now();
        wake(stream);
    }
    pthread_mutex_unlock(&stream->mutex);
}

static ssize_t send_waiting(void *context, uint64_t position, char *buffer, size_t capacity) {
    struct stream *stream = context;
    (void)position;
    ssize_t taken = 0;
    pthread_mutex_lock(&stream->mutex);
    const size_t left = stream->waiting.length - stream->sent;
    if (stream->abandoned) {
        taken = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (left > 0) {
        const size_t piece = left < capacity ? left : capacity;
        memcpy(buffer, stream->waiting.data + stream->sent, piece);
        stream->sent += piece;
        if (stream->sent == stream->waiting.length) {
            text_clear(&stream->waiting);
            stream->sent = 0;
        }
        taken = (ssize_t)piece;
    } else if (stream->ended) {
        taken = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        stream->asleep = true;
        MHD_suspend_connection(stream->connection);
    }
    pthread_mutex_unlock(&stream->mutex);
    return taken;
}

static void release_response(void *context) {
    stream_release(context);
}

struct MHD_Response *stream_response(struct stream *stream) {
    struct MHD_Response *response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 1 << 14, send_waiting,
                                                                      stream_share(stream), release_response);
    if (response == NULL) stream_release(stream);
    return response;
}
