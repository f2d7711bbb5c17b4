/* A ring of blocks between a reading thread and the caller. */
#include "base/read_ahead.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include <pthread.h>

enum { BLOCK = 1 << 18, BLOCKS = 8 };
#define THREAD_SIZE ((uint64_t)1 << 20)

struct block {
    char *bytes;       /* [BLOCK] */
    size_t length;     /* 0: the end of the file, or an error */
    uint64_t consumed; /* of the file after this block */
};

struct read_ahead {
    struct file_reader *file;
    struct block blocks[BLOCKS];
    uint64_t size, consumed;
    /* Blocks read … written - 1 hold bytes for the caller; the caller works on block read - 1. */
    size_t read, written;
    bool threaded, stop, failed;
    struct error error;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

static bool fill_block(struct read_ahead *ahead, struct block *block, struct error *error) {
    uint64_t size;
    block->length = 0;
    for (size_t got = 1; got > 0 && block->length < BLOCK; block->length += got) {
        if (!file_reader_read(ahead->file, block->bytes + block->length, BLOCK - block->length, &got, error))
            return false;
        if (!ahead->threaded && got > 0) { /* a pipe: what is there is handed on at once */
            block->length += got;
            break;
        }
    }
    file_reader_position(ahead->file, &block->consumed, &size);
    return true;
}

static void *read_blocks(void *context) {
    struct read_ahead *ahead = context;
    for (bool more = true; more;) {
        pthread_mutex_lock(&ahead->lock);
        while (!ahead->stop && ahead->written - ahead->read == BLOCKS - 1)
            pthread_cond_wait(&ahead->changed, &ahead->lock);
        more = !ahead->stop;
        pthread_mutex_unlock(&ahead->lock);
        if (!more) break;
        struct block *block = &ahead->blocks[ahead->written % BLOCKS];
        const bool filled = fill_block(ahead, block, &ahead->error);
        pthread_mutex_lock(&ahead->lock);
        ahead->failed = !filled;
        ahead->written++;
        more = filled && block->length > 0;
        pthread_cond_signal(&ahead->changed);
        pthread_mutex_unlock(&ahead->lock);
    }
    return NULL;
}

static bool start_thread(struct read_ahead *ahead, const char *path, struct error *error) {
    pthread_mutex_init(&ahead->lock, NULL);
    pthread_cond_init(&ahead->changed, NULL);
    ahead->threaded = true;
    if (pthread_create(&ahead->thread, NULL, read_blocks, ahead) == 0) return true;
    pthread_cond_destroy(&ahead->changed);
    pthread_mutex_destroy(&ahead->lock);
    ahead->threaded = false;
    return error_set(error, "%s: no thread to read it", path);
}

bool read_ahead_open(struct read_ahead **out, const char *path, struct error *error) {
    struct read_ahead *ahead = memory_zero(1, sizeof *ahead);
    if (ahead == NULL) return memory_error(error, sizeof *ahead, path);
    bool opened = file_reader_open(&ahead->file, path, error);
    if (opened) file_reader_position(ahead->file, &ahead->consumed, &ahead->size);
    const bool threaded = ahead->size >= THREAD_SIZE;
    for (int i = 0; opened && i < (threaded ? BLOCKS : 1); i++) {
        ahead->blocks[i].bytes = memory_alloc(BLOCK, 1);
        opened = ahead->blocks[i].bytes != NULL || memory_error(error, BLOCK, path);
    }
    opened = opened && (!threaded || start_thread(ahead, path, error));
    if (!opened) {
        read_ahead_close(ahead);
        return false;
    }
    *out = ahead;
    return true;
}

bool read_ahead_next(struct read_ahead *ahead, const char **bytes, size_t *length, struct error *error) {
    struct block *block = &ahead->blocks[0];
    if (!ahead->threaded) {
        if (!fill_block(ahead, block, error)) return false;
    } else {
        pthread_mutex_lock(&ahead->lock);
        while (ahead->read == ahead->written) pthread_cond_wait(&ahead->changed, &ahead->lock);
        block = &ahead->blocks[ahead->read % BLOCKS];
        const bool last = ahead->read + 1 == ahead->written, failed = ahead->failed && last;
        /* The end stays where it is, to be met again by a caller that asks again. */
        if (block->length > 0 && !failed) ahead->read++;
        pthread_cond_signal(&ahead->changed);
        pthread_mutex_unlock(&ahead->lock);
        if (failed) {
            if (error != NULL) *error = ahead->error;
            return false;
        }
    }
    *bytes = block->bytes;
    *length = block->length;
    ahead->consumed = block->consumed;
    return true;
}

void read_ahead_position(const struct read_ahead *ahead, uint64_t *consumed, uint64_t *size) {
    *consumed = ahead->consumed;
    *size = ahead->size;
}

void read_ahead_close(struct read_ahead *ahead) {
    if (ahead == NULL) return;
    if (ahead->threaded) {
        pthread_mutex_lock(&ahead->lock);
        ahead->stop = true;
        pthread_cond_signal(&ahead->changed);
        pthread_mutex_unlock(&ahead->lock);
        pthread_join(ahead->thread, NULL);
        pthread_cond_destroy(&ahead->changed);
        pthread_mutex_destroy(&ahead->lock);
    }
    file_reader_close(ahead->file);
    for (int i = 0; i < BLOCKS; i++) memory_free(ahead->blocks[i].bytes);
    memory_free(ahead);
}
