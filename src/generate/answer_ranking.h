/* A ranked list of DRGs from answers in words: behind each reasoning the exact probability of every title
 * (title_scores.h), the mean over several reasonings, and how many of the written answers name each DRG
 * (self-consistency, Wang et al. 2023). */
#ifndef CASEMIX_GENERATE_ANSWER_RANKING_H
#define CASEMIX_GENERATE_ANSWER_RANKING_H

#include "generate/answerer.h"
#include <stdbool.h>
#include <stdint.h>

struct error;
struct answer_ranker;

/* For questions with up to `max_tokens` in an answer. The answerer was opened with `titles`; it is borrowed. */
bool answer_ranker_open(struct answer_ranker **ranker, const struct answerer *answerer, int64_t max_tokens,
                        struct error *error);
void answer_ranker_close(struct answer_ranker *ranker); /* NULL is fine */

/* Mean probability p and votes, both [catalog->count]; *mass (may be NULL): mean probability, before they were made to
 * sum to 1, that the answer is a title at all. */
bool answer_ranker_rank(struct answer_ranker *ranker, const struct question *question, double *p, int32_t *votes,
                        double *mass, struct error *error);

#endif
