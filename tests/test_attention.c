/* Attention against a plain double-precision version, and its gradients against central differences of that. */
#include "base/rng.h"
#include "base/threads.h"
#include "tensor/attention.h"
#include "tensor/processor.h"
#include "tensor/tile.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct rng rng;

/* One case: shapes, sequences, and all arrays. */
struct attention {
    struct attention_shape shape;
    struct attention_batch batch;
    int64_t tokens, queries;
    float *q, *k, *v, *d_out, *out, *log_sum, *d_q, *d_k, *d_v, *delta;
};

static float *noise(int64_t count) {
    float *values = malloc((size_t)count * sizeof *values);
    for (int64_t i = 0; i < count; i++) values[i] = (float)rng_normal(&rng);
    return values;
}

static struct attention attention_make(int64_t H, int64_t K, int64_t D, int64_t N, const int32_t *offsets,
                                       const int32_t *query_offsets, const int32_t *query_rows) {
    struct attention a = {
        .shape = {H, K, D, 1.0f / sqrtf((float)D)},
        .batch = {.N = N, .offsets = offsets, .query_offsets = query_offsets, .query_rows = query_rows},
        .tokens = offsets[N]};
    a.queries = query_rows == NULL ? a.tokens : query_offsets[N];
    a.q = noise(a.queries * H * D);
    a.k = noise(a.tokens * K * D);
    a.v = noise(a.tokens * K * D);
    a.d_out = noise(a.queries * H * D);
    a.out = noise(a.queries * H * D);
    a.log_sum = noise(a.queries * H);
    a.d_q = noise(a.queries * H * D);
    a.d_k = noise(a.tokens * K * D);
    a.d_v = noise(a.tokens * K * D);
    a.delta = noise(a.queries * H);
    return a;
}

static void attention_free(struct attention *a) {
    free(a->q), free(a->k), free(a->v), free(a->d_out), free(a->out), free(a->log_sum), free(a->d_q), free(a->d_k),
        free(a->d_v), free(a->delta);
}

/* Output of one query and head in double, and, when d_q is not NULL, the analytic gradients of out . d_out added up. */
static void reference(const struct attention *a, int64_t n, int64_t query, int64_t h, double *out, double *d_q,
                      double *d_k, double *d_v) {
    const int64_t D = a->shape.D, K = a->shape.K, H = a->shape.H, kv = h / (H / K), first = a->batch.offsets[n];
    const int64_t row = a->batch.query_rows == NULL ? query : a->batch.query_rows[query], seen = row - first + 1;
    double *w = malloc((size_t)seen * sizeof *w), sum = 0, dot = 0;
    const float *q = a->q + (query * H + h) * D, *d_out = a->d_out + (query * H + h) * D;
    for (int64_t j = 0; j < seen; j++) {
        const float *k = a->k + ((first + j) * K + kv) * D;
        double score = 0;
        for (int64_t d = 0; d < D; d++) score += (double)q[d] * (double)k[d];
        w[j] = exp(score * (double)a->shape.scale);
        sum += w[j];
    }
    for (int64_t d = 0; d < D; d++) out[d] = 0;
    for (int64_t j = 0; j < seen; j++) {
        w[j] /= sum;
        for (int64_t d = 0; d < D; d++) out[d] += w[j] * (double)a->v[((first + j) * K + kv) * D + d];
    }
    for (int64_t d = 0; d < D; d++) dot += out[d] * (double)d_out[d];
    for (int64_t j = 0; d_q != NULL && j < seen; j++) {
        const int64_t at = ((first + j) * K + kv) * D;
        double d_w = 0;
        for (int64_t d = 0; d < D; d++) {
            d_w += (double)d_out[d] * (double)a->v[at + d];
            d_v[at + d] += w[j] * (double)d_out[d];
        }
        const double d_score = w[j] * (d_w - dot) * (double)a->shape.scale;
        for (int64_t d = 0; d < D; d++) {
            d_q[(query * H + h) * D + d] += d_score * (double)a->k[at + d];
            d_k[at + d] += d_score * (double)q[d];
        }
    }
    free(w);
}

static void assert_near(const char *what, const float *got, const double *want, int64_t count) {
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        assert_true(isfinite(got[i]));
        difference += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        norm += want[i] * want[i];
    }
    if (sqrt(difference) > 2e-6 * sqrt(norm) + 1e-6) fail_msg("%s: relative error %.2e", what, sqrt(difference / norm));
}

