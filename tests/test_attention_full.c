/* Attention of an encoder: against a plain version in double, dropout of its weights included, and the plain version's
 * gradients against central differences of its own output. */
#include "base/rng.h"
#include "base/threads.h"
#include "tensor/attention_full.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* One problem: inputs, outputs, gradients. */
struct problem {
    struct full_attention shape;
    int64_t tokens, queries;
    float *q, *k, *v, *d_out, *out, *log_sum, *d_q, *d_k, *d_v;
};

static float *noise(struct rng *rng, int64_t count) {
    float *values = malloc((size_t)count * sizeof *values);
    for (int64_t i = 0; i < count; i++) values[i] = (float)rng_normal(rng);
    return values;
}

static struct problem problem_make(int64_t H, int64_t D, int64_t N, const int32_t *keys, const int32_t *queries,
                                   double rate) {
    struct rng rng;
    rng_seed(&rng, 5);
    struct problem p = {.tokens = keys[N], .queries = queries[N]};
    p.shape = (struct full_attention){.H = H,
                                      .D = D,
                                      .scale = 1.0f / sqrtf((float)D),
                                      .dropout = {rate, 77},
                                      .N = N,
                                      .key_offsets = keys,
                                      .query_offsets = queries};
    for (int64_t n = 0; n < N; n++) {
        if (keys[n + 1] - keys[n] > p.shape.longest) p.shape.longest = keys[n + 1] - keys[n];
    }
    p.shape.scratch = malloc((size_t)(threads_count() * full_attention_scratch(D, p.shape.longest)) * sizeof(float));
    p.q = noise(&rng, p.queries * H * D), p.d_out = noise(&rng, p.queries * H * D);
    p.k = noise(&rng, p.tokens * H * D), p.v = noise(&rng, p.tokens * H * D);
    p.out = noise(&rng, p.queries * H * D), p.d_q = noise(&rng, p.queries * H * D);
    p.d_k = noise(&rng, p.tokens * H * D), p.d_v = noise(&rng, p.tokens * H * D);
    p.log_sum = noise(&rng, p.queries * H);
    return p;
}

static void problem_free(struct problem *p) {
    free(p->shape.scratch), free(p->q), free(p->k), free(p->v), free(p->d_out), free(p->out), free(p->log_sum);
    free(p->d_q), free(p->d_k), free(p->d_v);
}

