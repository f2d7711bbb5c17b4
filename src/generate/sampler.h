/* From logits to the next token: greedy or drawn, among all tokens or among those that are allowed.
 *
 * The steps and their order are those of Hugging Face's generation: repetition penalty (Keskar et al. 2019),
 * temperature, top-k, top-p (Holtzman et al. 2020), min-p (Nguyen et al. 2024). Two log-probabilities come with the
 * token: under the model's own distribution, as training computes it, and under the one it was drawn from. */
#ifndef CASEMIX_GENERATE_SAMPLER_H
#define CASEMIX_GENERATE_SAMPLER_H

#include "base/rng.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

struct sampling {
    double temperature;        /* 0: the largest logit */
    int64_t top_k;             /* 0: all */
    double top_p;              /* 1: all */
    double min_p;              /* 0: all */
    double repetition_penalty; /* 1: none */
};

/* Temperature 1 and everything else off. */
extern const struct sampling sampling_plain;

/* Refuses settings that mean nothing: a negative or not finite temperature, top_p outside (0, 1], min_p outside
 * [0, 1), a penalty that is not above 0, a negative top_k. */
bool sampling_check(const struct sampling *sampling, struct error *error);

struct sampled {
    int32_t id;
    double log_probability; /* natural log, softmax of the unmodified logits over all V */
    double log_drawn;       /* under the distribution it was drawn from; 0 when greedy */
};

/* Scratch for a vocabulary of V; one a thread. */
struct sampler;
bool sampler_open(struct sampler **sampler, int64_t V, struct error *error);
void sampler_close(struct sampler *sampler);

/* The tokens that may come next. */
struct allowed_tokens {
    const int32_t *ids; /* [count] distinct */
    size_t count;
};

/* Draws one token from logits [V] (not changed). `seen` [seen_count]: tokens before, for the penalty. `allowed` NULL:
 * all. Work beyond one pass over the logits (the log-sum of log_probability, which may be given as *log_sum and is then
 * not computed) depends on the allowed tokens alone. At least one token must be allowed. Among equal logits the smaller
 * id comes first. */
struct sampled sampler_draw(struct sampler *sampler, const struct sampling *sampling, const float *logits,
                            const int32_t *seen, size_t seen_count, const struct allowed_tokens *allowed,
                            const double *log_sum, struct rng *rng);

/* log of the sum of exp(logits [V]), in double. */
double logits_log_sum(const float *logits, int64_t V);

#endif
