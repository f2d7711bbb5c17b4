/* Learning rates over the steps of a run. */
#ifndef CASEMIX_TRAIN_SCHEDULE_H
#define CASEMIX_TRAIN_SCHEDULE_H

#include <stdint.h>

enum schedule_kind { SCHEDULE_CONSTANT, SCHEDULE_LINEAR, SCHEDULE_COSINE };

struct schedule {
    enum schedule_kind kind;
    double rate;           /* the highest */
    double min_ratio;      /* cosine ends at min_ratio * rate */
    int64_t warmup, total; /* steps */
};

/* Rate of step k = 0, 1, …: rate k / warmup at first (so the first step of a warm-up has rate 0); then, with u = (k -
 * warmup) / (total - warmup), linear rate (1 - u) or cosine rate (r + (1 - r)(1 + cos(pi u)) / 2). */
double schedule_rate(const struct schedule *schedule, int64_t step);

#endif
