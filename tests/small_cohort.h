/* A cohort, a tokenizer and recipes in the test's folder, so small that a run takes a fraction of a second. */
#ifndef CASEMIX_TESTS_SMALL_COHORT_H
#define CASEMIX_TESTS_SMALL_COHORT_H

#include <stdbool.h>
#include <stdint.h>

enum { SMALL_DRGS = 4, SMALL_STAYS = 60, SMALL_DEV_STAYS = 12, SMALL_STEPS = 20, SMALL_EVALUATED = 4 };

/* Writes `count` stays of DRGs 189, 291, 470 and 871 in turn to FOLDER/NAME: words that tell the DRG among words that
 * do not. With a shift the DRG named is another than the one told. */
void small_stays_write(const char *name, int count, uint64_t seed, int shift);

/* Makes, under folder_path: data/ (60 training, 12 dev and 40 test stays) and tokenizer/. */
void small_data_make(void);

/* These, and classify.yaml (20 steps of 12 stays; evaluated every 4, saved every 2, logged every step). */
void small_cohort_make(void);

/* FOLDER/lora.yaml: the same training of an adapter. */
void small_cohort_lora(void);

/* "--data … --tokenizer … --threads 1" of the command line that trains on it. */
const char *small_cohort_options(void);

/* Whether two logs have the same lines but for what the clock decides. */
bool logs_agree(const char *a, const char *b);

#endif
