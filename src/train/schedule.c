/* Learning rates: warm-up, then constant, linear or cosine. */
#include "train/schedule.h"
#include <math.h>

double schedule_rate(const struct schedule *schedule, int64_t step) {
    if (step < schedule->warmup) return schedule->rate * (double)step / (double)schedule->warmup;
    const int64_t span = schedule->total - schedule->warmup;
    double u = span > 0 ? (double)(step - schedule->warmup) / (double)span : 1;
    if (u > 1) u = 1;
    switch (schedule->kind) {
    case SCHEDULE_LINEAR:
        return schedule->rate * (1 - u);
    case SCHEDULE_COSINE: {
        const double pi = 3.14159265358979323846, r = schedule->min_ratio;
        return schedule->rate * (r + (1 - r) * (1 + cos(pi * u)) / 2);
    }
    case SCHEDULE_CONSTANT:
        break;
    }
    return schedule->rate;
}
