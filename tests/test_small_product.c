/* Products of few rows: against double precision for every storage type, shape and instruction set, and the same bits
 * for a row whatever stands beside it. */
#include "base/rng.h"
#include "tensor/gemm.h"
#include "tensor/processor.h"
#include "tensor/small_product.h"
#include "tensor/small_product_bf16.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { ROWS = 19 };

static struct rng rng;

static float *noise(int64_t count) {
    float *values = malloc((size_t)count * sizeof *values);
    for (int64_t i = 0; i < count; i++) values[i] = (float)rng_normal(&rng);
    return values;
}

/* A weight of this type, and its exact values. */
static void *make_weight(struct matrix *weight, enum dtype dtype, int64_t O, int64_t I, float *values) {
    float *raw = noise(O * I);
    void *stored = malloc((size_t)(O * I) * sizeof(float));
    if (dtype == DTYPE_F32)
        memcpy(stored, raw, (size_t)(O * I) * sizeof(float));
    else if (dtype == DTYPE_BF16)
        narrow_bf16(stored, raw, O * I);
    else
        narrow_f16(stored, raw, O * I);
    *weight = (struct matrix){dtype, O, I, stored};
    matrix_widen(values, weight, 0, O * I);
    free(raw);
    return stored;
}

static const struct { int64_t O, I; } shapes[] = {{1, 1}, {3, 31}, {5, 64}, {9, 95}, {33, 896}, {300, 137}};

static void check_shape(enum dtype dtype, int64_t O, int64_t I) {
    struct matrix weight;
    float *values = malloc((size_t)(O * I) * sizeof *values), *x = noise(ROWS * I), *y = malloc(ROWS * (size_t)O * 4);
    void *stored = make_weight(&weight, dtype, O, I, values);
    for (int64_t T = 1; T <= ROWS; T++) {
        const bool accumulate = T % 2 == 0;
        for (int64_t i = 0; i < T * O; i++) y[i] = 0.25f;
        small_product(y, O, x, I, &weight, T, 0.5f, accumulate);
        for (int64_t t = 0; t < T; t++) {
            for (int64_t o = 0; o < O; o++) {
                double want = 0, size = 0;
                for (int64_t i = 0; i < I; i++) {
                    const double term = (double)x[t * I + i] * (double)values[o * I + i];
                    want += term;
                    size += fabs(term);
                }
                want = 0.5 * want + (accumulate ? 0.25 : 0.0);
                /* A sum of I terms in 16 lanes: rounding grows slower than I / 16 units of the sum of sizes. */
                if (fabs((double)y[t * O + o] - want) > 1e-6 * (size + 1))
                    fail_msg("%s [%d,%d], %d rows: element (%d, %d) is %g, want %g", dtype_name(dtype), (int)O, (int)I,
                             (int)T, (int)t, (int)o, (double)y[t * O + o], want);
            }
        }
    }
    free(values);
    free(x);
    free(y);
    free(stored);
}

static void every_type_and_shape_agrees_with_double_precision_on_every_instruction_set(void **state) {
    (void)state;
    rng_seed(&rng, 1);
    for (int limit = INSTRUCTIONS_PLAIN; limit <= INSTRUCTIONS_VNNI; limit++) {
        processor_limit((enum instructions)limit);
        for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
            check_shape(DTYPE_F32, shapes[s].O, shapes[s].I);
            check_shape(DTYPE_BF16, shapes[s].O, shapes[s].I);
            check_shape(DTYPE_F16, shapes[s].O, shapes[s].I);
        }
    }
}

static void a_row_has_the_same_bits_whatever_rows_stand_beside_it(void **state) {
    (void)state;
    rng_seed(&rng, 2);
    enum { O = 37, I = 205 };
    for (int d = 0; d < 3; d++) {
        struct matrix weight;
        float *values = malloc(O * I * sizeof *values), *x = noise(ROWS * I), alone[O], together[ROWS * O];
        void *stored = make_weight(&weight, (enum dtype[]){DTYPE_F32, DTYPE_BF16, DTYPE_F16}[d], O, I, values);
        for (int64_t T = 1; T <= ROWS; T++) {
            small_product(together, O, x, I, &weight, T, 1, false);
            for (int64_t t = 0; t < T; t++) {
                small_product(alone, O, x + t * I, I, &weight, 1, 1, false);
                assert_memory_equal(alone, together + t * O, sizeof alone);
            }
        }
        free(values);
        free(x);
        free(stored);
    }
}

