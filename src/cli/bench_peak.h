/* What this machine can do at most: arithmetic peaks from register loops, and memory read bandwidth. */
#ifndef CASEMIX_CLI_BENCH_PEAK_H
#define CASEMIX_CLI_BENCH_PEAK_H

#include <stddef.h>

/* Operations a second (a multiply-add is two) on all threads; 0 where the processor or the build lacks the instruction.
 */
double peak_f32(void);
double peak_bf16(void); /* vdpbf16ps */
double peak_int8(void); /* vpdpbusd */

/* The instruction that peak_f32 measures. */
const char *peak_f32_instruction(void);

/* Bytes a second read from a buffer of this size by all threads; 0 when there is no memory for it. */
double peak_read(size_t bytes);

/* The median time in seconds of `repeats` calls, after one call that is not counted. */
double time_median(void (*function)(void *context), void *context, int repeats);

#endif
