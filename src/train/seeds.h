/* One recipe trained from several seeds: a run directory for each, and what they come to on dev, mean and standard
 * deviation. */
#ifndef CASEMIX_TRAIN_SEEDS_H
#define CASEMIX_TRAIN_SEEDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

enum { MOST_SEEDS = 64 };

struct seed_list {
    int64_t seeds[MOST_SEEDS];
    size_t count;
};

/* "1,2,3", "1-5" or both ("1-3,7"); no seed twice. Anything else is a usage error. */
bool seeds_parse(struct seed_list *list, const char *text, struct error *error);

/* "OUT/seed-N". */
bool seeds_directory(char *path, size_t capacity, const char *out, int64_t seed, struct error *error);

/* Reads from OUT/seed-N/log.jsonl what the model that each run kept scored on dev (the members dev_… of any method) and
 * writes OUT/seeds.json: {"runs": [{"seed", "best_step", "dev_loss", …}], "mean": {…}, "sd": {…}}, the standard
 * deviation being that of a sample (n - 1; null for one run). Says the same on stderr. */
bool seeds_summarise(const struct seed_list *list, const char *out, struct error *error);

#endif
