/* The loss over the vocabulary: its values against sums in double, its gradients against the closed form and finite
 * differences, and that the pieces it works in do not show. */
#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"
#include "model/lm_loss.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { Q = 9, V = 53, C = 12 };

/* A head alone, with gradients, and rows to put through it. */
struct bare {
    struct decoder decoder;
    float weight[V * C], d_weight[V * C];
    float hidden[Q * C], d_hidden[Q * C];
    int32_t targets[Q];
    float coefficients[Q], log_p[Q], entropy[Q];
    struct lm_loss loss;
    struct lm_rows rows;
};

static void open_bare(struct bare *bare, float temperature) {
    struct rng rng;
    struct error error = {0};
    *bare = (struct bare){0};
    rng_seed(&rng, 5);
    for (int i = 0; i < V * C; i++) bare->weight[i] = (float)rng_normal(&rng);
    for (int i = 0; i < Q * C; i++) bare->hidden[i] = (float)rng_normal(&rng);
    for (int i = 0; i < Q; i++) {
        bare->targets[i] = (int32_t)rng_below(&rng, V);
        bare->coefficients[i] = (float)rng_normal(&rng);
    }
    bare->coefficients[3] = 0;
    bare->targets[0] = 0;
    bare->targets[1] = V - 1;
    bare->decoder.head.weight = (struct matrix){DTYPE_F32, V, C, bare->weight};
    bare->decoder.head.d_weight = bare->d_weight;
    assert_true(lm_loss_open(&bare->loss, &bare->decoder, Q, &error));
    bare->rows = (struct lm_rows){Q, bare->hidden, bare->targets, temperature};
}

/* softmax(logits / temperature) of one row in double; its value at the target and its entropy. */
static double row_in_double(const struct bare *bare, int i, double *p, double *entropy) {
    double z[V], largest = -1e300, sum = 0;
    for (int v = 0; v < V; v++) {
        z[v] = 0;
        for (int c = 0; c < C; c++) z[v] += (double)bare->hidden[i * C + c] * (double)bare->weight[v * C + c];
        z[v] /= (double)bare->rows.temperature;
        largest = z[v] > largest ? z[v] : largest;
    }
    for (int v = 0; v < V; v++) sum += p[v] = exp(z[v] - largest);
    *entropy = 0;
    for (int v = 0; v < V; v++) {
        p[v] /= sum;
        *entropy -= p[v] * log(p[v]);
    }
    return z[bare->targets[i]] - largest - log(sum);
}

static void check_against_double(struct bare *bare) {
    double d_weight[V * C] = {0};
    for (int i = 0; i < Q; i++) {
        double p[V], entropy;
        assert_float_equal((float)row_in_double(bare, i, p, &entropy), bare->log_p[i], 2e-5);
        assert_float_equal((float)entropy, bare->entropy[i], 2e-5);
        for (int c = 0; c < C; c++) {
            double d_hidden = 0;
            for (int v = 0; v < V; v++) {
                const double d = (double)bare->coefficients[i] / (double)bare->rows.temperature *
                                 (p[v] - (v == bare->targets[i] ? 1.0 : 0.0));
                d_hidden += d * (double)bare->weight[v * C + c];
                d_weight[v * C + c] += d * (double)bare->hidden[i * C + c];
            }
            assert_float_equal((float)d_hidden, bare->d_hidden[i * C + c], 2e-5);
        }
    }
    for (int i = 0; i < V * C; i++) assert_float_equal((float)d_weight[i], bare->d_weight[i], 2e-5);
}

/* Scratch for so many logits: whole rows of some, or some columns of all. */
static void check_with_scratch(int64_t floats, float temperature, bool at_once) {
    struct bare bare;
    open_bare(&bare, temperature);
    bare.loss.scratch = floats;
    if (at_once) {
        lm_loss_step(&bare.loss, &bare.decoder, &bare.rows, bare.coefficients, bare.log_p, bare.entropy, bare.d_hidden);
    } else {
        lm_loss_forward(&bare.loss, &bare.decoder, &bare.rows, bare.log_p, bare.entropy);
        lm_loss_backward(&bare.loss, &bare.decoder, &bare.rows, bare.coefficients, bare.d_hidden);
    }
    check_against_double(&bare);
    lm_loss_close(&bare.loss);
}

static void values_and_gradients_agree_with_sums_in_double_in_whatever_pieces(void **state) {
    (void)state;
    static const int64_t scratch[] = {(int64_t)Q * V, (int64_t)Q * V - 1, Q * 17, Q};
    for (size_t i = 0; i < sizeof scratch / sizeof scratch[0]; i++) {
        check_with_scratch(scratch[i], 1, false);
        check_with_scratch(scratch[i], 0.7f, false);
        check_with_scratch(scratch[i], 1.3f, true);
    }
}

