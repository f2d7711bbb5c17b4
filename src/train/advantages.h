/* Advantages of sampled completions: how much better than its group each was rewarded (GRPO, Shao et al. 2024; without
 * the division, Dr. GRPO, Liu et al. 2025). */
#ifndef CASEMIX_TRAIN_ADVANTAGES_H
#define CASEMIX_TRAIN_ADVANTAGES_H

#include <stdint.h>

enum advantage_scale {
    ADVANTAGE_GROUP, /* divided by the deviation of the group */
    ADVANTAGE_BATCH, /* by the deviation of all rewards */
    ADVANTAGE_NONE
};

/* Standard deviation with divisor n - 1; 0 for a single value. */
double reward_deviation(const double *rewards, int64_t count);

/* advantages [count]: reward less the mean of its group, over the deviation + 1e-4. `count` is a multiple of `group`,
 * and groups stand one behind the other. of_batch: deviation of all rewards of the batch, which may be more than these;
 * looked at with ADVANTAGE_BATCH. */
void advantages_compute(double *advantages, const double *rewards, int64_t count, int64_t group,
                        enum advantage_scale scale, double of_batch);

#endif
