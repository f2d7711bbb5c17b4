/* The list of jobs, and what may be asked of them. */
#include "serve/batches.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "serve/batch_job.h"
#include "serve/record.h"
#include "serve/server.h"
#include "serve/store.h"
#include "serve/stream.h"
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

/* Jobs that run at once; that are kept; seconds for which a finished one is kept. */
enum { RUNNING_LIMIT = 4, KEPT_LIMIT = 32, KEPT_SECONDS = 3600 };

struct batches {
    pthread_mutex_t mutex;
    struct server *server;
    struct batch_job *first; /* newest first */
};

bool batches_open(struct batches **out, struct server *server, struct error *error) {
    struct batches *batches = memory_zero(1, sizeof *batches);
    if (batches == NULL) return memory_error(error, sizeof *batches, "the jobs");
    pthread_mutex_init(&batches->mutex, NULL);
    batches->server = server;
    *out = batches;
    return true;
}

static void batch_free(struct batch_job *batch) {
    for (int i = 0; i < BATCH_LISTENERS; i++) stream_release(batch->listeners[i]);
    for (int i = 0; i < BATCH_WINDOW; i++) {
        text_free(&batch->window[i].json);
        text_free(&batch->window[i].csv);
    }
    if (batch->file >= 0) close(batch->file);
    pthread_cond_destroy(&batch->changed);
    memory_free((void *)(uintptr_t)batch->order.text_column);
    memory_free((void *)(uintptr_t)batch->order.id_column);
    memory_free((void *)(uintptr_t)batch->order.billed_column);
    text_free(&batch->json);
    text_free(&batch->csv);
    memory_free(batch->lines);
    memory_free(batch->weights);
    memory_free(batch);
}

/* With the mutex held: what has ended and is to be forgotten leaves the list. */
static struct batch_job *take_forgotten(struct batches *batches, bool all) {
    struct batch_job *taken = NULL;
    size_t place = 0;
    for (struct batch_job **at = &batches->first; *at != NULL;) {
        struct batch_job *batch = *at;
        const bool old = time_now() - batch->ended > KEPT_SECONDS || ++place > KEPT_LIMIT;
        if (batch->thread_done && (batch->forget || old || all)) {
            *at = batch->next;
            batch->next = taken;
            taken = batch;
        } else {
            at = &batch->next;
        }
    }
    return taken;
}

static void free_list(struct batch_job *batch) {
    for (struct batch_job *next; batch != NULL; batch = next) {
        next = batch->next;
        pthread_join(batch->thread, NULL);
        batch_free(batch);
    }
}

void batches_expire(struct batches *batches) {
    pthread_mutex_lock(&batches->mutex);
    struct batch_job *taken = take_forgotten(batches, false);
    pthread_mutex_unlock(&batches->mutex);
    free_list(taken);
}

static void cancel(struct batch_job *batch) {
    atomic_store(&batch->cancel, true);
    pthread_cond_broadcast(&batch->changed);
}

void batches_cancel_all(struct batches *batches) {
    pthread_mutex_lock(&batches->mutex);
    for (struct batch_job *batch = batches->first; batch != NULL; batch = batch->next) cancel(batch);
    pthread_mutex_unlock(&batches->mutex);
}

void batches_stop(struct batches *batches) {
    if (batches == NULL) return;
    batches_cancel_all(batches);
    pthread_mutex_lock(&batches->mutex);
    struct batch_job *batch = batches->first;
    batches->first = NULL;
    pthread_mutex_unlock(&batches->mutex);
    free_list(batch);
}

void batches_close(struct batches *batches) {
    if (batches == NULL) return;
    batches_stop(batches);
    pthread_mutex_destroy(&batches->mutex);
    memory_free(batches);
}

static bool copy_name(const char **name, struct error *error) {
    if (*name == NULL) return true;
    const size_t length = strlen(*name);
    *name = memory_copy_string(*name, length);
    return *name != NULL || memory_error(error, length, "a column's name");
}

/* The upload goes into a file that is in memory only, which CSV and gzip are read from. */
static bool hold_upload(struct batch_job *batch, const struct text *upload, struct error *error) {
    batch->file = memfd_create("upload", MFD_CLOEXEC);
    if (batch->file < 0) return error_system(error, "memory for an upload");
    for (size_t held = 0; held < upload->length;) {
        const ssize_t written = write(batch->file, upload->data + held, upload->length - held);
        if (written <= 0) return error_system(error, "memory for an upload");
        held += (size_t)written;
    }
    batch->bytes = upload->length;
    return true;
}

static bool prepare(struct batch_job *batch, const struct text *upload, struct error *error) {
    unsigned char bytes[16];
    struct batch_order *order = &batch->order;
    const char *text = order->text_column, *id = order->id_column, *billed = order->billed_column;
    order->text_column = order->id_column = order->billed_column = NULL;
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) return error_system(error, "random bytes");
    for (size_t i = 0; i < sizeof bytes; i++) snprintf(batch->id + 2 * i, 3, "%02x", bytes[i]);
    if (!copy_name(&text, error)) return false;
    order->text_column = text;
    if (!copy_name(&id, error)) return false;
    order->id_column = id;
    if (!copy_name(&billed, error)) return false;
    order->billed_column = billed;
    return hold_upload(batch, upload, error);
}

