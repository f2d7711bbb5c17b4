/* The small layers: forward against double precision, backward against central differences of the double-precision
 * forward. */
#include "base/rng.h"
#include "base/threads.h"
#include "tensor/attention.h"
#include "tensor/dropout.h"
#include "tensor/exponential.h"
#include "tensor/gelu.h"
#include "tensor/gemm.h"
#include "tensor/kernels.h"
#include "tensor/layernorm.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { T = 7, C = 19 };

static struct rng rng;

static float *noise(int64_t count) {
    float *values = malloc((size_t)count * sizeof *values);
    for (int64_t i = 0; i < count; i++) values[i] = (float)rng_normal(&rng);
    return values;
}

static void assert_near(const char *what, const float *got, const double *want, int64_t count, double relative) {
    double difference = 0, norm = 0;
    for (int64_t i = 0; i < count; i++) {
        assert_true(isfinite(got[i]));
        difference += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        norm += want[i] * want[i];
    }
    if (sqrt(difference) > relative * sqrt(norm) + 1e-30)
        fail_msg("%s: relative error %.2e, allowed %.2e", what, sqrt(difference / norm), relative);
}

/* A scalar function of an array, in double. */
typedef double scalar_function(const double *x, void *context);

/* Central differences with step 1e-5 in double: their own error is near 1e-10 of the values here. */
static void differentiate(double *gradient, const float *at, int64_t count, scalar_function *function, void *context) {
    double *x = malloc((size_t)count * sizeof *x);
    for (int64_t i = 0; i < count; i++) x[i] = (double)at[i];
    for (int64_t i = 0; i < count; i++) {
        const double kept = x[i], h = 1e-5;
        x[i] = kept + h;
        const double above = function(x, context);
        x[i] = kept - h;
        gradient[i] = (above - function(x, context)) / (2 * h);
        x[i] = kept;
    }
    free(x);
}

/* What the scalar functions need beside the array that is differentiated. */
struct inputs {
    const float *a, *b, *weights; /* weights turn an output into a scalar */
    const int32_t *labels;
};

static double norm_of(const double *x, const double *w, const float *weights) {
    double sum = 0;
    for (int t = 0; t < T; t++) {
        double squares = 0;
        for (int c = 0; c < C; c++) squares += x[t * C + c] * x[t * C + c];
        const double s = 1 / sqrt(squares / C + 1e-6);
        for (int c = 0; c < C; c++) sum += (double)weights[t * C + c] * w[c] * x[t * C + c] * s;
    }
    return sum;
}

static double norm_by_x(const double *x, void *context) {
    const struct inputs *in = context;
    double w[C];
    for (int c = 0; c < C; c++) w[c] = (double)in->a[c];
    return norm_of(x, w, in->weights);
}

static double norm_by_w(const double *w, void *context) {
    const struct inputs *in = context;
    double x[T * C];
    for (int i = 0; i < T * C; i++) x[i] = (double)in->a[i];
    return norm_of(x, w, in->weights);
}

static void rmsnorm_backward_agrees_with_finite_differences(void **state) {
    (void)state;
    float *x = noise(T * C), *w = noise(C), *d_y = noise(T * C), y[T * C], rms[T], d_x[T * C] = {0}, d_w[C] = {0};
    float *scratch = malloc((size_t)(threads_count() * C) * sizeof *scratch);
    double numeric[T * C];
    rmsnorm_forward(y, rms, x, w, T, C, 1e-6f);
    rmsnorm_backward(d_x, d_w, d_y, x, w, rms, T, C, scratch);
    differentiate(numeric, x, T * C, norm_by_x, &(struct inputs){.a = w, .weights = d_y});
    assert_near("d_x", d_x, numeric, T * C, 2e-6);
    differentiate(numeric, w, C, norm_by_w, &(struct inputs){.a = x, .weights = d_y});
    assert_near("d_w", d_w, numeric, C, 2e-6);
    free(x), free(w), free(d_y), free(scratch);
}

static double swiglu_by(const double *x, void *context, bool by_gate) {
    const struct inputs *in = context;
    double sum = 0;
    for (int i = 0; i < T * C; i++) {
        const double gate = by_gate ? x[i] : (double)in->a[i], up = by_gate ? (double)in->a[i] : x[i];
        sum += (double)in->weights[i] * gate / (1 + exp(-gate)) * up;
    }
    return sum;
}

static double swiglu_by_gate(const double *x, void *context) {
    return swiglu_by(x, context, true);
}
static double swiglu_by_up(const double *x, void *context) {
    return swiglu_by(x, context, false);
}