static void a_vocabulary_beyond_the_scratch_is_cut_by_rows_where_both_passes_go_together(void **state) {
    (void)state;
    enum { ROWS = 300, WIDE = 1 << 17, WIDTH = 4 };
    float *weight = memory_alloc(WIDE * WIDTH, sizeof *weight), *hidden = memory_alloc(ROWS * WIDTH, sizeof *hidden);
    float *one = memory_alloc(ROWS * WIDTH, sizeof *one), *two = memory_alloc(ROWS * WIDTH, sizeof *two);
    float log_p[2][ROWS], coefficients[ROWS];
    int32_t targets[ROWS];
    struct rng rng;
    struct error error = {0};
    rng_seed(&rng, 9);
    for (int i = 0; i < WIDE * WIDTH; i++) weight[i] = (float)rng_normal(&rng);
    for (int i = 0; i < ROWS * WIDTH; i++) hidden[i] = (float)rng_normal(&rng);
    for (int i = 0; i < ROWS; i++) {
        targets[i] = (int32_t)rng_below(&rng, WIDE);
        coefficients[i] = 1;
    }
    const struct decoder decoder = {.head = {.weight = {DTYPE_F32, WIDE, WIDTH, weight}}};
    struct lm_loss loss;
    assert_true(lm_loss_open(&loss, &decoder, ROWS, &error));
    assert_true(loss.scratch < (int64_t)ROWS * WIDE);
    const struct lm_rows rows = {ROWS, hidden, targets, 1};
    lm_loss_forward(&loss, &decoder, &rows, log_p[0], NULL);
    assert_int_equal(loss.kept, 0);
    lm_loss_backward(&loss, &decoder, &rows, coefficients, one);
    lm_loss_step(&loss, &decoder, &rows, coefficients, log_p[1], NULL, two);
    for (int i = 0; i < ROWS; i++) assert_float_equal(log_p[0][i], log_p[1][i], 2e-5);
    for (int i = 0; i < ROWS * WIDTH; i++) assert_float_equal(one[i], two[i], 1e-4);
    lm_loss_close(&loss);
    memory_free(weight);
    memory_free(hidden);
    memory_free(one);
    memory_free(two);
}

/* A loss as GRPO has it: not linear in log p, with a KL term. Its coefficients are its derivatives by -log p. */
static double curved_loss(const float *log_p, const float *reference, float *coefficients) {
    double loss = 0;
    float kl[Q], d_kl[Q];
    lm_loss_kl(kl, d_kl, log_p, reference, Q);
    for (int i = 0; i < Q; i++) {
        const double ratio = exp((double)log_p[i] + 2), advantage = i % 2 == 0 ? 0.8 : -0.3;
        loss += -ratio * advantage + 0.5 * (double)kl[i];
        coefficients[i] = (float)(ratio * advantage) + 0.5f * d_kl[i];
    }
    return loss;
}

static void coefficients_of_a_curved_loss_give_the_gradient_that_finite_differences_give(void **state) {
    (void)state;
    struct bare bare;
    open_bare(&bare, 0.9f);
    float reference[Q];
    for (int i = 0; i < Q; i++) reference[i] = -3.0f + 0.1f * (float)i;
    lm_loss_forward(&bare.loss, &bare.decoder, &bare.rows, bare.log_p, NULL);
    curved_loss(bare.log_p, reference, bare.coefficients);
    lm_loss_backward(&bare.loss, &bare.decoder, &bare.rows, bare.coefficients, bare.d_hidden);
    const float h = 0x1p-8f;
    double difference = 0, norm = 0;
    for (int i = 0; i < Q * C; i++) {
        const float kept = bare.hidden[i];
        double side[2];
        for (int s = 0; s < 2; s++) {
            bare.hidden[i] = s == 0 ? kept + h : kept - h;
            lm_loss_forward(&bare.loss, &bare.decoder, &bare.rows, bare.log_p, NULL);
            side[s] = curved_loss(bare.log_p, reference, bare.coefficients);
        }
        bare.hidden[i] = kept;
        const double numeric = (side[0] - side[1]) / (2 * (double)h);
        difference += (numeric - (double)bare.d_hidden[i]) * (numeric - (double)bare.d_hidden[i]);
        norm += numeric * numeric;
    }
    assert_true(norm > 0.1);
    assert_true(sqrt(difference) <= 2e-3 * sqrt(norm));
    lm_loss_close(&bare.loss);
}

static void weighted_sums_count_each_row_with_its_weight(void **state) {
    (void)state;
    const float log_p[] = {-1, -2, -4}, weights[] = {0.5f, 0, 2};
    assert_true(fabs(lm_loss_weighted(log_p, weights, 3) - 8.5) < 1e-12);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_and_gradients_agree_with_sums_in_double_in_whatever_pieces),
        cmocka_unit_test(a_vocabulary_beyond_the_scratch_is_cut_by_rows_where_both_passes_go_together),
        cmocka_unit_test(coefficients_of_a_curved_loss_give_the_gradient_that_finite_differences_give),
        cmocka_unit_test(weighted_sums_count_each_row_with_its_weight),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
