/* The probability of every DRG title as the answer that a generative model gives: its ranked list, as a classifier's.
 *
 * The tree of titles is walked from the likeliest beginning on, each node computed once for all titles that share it
 * and many nodes in one step. A beginning's probability bounds that of all its titles, so the walk may end when what is
 * left weighs nothing. */
#ifndef CASEMIX_GENERATE_TITLE_SCORES_H
#define CASEMIX_GENERATE_TITLE_SCORES_H

#include "generate/decode.h"
#include "generate/title_trie.h"
#include <stdbool.h>
#include <stdint.h>

struct error;
struct title_scorer;

struct title_scores {
    double *p;          /* [catalog->count] share of each title among all of them; they sum to 1 */
    double mass;        /* probability that the answer is a title at all, as far as it was walked */
    double unseen;      /* at most so much more of it lies in titles that were not reached; their p is 0 */
    int64_t nodes_read; /* nodes that passed through the model */
};

/* Scratch for one decode over a cache; both are borrowed. Needs at least trie->longest + 2 free sequences. */
bool title_scorer_open(struct title_scorer **scorer, const struct title_trie *trie, struct decode *decode,
                       struct kv_cache *cache, int64_t V, int64_t rows, struct error *error);
void title_scorer_close(struct title_scorer *scorer);

/* Scores all titles behind a context that ends with "<answer>\n" and stands in `sequence` (left as it is); logits [V]
 * are those behind its last token. The walk ends when the titles not reached weigh less than `tolerance` of those that
 * were (0: all are reached). scores->p [catalog->count] is the caller's. */
bool title_scorer_run(struct title_scorer *scorer, int32_t sequence, const float *logits, double tolerance,
                      struct title_scores *scores, struct error *error);

#endif
