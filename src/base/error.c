/* Errors: formatting, context and cleaning of messages (one line, no control characters). */
#include "base/error.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Names of files and members come from outside: nothing in them may break the line or drive the terminal. */
static void clean(char *string) {
    for (; *string != '\0'; string++) {
        if ((unsigned char)*string < 0x20 || *string == 0x7f) *string = '?';
    }
}

static void set(struct error *error, const char *format, va_list arguments) {
    vsnprintf(error->message, sizeof error->message, format, arguments);
    clean(error->message);
    error->hint[0] = '\0';
}

bool error_set(struct error *error, const char *format, ...) {
    if (error == NULL) return false;
    va_list arguments;
    va_start(arguments, format);
    set(error, format, arguments);
    va_end(arguments);
    error->usage = false;
    return false;
}

bool error_usage(struct error *error, const char *format, ...) {
    if (error == NULL) return false;
    va_list arguments;
    va_start(arguments, format);
    set(error, format, arguments);
    va_end(arguments);
    error->usage = true;
    return false;
}

bool error_hint(struct error *error, const char *format, ...) {
    if (error == NULL) return false;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error->hint, sizeof error->hint, format, arguments);
    va_end(arguments);
    clean(error->hint);
    return false;
}

bool error_context(struct error *error, const char *format, ...) {
    if (error == NULL) return false;
    char context[sizeof error->message], message[sizeof error->message];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(context, sizeof context, format, arguments);
    va_end(arguments);
    clean(context);
    memcpy(message, error->message, sizeof message);
    snprintf(error->message, sizeof error->message, "%.400s: %.620s", context, message);
    return false;
}

bool error_system(struct error *error, const char *format, ...) {
    const int number = errno;
    if (error == NULL) return false;
    va_list arguments;
    va_start(arguments, format);
    set(error, format, arguments);
    va_end(arguments);
    error->usage = false;
    const size_t length = strlen(error->message);
    snprintf(error->message + length, sizeof error->message - length, ": %s", strerror(number));
    if (number == ENOSPC) error_hint(error, "make room on that disk, or write to another");
    return false;
}
