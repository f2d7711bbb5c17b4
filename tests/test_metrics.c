/* The papers' metrics: cases worked by hand, AUC against its definition, the published code's own results, and files
 * that must be refused. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/rng.h"
#include "base/text.h"
#include "drg/catalog.h"
#include "eval/logits_file.h"
#include "eval/metrics.h"
#include "model/safetensors.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* On v34. */
enum { TWO_LABEL_BASES = 340, TWO_LABEL_LOGITS = 345 };

static void check_close(const char *what, double value, double expected, double tolerance) {
    if (!(fabs(value - expected) <= tolerance)) fail_msg("%s: %.17g, expected %.17g", what, value, expected);
}

static struct metrics measure(const double *logits, const int32_t *labels, int64_t N, int64_t C) {
    const struct scores scores = {logits, labels, N, C, C};
    struct metrics metrics;
    struct error error = {0};
    if (!metrics_classify(&scores, &metrics, &error)) fail_msg("%s", error.message);
    return metrics;
}

/* Class 1 has no row but is predicted once. Of the pairs of class 0 two and a half of four are in order, of class 2
 * all; over all classes 24 of 32. */
static void a_small_case_has_the_values_worked_by_hand(void **state) {
    static const double logits[] = {2, 1, 0, 0, 2, 1, 0, 1, 2, 1, 0, 2};
    static const int32_t labels[] = {0, 0, 2, 2};
    (void)state;
    const struct metrics metrics = measure(logits, labels, 4, 3);
    check_close("acc1", metrics.acc1, 0.75, 1e-15);
    check_close("acc5", metrics.acc5, 1, 1e-15);
    check_close("f1_macro", metrics.f1_macro, (2.0 / 3 + 1) / 2, 1e-15);
    check_close("f1_micro", metrics.f1_micro, 6.0 / 7, 1e-15);
    check_close("auc_macro", metrics.auc_macro, (2.5 / 4 + 1) / 2, 1e-15);
    check_close("auc_micro", metrics.auc_micro, 24.0 / 32, 1e-15);
    assert_int_equal(metrics.labels, 2);
    assert_int_equal(metrics.count, 4);
}

static void accuracy_at_k_counts_the_k_largest(void **state) {
    double logits[12 * 12];
    int32_t labels[12];
    (void)state;
    for (int r = 0; r < 12; r++) {
        labels[r] = (int32_t)r;
        for (int c = 0; c < 12; c++) logits[r * 12 + c] = -c;
    }
    const struct metrics metrics = measure(logits, labels, 12, 12);
    check_close("acc1", metrics.acc1, 1.0 / 12, 1e-15);
    check_close("acc5", metrics.acc5, 5.0 / 12, 1e-15);
    check_close("acc10", metrics.acc10, 10.0 / 12, 1e-15);
}

/* Up to 16 classes numpy's order is stable: the last of equal logits counts as the largest, while F1 takes the first.
 */
static void equal_logits_are_ranked_as_numpy_does(void **state) {
    static const double logits[] = {1, 1, 1, 1, 1, 1};
    static const int32_t last[] = {2, 2}, first[] = {0, 0};
    (void)state;
    struct metrics metrics = measure(logits, last, 2, 3);
    check_close("acc1 of the last", metrics.acc1, 1, 0);
    check_close("f1 of the last", metrics.f1_macro, 0, 0);
    metrics = measure(logits, first, 2, 3);
    check_close("acc1 of the first", metrics.acc1, 0, 0);
    check_close("f1 of the first", metrics.f1_macro, 1, 0);
    check_close("auc_micro", metrics.auc_micro, 0.5, 0);
    assert_true(isnan(metrics.auc_macro));
}

static void huge_logits_do_not_overflow(void **state) {
    static const double logits[] = {5000, 4999, 0, -4000, -3999, -9000, 3, 2, 1};
    static const int32_t labels[] = {0, 1, 2};
    (void)state;
    const struct metrics metrics = measure(logits, labels, 3, 3);
    check_close("acc1", metrics.acc1, 2.0 / 3, 1e-15);
    assert_true(isfinite(metrics.auc_micro) && isfinite(metrics.auc_macro));
}

