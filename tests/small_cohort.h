/* A cohort, a tokenizer and recipes in the test's folder, so small that a run takes a fraction of a second. */
#ifndef CASEMIX_TESTS_SMALL_COHORT_H
#define CASEMIX_TESTS_SMALL_COHORT_H

#include <stdbool.h>
#include <stdint.h>

enum { SMALL_STAYS = 60, SMALL_STEPS = 20, SMALL_EVALUATED = 4 };

/* Makes, under folder_path: data/ (60 training, 12 dev and 40 test stays of four DRGs), tokenizer/, and classify.yaml
 * (20 steps of 12 stays; evaluated every 4, saved every 2, logged every step). cmocka set-up functions call it behind
 * folder_make; 0 when done. */
int small_cohort_make(void);

/* FOLDER/lora.yaml: the same training of an adapter, rank 4 on q, v and down. */
void small_cohort_lora(void);

/* "--data … --tokenizer … --threads 1" of the command line that trains on it. */
const char *small_cohort_options(void);

/* Whether two logs have the same lines but for what the clock decides. */
bool logs_agree(const char *a, const char *b);

#endif
