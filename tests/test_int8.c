/* Eight-bit linear layers: exact integer products on every instruction set, small error, outliers kept, rows
 * independent of each other, and a backward through the same values. */
#include "base/rng.h"
#include "base/threads.h"
#include "tensor/gemm.h"
#include "tensor/int8.h"
#include "tensor/int8_kernels.h"
#include "tensor/matmul.h"
#include "tensor/processor.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct rng rng;

static float *noise(int64_t count) {
    float *values = malloc((size_t)count * sizeof *values);
    for (int64_t i = 0; i < count; i++) values[i] = (float)rng_normal(&rng);
    return values;
}

static void integer_products_are_exact_on_every_instruction_set(void **state) {
    (void)state;
    rng_seed(&rng, 1);
    static const int64_t widths[] = {1, 5, 63, 64, 65, 200, 896, 1031};
    enum { ROWS = INT8_SMALL_ROWS, OUTPUTS = 37 };
    for (size_t s = 0; s < sizeof widths / sizeof widths[0]; s++) {
        const int64_t I = widths[s], padded = (I + INT8_STEP - 1) / INT8_STEP * INT8_STEP;
        uint8_t *u = malloc((size_t)(ROWS * I)), *packed = malloc((size_t)(ROWS * padded));
        int8_t *w = malloc((size_t)(OUTPUTS * I));
        /* The largest values too, which overflow 16 bits in pairs. */
        for (int64_t i = 0; i < ROWS * I; i++) u[i] = i % 3 == 0 ? 255 : (uint8_t)rng_below(&rng, 256);
        for (int64_t i = 0; i < OUTPUTS * I; i++) w[i] = (int8_t)(i % 5 == 0 ? 127 : (int)rng_below(&rng, 255) - 127);
        for (int limit = INSTRUCTIONS_PLAIN; limit <= INSTRUCTIONS_VNNI; limit++) {
            processor_limit((enum instructions)limit);
            for (int64_t T = 1; T <= ROWS; T++) {
                int32_t acc[ROWS * 40];
                int8_small_pack(packed, u, I, T);
                int8_small_product(acc, 40, packed, w, I, OUTPUTS, T);
                for (int64_t t = 0; t < T; t++) {
                    for (int64_t o = 0; o < OUTPUTS; o++) {
                        int32_t want = 0;
                        for (int64_t i = 0; i < I; i++) want += (int32_t)u[t * I + i] * w[o * I + i];
                        if (acc[t * 40 + o] != want)
                            fail_msg("set %d, %d inputs, %d rows: (%d, %d)", limit, (int)I, (int)T, (int)t, (int)o);
                    }
                }
            }
        }
        free(u);
        free(packed);
        free(w);
    }
}

static int all_instructions(void **state) {
    (void)state;
    processor_limit(INSTRUCTIONS_VNNI);
    return 0;
}

/* A quantised weight with all it owns. */
struct quantised {
    struct matrix stored, weight; /* f32 and int8 */
    struct int8_rows rows;
    float *values; /* f32 */
    int8_t *bytes;
    float *scales;
    int32_t *sums;
    float *scratch;
};

static void quantise(struct quantised *q, int64_t O, int64_t I) {
    float *row = malloc((size_t)(threads_count() * I) * sizeof *row);
    q->values = noise(O * I);
    q->bytes = malloc((size_t)(O * I));
    q->scales = malloc((size_t)O * sizeof *q->scales);
    q->sums = malloc((size_t)O * sizeof *q->sums);
    q->stored = (struct matrix){DTYPE_F32, O, I, q->values};
    int8_quantise_rows(q->bytes, q->scales, q->sums, &q->stored, 0, O, row);
    q->rows = (struct int8_rows){q->bytes, q->scales, q->sums};
    q->weight = (struct matrix){DTYPE_INT8, O, I, &q->rows};
    q->scratch = malloc((size_t)linear_panel_size(&q->weight) * sizeof(float));
    free(row);
}

static void release(struct quantised *q) {
    free(q->values);
    free(q->bytes);
    free(q->scales);
    free(q->sums);
    free(q->scratch);
}

