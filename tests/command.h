/* Runs the program casemix as a user would. */
#ifndef CASEMIX_TESTS_COMMAND_H
#define CASEMIX_TESTS_COMMAND_H

#include "base/text.h"

/* What a command printed and how it ended. Zero-initialise; release with printed_free. */
struct printed {
    struct text out, errors;
    int status; /* exit status; 128 + signal when a signal ended it */
};

/* Runs `casemix ARGUMENTS` through the shell from the top of the checkout; what `printed` held before is dropped. */
void command_run(struct printed *printed, const char *format, ...) __attribute__((format(printf, 2, 3)));
void printed_free(struct printed *printed);

/* The same, and fails the test unless it ends with exit status 0. */
void command_succeeds(struct printed *printed, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same, and fails the test unless it ends with exit status 1 and one line on standard error (and perhaps a hint
 * below it, indented) that holds `part`. */
void command_refuses(const char *part, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