static void halves_that_are_infinite_or_subnormal_keep_their_value(void **state) {
    (void)state;
    enum { I = 33 };
    uint16_t halves[I] = {0};
    float x[I], y;
    for (int i = 0; i < I; i++) x[i] = 1;
    halves[4] = 0x0001; /* the smallest subnormal, 2^-24 */
    halves[32] = 0x8003;
    struct matrix weight = {DTYPE_F16, 1, I, halves};
    small_product(&y, 1, x, I, &weight, 1, 1, false);
    assert_true(y == -0x1p-23f);
    halves[7] = 0x7c00;
    small_product(&y, 1, x, I, &weight, 1, 1, false);
    assert_true(isinf(y) && y > 0);
}

static bool bf16_is_missing(void) {
    if (small_product_bf16_is_possible()) return false;
    printf("skipped: this processor has no AVX-512 BF16\n");
    return true;
}

/* Activations that bf16 holds exactly: then only the order of the sum differs from double precision. */
static float *bf16_noise(int64_t count) {
    float *values = noise(count);
    uint16_t rounded;
    for (int64_t i = 0; i < count; i++) {
        narrow_bf16(&rounded, &values[i], 1);
        const struct matrix one = {DTYPE_BF16, 1, 1, &rounded};
        matrix_widen(&values[i], &one, 0, 1);
    }
    return values;
}

static void bf16_arithmetic_agrees_with_double_precision_and_row_by_row(void **state) {
    (void)state;
    if (bf16_is_missing()) skip();
    rng_seed(&rng, 3);
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        const int64_t O = shapes[s].O, I = shapes[s].I;
        struct matrix weight;
        float *values = malloc((size_t)(O * I) * sizeof *values), *x = bf16_noise(ROWS * I);
        float *y = malloc(ROWS * (size_t)O * sizeof *y), *alone = malloc((size_t)O * sizeof *alone);
        void *stored = make_weight(&weight, DTYPE_BF16, O, I, values);
        for (int64_t T = 1; T <= ROWS; T++) {
            const bool accumulate = T % 2 == 0;
            for (int64_t i = 0; i < T * O; i++) y[i] = 0.25f;
            small_product_bf16(y, x, &weight, T, accumulate);
            for (int64_t t = 0; t < T; t++) {
                for (int64_t o = 0; o < O; o++) alone[o] = 0.25f;
                small_product_bf16(alone, x + t * I, &weight, 1, accumulate);
                assert_memory_equal(alone, y + t * O, (size_t)O * sizeof *alone);
                for (int64_t o = 0; o < O; o++) {
                    double want = accumulate ? 0.25 : 0.0, size = 1;
                    for (int64_t i = 0; i < I; i++) {
                        const double term = (double)x[t * I + i] * (double)values[o * I + i];
                        want += term;
                        size += fabs(term);
                    }
                    assert_true(fabs((double)alone[o] - want) <= 1e-6 * size);
                }
            }
        }
        free(values);
        free(x);
        free(y);
        free(alone);
        free(stored);
    }
}

static void bf16_arithmetic_rounds_activations_to_the_nearest(void **state) {
    (void)state;
    if (bf16_is_missing()) skip();
    const uint16_t ones[2] = {0x3f80, 0x3f80};
    const struct matrix weight = {DTYPE_BF16, 1, 2, ones};
    const float x[2] = {1.0f + 0x1.8p-8f, 0}; /* three quarters of the way to the next value */
    float y;
    small_product_bf16(&y, x, &weight, 1, false);
    assert_true(y == 1.0f + 0x1p-7f);
}

static int all_instructions(void **state) {
    (void)state;
    processor_limit(INSTRUCTIONS_VNNI);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_type_and_shape_agrees_with_double_precision_on_every_instruction_set,
                                  all_instructions),
        cmocka_unit_test(a_row_has_the_same_bits_whatever_rows_stand_beside_it),
        cmocka_unit_test(halves_that_are_infinite_or_subnormal_keep_their_value),
        cmocka_unit_test(bf16_arithmetic_agrees_with_double_precision_and_row_by_row),
        cmocka_unit_test(bf16_arithmetic_rounds_activations_to_the_nearest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
