/* evaluation.json and confusion.tsv. */
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "eval/assessment.h"
#include <string.h>

/* Confusions in evaluation.json; confusion.tsv has all. */
enum { LISTED = 100 };

static void add_number(struct text *out, const char *name, double value) {
    text_printf(out, "\"%s\": ", name);
    text_add_json_double(out, value);
}

static void add_string(struct text *out, const char *name, const char *value) {
    text_printf(out, "\"%s\": ", name);
    text_add_json(out, value, strlen(value));
}

static void add_bounds(struct text *out, const char *name, struct interval interval) {
    text_printf(out, "\"%s\": [", name);
    text_add_json_double(out, interval.low);
    text_add(out, ", ");
    text_add_json_double(out, interval.high);
    text_add_char(out, ']');
}

void metrics_add_intervals_json(struct text *out, const struct metrics *metrics, const struct interval *intervals) {
    metrics_add_json(out, metrics, "");
    text_add(out, ", \"intervals\": {");
    for (size_t m = 0; m < METRICS; m++) {
        if (m > 0) text_add(out, ", ");
        add_bounds(out, metric_name((enum metric)m), intervals[m]);
    }
    text_add_char(out, '}');
}

static void add_ratios(struct text *out, const struct assessment *assessment) {
    text_add(out, ",\n\"ratios\": {");
    for (size_t r = 0; r < RATIOS; r++) {
        text_printf(out, "%s\n  \"%s\": {", r == 0 ? "" : ",", ratio_name((enum ratio)r));
        add_number(out, "value", assessment->ratios[r].value);
        text_add(out, ", ");
        add_bounds(out, "interval", assessment->ratios[r]);
        text_add_char(out, '}');
    }
    text_add(out, "}");
}

static void add_bins(struct text *out, const char *name, const struct reliability *table) {
    text_printf(out, ",\n  \"%s\": {", name);
    add_number(out, "ece", table->ece);
    text_add(out, ", ");
    add_number(out, "largest_gap", table->largest_gap);
    text_add(out, ", \"bins\": [");
    for (size_t k = 0; k < CALIBRATION_BINS; k++) {
        const struct reliability_bin *bin = &table->bins[k];
        text_printf(out, "%s\n    {\"stays\": %zu, ", k == 0 ? "" : ",", bin->stays);
        add_number(out, "low", bin->low);
        text_add(out, ", ");
        add_number(out, "high", bin->high);
        text_add(out, ", ");
        add_number(out, "confidence", bin->confidence);
        text_add(out, ", ");
        add_number(out, "accuracy", bin->accuracy);
        text_add_char(out, '}');
    }
    text_add(out, "]}");
}

static void add_calibration(struct text *out, const struct assessment *assessment) {
    text_add(out, ",\n\"calibration\": {");
    add_number(out, "temperature", assessment->settings.temperature);
    text_add(out, ", ");
    add_number(out, "nll_before", assessment->raw_nll);
    text_add(out, ", ");
    add_number(out, "nll_after", assessment->ratios[RATIO_NLL].value);
    text_add(out, ", ");
    add_number(out, "brier_before", assessment->raw_brier);
    text_add(out, ", ");
    add_number(out, "brier_after", assessment->ratios[RATIO_BRIER].value);
    add_bins(out, "equal_width", &assessment->width);
    add_bins(out, "equal_mass", &assessment->mass);
    add_bins(out, "equal_width_before", &assessment->raw_width);
    add_bins(out, "equal_mass_before", &assessment->raw_mass);
    text_add_char(out, '}');
}

static void add_coverage(struct text *out, const struct coverage *coverage, size_t N) {
    const double accepted = (double)coverage->accepted;
    add_number(out, "threshold", coverage->threshold);
    text_printf(out, ", \"accepted\": %zu, \"right\": %zu, ", coverage->accepted, coverage->right);
    add_number(out, "coverage", accepted / (double)N);
    text_add(out, ", ");
    add_number(out, "accuracy", (double)coverage->right / accepted);
    text_add(out, ", ");
    add_number(out, "lower", coverage->lower);
}

