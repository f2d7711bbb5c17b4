/* The bag-of-words baselines against figures worked out by hand, and what evaluation makes of DRGs that a model does
 * not know. */
#include "base/error.h"
#include "eval/baseline.h"
#include "eval/evaluation.h"
#include "eval/naive_bayes.h"
#include "eval/ngrams.h"
#include "folder.h"
#include "model/classifier.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct note notes[] = {{"Red fish.", 9}, {"red FISH red", 12}, {"blue bird", 9}, {"Blue bird, blue", 15}};

/* Vocabulary: what stands in two notes. red, fish, "red fish", blue, bird, "blue bird". */
static void counts_are_those_of_words_and_pairs(void **state) {
    (void)state;
    struct ngrams ngrams;
    struct sparse_rows rows = {0};
    struct error error = {0};
    assert_true(ngrams_open(&ngrams, notes, 4, 100, &error));
    assert_int_equal(ngrams.count, 6);
    assert_true(ngrams_count(&ngrams, notes, 4, &rows, &error));
    static const double totals[] = {3, 4, 3, 4};
    for (size_t r = 0; r < 4; r++) {
        double sum = 0;
        for (size_t i = rows.starts[r]; i < rows.starts[r + 1]; i++) sum += (double)rows.values[i];
        assert_true(fabs(sum - totals[r]) < 1e-6);
        assert_int_equal(rows.starts[r + 1] - rows.starts[r], 3);
    }
    sparse_rows_free(&rows);
    ngrams_close(&ngrams);
}

static void naive_bayes_gives_the_probabilities_of_its_definition(void **state) {
    (void)state;
    static const int32_t labels[] = {0, 0, 1, 1};
    struct ngrams ngrams;
    struct naive_bayes model;
    struct sparse_rows rows = {0}, asked = {0};
    struct error error = {0};
    double logits[2];
    const struct note question = {"red bird", 8};
    assert_true(ngrams_open(&ngrams, notes, 4, 100, &error) && ngrams_count(&ngrams, notes, 4, &rows, &error));
    assert_true(naive_bayes_open(&model, &rows, labels, ngrams.count, 2, &error));
    naive_bayes_smooth(&model, 0.5);
    assert_true(ngrams_count(&ngrams, &question, 1, &asked, &error));
    naive_bayes_logits(&model, &asked, logits);
    /* Seven n-grams of class 0 hold red 3 times and bird never; seven of class 1 hold bird twice and red never; 6
     * features. */
    const double first = log(3.5 / 10) + log(0.5 / 10), second = log(0.5 / 10) + log(2.5 / 10);
    assert_true(fabs((logits[0] - logits[1]) - (first - second)) < 1e-5);
    assert_true(logits[0] == 0.0);
    sparse_rows_free(&asked);
    sparse_rows_free(&rows);
    naive_bayes_close(&model);
    ngrams_close(&ngrams);
}

static struct stay make_stay(const char *text, int drg) {
    return (struct stay){
        .note_id = "", .hadm_id = "", .subject_id = "", .text = text, .text_length = strlen(text), .drg = drg};
}

static void both_baselines_learn_what_can_be_learned(void **state) {
    (void)state;
    struct stay stays[60];
    static const char *const texts[] = {"red fish swims", "blue bird sings", "green frog jumps"};
    static const int codes[] = {100, 200, 300};
    for (size_t i = 0; i < 60; i++) stays[i] = make_stay(texts[i % 3], codes[i % 3]);
    const struct dataset train = {.stays = stays, .count = 60}, dev = {.stays = stays, .count = 9};
    struct baseline baseline;
    struct error error = {0};
    double logits[9 * 3];
    assert_true(baseline_train(&baseline, &train, &dev, &error));
    assert_int_equal(baseline.labels.count, 3);
    for (int kind = BASELINE_NAIVE_BAYES; kind <= BASELINE_REGRESSION; kind++) {
        assert_true(baseline_logits(&baseline, (enum baseline_kind)kind, stays, 9, logits, &error));
        for (size_t i = 0; i < 9; i++) {
            for (size_t c = 0; c < 3; c++) assert_true(logits[i * 3 + i % 3] >= logits[i * 3 + c]);
        }
    }
    baseline_close(&baseline);
    assert_false(baseline_train(&baseline, &train, &(struct dataset){0}, &error));
}

static void a_drg_that_the_model_does_not_know_is_wrong(void **state) {
    (void)state;
    struct stay stays[] = {make_stay("a", 100), make_stay("b", 200), make_stay("c", 300), make_stay("d", 100)};
    int codes[] = {100, 200};
    const struct dataset data = {.stays = stays, .count = 4};
    const struct labels labels = {.grouper = GROUPER_V43, .codes = codes, .count = 2};
    const double logits[] = {2, 1, 0, 3, 5, 4, 1, 2};
    struct evaluation evaluation;
    struct metrics metrics;
    struct error error = {0};
    assert_true(evaluation_open(&evaluation, &data, &labels, &error));
    assert_int_equal(evaluation.unknown_stays, 1);
    assert_true(evaluation_put(&evaluation, 0, 4, logits, &error));
    assert_true(evaluation_score(&evaluation, &metrics, &error));
    assert_true(fabs(metrics.acc1 - 0.5) < 1e-12);
    assert_int_equal(metrics.count, 4);
    assert_true(evaluation_write(&evaluation, 1, folder_path("."), &error));
    const double broken[] = {1, (double)NAN};
    assert_false(evaluation_put(&evaluation, 1, 1, broken, &error));
    assert_non_null(strstr(error.message, "stay 2"));
    evaluation_close(&evaluation);
    stays[1].drg = 0;
    assert_false(evaluation_open(&evaluation, &data, &labels, &error));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_are_those_of_words_and_pairs),
        cmocka_unit_test(naive_bayes_gives_the_probabilities_of_its_definition),
        cmocka_unit_test(both_baselines_learn_what_can_be_learned),
        cmocka_unit_test(a_drg_that_the_model_does_not_know_is_wrong),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
