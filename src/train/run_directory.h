/* The directory of a run, of any method: begun once, held by one process at a time, with the recipe, a log and a
 * checkpoint in it. */
#ifndef CASEMIX_TRAIN_RUN_DIRECTORY_H
#define CASEMIX_TRAIN_RUN_DIRECTORY_H

#include "base/text.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

struct run_directory {
    const char *path; /* borrowed */
    int descriptor;   /* holds the lock; -1: none */
    bool goes_on;     /* there is a checkpoint to go on from */
};

/* Makes or finds the directory and locks it against other processes (where the file system can). Without `resume` it
 * must be empty or new. With it, the run is one that has a checkpoint, or one that was ended before its first (the same
 * recipe.yaml, or nothing yet), which begins anew. What a killed process left half-written is removed. Writes
 * recipe.yaml where the run begins. Only rank 0 does any of it. Release with run_directory_close, also after a failure.
 */
bool run_directory_open(struct run_directory *directory, const char *path, const struct text *recipe, bool resume,
                        struct error *error);
void run_directory_close(struct run_directory *directory);

/* "RUN/NAME". */
bool run_path(const char *run, char *path, size_t capacity, const char *name, struct error *error);

/* Appends one line to RUN/log.jsonl. */
bool run_log(const char *run, const char *line, struct error *error);

/* Cuts RUN/log.jsonl back to the lines up to this step, and what a crash left of a last line. */
bool run_cut_log(const char *run, int64_t step, struct error *error);

#endif