static void swiglu_backward_agrees_with_finite_differences(void **state) {
    (void)state;
    float *gate = noise(T * C), *up = noise(T * C), *d_act = noise(T * C), d_gate[T * C], d_up[T * C];
    double numeric[T * C];
    swiglu_backward(d_gate, d_up, d_act, gate, up, T, C);
    differentiate(numeric, gate, T * C, swiglu_by_gate, &(struct inputs){.a = up, .weights = d_act});
    assert_near("d_gate", d_gate, numeric, T * C, 2e-6);
    differentiate(numeric, up, T * C, swiglu_by_up, &(struct inputs){.a = gate, .weights = d_act});
    assert_near("d_up", d_up, numeric, T * C, 2e-6);
    swiglu_backward(d_act, d_up, d_act, gate, up, T, C);
    assert_memory_equal(d_act, d_gate, sizeof d_gate);
    free(gate), free(up), free(d_act);
}

static double layernorm_of(const double *x, const double *w, const double *b, const float *weights) {
    double sum = 0;
    for (int t = 0; t < T; t++) {
        double mean = 0, variance = 0;
        for (int c = 0; c < C; c++) mean += x[t * C + c] / C;
        for (int c = 0; c < C; c++) variance += (x[t * C + c] - mean) * (x[t * C + c] - mean) / C;
        for (int c = 0; c < C; c++) {
            const double y = w[c] * (x[t * C + c] - mean) / sqrt(variance + 1e-5) + b[c];
            sum += (double)weights[t * C + c] * y;
        }
    }
    return sum;
}

/* w and b stand end to end in in->a, or are what is differentiated. */
static double layernorm_by_x(const double *x, void *context) {
    const struct inputs *in = context;
    double w[2 * C];
    for (int c = 0; c < 2 * C; c++) w[c] = (double)in->a[c];
    return layernorm_of(x, w, w + C, in->weights);
}

static double layernorm_by_w(const double *w, void *context) {
    const struct inputs *in = context;
    double x[T * C];
    for (int i = 0; i < T * C; i++) x[i] = (double)in->a[i];
    return layernorm_of(x, w, w + C, in->weights);
}

static void layernorm_backward_agrees_with_finite_differences(void **state) {
    (void)state;
    float *x = noise(T * C), *w = noise(2 * C), *d_y = noise(T * C), y[T * C], d_x[T * C], d_w[2 * C] = {0};
    float *scratch = malloc((size_t)(threads_count() * 2 * C) * sizeof *scratch);
    struct row_moments moments[T];
    double numeric[T * C], at[T * C], value = 0;
    for (int i = 0; i < T * C; i++) at[i] = (double)(x[i] += 3); /* rows that are not centred */
    layernorm_forward(y, moments, x, w, w + C, T, C, 1e-5f);
    for (int i = 0; i < T * C; i++) value += (double)y[i] * (double)d_y[i];
    const double want = layernorm_by_x(at, &(struct inputs){.a = w, .weights = d_y});
    assert_true(fabs(value - want) < 1e-5 * fabs(want));
    layernorm_backward(d_x, d_w, d_w + C, d_y, x, w, moments, T, C, scratch);
    differentiate(numeric, x, T * C, layernorm_by_x, &(struct inputs){.a = w, .weights = d_y});
    assert_near("d_x", d_x, numeric, T * C, 3e-6);
    differentiate(numeric, w, 2 * C, layernorm_by_w, &(struct inputs){.a = x, .weights = d_y});
    assert_near("d_w and d_b", d_w, numeric, 2 * C, 3e-6);
    layernorm_backward(d_y, NULL, NULL, d_y, x, w, moments, T, C, NULL);
    assert_memory_equal(d_y, d_x, sizeof d_x);
    free(x), free(w), free(d_y), free(scratch);
}

static double normal_cumulative(double x) {
    return 0.5 * erfc(-x / sqrt(2));
}

