/* Many processes as one: the ranks of an MPI job (`mpirun -n R casemix …`), or the one process of every other start.
 *
 * Built with `make MPI=1`; without it, or without mpirun, there is one rank and everything here costs nothing. All
 * functions but the plain questions are collective: every rank calls them in the same order. What comes out is the same
 * bits on every rank. A rank that dies takes the job with it: MPI ends the others. */
#ifndef CASEMIX_TRAIN_CLUSTER_H
#define CASEMIX_TRAIN_CLUSTER_H

#include "base/text.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

/* Joins the job if a launcher started this process (mpirun, or srun with PMI); refuses under one when the program was
 * built without MPI, since each process would take itself for the only one. To be called once, before work begins. */
bool cluster_start(struct error *error);

/* Leaves the job. `done` false: this rank failed; unless the others know (cluster_agree) or, as with a wrong command
 * line, fail likewise (then `done` is to be true), the job is ended. */
void cluster_finish(bool done);

int cluster_rank(void);        /* 0 … ranks - 1; rank 0 writes and prints */
int cluster_ranks(void);       /* 1 without MPI */
int cluster_local_ranks(void); /* of them on this machine, sharing its memory */
bool cluster_is_first(void);   /* rank 0 */

/* values [count] become their sum over the ranks, added up in the order of the ranks. */
void cluster_sum(float *values, int64_t count);
void cluster_sum_doubles(double *values, int64_t count);

/* The largest value of any rank. */
int64_t cluster_max(int64_t value);
double cluster_max_double(double value);

/* Rank 0's bytes. */
void cluster_broadcast(void *bytes, size_t length);
bool cluster_broadcast_text(struct text *text, struct error *error);

/* On rank 0 *all is what each rank holds in *own, in the order of the ranks; elsewhere it is left alone. */
bool cluster_gather_text(const struct text *own, struct text *all, struct error *error);

void cluster_barrier(void);

/* True if it is true on every rank. Otherwise every rank gets the error of the first rank that failed (with "rank N: "
 * before it where that is not rank 0), so that all end alike and one message is printed. Such
 * an error is the end of the job: where functions that agree are nested, the outer ones know already. */
bool cluster_agree(bool done, struct error *error);

/* Whether the last failure went through cluster_agree: rank 0 speaks for all then. */
bool cluster_error_is_shared(void);

/* Which of `count` things in a row this rank takes: first … end - 1, so that all shares weigh as nearly the same as may
 * be. The shares of all ranks follow one another; with fewer things than ranks some are empty. Not collective. */
void cluster_share(int64_t count, int64_t (*weight)(const void *context, int64_t index), const void *context,
                   int64_t *first, int64_t *end);

#endif
