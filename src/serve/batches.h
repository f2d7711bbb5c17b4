/* Uploads of many notes, coded while people work on: jobs with progress, results in the order of the upload, and a
 * summary. Jobs live in memory only, until they are deleted or an hour after their end. */
#ifndef CASEMIX_SERVE_BATCHES_H
#define CASEMIX_SERVE_BATCHES_H

#include "base/text.h"
#include "serve/keys.h"
#include <stdbool.h>
#include <stddef.h>

struct batches;
struct error;
struct served;
struct server;
struct stream;

enum { JOB_ID = 33 };

/* What an upload is, and how it is to be coded. */
struct batch_order {
    struct principal who;
    struct served *served;
    size_t k;
    bool csv;                                            /* else JSON lines */
    const char *text_column, *id_column, *billed_column; /* of a CSV; copied; NULL: the usual ones */
};

enum batch_end { BATCH_STARTED, BATCH_BUSY, BATCH_FAILED };

bool batches_open(struct batches **batches, struct server *server, struct error *error);
void batches_cancel_all(struct batches *batches);
/* Cancels all and waits for their threads. */
void batches_stop(struct batches *batches);
void batches_close(struct batches *batches);

/* Starts a job with the bytes of a file, which it takes over; its state as JSON is appended to out. BATCH_BUSY: as many
 * as may run are running. */
enum batch_end batches_start(struct batches *batches, const struct batch_order *order, struct text *upload,
                             struct text *out, struct error *error);

/* All that follow find a job by its id if `who` may see it: one's own, for admins everybody's. False: there is none. */
bool batches_state(struct batches *batches, const char *job, const struct principal *who, struct text *out);
/* Cancels a running job; forgets one that is over. Its state is appended to out. */
bool batches_cancel(struct batches *batches, const char *job, const struct principal *who, struct text *out);
/* The stream gets progress and, last, the end; takes over one reference. */
bool batches_listen(struct batches *batches, const char *job, const struct principal *who, struct stream *stream);
/* The records from the from-th on as JSON lines, or all as CSV. */
bool batches_result(struct batches *batches, const char *job, const struct principal *who, bool csv, size_t from,
                    struct text *out);
/* {"jobs": […]}, newest first. */
void batches_list(struct batches *batches, const struct principal *who, struct text *out);

/* Forgets what ended an hour ago. */
void batches_expire(struct batches *batches);

#endif