static void gelu_and_tanh_are_exact_to_the_last_bits(void **state) {
    (void)state;
    for (double at = -30; at <= 30; at += 0.0007) {
        const float x = (float)at;
        float gelu, tangent, slope;
        const float one = 1;
        gelu_forward(&gelu, &x, 1);
        tanh_forward(&tangent, &x, 1);
        gelu_backward(&slope, &one, &x, 1);
        const double wide = (double)x, p = normal_cumulative(wide), density = exp(-wide * wide / 2) / 2.50662827463100;
        const double room = fabs(wide) > 1 ? fabs(wide) : 1;
        if (fabs((double)gelu - wide * p) > 3e-7 * room) fail_msg("gelu(%.9g) is %.9g", wide, (double)gelu);
        if (fabs((double)slope - p - wide * density) > 3e-7 * room)
            fail_msg("gelu'(%.9g) is %.9g", wide, (double)slope);
        if (fabs((double)tangent - tanh(wide)) > 2e-7) fail_msg("tanh(%.9g) is %.9g", wide, (double)tangent);
        if (fabs(wide) < 0.25 && fabs((double)tangent - tanh(wide)) > 2e-7 * fabs(wide))
            fail_msg("tanh(%.9g) is %.9g", wide, (double)tangent);
    }
}

static double gelu_and_tanh_by(const double *x, void *context) {
    const struct inputs *in = context;
    double sum = 0;
    for (int i = 0; i < T * C; i++)
        sum += (double)in->weights[i] * (in->labels == NULL ? x[i] * normal_cumulative(x[i]) : tanh(x[i]));
    return sum;
}

static void gelu_and_tanh_backward_agree_with_finite_differences(void **state) {
    (void)state;
    static const int32_t any = 0;
    float *x = noise(T * C), *d_y = noise(T * C), y[T * C], d_x[T * C];
    double numeric[T * C];
    gelu_backward(d_x, d_y, x, T * C);
    differentiate(numeric, x, T * C, gelu_and_tanh_by, &(struct inputs){.weights = d_y});
    assert_near("gelu", d_x, numeric, T * C, 2e-6);
    tanh_forward(y, x, T * C);
    tanh_backward(d_x, d_y, y, T * C);
    differentiate(numeric, x, T * C, gelu_and_tanh_by, &(struct inputs){.weights = d_y, .labels = &any});
    assert_near("tanh", d_x, numeric, T * C, 2e-6);
    free(x), free(d_y);
}

static void dropout_zeroes_its_share_and_keeps_the_mean_and_its_backward_draws_the_same(void **state) {
    (void)state;
    enum { COUNT = 100000 };
    const struct dropout dropout = {0.3, 17}, other = {0.3, 18};
    float *x = malloc(COUNT * sizeof *x), *y = malloc(COUNT * sizeof *y), *d_x = calloc(COUNT, sizeof *d_x);
    int64_t zeroes = 0, same = 0;
    for (int i = 0; i < COUNT; i++) x[i] = 1;
    dropout_apply(y, x, COUNT, dropout);
    dropout_backward(d_x, x, COUNT, dropout);
    assert_memory_equal(y, d_x, COUNT * sizeof *y);
    for (int i = 0; i < COUNT; i++) {
        assert_true(y[i] <= 0 || fabsf(y[i] - 1 / 0.7f) < 1e-6f);
        zeroes += y[i] <= 0;
    }
    assert_in_range(zeroes, COUNT * 0.295, COUNT * 0.305);
    dropout_apply(d_x, x, COUNT, other);
    for (int i = 0; i < COUNT; i++) same += (y[i] <= 0) == (d_x[i] <= 0);
    assert_in_range(same, COUNT * 0.57, COUNT * 0.59); /* 0.7^2 + 0.3^2 */
    free(x), free(y), free(d_x);
}

static double cross_entropy_by_logits(const double *x, void *context) {
    const struct inputs *in = context;
    double sum = 0;
    for (int t = 0; t < T; t++) {
        double total = 0;
        for (int c = 0; c < C; c++) total += exp(x[t * C + c]);
        sum += (log(total) - x[t * C + in->labels[t]]) / T;
    }
    return sum;
}

static void cross_entropy_gradient_agrees_with_finite_differences(void **state) {
    (void)state;
    static const int32_t labels[T] = {0, 18, 3, 3, 7, 11, 2};
    float *logits = noise(T * C), losses[T], d_logits[T * C];
    double numeric[T * C], sum = 0;
    cross_entropy(losses, d_logits, logits, labels, T, C, 1.0f / T);
    differentiate(numeric, logits, T * C, cross_entropy_by_logits, &(struct inputs){.labels = labels});
    assert_near("d_logits", d_logits, numeric, T * C, 2e-6);
    double at[T * C];
    for (int i = 0; i < T * C; i++) at[i] = (double)logits[i];
    for (int t = 0; t < T; t++) sum += (double)losses[t] / T;
    assert_true(fabs(sum - cross_entropy_by_logits(at, &(struct inputs){.labels = labels})) < 1e-6);
    free(logits);
}

