/* xoshiro256** (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2018). */
#include "base/rng.h"
#include <math.h>
#include <string.h>

static uint64_t rotate_left(uint64_t x, int bits) {
    return (x << bits) | (x >> (64 - bits));
}

static uint64_t splitmix(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void rng_seed(struct rng *rng, uint64_t seed) {
    for (int i = 0; i < 4; i++) rng->state[i] = splitmix(&seed);
}

void rng_seed_stream(struct rng *rng, uint64_t seed, uint64_t stream, uint64_t index) {
    uint64_t mixed = splitmix(&seed);
    mixed ^= stream * 0xd1342543de82ef95u;
    mixed = splitmix(&mixed) ^ (index * 0x2545f4914f6cdd1du);
    rng_seed(rng, splitmix(&mixed));
}

uint64_t rng_next(struct rng *rng) {
    uint64_t *s = rng->state;
    const uint64_t result = rotate_left(s[1] * 5, 7) * 9, shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *rng, uint64_t bound) {
    /* Draws under the remainder of 2^64 / bound would favour small numbers: they are drawn again. */
    const uint64_t threshold = (0 - bound) % bound;
    for (;;) {
        const uint64_t x = rng_next(rng);
        if (x >= threshold) return x % bound;
    }
}

double rng_uniform(struct rng *rng) {
    return (double)(rng_next(rng) >> 11) * 0x1p-53;
}

double rng_normal(struct rng *rng) {
    for (;;) {
        const double u = 2 * rng_uniform(rng) - 1, v = 2 * rng_uniform(rng) - 1, s = u * u + v * v;
        if (s < 1 && s > 0) return u * sqrt(-2 * log(s) / s);
    }
}

void rng_shuffle(struct rng *rng, void *items, size_t count, size_t size) {
    char *bytes = items, kept[256];
    for (size_t i = count; i > 1; i--) {
        const size_t j = rng_below(rng, i);
        for (size_t done = 0; done < size;) { /* a swap through a small buffer, whatever the size of an item */
            const size_t piece = size - done < sizeof kept ? size - done : sizeof kept;
            memcpy(kept, bytes + (i - 1) * size + done, piece);
            memcpy(bytes + (i - 1) * size + done, bytes + j * size + done, piece);
            memcpy(bytes + j * size + done, kept, piece);
            done += piece;
        }
    }
}

size_t rng_pick(struct rng *rng, const double *cumulative, size_t count) {
    const double target = rng_uniform(rng) * cumulative[count - 1];
    size_t low = 0, high = count - 1;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (cumulative[middle] > target)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}
