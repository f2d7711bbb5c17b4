/* OpenMP, or one thread without it. */
#include "base/threads.h"
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef _OPENMP
#include <omp.h>

/* Turns of a waiting thread before it sleeps, some microseconds in all: longer than the gap between two loops of a
 * decoding step, far shorter than the time slice of another process (docs/speed.md has both). */
#define SPIN_COUNT "1000"

void threads_spin_briefly(char **argv) {
    char program[PATH_MAX];
    if (getenv("GOMP_SPINCOUNT") != NULL || getenv("OMP_WAIT_POLICY") != NULL) return;
    const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length <= 0 || setenv("GOMP_SPINCOUNT", SPIN_COUNT, 1) != 0) return;
    program[length] = '\0';
    execv(program, argv);
    unsetenv("GOMP_SPINCOUNT"); /* it cannot be started again: threads turn as long as they do by themselves */
}

int threads_count(void) {
    return omp_get_max_threads();
}
void threads_set(int threads) {
    omp_set_num_threads(threads);
}
int threads_index(void) {
    return omp_get_thread_num();
}
#else
void threads_spin_briefly(char **argv) {
    (void)argv;
}
int threads_count(void) {
    return 1;
}
void threads_set(int threads) {
    (void)threads;
}
int threads_index(void) {
    return 0;
}
#endif

int threads_available(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    return CPU_COUNT(&set);
}
