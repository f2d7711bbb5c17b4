/* Errors that carry what was being done, to what, what was found and how to mend it.
 *
 * A function that can fail returns bool and fills a struct error. Callers add context as the error rises;
 * main prints one line and the hint, and exits 1 (usage errors: 2). */
#ifndef CASEMIX_BASE_ERROR_H
#define CASEMIX_BASE_ERROR_H

#include <stdbool.h>

struct error {
    char message[1024]; /* one line: where, what was found, what was expected */
    char hint[512];     /* one line: what to do; may be empty */
    bool usage;         /* the command line was wrong: exit status 2 */
};

/* Replaces the message (line feeds and control characters become '?'), clears the hint. Always returns false,
 * so that `return error_set(e, …)` reads well. A NULL error is allowed everywhere. */
bool error_set(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Sets the hint of an error that is already set. Always returns false. */
bool error_hint(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Puts "context: " before the message. Always returns false. */
bool error_context(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* As error_set, with ": " and strerror(errno) behind. Reads errno first. Always returns false. */
bool error_system(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* As error_set, and marks a usage error (exit status 2). Always returns false. */
bool error_usage(struct error *error, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
