/* The published split: generator, permutations, draws and whole splits against numpy's and scikit-learn's own. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "data/sklearn_split.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct json *vectors;

static const json_node *cases_of(const char *name) {
    static const char path[] = "../shared/official/split/vectors.json";
    struct error error = {0};
    if (vectors == NULL && !path_exists(path)) {
        print_message("skipped: %s is absent\n", path);
        skip();
    }
    if (vectors == NULL && !json_load(&vectors, path, 0, &error)) fail_msg("%s", error.message);
    const json_node *cases = json_member(json_root(vectors), name);
    assert_true(json_count(cases) > 0);
    return json_first(cases);
}

static int free_vectors(void **state) {
    (void)state;
    json_free(vectors);
    vectors = NULL;
    return 0;
}

static int64_t integer(const json_node *object, const char *name) {
    int64_t value = -1;
    assert_true(json_integer(json_member(object, name), &value));
    return value;
}

static void check_list(const json_node *expected, const int64_t *got, size_t count) {
    size_t i = 0;
    int64_t value;
    assert_int_equal(json_count(expected), count);
    for (const json_node *node = json_first(expected); node != NULL; node = json_next(node), i++) {
        assert_true(json_integer(node, &value));
        assert_int_equal(got[i], value);
    }
}

/* The known start of the sequence for the seed that both papers use. */
static void the_generator_of_seed_42(void **state) {
    static const uint32_t first[] = {1608637542u, 3421126067u, 4083286876u, 787846414u};
    static const int64_t order[] = {8, 1, 5, 0, 7, 2, 9, 4, 3, 6};
    struct mt19937 generator;
    int64_t permutation[10];
    (void)state;
    mt19937_seed(&generator, 42);
    for (size_t i = 0; i < 4; i++) assert_int_equal(mt19937_draw(&generator), first[i]);
    mt19937_seed(&generator, 42);
    mt19937_permutation(&generator, permutation, 10);
    assert_memory_equal(permutation, order, sizeof order);
}

static void draws_equal_numpys(void **state) {
    (void)state;
    for (const json_node *node = cases_of("mt19937"); node != NULL; node = json_next(node)) {
        struct mt19937 generator;
        int64_t draws[16];
        mt19937_seed(&generator, (uint32_t)integer(node, "seed"));
        const size_t first = json_count(json_member(node, "first")), next = json_count(json_member(node, "next"));
        assert_true(first <= 16 && next <= 16);
        for (size_t i = 0; i < first; i++) draws[i] = mt19937_draw(&generator);
        check_list(json_member(node, "first"), draws, first);
        for (int64_t i = 0; i < integer(node, "skip"); i++) mt19937_draw(&generator);
        for (size_t i = 0; i < next; i++) draws[i] = mt19937_draw(&generator);
        check_list(json_member(node, "next"), draws, next);
    }
}

static void permutations_equal_numpys(void **state) {
    (void)state;
    for (const json_node *node = cases_of("permutation"); node != NULL; node = json_next(node)) {
        struct mt19937 generator;
        const size_t count = (size_t)integer(node, "n");
        int64_t *permutation = memory_alloc(count, sizeof *permutation);
        mt19937_seed(&generator, (uint32_t)integer(node, "seed"));
        mt19937_permutation(&generator, permutation, count);
        check_list(json_member(node, "result"), permutation, count);
        assert_int_equal(mt19937_draw(&generator), integer(node, "next_raw"));
        memory_free(permutation);
    }
}

static void modes_equal_scikit_learns(void **state) {
    (void)state;
    for (const json_node *node = cases_of("approximate_mode"); node != NULL; node = json_next(node)) {
        struct mt19937 generator;
        struct error error = {0};
        int64_t counts[4096], result[4096];
        size_t classes = 0;
        for (const json_node *count = json_first(json_member(node, "counts")); count != NULL; count = json_next(count))
            assert_true(classes < 4096 && json_integer(count, &counts[classes++]));
        mt19937_seed(&generator, (uint32_t)integer(node, "seed"));
        assert_true(split_mode(&generator, result, counts, classes, integer(node, "draws"), &error));
        check_list(json_member(node, "result"), result, classes);
        assert_int_equal(mt19937_draw(&generator), integer(node, "next_raw"));
    }
}

/* Class numbers of labels that may be integers or strings: rank among the distinct ones, strings by code point (which
 * is byte order in UTF-8). */
static int compare_labels(const json_node *a, const json_node *b) {
    if (json_is_string(a)) return strcmp(json_string(a), json_string(b));
    return (json_number(a) > json_number(b)) - (json_number(a) < json_number(b));
}

static int compare_pointers(const void *a, const void *b) {
    return compare_labels(*(const json_node *const *)a, *(const json_node *const *)b);
}

static size_t number_classes(const json_node *list, int32_t *labels, size_t rows) {
    const json_node **nodes = memory_alloc(rows, sizeof *nodes), **sorted = memory_alloc(rows, sizeof *sorted);
    size_t i = 0, classes = 0;
    for (const json_node *node = json_first(list); node != NULL; node = json_next(node)) nodes[i++] = node;
    memcpy(sorted, nodes, rows * sizeof *nodes);
    qsort(sorted, rows, sizeof *sorted, compare_pointers);
    for (i = 0; i < rows; i++) {
        if (i == 0 || compare_labels(sorted[i], sorted[classes - 1]) != 0) sorted[classes++] = sorted[i];
    }
    for (i = 0; i < rows; i++) {
        const json_node *const *found = bsearch(&nodes[i], sorted, classes, sizeof *sorted, compare_pointers);
        labels[i] = (int32_t)(found - (const json_node *const *)sorted);
    }
    memory_free(nodes);
    memory_free(sorted);
    return classes;
}

static void splits_equal_scikit_learns(void **state) {
    (void)state;
    for (const json_node *node = cases_of("split"); node != NULL; node = json_next(node)) {
        struct split split;
        struct error error = {0};
        const json_node *list = json_member(node, "labels");
        const size_t rows = json_count(list);
        int32_t *labels = memory_alloc(rows, sizeof *labels);
        const size_t classes = number_classes(list, labels, rows);
        if (!split_stratified(&split, labels, rows, classes, json_number(json_member(node, "test_size")),
                              (uint32_t)integer(node, "seed"), &error))
            fail_msg("%s", error.message);
        check_list(json_member(node, "train"), split.train, split.train_count);
        check_list(json_member(node, "test"), split.test, split.test_count);
        split_free(&split);
        memory_free(labels);
    }
}

static void what_cannot_be_split_is_refused(void **state) {
    static const int32_t lone[] = {0, 0, 0, 1}, many[] = {0, 0, 1, 1, 2, 2, 3, 3};
    struct split split;
    struct error error = {0};
    (void)state;
    assert_false(split_stratified(&split, lone, 4, 2, 0.5, 42, &error));
    assert_non_null(strstr(error.message, "fewer than 2 rows"));
    assert_false(split_stratified(&split, many, 8, 4, 0.1, 42, &error));
    assert_non_null(strstr(error.message, "1 to test"));
    memory_fail_after(0);
    assert_false(split_stratified(&split, many, 8, 4, 0.5, 42, &error));
    memory_fail_after(-1);
    assert_non_null(strstr(error.message, "out of memory"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_generator_of_seed_42),   cmocka_unit_test(draws_equal_numpys),
        cmocka_unit_test(permutations_equal_numpys),  cmocka_unit_test(modes_equal_scikit_learns),
        cmocka_unit_test(splits_equal_scikit_learns), cmocka_unit_test(what_cannot_be_split_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, free_vectors);
}
