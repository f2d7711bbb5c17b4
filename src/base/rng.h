/* A seeded random generator: xoshiro256** (Blackman and Vigna 2018), seeded by splitmix64. Same seed, same numbers
 * everywhere. */
#ifndef CASEMIX_BASE_RNG_H
#define CASEMIX_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* The whole state: copy it to save or fork a generator. */
struct rng {
    uint64_t state[4];
};

void rng_seed(struct rng *rng, uint64_t seed);
/* A generator for item `index` of stream `stream` under `seed`, independent of the order in which items are made. */
void rng_seed_stream(struct rng *rng, uint64_t seed, uint64_t stream, uint64_t index);
uint64_t rng_next(struct rng *rng);
uint64_t rng_below(struct rng *rng, uint64_t bound); /* 0 <= x < bound, unbiased; bound > 0 */
double rng_uniform(struct rng *rng);                 /* [0, 1), 53 bits */
double rng_normal(struct rng *rng);                  /* mean 0, deviation 1 (polar method, no cached half) */
void rng_shuffle(struct rng *rng, void *items, size_t count, size_t size); /* Fisher-Yates */
/* Index drawn with probability proportional to the differences of a cumulative table [count]. */
size_t rng_pick(struct rng *rng, const double *cumulative, size_t count);

#endif