/* The output of one query of one head, and what its gradient adds to the others' (d_q NULL: the output alone). */
static void plain_query(const struct problem *p, int64_t n, int64_t query, int64_t h, double *out, double *d_q,
                        double *d_k, double *d_v) {
    const int64_t H = p->shape.H, D = p->shape.D, first = p->shape.key_offsets[n];
    const int64_t keys = p->shape.key_offsets[n + 1] - first, at = (query * H + h) * D;
    double *w = malloc((size_t)keys * sizeof *w), *d_w = malloc((size_t)keys * sizeof *d_w), sum = 0, dot = 0;
    float *factors = malloc((size_t)keys * sizeof *factors);
    dropout_factors(factors, (uint64_t)(query * H + h) << 20, keys, p->shape.dropout);
    for (int64_t j = 0; j < keys; j++) {
        double score = 0;
        for (int64_t d = 0; d < D; d++) score += (double)p->q[at + d] * (double)p->k[((first + j) * H + h) * D + d];
        w[j] = exp(score * (double)p->shape.scale);
        sum += w[j];
    }
    for (int64_t d = 0; d < D; d++) out[d] = 0;
    for (int64_t j = 0; j < keys; j++) {
        const int64_t key = ((first + j) * H + h) * D;
        w[j] /= sum;
        d_w[j] = 0;
        for (int64_t d = 0; d < D; d++) {
            out[d] += w[j] * (double)factors[j] * (double)p->v[key + d];
            d_w[j] += (double)factors[j] * (double)p->d_out[at + d] * (double)p->v[key + d];
        }
        dot += w[j] * d_w[j];
    }
    for (int64_t j = 0; d_q != NULL && j < keys; j++) {
        const int64_t key = ((first + j) * H + h) * D;
        const double d_score = w[j] * (d_w[j] - dot) * (double)p->shape.scale;
        for (int64_t d = 0; d < D; d++) {
            d_v[key + d] += w[j] * (double)factors[j] * (double)p->d_out[at + d];
            d_q[at + d] += d_score * (double)p->k[key + d];
            d_k[key + d] += d_score * (double)p->q[at + d];
        }
    }
    free(w), free(d_w), free(factors);
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

static void run(const struct problem *p) {
    full_attention_forward(p->out, p->log_sum, p->q, p->k, p->v, &p->shape);
    full_attention_backward(p->d_q, p->d_k, p->d_v, p->d_out, p->out, p->log_sum, p->q, p->k, p->v, &p->shape);
}

static void check(struct problem p) {
    const int64_t H = p.shape.H, D = p.shape.D, whole = p.queries * H * D, keys = p.tokens * H * D;
    double *out = calloc((size_t)whole, sizeof *out), *d_q = calloc((size_t)whole, sizeof *d_q),
           *d_k = calloc((size_t)keys, sizeof *d_k), *d_v = calloc((size_t)keys, sizeof *d_v);
    for (int64_t n = 0; n < p.shape.N; n++) {
        for (int64_t query = p.shape.query_offsets[n]; query < p.shape.query_offsets[n + 1]; query++) {
            for (int64_t h = 0; h < H; h++) plain_query(&p, n, query, h, out + (query * H + h) * D, d_q, d_k, d_v);
        }
    }
    run(&p);
    assert_near("out", p.out, out, whole);
    assert_near("d_q", p.d_q, d_q, whole);
    assert_near("d_k", p.d_k, d_k, keys);
    assert_near("d_v", p.d_v, d_v, keys);
    free(out), free(d_q), free(d_k), free(d_v);
    problem_free(&p);
}

static const int32_t ragged[] = {0, 1, 3, 66, 130, 131, 395};

static void every_query_sees_all_keys_of_its_sequence_and_no_others(void **state) {
    (void)state;
    check(problem_make(4, 16, 6, ragged, ragged, 0));
    check(problem_make(3, 9, 6, ragged, ragged, 0));
    static const int32_t longer[] = {0, 600};
    check(problem_make(2, 64, 1, longer, longer, 0));
    check(problem_make(1, 256, 1, longer, longer, 0));
}

static void some_queries_of_a_sequence_are_as_good_as_all(void **state) {
    (void)state;
    static const int32_t queries[] = {0, 1, 2, 3, 4, 5, 6};
    check(problem_make(4, 16, 6, ragged, queries, 0));
}

static void dropped_weights_are_dropped_in_both_directions(void **state) {
    (void)state;
    check(problem_make(4, 16, 6, ragged, ragged, 0.3));
}

static double objective(const struct problem *p) {
    double out[64], sum = 0;
    for (int64_t query = 0; query < p->queries; query++) {
        for (int64_t h = 0; h < p->shape.H; h++) {
            plain_query(p, 0, query, h, out, NULL, NULL, NULL);
            for (int64_t d = 0; d < p->shape.D; d++)
                sum += out[d] * (double)p->d_out[(query * p->shape.H + h) * p->shape.D + d];
        }
    }
    return sum;
}

/* Steps of 2^-10 are exact in f32 beside values of order 1; in double the difference is good to 1e-6. */
static void differentiate(double *gradient, float *values, int64_t count, const struct problem *p) {
    for (int64_t i = 0; i < count; i++) {
        const float kept = values[i];
        values[i] = kept + 0x1p-10f;
        const double above = objective(p), high = (double)values[i];
        values[i] = kept - 0x1p-10f;
        gradient[i] = (above - objective(p)) / (high - (double)values[i]);
        values[i] = kept;
    }
}

static void gradients_agree_with_finite_differences(void **state) {
    (void)state;
    enum { COUNT = 11 * 2 * 6 };
    static const int32_t one[] = {0, 11};
    for (int dropped = 0; dropped < 2; dropped++) {
        struct problem p = problem_make(2, 6, 1, one, one, dropped ? 0.25 : 0);
        float *const values[] = {p.q, p.k, p.v}, *const gradients[] = {p.d_q, p.d_k, p.d_v};
        run(&p);
        for (int which = 0; which < 3; which++) {
            double numeric[COUNT], difference = 0, norm = 0;
            differentiate(numeric, values[which], COUNT, &p);
            for (int i = 0; i < COUNT; i++) {
                difference += pow((double)gradients[which][i] - numeric[i], 2);
                norm += numeric[i] * numeric[i];
            }
            if (sqrt(difference) > 1e-5 * sqrt(norm)) fail_msg("array %d: off by %.2e", which, sqrt(difference / norm));
        }
        problem_free(&p);
    }
}

static void thread_count_does_not_change_a_bit(void **state) {
    (void)state;
    const int before = threads_count();
    threads_set(1);
    struct problem one = problem_make(4, 16, 6, ragged, ragged, 0.1);
    run(&one);
    threads_set(3);
    struct problem three = problem_make(4, 16, 6, ragged, ragged, 0.1);
    run(&three);
    threads_set(before);
    assert_memory_equal(one.out, three.out, (size_t)(one.queries * 64) * sizeof(float));
    assert_memory_equal(one.d_q, three.d_q, (size_t)(one.queries * 64) * sizeof(float));
    assert_memory_equal(one.d_k, three.d_k, (size_t)(one.tokens * 64) * sizeof(float));
    assert_memory_equal(one.d_v, three.d_v, (size_t)(one.tokens * 64) * sizeof(float));
    problem_free(&one), problem_free(&three);
}

static void enormous_scores_stay_finite(void **state) {
    (void)state;
    static const int32_t one[] = {0, 40};
    struct problem p = problem_make(2, 16, 1, one, one, 0);
    for (int64_t i = 0; i < 40 * 32; i++) p.q[i] *= 1e4f;
    run(&p);
    for (int64_t i = 0; i < 40 * 32; i++) assert_true(isfinite(p.out[i]) && isfinite(p.d_q[i]) && isfinite(p.d_k[i]));
    problem_free(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_query_sees_all_keys_of_its_sequence_and_no_others),
        cmocka_unit_test(some_queries_of_a_sequence_are_as_good_as_all),
        cmocka_unit_test(dropped_weights_are_dropped_in_both_directions),
        cmocka_unit_test(gradients_agree_with_finite_differences),
        cmocka_unit_test(thread_count_does_not_change_a_bit),
        cmocka_unit_test(enormous_scores_stay_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
