/* What the kernels of few rows and of tiles share: compiler vectors as wide as the registers of SSE, AVX2 and AVX-512
 * (of wider ones the compiler keeps sums in memory), the sums of their lanes by a tree of shuffles, and hints to
 * processor and compiler. */
#ifndef CASEMIX_TENSOR_LANE_SUMS_H
#define CASEMIX_TENSOR_LANE_SUMS_H

#include <stdint.h>

/* Loads and stores need no more alignment than an element has. */
typedef float four_lanes __attribute__((vector_size(16), aligned(4), may_alias));
typedef float eight_lanes __attribute__((vector_size(32), aligned(4), may_alias));
typedef float sixteen_lanes __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint32_t four_words __attribute__((vector_size(16), aligned(2), may_alias));
typedef uint32_t eight_words __attribute__((vector_size(32), aligned(2), may_alias));
typedef uint32_t sixteen_words __attribute__((vector_size(64), aligned(2), may_alias));

/* One step of a transposing sum: lanes of a and b folded to half as many sums each, a's before b's in every group of
 * `width` lanes. */
#define FOLD(a, b, l0, l1, l2, l3, l4, l5, l6, l7, l8, l9, la, lb, lc, ld, le, lf, distance)                      \
    (__builtin_shufflevector(a, b, l0, l1, l2, l3, l4, l5, l6, l7, l8, l9, la, lb, lc, ld, le, lf) +              \
     __builtin_shufflevector(a, b, l0 + (distance), l1 + (distance), l2 + (distance), l3 + (distance),            \
                             l4 + (distance), l5 + (distance), l6 + (distance), l7 + (distance), l8 + (distance), \
                             l9 + (distance), la + (distance), lb + (distance), lc + (distance), ld + (distance), \
                             le + (distance), lf + (distance)))
#define FOLD_8(a, b) FOLD(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23, 8)
#define FOLD_4(a, b) FOLD(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27, 4)
#define FOLD_2(a, b) FOLD(a, b, 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29, 2)
#define FOLD_1(a, b) FOLD(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 1)

/* out[i] = the sum of the lanes of sums[i], for 16 vectors of type TYPE (16 floats or 16 int32). */
#define SUM_LANES(out, TYPE, sums)                                                              \
    do {                                                                                        \
        TYPE eight_[8], four_[4], two_[2];                                                      \
        for (int i_ = 0; i_ < 8; i_++) eight_[i_] = FOLD_8((sums)[2 * i_], (sums)[2 * i_ + 1]); \
        for (int i_ = 0; i_ < 4; i_++) four_[i_] = FOLD_4(eight_[2 * i_], eight_[2 * i_ + 1]);  \
        for (int i_ = 0; i_ < 2; i_++) two_[i_] = FOLD_2(four_[2 * i_], four_[2 * i_ + 1]);     \
        *(TYPE *)(out) = FOLD_1(two_[0], two_[1]);                                              \
    } while (0)

/* The same for `count` vectors of four lanes, a multiple of four. */
#define SUM_FOUR_LANES(out, vectors, count)                                                                    \
    do {                                                                                                       \
        for (int i_ = 0; i_ < (count); i_ += 4) {                                                              \
            const four_lanes a_ = (vectors)[i_], b_ = (vectors)[i_ + 1], c_ = (vectors)[i_ + 2],               \
                             d_ = (vectors)[i_ + 3];                                                           \
            const four_lanes ab_ = __builtin_shufflevector(a_, b_, 0, 1, 4, 5) +                               \
                                   __builtin_shufflevector(a_, b_, 2, 3, 6, 7),                                \
                             cd_ = __builtin_shufflevector(c_, d_, 0, 1, 4, 5) +                               \
                                   __builtin_shufflevector(c_, d_, 2, 3, 6, 7);                                \
            *(four_lanes *)((out) + i_) =                                                                      \
                __builtin_shufflevector(ab_, cd_, 0, 2, 4, 6) + __builtin_shufflevector(ab_, cd_, 1, 3, 5, 7); \
        }                                                                                                      \
    } while (0)

/* Asks for weights ahead. Many rows compute while they wait, and the first cache is full of what they compute with: the
 * second one is asked then. One row waits for memory alone. */
#define ASK_AHEAD(address, many)                 \
    do {                                         \
        if (many)                                \
            __builtin_prefetch((address), 0, 2); \
        else                                     \
            __builtin_prefetch((address));       \
    } while (0)

/* gcc takes an activation from memory again for every product, and the loads then take as long as the products: this
 * keeps it in its register. */
#if defined(__x86_64__) && !defined(__clang__)
#define KEEP_IN_REGISTER(vector) __asm__("" : "+v"(vector))
#else
#define KEEP_IN_REGISTER(vector)
#endif

#endif
