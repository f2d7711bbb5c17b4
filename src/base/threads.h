/* OpenMP behind five functions, so that a build without it still compiles. */
#ifndef CASEMIX_BASE_THREADS_H
#define CASEMIX_BASE_THREADS_H

/* Called first in main: makes threads that wait for others sleep soon. GNU's OpenMP lets them turn for milliseconds,
 * and on a machine that does other work too they take the processor from the thread they wait for: a note that takes a
 * second then takes a minute and more. It reads its limit before main, so the program is started again, once, in the
 * same process, with GOMP_SPINCOUNT set; where that or OMP_WAIT_POLICY is set already, nothing is done. */
void threads_spin_briefly(char **argv);

int threads_count(void);       /* threads a parallel region will have */
void threads_set(int threads); /* 1 to 1024 */
int threads_available(void);   /* processors this process may run on (affinity mask) */
int threads_index(void);       /* 0-based number of the calling thread in its region */

#endif
