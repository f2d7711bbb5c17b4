/* The parts of the training set on which DRG-Sapphire reports (arXiv 2505.21908): cold start, DRG-Small, and the
 * divisions between supervised fine-tuning and GRPO, with the members of the published code.
 *
 * Source: the published data scripts: scikit-learn's stratified split by title, seed 42. */
#ifndef CASEMIX_DATA_SAPPHIRE_SUBSETS_H
#define CASEMIX_DATA_SAPPHIRE_SUBSETS_H

#include "data/cohort.h"

enum sapphire_subset {
    SUBSET_RARE,       /* stays of DRGs with fewer than 5 in the training set: in neither of the next two */
    SUBSET_COLD_START, /* 1 % of the others */
    SUBSET_DRG_SMALL,  /* 20 % of what is then left */
    SUBSET_SFT_50,     /* sft_50_50: first half for fine-tuning … */
    SUBSET_GRPO_50,    /* grpo_50_50: … the other for GRPO */
    SUBSET_SFT_75,
    SUBSET_GRPO_75,
    SUBSET_SFT_90,
    SUBSET_GRPO_90,
    SUBSET_SFT_95,
    SUBSET_GRPO_95,
    SUBSETS
};

/* A set of them: bit i stands for subset i. */
typedef uint32_t subset_set;

const char *sapphire_subset_name(enum sapphire_subset subset); /* "cold_start", "sft_90_10", … */

/* "DRG-Small,sft_90_10" or "all"; '-', '/', ' ' and '_' are alike, case does not matter. */
bool subset_set_parse(subset_set *set, const char *names, struct error *error);

struct sapphire_subsets {
    uint32_t *rows[SUBSETS]; /* row numbers of the cohort, in output order; NULL where not drawn */
    size_t counts[SUBSETS];
};

/* All of them. */
#define SUBSET_ALL (((subset_set)1 << SUBSETS) - 1)

/* Draws the wanted subsets of the training rows. A subset with too few rows to stratify is an error that says how many;
 * when all are wanted it is left out with a warning. Zero-initialise; release with sapphire_subsets_free. */
bool sapphire_subsets_draw(struct sapphire_subsets *subsets, subset_set wanted, const struct cohort *cohort,
                           const uint32_t *train, size_t count, struct error *error);
void sapphire_subsets_free(struct sapphire_subsets *subsets);

#endif