static size_t count_running(const struct batches *batches) {
    size_t count = 0;
    for (const struct batch_job *batch = batches->first; batch != NULL; batch = batch->next)
        count += !batch->thread_done;
    return count;
}

enum batch_end batches_start(struct batches *batches, const struct batch_order *order, struct text *upload,
                             struct text *out, struct error *error) {
    batches_expire(batches); /* the list stays short however fast jobs come */
    struct batch_job *batch = memory_zero(1, sizeof *batch);
    if (batch == NULL) {
        memory_error(error, sizeof *batch, "a job");
        return BATCH_FAILED;
    }
    batch->batches = batches;
    batch->server = batches->server;
    batch->mutex = &batches->mutex;
    batch->order = *order;
    batch->file = -1;
    batch->started = time_now();
    time_text(batch->created);
    pthread_cond_init(&batch->changed, NULL);
    enum batch_end how = prepare(batch, upload, error) ? BATCH_STARTED : BATCH_FAILED;
    text_free(upload);
    pthread_mutex_lock(&batches->mutex);
    if (how == BATCH_STARTED && count_running(batches) >= RUNNING_LIMIT) how = BATCH_BUSY;
    if (how == BATCH_STARTED && pthread_create(&batch->thread, NULL, batch_run, batch) != 0) {
        error_set(error, "no thread can be started");
        how = BATCH_FAILED;
    }
    if (how == BATCH_STARTED) {
        batch->next = batches->first;
        batches->first = batch;
        batch_add_state(out, batch);
    }
    pthread_mutex_unlock(&batches->mutex);
    if (how != BATCH_STARTED) batch_free(batch);
    return how;
}

static bool may_see(const struct batch_job *batch, const struct principal *who) {
    return !batch->forget && (who->role == ROLE_ADMIN || strcmp(batch->order.who.name, who->name) == 0);
}

/* With the mutex held. */
static struct batch_job *find(struct batches *batches, const char *job, const struct principal *who) {
    for (struct batch_job *batch = batches->first; batch != NULL; batch = batch->next) {
        if (strcmp(batch->id, job) == 0) return may_see(batch, who) ? batch : NULL;
    }
    return NULL;
}

bool batches_state(struct batches *batches, const char *job, const struct principal *who, struct text *out) {
    pthread_mutex_lock(&batches->mutex);
    const struct batch_job *batch = find(batches, job, who);
    if (batch != NULL) batch_add_state(out, batch);
    pthread_mutex_unlock(&batches->mutex);
    return batch != NULL;
}

bool batches_cancel(struct batches *batches, const char *job, const struct principal *who, struct text *out) {
    pthread_mutex_lock(&batches->mutex);
    struct batch_job *batch = find(batches, job, who);
    if (batch != NULL && batch->status == BATCH_RUNNING) {
        batch->status = BATCH_CANCELLED;
        cancel(batch);
        batch_add_state(out, batch);
    } else if (batch != NULL) {
        batch_add_state(out, batch);
        batch->forget = true;
    }
    pthread_mutex_unlock(&batches->mutex);
    return batch != NULL;
}

bool batches_listen(struct batches *batches, const char *job, const struct principal *who, struct stream *stream) {
    pthread_mutex_lock(&batches->mutex);
    struct batch_job *batch = find(batches, job, who);
    int place = 0;
    while (batch != NULL && place < BATCH_LISTENERS && batch->listeners[place] != NULL) place++;
    const bool found = batch != NULL && place < BATCH_LISTENERS;
    if (found) {
        batch->listeners[place] = stream;
        batch->told = 0;
        batch_tell(batch, batch->thread_done);
    }
    pthread_mutex_unlock(&batches->mutex);
    return found;
}

bool batches_result(struct batches *batches, const char *job, const struct principal *who, bool csv, size_t from,
                    struct text *out) {
    pthread_mutex_lock(&batches->mutex);
    const struct batch_job *batch = find(batches, job, who);
    if (batch != NULL && csv) {
        text_add(out, RECORD_CSV);
        if (batch->csv.data != NULL) text_append(out, batch->csv.data, batch->csv.length);
    } else if (batch != NULL && from < batch->written) {
        text_append(out, batch->json.data + batch->lines[from], batch->json.length - batch->lines[from]);
    }
    pthread_mutex_unlock(&batches->mutex);
    return batch != NULL;
}

void batches_list(struct batches *batches, const struct principal *who, struct text *out) {
    bool first = true;
    text_add(out, "{\"jobs\": [");
    pthread_mutex_lock(&batches->mutex);
    for (const struct batch_job *batch = batches->first; batch != NULL; batch = batch->next) {
        if (!may_see(batch, who)) continue;
        if (!first) text_add(out, ", ");
        first = false;
        batch_add_state(out, batch);
    }
    pthread_mutex_unlock(&batches->mutex);
    text_add(out, "]}\n");
}