/* AUC by its definition: every positive against every negative. */
static double auc_by_definition(const double *p, const bool *positive, size_t count) {
    double ahead = 0, pairs = 0;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; positive[i] && j < count; j++) {
            if (positive[j]) continue;
            pairs++;
            ahead += p[i] > p[j] ? 1 : p[i] < p[j] ? 0 : 0.5;
        }
    }
    return ahead / pairs;
}

static void auc_is_the_share_of_ordered_pairs(void **state) {
    enum { N = 60, C = 37 };
    static double logits[N * C], p[N * C], column[N];
    static bool positive[N * C], own[N];
    int32_t labels[N];
    struct rng rng;
    (void)state;
    rng_seed(&rng, 3);
    for (int r = 0; r < N; r++) {
        labels[r] = (int32_t)rng_below(&rng, C / 2);
        for (int c = 0; c < C; c++) logits[r * C + c] = (double)rng_below(&rng, 5) + (c == labels[r]);
        positive[r * C + labels[r]] = true;
        softmax_double(p + r * C, logits + r * C, C);
    }
    double macro = 0, present = 0;
    for (int c = 0; c < C; c++) {
        bool any = false;
        for (int r = 0; r < N; r++) {
            column[r] = p[r * C + c];
            own[r] = labels[r] == c;
            any |= own[r];
        }
        if (!any) continue;
        macro += auc_by_definition(column, own, N);
        present++;
    }
    const struct metrics metrics = measure(logits, labels, N, C);
    check_close("auc_macro", metrics.auc_macro, macro / present, 1e-12);
    check_close("auc_micro", metrics.auc_micro, auc_by_definition(p, positive, (size_t)N * C), 1e-12);
}

/* Base 0 of v34 has MCC (2) and without MCC (3) only: a predicted CC (1) is taken as without MCC. */
static void the_drg_is_composed_by_the_papers_rule(void **state) {
    static double logits[2 * TWO_LABEL_LOGITS];
    static const int32_t base[] = {0, 0}, severity[] = {3, 2};
    struct two_label_metrics metrics;
    struct error error = {0};
    (void)state;
    for (int r = 0; r < 2; r++) {
        logits[r * TWO_LABEL_LOGITS] = 1;
        logits[r * TWO_LABEL_LOGITS + TWO_LABEL_BASES + 1] = 1;
    }
    if (!metrics_two_label(catalog_get(GROUPER_V34), logits, base, severity, 2, &metrics, &error))
        fail_msg("%s", error.message);
    check_close("acc1_base", metrics.base.acc1, 1, 0);
    check_close("acc1_cc", metrics.severity.acc1, 0, 0);
    check_close("acc_drg", metrics.acc_drg, 0.5, 0);
}

/* Base 0 has MCC and without MCC. With probabilities .6 for base 0 and .4 for base 2 (one severity only: any), .1 for
 * MCC, .2 for without MCC and .7 for any, the products are .28 (base 2), .12 (base 0 without MCC), .06 (base 0 MCC):
 * the second place is base 0 without MCC, though the first base is 0 and CC/MCC is not among its severities. */
static void composed_drgs_are_ranked_by_the_product(void **state) {
    static double logits[3 * TWO_LABEL_LOGITS];
    static const int32_t base[] = {2, 0, 0}, severity[] = {4, 3, 1};
    struct two_label_metrics metrics;
    struct error error = {0};
    (void)state;
    for (int r = 0; r < 3; r++) {
        double *row = logits + r * TWO_LABEL_LOGITS;
        for (int c = 0; c < TWO_LABEL_LOGITS; c++) row[c] = -40;
        row[0] = log(0.6);
        row[2] = log(0.4);
        row[TWO_LABEL_BASES + 2] = log(0.1);
        row[TWO_LABEL_BASES + 3] = log(0.2);
        row[TWO_LABEL_BASES + 4] = log(0.7);
    }
    if (!metrics_two_label(catalog_get(GROUPER_V34), logits, base, severity, 3, &metrics, &error))
        fail_msg("%s", error.message);
    check_close("acc1_composed", metrics.composed1, 1.0 / 3, 1e-15);
    check_close("acc5_composed", metrics.composed5, 2.0 / 3, 1e-15); /* base 0 has no CC: that pair is never met */
    check_close("acc_drg", metrics.acc_drg, 1.0 / 3, 1e-15);         /* the paper's rule turns "any" into without MCC */
}

