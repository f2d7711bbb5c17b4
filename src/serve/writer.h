/* The thread that writes: it drives the generator of one causal model, whose steps carry the requests of all clients
 * together (continuous batching). */
#ifndef CASEMIX_SERVE_WRITER_H
#define CASEMIX_SERVE_WRITER_H

#include "base/error.h"
#include "generate/generator.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

struct counters;
struct served;
struct turns;
struct writer;

enum writing_end {
    WRITING_DONE,
    WRITING_REFUSED, /* it cannot be done: error says why */
    WRITING_LATE,    /* it waited too long to begin */
    WRITING_LEFT,    /* nobody wants it any more */
    WRITING_STOPPED, /* the server stops */
    WRITING_FAILED   /* the machine's fault: error */
};

/* A request for text. Whoever submits it owns it and what it points to; `done` gives it back. All functions are called
 * from the writing thread. */
struct writing {
    struct writing *next;
    struct generation_request asked; /* but function and context, which are the writer's */
    double deadline;                 /* time_now() by which it must have begun; 0: none */
    atomic_bool gone;                /* set by anybody: nobody wants it any more */
    /* The generator has taken it; text will come. */
    void (*begun)(struct writing *writing);
    /* A token of one sample: its complete characters, perhaps none. False: the sample is not wanted any more. */
    bool (*text)(struct writing *writing, const struct generation_event *event);
    void (*done)(struct writing *writing, enum writing_end end, const struct error *error);
    int64_t id;
    int32_t live; /* samples that have not ended */
    bool cancelled;
};

bool writer_open(struct writer **writer, const struct served *served, struct turns *compute, size_t limit,
                 int64_t cache_tokens, struct counters *counters, struct error *error);
/* Gives up what is under way and ends the thread. */
void writer_stop(struct writer *writer);
void writer_close(struct writer *writer);

/* False: the queue is full, nothing was taken. */
bool writer_submit(struct writer *writer, struct writing *writing);
size_t writer_waiting(struct writer *writer);

#endif
