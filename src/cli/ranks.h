/* How a command that codes notes starts and ends on the ranks of an MPI job; alone it is one rank.
 *
 * Whatever ranks do together begins with cluster_agree, and a rank that fails by itself meets the others there through
 * ranks_end: all end with one message. */
#ifndef CASEMIX_CLI_RANKS_H
#define CASEMIX_CLI_RANKS_H

#include "model/ensemble.h"
#include <stdbool.h>
#include <stddef.h>

struct error;

/* Opens the runs and chooses the kernels; rank 0 measures them first, so that the others find its measurement. Fails on
 * all ranks or on none. Release with ensemble_close. */
bool ranks_open_ensemble(struct ensemble *ensemble, const char *const *models, size_t count, enum decoding decoding,
                         enum compute_type compute, const char *int8_cache, struct error *error);

/* Models that write are asked by one process: an error under several ranks. */
bool answers_have_one_rank(struct error *error);

/* The last that a command does with the cluster: whether all ranks are done. */
bool ranks_end(bool done, struct error *error);

#endif