static void a_label_outside_the_logits_is_refused(void **state) {
    static const double logits[] = {1, 2, 3};
    static const int32_t label = 3;
    const struct scores scores = {logits, &label, 1, 3, 3};
    struct metrics metrics;
    struct error error = {0};
    (void)state;
    assert_false(metrics_classify(&scores, &metrics, &error));
    assert_non_null(strstr(error.message, "label 3, expected 0 to 2"));
}

/* What the published code made of a set, with the given suffix behind its names ("", "_pc", "_cc"). */
static void check_published(const char *set, const json_node *expected, const char *suffix,
                            const struct metrics *metrics) {
    const struct {
        const char *name;
        double value;
    } members[] = {{"acc", metrics->acc1},           {"acc5", metrics->acc5},
                   {"acc10", metrics->acc10},        {"macroF1", metrics->f1_macro},
                   {"microF1", metrics->f1_micro},   {"macroAUC", metrics->auc_macro},
                   {"microAUC", metrics->auc_micro}, {"labels", (double)metrics->labels},
                   {"count", (double)metrics->count}};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        char name[64], what[160];
        snprintf(name, sizeof name, "%s%s", members[i].name, suffix);
        snprintf(what, sizeof what, "%s %s", set, name);
        check_close(what, members[i].value, json_number(json_member(expected, name)), 1e-9);
    }
}

static void check_set(const json_node *set) {
    char path[256];
    const char *name = json_name(set);
    const json_node *expected = json_member(set, "official_f64");
    const bool two = strcmp(json_string(json_member(set, "kind")), "two") == 0;
    struct logits_table table;
    struct error error = {0};
    snprintf(path, sizeof path, "../shared/official/metrics/%s.safetensors", name);
    if (!logits_load(&table, path, two ? 2 : 1, &error)) fail_msg("%s", error.message);
    if (two) {
        struct two_label_metrics metrics;
        assert_int_equal(table.C, TWO_LABEL_LOGITS);
        if (!metrics_two_label(catalog_get(GROUPER_V34), table.logits, table.labels[0], table.labels[1], table.N,
                               &metrics, &error))
            fail_msg("%s", error.message);
        check_published(name, expected, "_pc", &metrics.base);
        check_published(name, expected, "_cc", &metrics.severity);
        check_close(name, metrics.acc_drg, json_number(json_member(expected, "acc_map")), 1e-9);
    } else {
        const struct metrics metrics = measure(table.logits, table.labels[0], table.N, table.C);
        check_published(name, expected, "", &metrics);
    }
    logits_free(&table);
}

static void the_published_codes_results_are_met(void **state) {
    static const char path[] = "../shared/official/metrics/expected.json";
    struct error error = {0};
    struct json *expected;
    int sets = 0;
    (void)state;
    if (!path_exists(path)) {
        puts("skipped: the published code's metrics are not there");
        skip();
    }
    if (!json_load(&expected, path, 0, &error)) fail_msg("%s", error.message);
    for (const json_node *set = json_first(json_root(expected)); set != NULL; set = json_next(set)) {
        if (json_member(set, "kind") == NULL) continue;
        check_set(set);
        sets++;
    }
    assert_int_equal(sets, 5);
    json_free(expected);
}

static char folder[512];

