/* The signals that ask a run to stop. */
#include "train/stop.h"
#include <stddef.h>

static const int signals[3] = {SIGINT, SIGTERM, SIGUSR1};
static volatile sig_atomic_t requested;

static void request(int signal_number) {
    (void)signal_number;
    requested = 1;
}

void stop_watch_begin(struct stop_watch *watch) {
    const struct sigaction action = {.sa_handler = request, .sa_flags = SA_RESTART};
    requested = 0;
    for (size_t i = 0; i < 3; i++) sigaction(signals[i], &action, &watch->before[i]);
}

void stop_watch_end(const struct stop_watch *watch) {
    for (size_t i = 0; i < 3; i++) sigaction(signals[i], &watch->before[i], NULL);
}

bool stop_requested(void) {
    return requested != 0;
}
