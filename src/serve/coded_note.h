/* A note from its text to an answer that is kept: through the coder, to the explainer where evidence is wanted, into
 * the store, and back to who asked. */
#ifndef CASEMIX_SERVE_CODED_NOTE_H
#define CASEMIX_SERVE_CODED_NOTE_H

#include "serve/coder.h"
#include "serve/explainer.h"
#include "serve/keys.h"
#include "serve/record.h"
#include "serve/store.h"

struct server;

enum { NOTE_ID = 201 };

/* Whoever starts it owns it and the text; `finished` gives it back, from another thread. */
struct coded_note {
    struct coding coding; /* first: it is what the coder sees; k, batch, deadline and gone are the caller's to set */
    struct explaining explaining; /* what the explainer sees; drgs are the caller's to set, its members to free */
    struct store_job keep;        /* what the store sees */
    bool evidence;                /* is wanted: of explaining.drgs, else of the first of the ranking */
    struct server *server;
    struct served *served;
    struct principal who;
    char id[NOTE_ID];
    const char *text;
    size_t length;
    int billed;
    struct span section;
    char sha256[65];
    int64_t prediction;
    bool kept; /* coded and on disk; else coding.end and error say why not */
    struct error error;
    void (*finished)(struct coded_note *note);
    void *owner;
};

/* False: the queue is full. The text must have passed note_check. */
bool coded_note_start(struct coded_note *note);

/* The record of a note that was kept. */
struct record coded_note_record(const struct coded_note *note);

#endif
