/* OpenMP, or one thread without it. */
#include "base/threads.h"
#include <sched.h>
#ifdef _OPENMP
#include <omp.h>

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