static void cross_entropy_of_huge_logits_stays_finite(void **state) {
    (void)state;
    const float logits[3] = {3e4f, -3e4f, 2.9e4f};
    const int32_t label = 1;
    float loss, d_logits[3];
    cross_entropy(&loss, d_logits, logits, &label, 1, 3, 1);
    assert_true(isfinite(loss) && fabs((double)loss - 6e4) < 1);
    assert_true(isfinite(d_logits[0]) && isfinite(d_logits[1]) && isfinite(d_logits[2]));
}

static void exponential_is_within_2e_7(void **state) {
    (void)state;
    double worst = 0;
    for (double x = -87; x <= 88; x += 0.0037) {
        const double want = exp((double)(float)x), error = fabs((double)exponential((float)x) - want) / want;
        if (error > worst) worst = error;
    }
    if (worst > 2e-7) fail_msg("relative error %.2e", worst);
    assert_true(exponential(-1e30f) >= 0 && exponential(-1e30f) < 1e-37f && isfinite(exponential(1e30f)));
}

static void rope_backward_undoes_forward_and_keeps_lengths(void **state) {
    (void)state;
    enum { D = 12, HEADS = 2 };
    const double frequency[D / 2] = {1, 0.5, 0.25, 0.1, 0.01, 0.001};
    const int32_t position[T] = {0, 1, 2, 3, 0, 1, 2};
    float cosines[4 * D / 2], sines[4 * D / 2], *x = noise(T * HEADS * D), turned[T * HEADS * D];
    rope_table(cosines, sines, frequency, 4, D);
    memcpy(turned, x, sizeof turned);
    rope_forward(turned, position, cosines, sines, T, HEADS, D);
    /* Element 0 of token 1 turns with element D/2 by one radian. */
    const double want = (double)x[HEADS * D] * cos(1) - (double)x[HEADS * D + D / 2] * sin(1);
    assert_true(fabs((double)turned[HEADS * D] - want) < 1e-6);
    rope_backward(turned, position, cosines, sines, T, HEADS, D);
    double back[T * HEADS * D];
    for (int i = 0; i < T * HEADS * D; i++) back[i] = (double)x[i];
    assert_near("back", turned, back, T * HEADS * D, 1e-6);
    free(x);
}

static void embedding_gradient_sums_over_repeated_tokens(void **state) {
    (void)state;
    static const int32_t tokens[T] = {1, 4, 1, 0, 1, 2, 4};
    float *table = noise(5 * C), *d_out = noise(T * C), out[T * C], d_table[5 * C] = {0};
    const struct matrix matrix = {DTYPE_F32, 5, C, table};
    embedding_forward(out, &matrix, tokens, T);
    embedding_backward(d_table, d_out, tokens, T, C);
    for (int c = 0; c < C; c++) {
        assert_true(!(out[1 * C + c] < table[4 * C + c]) && !(out[1 * C + c] > table[4 * C + c]));
        assert_true(fabsf(d_table[1 * C + c] - (d_out[c] + d_out[2 * C + c] + d_out[4 * C + c])) < 1e-5f);
        assert_true(fabsf(d_table[3 * C + c]) <= 0);
    }
    free(table), free(d_out);
}

static double reference_product(bool ta, bool tb, int64_t N, int64_t K, int64_t M, const float *A, const float *B,
                                int64_t m, int64_t n) {
    double sum = 0;
    for (int64_t k = 0; k < K; k++)
        sum += (double)(ta ? A[k * M + m] : A[m * K + k]) * (double)(tb ? B[n * K + k] : B[k * N + n]);
    return sum;
}

static void products_agree_with_double_precision(void **state) {
    (void)state;
    static const int64_t shapes[][3] = {{1, 1, 1},    {1, 33, 17},   {3, 70, 129}, {5, 7, 3},
                                        {64, 48, 32}, {37, 130, 61}, {2, 5, 0},    {130, 3, 257}};
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        const int64_t M = shapes[s][0], N = shapes[s][1], K = shapes[s][2];
        for (int way = 0; way < 8; way++) {
            const bool ta = way & 1, tb = way & 2, accumulate = way & 4;
            float *A = noise(M * K), *B = noise(N * K), *got = noise(M * N);
            double *want = malloc((size_t)(M * N) * sizeof *want);
            for (int64_t i = 0; i < M * N; i++) {
                want[i] =
                    0.5 * reference_product(ta, tb, N, K, M, A, B, i / N, i % N) + (accumulate ? (double)got[i] : 0);
            }
            gemm(ta, tb, M, N, K, 0.5f, A, ta ? M : K, B, tb ? K : N, accumulate ? 1 : 0, got, N);
            assert_near("product", got, want, M * N, 1e-6);
            free(A), free(B), free(got), free(want);
        }
    }
}