static void check(struct attention a) {
    const int64_t H = a.shape.H, K = a.shape.K, D = a.shape.D;
    double *out = calloc((size_t)(a.queries * H * D), sizeof *out),
           *d_q = calloc((size_t)(a.queries * H * D), sizeof *d_q);
    double *d_k = calloc((size_t)(a.tokens * K * D), sizeof *d_k),
           *d_v = calloc((size_t)(a.tokens * K * D), sizeof *d_v);
    for (int64_t n = 0; n < a.batch.N; n++) {
        const int32_t *bounds = a.batch.query_rows == NULL ? a.batch.offsets : a.batch.query_offsets;
        for (int64_t query = bounds[n]; query < bounds[n + 1]; query++) {
            for (int64_t h = 0; h < H; h++) reference(&a, n, query, h, out + (query * H + h) * D, d_q, d_k, d_v);
        }
    }
    attention_forward(a.out, a.log_sum, a.q, a.k, a.v, &a.shape, &a.batch);
    attention_backward(a.d_q, a.d_k, a.d_v, a.d_out, a.out, a.log_sum, a.q, a.k, a.v, &a.shape, &a.batch, a.delta);
    assert_near("out", a.out, out, a.queries * H * D);
    assert_near("d_q", a.d_q, d_q, a.queries * H * D);
    assert_near("d_k", a.d_k, d_k, a.tokens * K * D);
    assert_near("d_v", a.d_v, d_v, a.tokens * K * D);
    free(out), free(d_q), free(d_k), free(d_v);
    attention_free(&a);
}

static void ragged_sequences_agree_with_the_plain_version(void **state) {
    (void)state;
    static const int32_t offsets[] = {0, 1, 3, 66, 130, 131, 395};
    check(attention_make(4, 2, 16, 6, offsets, NULL, NULL));
    check(attention_make(3, 3, 12, 6, offsets, NULL, NULL));
    check(attention_make(6, 1, 40, 6, offsets, NULL, NULL));
}

static void long_sequences_and_large_heads_agree_with_the_plain_version(void **state) {
    (void)state;
    static const int32_t offsets[] = {0, 600};
    check(attention_make(2, 1, 64, 1, offsets, NULL, NULL));
    static const int32_t few[] = {0, 70};
    check(attention_make(2, 2, 256, 1, few, NULL, NULL));
    check(attention_make(2, 1, 128, 1, few, NULL, NULL));
}

static void chosen_queries_agree_with_the_plain_version(void **state) {
    (void)state;
    static const int32_t offsets[] = {0, 70, 71, 200}, query_offsets[] = {0, 1, 2, 5}, rows[] = {69, 70, 71, 150, 199};
    check(attention_make(4, 2, 16, 3, offsets, query_offsets, rows));
}

/* The analytic gradients above are themselves held to finite differences of the plain forward. */
static double plain_objective(const struct attention *a) {
    double out[64], sum = 0;
    for (int64_t query = 0; query < a->queries; query++) {
        for (int64_t h = 0; h < a->shape.H; h++) {
            reference(a, 0, query, h, out, NULL, NULL, NULL);
            for (int64_t d = 0; d < a->shape.D; d++)
                sum += out[d] * (double)a->d_out[(query * a->shape.H + h) * a->shape.D + d];
        }
    }
    return sum;
}

static void gradients_agree_with_finite_differences(void **state) {
    (void)state;
    static const int32_t offsets[] = {0, 9};
    struct attention a = attention_make(2, 1, 6, 1, offsets, NULL, NULL);
    attention_forward(a.out, a.log_sum, a.q, a.k, a.v, &a.shape, &a.batch);
    attention_backward(a.d_q, a.d_k, a.d_v, a.d_out, a.out, a.log_sum, a.q, a.k, a.v, &a.shape, &a.batch, a.delta);
    struct {
        float *value, *gradient;
        int64_t count;
    } parts[] = {{a.q, a.d_q, 9 * 2 * 6}, {a.k, a.d_k, 9 * 6}, {a.v, a.d_v, 9 * 6}};
    for (int p = 0; p < 3; p++) {
        for (int64_t i = 0; i < parts[p].count; i++) {
            /* The inputs are f32, so the step is one of its numbers; the forward is double: errors near h^2 = 2e-7. */
            const float kept = parts[p].value[i], h = 0x1p-11f;
            parts[p].value[i] = kept + h;
            const double step_up = (double)parts[p].value[i] - (double)kept, above = plain_objective(&a);
            parts[p].value[i] = kept - h;
            const double step_down = (double)kept - (double)parts[p].value[i], below = plain_objective(&a);
            parts[p].value[i] = kept;
            const double numeric = (above - below) / (step_up + step_down);
            if (fabs(numeric - (double)parts[p].gradient[i]) > 2e-5)
                fail_msg("part %d, element %lld: %g and %g", p, (long long)i, numeric, (double)parts[p].gradient[i]);
        }
    }
    attention_free(&a);
}

