/* Messages to people, on stderr; never notes, never names of patients. */
#ifndef CASEMIX_BASE_LOG_H
#define CASEMIX_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));    /* silent when quiet */
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2))); /* "warning: " before it */
void log_quiet(bool quiet);

/* Progress of something long. On a terminal: one line with bar, rate, time left and (from a minute on) when that will
 * be over, redrawn at most ten times a second, after the first half second; otherwise a line every five seconds. Draws
 * nothing when quiet. */
struct progress {
    char label[64], unit[16], note[64];
    double start, last;
    uint64_t total, done; /* total 0: unknown */
    uint64_t first;       /* done before this process began: no part of the rate */
    bool terminal, drawn;
};
void progress_start(struct progress *progress, const char *label, const char *unit, uint64_t total);
void progress_go_on(struct progress *progress, uint64_t first); /* `first` of the total were done earlier */
void progress_update(struct progress *progress, uint64_t done);
void progress_note(struct progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3))); /* e.g. "loss 1.23" */
void progress_finish(
    struct progress *progress); /* clears the line, or says the total time when it was over two seconds */

double time_now(void); /* seconds, monotonic */

#endif