static void linear_layers_read_every_storage_type(void **state) {
    (void)state;
    enum { O = 300, I = 2100 }; /* more than one panel of widened rows */
    float *w = noise(O * I), *x = noise(T * I), *d_y = noise(T * O), *y = malloc(T * O * sizeof *y),
          *d_x = malloc(T * I * sizeof *d_x);
    float *panel = malloc(4 << 20), bias_values[O];
    uint16_t *stored = malloc((size_t)O * I * sizeof *stored);
    double *want = malloc((size_t)T * I * sizeof *want);
    for (int o = 0; o < O; o++) bias_values[o] = (float)o / 100;
    const struct matrix bias = {DTYPE_F32, 1, O, bias_values};
    for (int d = DTYPE_F16; d <= DTYPE_BF16; d++) {
        struct matrix weight = {(enum dtype)d, O, I, stored};
        if (d == DTYPE_F16)
            narrow_f16(stored, w, (int64_t)O * I);
        else
            narrow_bf16(stored, w, (int64_t)O * I);
        matrix_widen(w, &weight, 0, (int64_t)O * I);
        assert_true(linear_panel_size(&weight) <= (int64_t)(4 << 20) / 4);
        linear_forward(y, x, &weight, &bias, T, false, panel);
        for (int i = 0; i < T * O; i++)
            want[i] = reference_product(false, true, O, I, T, x, w, i / O, i % O) + (double)bias_values[i % O];
        assert_near("y", y, want, T * O, 1e-6);
        linear_backward_input(d_x, d_y, &weight, T, false, panel);
        for (int i = 0; i < T * I; i++) want[i] = reference_product(false, false, I, O, T, d_y, w, i / I, i % I);
        assert_near("d_x", d_x, want, T * I, 1e-6);
    }
    free(w), free(x), free(d_y), free(y), free(d_x), free(panel), free(stored), free(want);
}

static void halves_and_bfloats_round_to_nearest_even(void **state) {
    (void)state;
    const float in[] = {1.0f,          -2.5f,         65504.0f, 65520.0f,       6.1035156e-5f,
                        5.9604645e-8f, 2.9802322e-8f, 0.0f,     1.00048828125f, INFINITY};
    const uint16_t half[] = {0x3c00, 0xc100, 0x7bff, 0x7c00, 0x0400, 0x0001, 0x0000, 0x0000, 0x3c00, 0x7c00};
    uint16_t got[10];
    narrow_f16(got, in, 10);
    assert_memory_equal(got, half, sizeof half);
    float back[10];
    const struct matrix matrix = {DTYPE_F16, 1, 10, got};
    matrix_widen(back, &matrix, 0, 10);
    assert_true(fabsf(back[5] - 5.9604645e-8f) <= 0 && isinf(back[3]) && fabsf(back[1] + 2.5f) <= 0);
    const float ties[] = {1.00390625f, 1.01171875f, NAN};
    narrow_bf16(got, ties, 3);
    assert_int_equal(got[0], 0x3f80);
    assert_int_equal(got[1], 0x3f82);
    assert_true((got[2] & 0x7fff) > 0x7f80);
    const struct matrix bad = {DTYPE_BF16, 1, 3, got};
    assert_int_equal(matrix_find_nonfinite(&bad), 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rmsnorm_backward_agrees_with_finite_differences),
        cmocka_unit_test(swiglu_backward_agrees_with_finite_differences),
        cmocka_unit_test(layernorm_backward_agrees_with_finite_differences),
        cmocka_unit_test(gelu_and_tanh_are_exact_to_the_last_bits),
        cmocka_unit_test(gelu_and_tanh_backward_agree_with_finite_differences),
        cmocka_unit_test(dropout_zeroes_its_share_and_keeps_the_mean_and_its_backward_draws_the_same),
        cmocka_unit_test(cross_entropy_gradient_agrees_with_finite_differences),
        cmocka_unit_test(cross_entropy_of_huge_logits_stays_finite),
        cmocka_unit_test(exponential_is_within_2e_7),
        cmocka_unit_test(rope_backward_undoes_forward_and_keeps_lengths),
        cmocka_unit_test(embedding_gradient_sums_over_repeated_tokens),
        cmocka_unit_test(products_agree_with_double_precision),
        cmocka_unit_test(linear_layers_read_every_storage_type),
        cmocka_unit_test(halves_and_bfloats_round_to_nearest_even),
    };
    rng_seed(&rng, 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
