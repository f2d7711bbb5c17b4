/* The thread that codes notes: it takes what waits, of all clients together, and passes it through the classifier in
 * packed batches. Notes of people that wait come before those of batches. */
#ifndef CASEMIX_SERVE_CODER_H
#define CASEMIX_SERVE_CODER_H

#include "base/error.h"
#include "model/ranking.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct classifier;
struct coder;
struct counters;
struct turns;

enum { CODING_TOP = 50 }; /* DRGs that may be asked for */

enum coding_end {
    CODING_DONE,
    CODING_FAILED,  /* the note cannot be read: error */
    CODING_LEFT,    /* its client has left */
    CODING_LATE,    /* it waited too long */
    CODING_STOPPED, /* the server stops */
};

/* A note on its way. Whoever submits it owns it and what it points to; `done` gives it back. */
struct coding {
    struct coding *next;
    const char *text; /* what is to be read of the note */
    size_t length;
    size_t k;          /* at most CODING_TOP and the model's labels */
    bool batch;        /* nobody waits for this one */
    double deadline;   /* time_now(); 0: none */
    atomic_bool *gone; /* the client has left; NULL: there is none */
    void (*done)(struct coding *coding);
    enum coding_end end;
    struct ranked top[CODING_TOP];
    int32_t tokens;
    bool truncated;
    struct error error;
};

/* The model works in its turn of `compute`: one at a time has the processors. `limit`: notes of people that may
 * wait. */
bool coder_open(struct coder **coder, const struct classifier *classifier, struct turns *compute, size_t limit,
                struct counters *counters, struct error *error);
/* Gives back what waits (CODING_STOPPED) and ends the thread. */
void coder_stop(struct coder *coder);
void coder_close(struct coder *coder);

/* False: the queue is full, nothing was taken. */
bool coder_submit(struct coder *coder, struct coding *coding);
size_t coder_waiting(struct coder *coder);

#endif