static void add_threshold(struct text *out, const char *name, const struct coverage *coverage, size_t N) {
    text_printf(out, ", \"%s\": ", name);
    if (coverage->threshold > 1) {
        text_add(out, "null");
        return;
    }
    text_add_char(out, '{');
    add_coverage(out, coverage, N);
    text_add_char(out, '}');
}

static void add_selective(struct text *out, const struct assessment *assessment) {
    const struct selective *selective = &assessment->selective;
    const size_t N = assessment->evaluation->N;
    text_add(out, ",\n\"risk_coverage\": {");
    add_number(out, "aurc", selective->aurc.value);
    text_add(out, ", ");
    add_bounds(out, "aurc_interval", selective->aurc);
    text_add(out, ", ");
    add_number(out, "aurc_best_possible", selective->best_aurc);
    text_printf(out, ", \"thresholds_from\": \"%s\"", assessment->settings.dev != NULL ? "dev" : "these stays");
    add_threshold(out, "threshold_95", &assessment->observed, N);
    add_threshold(out, "threshold_95_assured", &assessment->assured, N);
    text_add(out, ", \"table\": [");
    for (size_t k = 0; k < COVERAGES; k++) {
        text_printf(out, "%s\n    {", k == 0 ? "" : ",");
        add_coverage(out, &selective->table[k], N);
        text_add_char(out, '}');
    }
    text_add(out, "]}");
}

static void add_groups(struct text *out, const struct breakdown *breakdown) {
    text_add(out, ",\n\"groups\": {");
    for (size_t kind = 0, written = 0; kind < GROUP_KINDS; kind++) {
        size_t members = 0;
        for (size_t g = 0; g < breakdown->group_count; g++) {
            const struct group *group = &breakdown->groups[g];
            if (group->kind != kind) continue;
            if (members++ == 0)
                text_printf(out, "%s\n  \"%s\": [", written++ == 0 ? "" : ",", group_kind_name(group->kind));
            text_printf(out, "%s\n    {", members == 1 ? "" : ",");
            add_string(out, "name", group->name);
            text_printf(out, ", \"stays\": %zu, ", group->stays);
            add_number(out, "acc1", group->acc1.value);
            text_add(out, ", ");
            add_bounds(out, "acc1_interval", group->acc1);
            const double values[] = {group->acc5,     group->acc10,       group->base,
                                     group->severity, group->weight_true, group->weight_predicted};
            static const char *const names[] = {"acc5",          "acc10",    "base_acc1",
                                                "severity_acc1", "cmi_true", "cmi_predicted"};
            for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
                text_add(out, ", ");
                add_number(out, names[v], values[v]);
            }
            text_add_char(out, '}');
        }
        if (members > 0) text_add_char(out, ']');
    }
    text_add_char(out, '}');
}

static void add_drgs(struct text *out, const struct breakdown *breakdown) {
    text_add(out, ",\n\"drgs\": [");
    for (size_t k = 0; k < breakdown->drg_count; k++) {
        const struct drg_score *score = &breakdown->drgs[k];
        text_printf(out, "%s\n  {\"drg\": %d, ", k == 0 ? "" : ",", score->drg->code);
        add_string(out, "title", score->drg->title);
        text_printf(out, ", \"stays\": %zu, \"predicted\": %zu, \"right\": %zu, ", score->stays, score->predicted,
                    score->right);
        add_number(out, "acc1", (double)score->right / (double)score->stays);
        text_add(out, ", ");
        add_number(out, "f1", score->f1);
        if (score->mistaken != NULL) {
            text_printf(out, ", \"mistaken_for\": %d, \"mistaken_stays\": %zu, ", score->mistaken->code,
                        score->mistaken_stays);
            add_string(out, "mistaken_title", score->mistaken->title);
        }
        text_add_char(out, '}');
    }
    text_add_char(out, ']');
}

static void add_base(struct text *out, const char *name, const struct catalog *catalog, int base) {
    char title[256], codes[16];
    base_title(catalog, base, title, sizeof title);
    base_codes(catalog, base, codes);
    text_printf(out, "\"%s\": \"%s\", ", name, codes);
    text_printf(out, "\"%s_title\": ", name);
    text_add_json(out, title, strlen(title));
}

