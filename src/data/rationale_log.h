/* The file that `casemix rationales` writes: lines are only ever appended, so that a run that was stopped goes on where
 * it stopped. */
#ifndef CASEMIX_DATA_RATIONALE_LOG_H
#define CASEMIX_DATA_RATIONALE_LOG_H

#include "data/rationales.h"
#include <stdbool.h>
#include <stddef.h>

struct error;
struct rationale_log;

/* Opens PATH for appending, "-" for standard output. What stands there is read: a last line that was cut short is taken
 * off, a line that is no rationale is an error. */
bool rationale_log_open(struct rationale_log **log, const char *path, struct error *error);
void rationale_log_close(struct rationale_log *log); /* NULL is fine */

/* Whether a rationale of the note stands there, and how many stood there when it was opened. */
bool rationale_log_has(const struct rationale_log *log, const char *note_id);
size_t rationale_log_found(const struct rationale_log *log);

/* Appends one line and flushes it. */
bool rationale_log_add(struct rationale_log *log, const struct rationale *rationale, struct error *error);

#endif