/* ||y - x W^T|| / ||x W^T||. */
static double error_of(const float *y, const float *x, const struct quantised *q, int64_t T) {
    const int64_t O = q->stored.rows, I = q->stored.cols;
    double difference = 0, norm = 0;
    for (int64_t t = 0; t < T; t++) {
        for (int64_t o = 0; o < O; o++) {
            double want = 0;
            for (int64_t i = 0; i < I; i++) want += (double)x[t * I + i] * (double)q->values[o * I + i];
            difference += pow((double)y[t * O + o] - want, 2);
            norm += want * want;
        }
    }
    return sqrt(difference / norm);
}

static void quantised_weights_are_within_half_a_step_and_know_their_sums(void **state) {
    (void)state;
    rng_seed(&rng, 2);
    enum { O = 9, I = 77 };
    struct quantised q;
    quantise(&q, O, I);
    int32_t sums[O];
    float wide[O * I];
    int8_sum_rows(sums, q.bytes, O, I);
    assert_memory_equal(sums, q.sums, sizeof sums);
    matrix_widen(wide, &q.weight, 0, O * I);
    for (int i = 0; i < O * I; i++)
        assert_true(fabsf(wide[i] - q.values[i]) <= 0.5001f * q.scales[i / I] && q.bytes[i] >= -127);
    matrix_widen(wide, &q.weight, I - 3, 7); /* across the end of a row */
    assert_true(wide[0] == q.scales[0] * (float)q.bytes[I - 3] && wide[6] == q.scales[1] * (float)q.bytes[I + 3]);
    release(&q);
    /* A row of zeros has no scale. */
    const float zeros[4] = {0};
    const struct matrix nothing = {DTYPE_F32, 1, 4, zeros};
    int8_t bytes[4];
    float scale = 1, row[4 * 64];
    threads_set(threads_count() > 64 ? 64 : threads_count());
    int8_quantise_rows(bytes, &scale, sums, &nothing, 0, 1, row);
    assert_true(scale == 0.0f && bytes[0] == 0 && sums[0] == 0);
}

static void the_forward_is_within_a_percent_for_few_and_many_rows(void **state) {
    (void)state;
    rng_seed(&rng, 3);
    static const int64_t shapes[][3] = {{1, 40, 130}, {16, 300, 896}, {17, 300, 896}, {550, 70, 129}, {33, 260, 64}};
    for (int s = 0; s < 5; s++) {
        const int64_t T = shapes[s][0], O = shapes[s][1], I = shapes[s][2];
        struct quantised q;
        quantise(&q, O, I);
        float *x = noise(T * I), *y = malloc((size_t)(T * O) * sizeof *y), bias[300];
        for (int64_t o = 0; o < O; o++) bias[o] = 3;
        const struct matrix added = {DTYPE_F32, 1, O, bias};
        linear_forward(y, x, &q.weight, NULL, T, false, q.scratch);
        const double plain = error_of(y, x, &q, T);
        linear_forward(y, x, &q.weight, &added, T, true, q.scratch);
        for (int64_t i = 0; i < T * O; i++) y[i] = (y[i] - 3) / 2;
        const double accumulated = error_of(y, x, &q, T);
        if (!(plain < 0.012) || !(accumulated < 0.012))
            fail_msg("[%d,%d] by [%d,%d]: error %.4f, accumulated %.4f", (int)T, (int)I, (int)O, (int)I, plain,
                     accumulated);
        free(x);
        free(y);
        release(&q);
    }
}

