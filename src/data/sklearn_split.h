/* The published train/test split, bit for bit: numpy's RandomState and scikit-learn's stratified shuffle split.
 *
 * Source: MT19937 (Matsumoto and Nishimura 1998), numpy's legacy generator, and scikit-learn 1.2's
 * train_test_split(test_size, random_state, stratify), as the papers' code calls it. Same labels in the same order,
 * same members in the same order. */
#ifndef CASEMIX_DATA_SKLEARN_SPLIT_H
#define CASEMIX_DATA_SKLEARN_SPLIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

enum { MT19937_WORDS = 624 };
struct mt19937 {
    uint32_t words[MT19937_WORDS];
    int next; /* word to draw next; MT19937_WORDS: regenerate first */
};

void mt19937_seed(struct mt19937 *generator, uint32_t seed);
uint32_t mt19937_draw(struct mt19937 *generator);

/* RandomState.permutation(count): 0 … count-1 shuffled into permutation[count]. */
void mt19937_permutation(struct mt19937 *generator, int64_t *permutation, size_t count);

/* How many of `draws` rows fall to each class, by largest remainder with ties drawn (scikit-learn's
 * _approximate_mode). counts[classes] rows of each class, result[classes]. False when memory is short. */
bool split_mode(struct mt19937 *generator, int64_t *result, const int64_t *counts, size_t classes, int64_t draws,
                struct error *error);

/* Row numbers of both sides, in the order of the published files. */
struct split {
    int64_t *train, *test; /* owned */
    size_t train_count, test_count;
};

/* Splits `rows` rows; labels[rows] are class numbers 0 … classes-1, numbered in the sorted order of the labels they
 * stand for. Refused as scikit-learn refuses it: a class with fewer than two rows, or a side with fewer rows than
 * there are classes. Release with split_free. */
bool split_stratified(struct split *split, const int32_t *labels, size_t rows, size_t classes, double test_size,
                      uint32_t seed, struct error *error);
void split_free(struct split *split);

#endif
