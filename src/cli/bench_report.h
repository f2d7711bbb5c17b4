/* What `casemix bench` prints: sections of lines, as a table or as members of one JSON object. */
#ifndef CASEMIX_CLI_BENCH_REPORT_H
#define CASEMIX_CLI_BENCH_REPORT_H

#include "base/text.h"
#include <stdbool.h>

struct bench {
    bool json;
    int repeats;
    double f32, int8, read; /* peaks: operations and bytes a second; int8 0 where there is no instruction */
    struct text out;
    bool first; /* no member of the current JSON list written yet */
};

void bench_begin(struct bench *bench, const char *key, const char *heading);
void bench_end(struct bench *bench);

/* One line: a name, operations a second, and their share of the f32 peak. */
void bench_rate(struct bench *bench, const char *name, double operations, double seconds);

/* One line: a name and a number with its unit. */
void bench_value(struct bench *bench, const char *name, double value, const char *unit);

/* One line: a name, tokens a second, and beside them operations a second or, with bytes over 0, bytes read a second;
 * each as a share of the machine's f32 peak or read bandwidth. */
void bench_tokens(struct bench *bench, const char *name, double tokens, double operations, double bytes,
                  double seconds);

/* Prints what has been gathered. */
void bench_flush(struct bench *bench);

#endif
