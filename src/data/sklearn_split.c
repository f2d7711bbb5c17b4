/* Each draw and each order of operations stands as scikit-learn has it: a permutation that decides nothing is drawn all
 * the same, for the generator moves on. */
#include "data/sklearn_split.h"
#include "base/error.h"
#include "base/memory.h"
#include <math.h>
#include <string.h>

void mt19937_seed(struct mt19937 *generator, uint32_t seed) {
    generator->words[0] = seed;
    for (uint32_t i = 1; i < MT19937_WORDS; i++) {
        const uint32_t before = generator->words[i - 1];
        generator->words[i] = 1812433253u * (before ^ before >> 30) + i;
    }
    generator->next = MT19937_WORDS;
}

static void regenerate(struct mt19937 *generator) {
    enum { SHIFT = 397 };
    uint32_t *words = generator->words;
    for (int i = 0; i < MT19937_WORDS; i++) {
        const uint32_t mixed = (words[i] & 0x80000000u) | (words[(i + 1) % MT19937_WORDS] & 0x7fffffffu);
        words[i] = words[(i + SHIFT) % MT19937_WORDS] ^ mixed >> 1 ^ (mixed & 1 ? 0x9908b0dfu : 0);
    }
    generator->next = 0;
}

uint32_t mt19937_draw(struct mt19937 *generator) {
    if (generator->next == MT19937_WORDS) regenerate(generator);
    uint32_t word = generator->words[generator->next++];
    word ^= word >> 11;
    word ^= word << 7 & 0x9d2c5680u;
    word ^= word << 15 & 0xefc60000u;
    return word ^ word >> 18;
}

/* 0 … largest: masked words are drawn until one fits. */
static uint32_t draw_up_to(struct mt19937 *generator, uint32_t largest) {
    uint32_t mask = largest;
    for (int shift = 1; shift <= 16; shift *= 2) mask |= mask >> shift;
    uint32_t value;
    do value = mt19937_draw(generator) & mask;
    while (value > largest);
    return value;
}

static void shuffle(struct mt19937 *generator, int64_t *items, size_t count) {
    for (size_t i = count; i-- > 1;) {
        const size_t j = draw_up_to(generator, (uint32_t)i);
        const int64_t item = items[i];
        items[i] = items[j];
        items[j] = item;
    }
}

void mt19937_permutation(struct mt19937 *generator, int64_t *permutation, size_t count) {
    for (size_t i = 0; i < count; i++) permutation[i] = (int64_t)i;
    shuffle(generator, permutation, count);
}

/* Gives one row more to classes of the largest remainder first; among equals, the permutation chooses. */
static void share_remainders(struct mt19937 *generator, int64_t *result, double *remainders, int64_t *alike,
                             size_t classes, int64_t need) {
    enum { TAKEN = -1 }; /* remainders are not negative */
    while (need > 0) {
        double largest = TAKEN;
        size_t count = 0;
        for (size_t i = 0; i < classes; i++) largest = fmax(largest, remainders[i]);
        if (largest < 0) return;
        for (size_t i = 0; i < classes; i++) {
            if (remainders[i] != largest) continue;
            alike[count++] = (int64_t)i;
            remainders[i] = TAKEN;
        }
        shuffle(generator, alike, count); /* shuffling the classes looks them up through a permutation */
        for (size_t i = 0; i < count && need > 0; i++, need--) result[alike[i]]++;
    }
}

bool split_mode(struct mt19937 *generator, int64_t *result, const int64_t *counts, size_t classes, int64_t draws,
                struct error *error) {
    double *remainders = memory_alloc(classes, sizeof *remainders);
    int64_t *alike = memory_alloc(classes, sizeof *alike);
    const bool room = remainders != NULL && alike != NULL;
    int64_t total = 0, need = draws;
    for (size_t i = 0; i < classes; i++) total += counts[i];
    for (size_t i = 0; room && i < classes; i++) {
        /* volatile: a fused multiply-add would give remainders that scikit-learn never sees */
        const volatile double share = (double)counts[i] / (double)total * (double)draws;
        result[i] = (int64_t)floor(share);
        remainders[i] = share - floor(share);
        need -= result[i];
    }
    if (room) share_remainders(generator, result, remainders, alike, classes, need);
    memory_free(remainders);
    memory_free(alike);
    return room || memory_error(error, classes * sizeof *remainders, "a stratified split");
}