static void add_confusions(struct text *out, const struct assessment *assessment) {
    const struct breakdown *breakdown = &assessment->breakdown;
    const struct catalog *catalog = assessment->settings.catalog;
    text_add(out, ",\n\"confusions\": [");
    for (size_t k = 0; k < breakdown->confusion_count && k < LISTED; k++) {
        const struct confusion *confusion = &breakdown->confusions[k];
        text_printf(out, "%s\n  {", k == 0 ? "" : ",");
        add_base(out, "true", catalog, confusion->truth);
        text_add(out, ", ");
        add_base(out, "predicted", catalog, confusion->predicted);
        text_printf(out, ", \"stays\": %zu, ", confusion->stays);
        add_number(out, "share", confusion->share);
        text_add_char(out, '}');
    }
    text_add(out, "],\n\"base_matrix\": {\"bases\": [");
    for (size_t k = 0; k < breakdown->base_count; k++) {
        text_printf(out, "%s\n  {", k == 0 ? "" : ",");
        add_base(out, "codes", catalog, breakdown->bases[k]);
        text_add_char(out, '}');
    }
    text_add(out, "],\n  \"stays\": [");
    for (size_t row = 0; row < breakdown->base_count; row++) {
        text_printf(out, "%s\n    [", row == 0 ? "" : ",");
        for (size_t column = 0; column < breakdown->base_count; column++)
            text_printf(out, "%zu, ", breakdown->matrix[row][column]);
        text_printf(out, "%zu]", breakdown->matrix[row][MATRIX_BASES]);
    }
    text_add(out, "]}");
}

void assessment_add_json(struct text *out, const struct assessment *assessment, const char *name) {
    const struct evaluation *evaluation = assessment->evaluation;
    text_add(out, "{");
    add_string(out, "name", name);
    text_add(out, ",\n");
    metrics_add_intervals_json(out, &assessment->metrics, assessment->metric_intervals);
    text_printf(out, ",\n\"unknown\": %zu, \"patients\": %zu, \"grouper\": \"%s\", \"resamples\": %zu, \"seed\": %llu",
                evaluation->unknown_stays, assessment->patients.count,
                grouper_name(assessment->settings.catalog->grouper), assessment->settings.resamples,
                (unsigned long long)assessment->settings.seed);
    add_ratios(out, assessment);
    add_calibration(out, assessment);
    add_selective(out, assessment);
    add_groups(out, &assessment->breakdown);
    add_drgs(out, &assessment->breakdown);
    add_confusions(out, assessment);
}

/* Right ones of each base, so that the shares of a true base add up. */
static void add_right_bases(struct text *out, const struct assessment *assessment) {
    const struct catalog *catalog = assessment->settings.catalog;
    for (size_t base = 0; base < catalog->bases; base++) {
        size_t stays = 0, right = 0;
        char codes[16];
        for (size_t i = 0; i < assessment->evaluation->N; i++) {
            if ((size_t)assessment->outcomes[i].truth->base != base) continue;
            stays++;
            right += assessment->outcomes[i].base;
        }
        if (right == 0) continue;
        base_codes(catalog, (int)base, codes);
        text_printf(out, "%s\t%s\t%zu\t%.6f\n", codes, codes, right, (double)right / (double)stays);
    }
}

bool assessment_write_confusions(const struct assessment *assessment, const char *directory, struct error *error) {
    const struct catalog *catalog = assessment->settings.catalog;
    struct text out = {0};
    char path[4096], truth[16], predicted[16];
    text_add(&out, "true_base\tpredicted_base\tstays\tshare\n");
    for (size_t k = 0; k < assessment->breakdown.confusion_count; k++) {
        const struct confusion *confusion = &assessment->breakdown.confusions[k];
        base_codes(catalog, confusion->truth, truth);
        base_codes(catalog, confusion->predicted, predicted);
        text_printf(&out, "%s\t%s\t%zu\t%.6f\n", truth, predicted, confusion->stays, confusion->share);
    }
    add_right_bases(&out, assessment);
    const bool done = text_ok(&out, error) &&
                      (path_join(path, sizeof path, directory, "confusion.tsv") ||
                       error_set(error, "%s: path too long", directory)) &&
                      file_write(path, out.data, out.length, error);
    text_free(&out);
    return done;
}