static void outliers_do_not_blur_the_rest(void **state) {
    (void)state;
    rng_seed(&rng, 4);
    enum { O = 300, I = 400, T = 40 };
    struct quantised q;
    quantise(&q, O, I);
    float *x = noise(T * I), *y = malloc(sizeof(float) * T * O);
    /* A hundred columns so that they are multiplied in two groups; not in every row. */
    for (int t = 0; t < T; t += 2)
        for (int i = 0; i < 100; i++) x[t * I + 4 * i] *= 200;
    for (int rows = 7; rows <= T; rows += 33) {
        linear_forward(y, x, &q.weight, NULL, rows, false, q.scratch);
        assert_true(error_of(y, x, &q, rows) < 0.012);
        /* The rows without outliers are as exact as if there were none beside them. */
        const struct quantised *whole = &q;
        float alone[O];
        linear_forward(alone, x + I, &q.weight, NULL, 1, false, q.scratch);
        assert_true(error_of(alone, x + I, whole, 1) < 0.02);
        for (int o = 0; o < O; o++) assert_true(fabsf(alone[o] - y[O + o]) <= 1e-5f * fabsf(alone[o]) + 1e-6f);
    }
    x[3 * I + 7] = NAN;
    linear_forward(y, x, &q.weight, NULL, T, false, q.scratch);
    assert_true(isnan(y[3 * O]) && !isnan(y[4 * O]));
    linear_forward(y, x, &q.weight, NULL, 5, false, q.scratch);
    assert_true(isnan(y[3 * O]) && !isnan(y[4 * O]));
    free(x);
    free(y);
    release(&q);
}

static void a_row_has_the_same_bits_alone_among_few_and_among_many(void **state) {
    (void)state;
    rng_seed(&rng, 5);
    enum { O = 290, I = 205, T = 60 };
    struct quantised q;
    quantise(&q, O, I);
    float *x = noise(T * I), *y = malloc(sizeof(float) * T * O), alone[O];
    for (int rows = 1; rows <= T; rows = rows * 2 + 1) {
        linear_forward(y, x, &q.weight, NULL, rows, false, q.scratch);
        for (int t = 0; t < rows; t++) {
            linear_forward(alone, x + t * I, &q.weight, NULL, 1, false, q.scratch);
            assert_memory_equal(alone, y + t * O, sizeof alone);
        }
    }
    free(x);
    free(y);
    release(&q);
}

static void many_rows_agree_where_onednn_is_not_exact(void **state) {
    (void)state;
    rng_seed(&rng, 6);
    enum { O = 290, I = 205, T = 60 };
    struct quantised q;
    quantise(&q, O, I);
    float *x = noise(T * I), *y = malloc(sizeof(float) * T * O), *plain = malloc(sizeof(float) * T * O);
    linear_forward(y, x, &q.weight, NULL, T, false, q.scratch);
    processor_limit(INSTRUCTIONS_AVX2);
    assert_false(matmul_int8_is_exact());
    linear_forward(plain, x, &q.weight, NULL, T, false, q.scratch);
    assert_memory_equal(plain, y, sizeof(float) * T * O);
    free(x);
    free(y);
    free(plain);
    release(&q);
}

static void the_backward_goes_through_the_quantised_values(void **state) {
    (void)state;
    rng_seed(&rng, 7);
    enum { O = 70, I = 50, T = 20 };
    struct quantised q;
    quantise(&q, O, I);
    float *d_y = noise(T * O), d_x[T * I], want[T * I], wide[O * I];
    matrix_widen(wide, &q.weight, 0, O * I);
    const struct matrix widened = {DTYPE_F32, O, I, wide};
    linear_backward_input(d_x, d_y, &q.weight, T, false, q.scratch);
    linear_backward_input(want, d_y, &widened, T, false, NULL);
    for (int i = 0; i < T * I; i++) assert_true(fabsf(d_x[i] - want[i]) <= 1e-4f);
    free(d_y);
    release(&q);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(integer_products_are_exact_on_every_instruction_set, all_instructions),
        cmocka_unit_test(quantised_weights_are_within_half_a_step_and_know_their_sums),
        cmocka_unit_test(the_forward_is_within_a_percent_for_few_and_many_rows),
        cmocka_unit_test(outliers_do_not_blur_the_rest),
        cmocka_unit_test(a_row_has_the_same_bits_alone_among_few_and_among_many),
        cmocka_unit_test_teardown(many_rows_agree_where_onednn_is_not_exact, all_instructions),
        cmocka_unit_test(the_backward_goes_through_the_quantised_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
