/* Messages and progress on stderr. */
#include "base/log.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static bool quiet_now;

void log_quiet(bool quiet) {
    quiet_now = quiet;
}

void log_info(const char *format, ...) {
    if (quiet_now) return;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

void log_warning(const char *format, ...) {
    va_list arguments;
    fputs("warning: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
}

double time_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void progress_start(struct progress *progress, const char *label, const char *unit, uint64_t total) {
    *progress = (struct progress){.total = total, .start = time_now(), .terminal = isatty(STDERR_FILENO) != 0};
    snprintf(progress->label, sizeof progress->label, "%s", label);
    snprintf(progress->unit, sizeof progress->unit, "%s", unit);
    progress->last = progress->start;
}

void progress_go_on(struct progress *progress, uint64_t first) {
    progress->first = progress->done = first;
}

void progress_note(struct progress *progress, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(progress->note, sizeof progress->note, format, arguments);
    va_end(arguments);
}

static void format_seconds(char *out, size_t capacity, double seconds) {
    const long long whole = (long long)(seconds + 0.5);
    if (whole >= 3600)
        snprintf(out, capacity, "%lld:%02lld:%02lld", whole / 3600, whole / 60 % 60, whole % 60);
    else
        snprintf(out, capacity, "%lld:%02lld", whole / 60, whole % 60);
}

/* The time left, and from a minute on the local time at which it will be over; the day too where that is not today. */
static void format_left(char *out, size_t capacity, double seconds) {
    const time_t now = time(NULL), end = now + (time_t)(seconds + 0.5);
    struct tm today, then;
    format_seconds(out, capacity, seconds);
    const size_t length = strlen(out);
    if (!(seconds >= 60 && seconds < 1e9) || localtime_r(&now, &today) == NULL || localtime_r(&end, &then) == NULL)
        snprintf(out + length, capacity - length, " left");
    else if (strftime(out + length, capacity - length,
                      today.tm_yday == then.tm_yday && today.tm_year == then.tm_year ? " left, until %H:%M"
                                                                                     : " left, until %b %e %H:%M",
                      &then) == 0)
        out[length] = '\0';
}

static void progress_draw(struct progress *progress, double now) {
    enum { BAR = 24 };
    char left[64] = "", bar[BAR * 3 + 1] = "";
    const double elapsed = now - progress->start, here = (double)(progress->done - progress->first);
    const double rate = elapsed > 0 ? here / elapsed : 0;
    if (progress->total > 0 && here > 0) {
        const double share = (double)progress->done / (double)progress->total;
        format_left(left, sizeof left, (double)(progress->total - progress->done) / rate);
        for (int i = 0; i < BAR; i++) strcat(bar, i < (int)(share * BAR) ? "━" : "╌");
    }
    char line[512];
    if (progress->total > 0) {
        snprintf(line, sizeof line, "%s %s %llu/%llu %s  %.1f/s  %s  %s", progress->label,
                 progress->terminal ? bar : "", (unsigned long long)progress->done, (unsigned long long)progress->total,
                 progress->unit, rate, left, progress->note);
    } else {
        snprintf(line, sizeof line, "%s %llu %s  %.1f/s  %s", progress->label, (unsigned long long)progress->done,
                 progress->unit, rate, progress->note);
    }
    if (progress->terminal)
        fprintf(stderr, "\r%s\033[K", line);
    else
        fprintf(stderr, "%s\n", line);
    progress->drawn = true;
}

void progress_update(struct progress *progress, uint64_t done) {
    progress->done = done;
    if (quiet_now) return;
    const double now = time_now(), pause = progress->terminal ? 0.1 : 5.0;
    if (now - progress->last < pause || now - progress->start < 0.5) return;
    progress->last = now;
    progress_draw(progress, now);
}

void progress_finish(struct progress *progress) {
    if (quiet_now || !progress->drawn) return;
    char spent[32];
    format_seconds(spent, sizeof spent, time_now() - progress->start);
    fprintf(stderr, "%s%s: %llu %s in %s\n", progress->terminal ? "\r\033[K" : "", progress->label,
            (unsigned long long)progress->done, progress->unit, spent);
}
