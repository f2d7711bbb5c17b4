/* OpenMP behind four functions, so that a build without it still compiles. */
#ifndef CASEMIX_BASE_THREADS_H
#define CASEMIX_BASE_THREADS_H

int threads_count(void);       /* threads a parallel region will have */
void threads_set(int threads); /* 1 to 1024 */
int threads_available(void);   /* processors this process may run on (affinity mask) */
int threads_index(void);       /* 0-based number of the calling thread in its region */

#endif
