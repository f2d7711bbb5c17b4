/* One batch job: its state, guarded by the mutex of all jobs, and the thread that reads its upload. */
#ifndef CASEMIX_SERVE_BATCH_JOB_H
#define CASEMIX_SERVE_BATCH_JOB_H

#include "base/error.h"
#include "eval/resample.h"
#include "serve/batches.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

enum batch_status { BATCH_RUNNING, BATCH_DONE, BATCH_ERROR, BATCH_CANCELLED };

/* Notes of a job that are on their way at once; listeners that it can have. */
enum { BATCH_WINDOW = 96, BATCH_LISTENERS = 16 };

/* The records of a note, until those before it are there. */
struct batch_record {
    struct text json, csv;
    bool ready;
};

struct batch_job {
    struct batch_job *next;
    struct batches *batches;
    struct server *server;
    pthread_mutex_t *mutex; /* of all jobs */
    pthread_cond_t changed; /* a record has been written, or the job is cancelled */
    pthread_t thread;
    char id[JOB_ID], created[25], finished[25];
    struct batch_order order; /* its strings are owned */
    int file;                 /* the upload, in memory */
    size_t bytes, bytes_read;
    enum batch_status status;
    atomic_bool cancel;
    bool thread_done, forget;
    double started, ended; /* time_now() */
    struct batch_record window[BATCH_WINDOW];
    size_t notes, written, done, failed; /* written: the record that comes next */
    struct text json, csv;
    size_t *lines; /* where the records begin in json */
    size_t line_capacity;
    double (*weights)[2]; /* predicted and billed, of notes with a billed DRG */
    size_t billed, billed_capacity, agreed;
    bool summarised;
    struct interval cmi[3]; /* predicted, billed, difference */
    struct error error;
    struct stream *listeners[BATCH_LISTENERS];
    double told;
};

/* The thread: reads, codes, waits for all, sums up. `context` is the batch. */
void *batch_run(void *context);

/* With the mutex held. */
void batch_add_state(struct text *out, const struct batch_job *batch);
void batch_tell(struct batch_job *batch, bool end);

#endif
