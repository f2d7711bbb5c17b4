/* The DRG catalogs and the rule from base and severity to DRG. */
#include "base/csv.h"
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "drg/catalog.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void both_catalogs_are_whole(void **state) {
    (void)state;
    const struct catalog *v34 = catalog_get(GROUPER_V34), *v43 = catalog_get(GROUPER_V43);
    assert_int_equal(v34->count, 757);
    assert_int_equal(v34->bases, 340);
    assert_int_equal(v43->count, 772);
    assert_int_equal(v43->bases, 346);
    for (int g = 0; g < 2; g++) {
        const struct catalog *catalog = catalog_get((enum grouper)g);
        for (size_t i = 0; i < catalog->count; i++) {
            const struct drg *drg = &catalog->drgs[i];
            assert_true(i == 0 || drg->code > catalog->drgs[i - 1].code);
            assert_ptr_equal(catalog_find(catalog, drg->code), drg);
            assert_true(drg->code >= 998 || (drg->weight > 0 && drg->gmlos > 0));
            assert_true(strlen(drg->title) > 4);
        }
        assert_null(catalog_find(catalog, 1000));
        assert_null(catalog_find(catalog, 0));
    }
}

static void known_drgs_are_what_they_are(void **state) {
    (void)state;
    const struct drg *failure = catalog_find(catalog_get(GROUPER_V43), 291),
                     *sepsis = catalog_find(catalog_get(GROUPER_V34), 871);
    assert_string_equal(failure->title, "HEART FAILURE AND SHOCK WITH MCC");
    assert_string_equal(failure->mdc, "05");
    assert_int_equal(failure->type, DRG_MEDICAL);
    assert_int_equal(failure->severity, SEVERITY_MCC);
    assert_int_equal(sepsis->paper_severity, 2);
    assert_string_equal(sepsis->mdc, "18");
}

/* A base with a severity names one DRG. */
static void base_and_severity_identify_the_drg(void **state) {
    (void)state;
    for (int g = 0; g < 2; g++) {
        const struct catalog *catalog = catalog_get((enum grouper)g);
        for (size_t i = 0; i < catalog->count; i++) {
            for (size_t j = i + 1; j < catalog->count; j++) {
                const struct drg *a = &catalog->drgs[i], *b = &catalog->drgs[j];
                if (a->base == b->base && a->severity == b->severity) fail_msg("%03d and %03d", a->code, b->code);
            }
        }
    }
}

static void a_valid_severity_stands_and_others_fall_to_the_next_lower(void **state) {
    (void)state;
    const struct catalog *v34 = catalog_get(GROUPER_V34);
    for (size_t i = 0; i < v34->count; i++) {
        assert_ptr_equal(catalog_resolve(v34, v34->drgs[i].base, v34->drgs[i].paper_severity), &v34->drgs[i]);
    }
    assert_null(catalog_resolve(v34, -1, 0));
    assert_null(catalog_resolve(v34, 340, 0));
    for (int base = 0; base < 340; base++) {
        for (int severity = 0; severity < 5; severity++) {
            const struct drg *drg = catalog_resolve(v34, base, severity);
            assert_non_null(drg);
            assert_int_equal(drg->base, base);
        }
    }
}

static void resolutions_equal_the_published_rule(void **state) {
    (void)state;
    static const char path[] = "../shared/official/map_rule/map_rule.tsv";
    struct tsv table;
    struct error error = {0};
    size_t base, predicted, code;
    if (!path_exists(path)) {
        print_message("skipped: %s is absent\n", path);
        skip();
    }
    assert_true(tsv_load(&table, path, &error));
    assert_true(tsv_require(&table, path, "base_label", &base, &error) &&
                tsv_require(&table, path, "pred_cc", &predicted, &error) &&
                tsv_require(&table, path, "drg_34_code", &code, &error));
    for (size_t row = 0; row < table.rows; row++) {
        int64_t b = 0, p = 0, c = 0;
        assert_true(parse_int64(tsv_cell(&table, row, base), &b) && parse_int64(tsv_cell(&table, row, predicted), &p) &&
                    parse_int64(tsv_cell(&table, row, code), &c));
        assert_int_equal(catalog_resolve(catalog_get(GROUPER_V34), (int)b, (int)p)->code, c);
    }
    assert_true(table.rows > 100);
    tsv_free(&table);
}

static void composed_probabilities_are_products_over_the_pairs_that_exist(void **state) {
    (void)state;
    const struct catalog *v34 = catalog_get(GROUPER_V34);
    static double base[340], p[1000];
    const double severity[] = {0.1, 0.2, 0.3, 0.15, 0.25};
    double sum = 0;
    for (int b = 0; b < 340; b++) base[b] = (b + 1) / (340.0 * 341 / 2);
    catalog_compose(v34, base, severity, p);
    for (size_t i = 0; i < v34->count; i++) sum += p[i];
    assert_true(sum > 1 - 1e-12 && sum < 1 + 1e-12);
    /* 291 and 292 share a base: their ratio is that of MCC to CC. */
    const size_t mcc = (size_t)(catalog_find(v34, 291) - v34->drgs), cc = (size_t)(catalog_find(v34, 292) - v34->drgs);
    assert_true(p[mcc] / p[cc] > 1.5 - 1e-12 && p[mcc] / p[cc] < 1.5 + 1e-12);
}

/* Both catalogs know four sets of severities, so that rule and product serve both: v43 has CC/MCC of its own as
 * class 1. */
static void a_base_and_a_two_label_severity_identify_the_drg_in_both_groupers(void **state) {
    (void)state;
    const struct catalog *v34 = catalog_get(GROUPER_V34), *v43 = catalog_get(GROUPER_V43);
    for (size_t i = 0; i < v34->count; i++)
        assert_int_equal(two_label_severity(&v34->drgs[i]), v34->drgs[i].paper_severity);
    for (size_t i = 0; i < v43->count; i++) {
        const struct drg *drg = &v43->drgs[i];
        assert_ptr_equal(catalog_resolve(v43, drg->base, two_label_severity(drg)), drg);
    }
    for (int base = 0; base < (int)v43->bases; base++) {
        for (int severity = 0; severity < TWO_LABEL_SEVERITIES; severity++) {
            const struct drg *drg = catalog_resolve(v43, base, severity);
            assert_true(drg != NULL && drg->base == base);
        }
    }
    assert_int_equal(catalog_resolve(v43, catalog_find(v43, 291)->base, 4)->code, 293); /* falls to "without" */
}

static void codes_are_read_strictly(void **state) {
    (void)state;
    int code;
    assert_true(drg_parse("470", &code, NULL) && code == 470);
    assert_true(drg_parse("003", &code, NULL) && code == 3);
    static const char *const wrong[] = {"", "0", "1000", "0470", "47O", "-1", " 470", "4.7"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) assert_false(drg_parse(wrong[i], &code, NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_catalogs_are_whole),
        cmocka_unit_test(known_drgs_are_what_they_are),
        cmocka_unit_test(base_and_severity_identify_the_drg),
        cmocka_unit_test(a_valid_severity_stands_and_others_fall_to_the_next_lower),
        cmocka_unit_test(resolutions_equal_the_published_rule),
        cmocka_unit_test(composed_probabilities_are_products_over_the_pairs_that_exist),
        cmocka_unit_test(a_base_and_a_two_label_severity_identify_the_drg_in_both_groupers),
        cmocka_unit_test(codes_are_read_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