static int make_folder(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "%s/casemix-metrics-XXXXXX", getenv("TMPDIR") == NULL ? "/tmp" : getenv("TMPDIR"));
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state) {
    char command[1024];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

static const char *write_file(const char *name, const char *bytes) {
    static char path[1024];
    struct error error = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (!file_write(path, bytes, strlen(bytes), &error)) fail_msg("%s", error.message);
    return path;
}

static void json_lines_are_read(void **state) {
    struct logits_table table;
    struct error error = {0};
    (void)state;
    const char *path =
        write_file("two.jsonl", "{\"logits\":[0.5, -1e3],\"label\":[7,1]}\n\n{\"logits\":[2,3],\"label\":[0,4]}\n");
    if (!logits_load(&table, path, 2, &error)) fail_msg("%s", error.message);
    assert_int_equal(table.N, 2);
    assert_int_equal(table.C, 2);
    check_close("logit", table.logits[1], -1000, 0);
    assert_int_equal(table.labels[0][0], 7);
    assert_int_equal(table.labels[1][1], 4);
    logits_free(&table);
}

static void tensors_with_labels_as_floats_are_read(void **state) {
    static const float logits[] = {1, 2, 3, 4, 5, 6}, labels[] = {2, 0};
    const struct tensor_to_write tensors[] = {{"logits", DTYPE_F32, 2, {2, 3}, logits},
                                              {"labels", DTYPE_F32, 1, {2}, labels}};
    struct logits_table table;
    struct error error = {0};
    char path[1024];
    (void)state;
    snprintf(path, sizeof path, "%s/small.safetensors", folder);
    if (!safetensors_write(path, tensors, 2, NULL, 0, &error)) fail_msg("%s", error.message);
    if (!logits_load(&table, path, 1, &error)) fail_msg("%s", error.message);
    assert_int_equal(table.labels[0][0], 2);
    check_close("logit", table.logits[5], 6, 0);
    logits_free(&table);
    assert_false(logits_load(&table, path, 2, &error));
    assert_non_null(strstr(error.message, "tensor labels is not [2, 2]"));
}

static void rows_that_do_not_fit_are_refused_by_line(void **state) {
    static const struct {
        const char *bytes, *message;
    } cases[] = {
        {"", "no rows"},
        {"{\"logits\":[1],\"label\":0}\n{\"logits\":[1,2],\"label\":0}\n", "line 2: 2 logits, the rows before have 1"},
        {"{\"logits\":[1,null],\"label\":0}\n", "line 1: a logit is not a finite number"},
        {"{\"logits\":[1,1e999],\"label\":0}\n", "line 1: a logit is not a finite number"},
        {"{\"logits\":[],\"label\":0}\n", "line 1: \"logits\" is missing"},
        {"{\"logits\":{\"a\":1},\"label\":0}\n", "line 1: \"logits\" is missing"},
        {"{\"logits\":[1]}\n", "line 1: \"label\" is missing"},
        {"{\"logits\":[1],\"label\":0.5}\n", "line 1: a label is no whole number"},
        {"{\"logits\":[1],\"label\":-1}\n", "line 1: a label is no whole number"},
        {"{\"logits\":[1],\"label\":1e300}\n", "line 1: a label is no whole number"},
        {"[1]\n", "line 1: \"logits\" is missing"},
        {"{\"logits\":[1", "line 1: JSON: not valid JSON"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct logits_table table;
        struct error error = {0};
        const char *path = write_file("bad.jsonl", cases[i].bytes);
        assert_false(logits_load(&table, path, 1, &error));
        if (strstr(error.message, cases[i].message) == NULL)
            fail_msg("\"%s\" is not in \"%s\"", cases[i].message, error.message);
        assert_null(table.logits);
    }
}

static void memory_that_runs_short_is_reported(void **state) {
    static const double logits[] = {2, 1, 0, 0, 2, 1};
    static const int32_t labels[] = {0, 2};
    const struct scores scores = {logits, labels, 2, 3, 3};
    (void)state;
    for (int64_t after = 0;; after++) {
        struct metrics metrics;
        struct error error = {0};
        memory_fail_after(after);
        const bool done = metrics_classify(&scores, &metrics, &error);
        memory_fail_after(-1);
        if (done) break;
        assert_non_null(strstr(error.message, "memory"));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_case_has_the_values_worked_by_hand),
        cmocka_unit_test(accuracy_at_k_counts_the_k_largest),
        cmocka_unit_test(equal_logits_are_ranked_as_numpy_does),
        cmocka_unit_test(huge_logits_do_not_overflow),
        cmocka_unit_test(auc_is_the_share_of_ordered_pairs),
        cmocka_unit_test(the_drg_is_composed_by_the_papers_rule),
        cmocka_unit_test(composed_drgs_are_ranked_by_the_product),
        cmocka_unit_test(a_label_outside_the_logits_is_refused),
        cmocka_unit_test(the_published_codes_results_are_met),
        cmocka_unit_test(json_lines_are_read),
        cmocka_unit_test(tensors_with_labels_as_floats_are_read),
        cmocka_unit_test(rows_that_do_not_fit_are_refused_by_line),
        cmocka_unit_test(memory_that_runs_short_is_reported),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
