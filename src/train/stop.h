/* Asking a long run to stop where it can go on later: SIGINT, SIGTERM, or SIGUSR1, which mpirun hands on to all ranks
 * and Slurm sends some time before the end. */
#ifndef CASEMIX_TRAIN_STOP_H
#define CASEMIX_TRAIN_STOP_H

#include <signal.h>
#include <stdbool.h>

/* What the signals did before. */
struct stop_watch {
    struct sigaction before[3];
};

/* From stop_watch_begin to stop_watch_end the signals are noted instead of ending the process. */
void stop_watch_begin(struct stop_watch *watch);
void stop_watch_end(const struct stop_watch *watch);

/* Whether one came since the last stop_watch_begin. Of this process: ranks must agree (cluster_max). */
bool stop_requested(void);

#endif
