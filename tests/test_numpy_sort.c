/* numpy's argsort: sorted permutations of everything, and the very order of numpy where values are equal. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/numpy_sort.h"
#include "base/rng.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { LARGEST = 5000 };
static int64_t order[LARGEST], integers[LARGEST], expected[LARGEST];
static double reals[LARGEST];

static void check_permutation(int64_t count) {
    static bool seen[LARGEST];
    memset(seen, 0, sizeof seen);
    for (int64_t i = 0; i < count; i++) {
        assert_in_range(order[i], 0, count - 1);
        assert_false(seen[order[i]]);
        seen[order[i]] = true;
    }
}

static void every_size_is_sorted(void **state) {
    struct rng rng;
    (void)state;
    rng_seed(&rng, 7);
    for (int64_t count = 0; count < 600; count++) {
        const uint64_t distinct = 1 + rng_below(&rng, 40);
        for (int64_t i = 0; i < count; i++) reals[i] = (double)(integers[i] = (int64_t)rng_below(&rng, distinct) - 10);
        numpy_argsort_int64(order, integers, count);
        check_permutation(count);
        for (int64_t i = 1; i < count; i++) assert_true(integers[order[i - 1]] <= integers[order[i]]);
        memcpy(expected, order, sizeof order);
        numpy_argsort_double(order, reals, count);
        assert_memory_equal(order, expected, (size_t)count * sizeof *order);
    }
}

static void a_nan_is_larger_than_infinity(void **state) {
    struct rng rng;
    (void)state;
    rng_seed(&rng, 8);
    for (int64_t i = 0; i < 200; i++)
        reals[i] = i % 7 == 0 ? (double)NAN : i % 11 == 0 ? (double)INFINITY : rng_normal(&rng);
    numpy_argsort_double(order, reals, 200);
    check_permutation(200);
    for (int64_t i = 1; i < 200; i++) assert_true(isnan(reals[order[i]]) || reals[order[i - 1]] <= reals[order[i]]);
    assert_true(isnan(reals[order[199]]) && isnan(reals[order[171]]) && isinf(reals[order[170]]));
}

/* Up to 16 values are sorted by insertion, which keeps the order of equals; 17 equal values show the quicksort's swaps.
 */
static void equals_keep_their_order_in_short_lists_only(void **state) {
    (void)state;
    memset(integers, 0, sizeof integers);
    numpy_argsort_int64(order, integers, 16);
    for (int64_t i = 0; i < 16; i++) assert_int_equal(order[i], i);
    numpy_argsort_int64(order, integers, 17);
    check_permutation(17);
    bool moved = false;
    for (int64_t i = 0; i < 17; i++) moved |= order[i] != i;
    assert_true(moved);
}

/* The sequence on which median-of-three picks the second smallest value each time: the depth limit turns to heap sort.
 */
static void a_killer_sequence_is_sorted(void **state) {
    const int64_t half = LARGEST / 2;
    (void)state;
    for (int64_t i = 0; i < half; i++) {
        integers[i] = i % 2 == 0 ? i + 1 : half + i + i % 2 - 1;
        integers[half + i] = 2 * (i + 1);
    }
    numpy_argsort_int64(order, integers, LARGEST);
    check_permutation(LARGEST);
    for (int64_t i = 1; i < LARGEST; i++) assert_true(integers[order[i - 1]] <= integers[order[i]]);
}

static void the_order_is_numpys(void **state) {
    static const char path[] = "../shared/official/split/vectors.json";
    struct error error = {0};
    struct json *vectors;
    int64_t cases = 0, heap_sorts = 0, calls;
    (void)state;
    if (!path_exists(path)) {
        puts("skipped: numpy's sort vectors are not there");
        skip();
    }
    if (!json_load(&vectors, path, 0, &error)) fail_msg("%s", error.message);
    const json_node *list = json_member(json_root(vectors), "argsort");
    for (const json_node *entry = json_first(list); entry != NULL; entry = json_next(entry), cases++) {
        int64_t count = 0, places = 0;
        const json_node *value = json_first(json_member(entry, "values")),
                        *place = json_first(json_member(entry, "order"));
        for (; value != NULL && count < LARGEST; value = json_next(value))
            assert_true(json_integer(value, &integers[count++]));
        for (; place != NULL && places < LARGEST; place = json_next(place))
            assert_true(json_integer(place, &expected[places++]));
        assert_null(value);
        assert_int_equal(count, places);
        numpy_argsort_int64(order, integers, count);
        assert_memory_equal(order, expected, (size_t)count * sizeof *order);
        for (int64_t i = 0; i < count; i++) reals[i] = (double)integers[i];
        numpy_argsort_double(order, reals, count);
        assert_memory_equal(order, expected, (size_t)count * sizeof *order);
        assert_true(json_integer(json_member(entry, "heap_sort_calls"), &calls));
        heap_sorts += calls;
    }
    assert_true(cases > 0 && heap_sorts > 0);
    json_free(vectors);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_is_sorted),
        cmocka_unit_test(a_nan_is_larger_than_infinity),
        cmocka_unit_test(equals_keep_their_order_in_short_lists_only),
        cmocka_unit_test(a_killer_sequence_is_sorted),
        cmocka_unit_test(the_order_is_numpys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
