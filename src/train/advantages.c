/* Advantages within groups of completions of one prompt. */
#include "train/advantages.h"
#include <math.h>

static double mean(const double *values, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += values[i];
    return sum / (double)count;
}

double reward_deviation(const double *rewards, int64_t count) {
    if (count < 2) return 0;
    const double middle = mean(rewards, count);
    double squares = 0;
    for (int64_t i = 0; i < count; i++) squares += (rewards[i] - middle) * (rewards[i] - middle);
    return sqrt(squares / (double)(count - 1));
}

void advantages_compute(double *advantages, const double *rewards, int64_t count, int64_t group,
                        enum advantage_scale scale, double of_batch) {
    static const double least = 1e-4; /* keeps a group of nearly equal rewards from exploding */
    for (int64_t first = 0; first < count; first += group) {
        const double middle = mean(rewards + first, group), of_group = reward_deviation(rewards + first, group);
        const double divisor = scale == ADVANTAGE_GROUP   ? of_group + least
                               : scale == ADVANTAGE_BATCH ? of_batch + least
                                                          : 1;
        for (int64_t i = first; i < first + group; i++) advantages[i] = (rewards[i] - middle) / divisor;
    }
}