/* Counts and work space of one split. */
struct strata {
    int64_t *counts, *train_counts, *left, *test_counts; /* [classes] */
    int64_t *starts;                                     /* [classes + 1] of each class in `members` */
    int64_t *members;                                    /* [rows] rows by class, rising */
    int64_t *permutation;                                /* [rows] */
};

static void place_members(struct strata *strata, const int32_t *labels, size_t rows, size_t classes) {
    strata->starts[0] = 0;
    for (size_t c = 0; c < classes; c++) strata->starts[c + 1] = strata->starts[c] + strata->counts[c];
    for (size_t c = 0; c < classes; c++) strata->left[c] = strata->starts[c];
    for (size_t row = 0; row < rows; row++) strata->members[strata->left[labels[row]]++] = (int64_t)row;
}

static bool check_classes(const struct strata *strata, size_t classes, int64_t train, int64_t test,
                          struct error *error) {
    for (size_t c = 0; c < classes; c++) {
        if (strata->counts[c] < 2)
            return error_set(error, "class %zu has fewer than 2 rows: it cannot be on both sides of a stratified split",
                             c);
    }
    if (test >= (int64_t)classes && train >= (int64_t)classes) return true;
    error_set(error, "%lld rows to train and %lld to test cannot hold each of the %zu classes", (long long)train,
              (long long)test, classes);
    return error_hint(error, "a stratified split needs as many rows on each side as there are classes");
}

static void draw_members(struct split *split, struct mt19937 *generator, struct strata *strata, size_t classes) {
    for (size_t c = 0; c < classes; c++) {
        const int64_t *members = strata->members + strata->starts[c];
        mt19937_permutation(generator, strata->permutation, (size_t)strata->counts[c]);
        for (int64_t i = 0; i < strata->train_counts[c]; i++)
            split->train[split->train_count++] = members[strata->permutation[i]];
        for (int64_t i = 0; i < strata->test_counts[c]; i++)
            split->test[split->test_count++] = members[strata->permutation[strata->train_counts[c] + i]];
    }
    shuffle(generator, split->train, split->train_count);
    shuffle(generator, split->test, split->test_count);
}

static bool split_rows(struct split *split, struct strata *strata, const int32_t *labels, size_t rows, size_t classes,
                       double test_size, uint32_t seed, struct error *error) {
    struct mt19937 generator;
    const int64_t test = (int64_t)ceil(test_size * (double)rows), train = (int64_t)rows - test;
    mt19937_seed(&generator, seed);
    for (size_t row = 0; row < rows; row++) strata->counts[labels[row]]++;
    if (!check_classes(strata, classes, train, test, error)) return false;
    place_members(strata, labels, rows, classes);
    if (!split_mode(&generator, strata->train_counts, strata->counts, classes, train, error)) return false;
    for (size_t c = 0; c < classes; c++) strata->left[c] = strata->counts[c] - strata->train_counts[c];
    if (!split_mode(&generator, strata->test_counts, strata->left, classes, test, error)) return false;
    draw_members(split, &generator, strata, classes);
    return true;
}

bool split_stratified(struct split *split, const int32_t *labels, size_t rows, size_t classes, double test_size,
                      uint32_t seed, struct error *error) {
    struct arena arena = {0};
    struct strata strata = {.counts = arena_zero(&arena, classes, sizeof(int64_t)),
                            .train_counts = arena_alloc(&arena, classes, sizeof(int64_t)),
                            .left = arena_alloc(&arena, classes, sizeof(int64_t)),
                            .test_counts = arena_alloc(&arena, classes, sizeof(int64_t)),
                            .starts = arena_alloc(&arena, classes + 1, sizeof(int64_t)),
                            .members = arena_alloc(&arena, rows, sizeof(int64_t)),
                            .permutation = arena_alloc(&arena, rows, sizeof(int64_t))};
    *split = (struct split){.train = memory_alloc(rows, sizeof *split->train),
                            .test = memory_alloc(rows, sizeof *split->test)};
    const bool room = strata.counts != NULL && strata.train_counts != NULL && strata.left != NULL &&
                      strata.test_counts != NULL && strata.starts != NULL && strata.members != NULL &&
                      strata.permutation != NULL && split->train != NULL && split->test != NULL;
    const bool done = room ? split_rows(split, &strata, labels, rows, classes, test_size, seed, error)
                           : memory_error(error, rows * sizeof *split->train, "a stratified split");
    arena_free(&arena);
    if (!done) split_free(split);
    return done;
}

void split_free(struct split *split) {
    memory_free(split->train);
    memory_free(split->test);
    *split = (struct split){0};
}