static void thread_count_does_not_change_a_bit(void **state) {
    (void)state;
    static const int32_t offsets[] = {0, 100, 230, 231, 300};
    const int threads = threads_count();
    struct attention a = attention_make(4, 2, 16, 4, offsets, NULL, NULL);
    const size_t bytes = (size_t)(a.tokens * 2 * 16) * sizeof(float);
    float *d_k = malloc(bytes), *d_v = malloc(bytes);
    for (int round = 0; round < 2; round++) {
        threads_set(round + 1);
        attention_forward(a.out, a.log_sum, a.q, a.k, a.v, &a.shape, &a.batch);
        attention_backward(a.d_q, a.d_k, a.d_v, a.d_out, a.out, a.log_sum, a.q, a.k, a.v, &a.shape, &a.batch, a.delta);
        if (round == 0) {
            memcpy(d_k, a.d_k, bytes);
            memcpy(d_v, a.d_v, bytes);
        }
    }
    threads_set(threads);
    assert_memory_equal(d_k, a.d_k, bytes);
    assert_memory_equal(d_v, a.d_v, bytes);
    free(d_k), free(d_v);
    attention_free(&a);
}

static void enormous_scores_stay_finite(void **state) {
    (void)state;
    static const int32_t offsets[] = {0, 100};
    struct attention a = attention_make(1, 1, 16, 1, offsets, NULL, NULL);
    for (int i = 0; i < 100 * 16; i++) a.q[i] *= 1e4f;
    attention_forward(a.out, a.log_sum, a.q, a.k, a.v, &a.shape, &a.batch);
    attention_backward(a.d_q, a.d_k, a.d_v, a.d_out, a.out, a.log_sum, a.q, a.k, a.v, &a.shape, &a.batch, a.delta);
    for (int i = 0; i < 100 * 16; i++)
        assert_true(isfinite(a.out[i]) && isfinite(a.d_q[i]) && isfinite(a.d_k[i]) && isfinite(a.d_v[i]));
    attention_free(&a);
}

enum { DEPTH = 37, COLS = 112 };

/* A product of `rows` rows, A as it lies or transposed, against double precision; the last row's first columns alone
 * have the same bits. */
static void check_tile_product(int64_t rows, bool transposed) {
    float *a = noise(rows * DEPTH), *b = noise(DEPTH * COLS), *c = noise(rows * COLS), *want = noise(rows * COLS);
    float alone[LANES];
    const struct operand operand = {a, transposed ? 1 : DEPTH, transposed ? rows : 1};
    memcpy(want, c, (size_t)(rows * COLS) * sizeof *c);
    memcpy(alone, c + (rows - 1) * COLS, sizeof alone);
    tile_product(c, COLS, operand, b, COLS, rows, DEPTH, COLS);
    for (int64_t r = 0; r < rows; r++) {
        for (int64_t j = 0; j < COLS; j++) {
            double sum = (double)want[r * COLS + j], size = fabs(sum);
            for (int64_t k = 0; k < DEPTH; k++) {
                const double term =
                    (double)a[r * operand.row_stride + k * operand.depth_stride] * (double)b[k * COLS + j];
                sum += term;
                size += fabs(term);
            }
            assert_true(fabs((double)c[r * COLS + j] - sum) < 1e-6 * size);
        }
    }
    const struct operand last = {a + (rows - 1) * operand.row_stride, operand.row_stride, operand.depth_stride};
    tile_product(alone, LANES, last, b, COLS, 1, DEPTH, LANES);
    assert_memory_equal(alone, c + (rows - 1) * COLS, sizeof alone);
    free(a), free(b), free(c), free(want);
}

static void every_instruction_set_multiplies_tiles_alike(void **state) {
    (void)state;
    for (int limit = INSTRUCTIONS_PLAIN; limit <= INSTRUCTIONS_VNNI; limit++) {
        processor_limit((enum instructions)limit);
        for (int64_t rows = 1; rows <= 9; rows++) {
            check_tile_product(rows, false);
            check_tile_product(rows, true);
        }
    }
}

static int all_instructions(void **state) {
    (void)state;
    processor_limit(INSTRUCTIONS_VNNI);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(every_instruction_set_multiplies_tiles_alike, all_instructions),
        cmocka_unit_test(ragged_sequences_agree_with_the_plain_version),
        cmocka_unit_test(long_sequences_and_large_heads_agree_with_the_plain_version),
        cmocka_unit_test(chosen_queries_agree_with_the_plain_version),
        cmocka_unit_test(gradients_agree_with_finite_differences),
        cmocka_unit_test(thread_count_does_not_change_a_bit),
        cmocka_unit_test(enormous_scores_stay_finite),
    };
    rng_seed(&rng, 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
