/* The heads of a two-label model against base, severity and DRG of the stays. */
#include "eval/two_label.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "drg/catalog.h"

enum column { BASE, SEVERITY, RULE, PRODUCT, COLUMNS };

/* What is known of the stays. */
struct truth {
    int32_t *bases, *severities; /* [N] */
    const struct drg **drgs;     /* [N] */
};

static bool find_truth(struct truth *truth, const struct dataset *dataset, const struct catalog *catalog,
                       struct error *error) {
    for (size_t i = 0; i < dataset->count; i++) {
        truth->drgs[i] = catalog_find(catalog, dataset->stays[i].drg);
        if (truth->drgs[i] == NULL)
            return error_set(error, "DRG %03d of stay %zu is not in grouper %s", dataset->stays[i].drg, i + 1,
                             grouper_name(catalog->grouper));
        truth->bases[i] = truth->drgs[i]->base;
        truth->severities[i] = two_label_severity(truth->drgs[i]);
    }
    return true;
}

static int first_largest(const double *row, size_t count) {
    size_t best = 0;
    for (size_t c = 1; c < count; c++) best = row[c] > row[best] ? c : best;
    return (int)best;
}

/* The first DRG of the largest product: products of softmaxes are in the order of the sums of scores. */
static const struct drg *best_pair(const struct catalog *catalog, const double *row) {
    const struct drg *best = &catalog->drgs[0];
    const double *severities = row + catalog->bases;
    for (size_t i = 1; i < catalog->count; i++) {
        const struct drg *drg = &catalog->drgs[i];
        if (row[drg->base] + severities[two_label_severity(drg)] >
            row[best->base] + severities[two_label_severity(best)])
            best = drg;
    }
    return best;
}

static bool sum_hits(struct sums *sums, const struct truth *truth, const struct patients *patients,
                     const struct catalog *catalog, const double *outputs, struct error *error) {
    for (size_t i = 0; i < patients->N; i++) {
        const double *row = outputs + i * (catalog->bases + TWO_LABEL_SEVERITIES);
        const int base = first_largest(row, catalog->bases),
                  severity = first_largest(row + catalog->bases, TWO_LABEL_SEVERITIES);
        const bool hits[COLUMNS] = {[BASE] = base == truth->bases[i],
                                    [SEVERITY] = severity == truth->severities[i],
                                    [RULE] = catalog_resolve(catalog, base, severity) == truth->drgs[i],
                                    [PRODUCT] = best_pair(catalog, row) == truth->drgs[i]};
        for (size_t c = 0; c < COLUMNS; c++) {
            if (hits[c] && !sums_add(sums, patients->of[i], c, 1, error)) return false;
        }
        if (!sums_add(sums, patients->of[i], COLUMNS, 1, error)) return false;
    }
    sums->columns = COLUMNS + 1;
    return true;
}

static bool measure_shares(struct two_label_assessment *assessment, const struct truth *truth,
                           const struct patients *patients, const struct resamples *resamples,
                           const struct catalog *catalog, const double *outputs, struct error *error) {
    struct interval *shares[COLUMNS] = {[BASE] = &assessment->base,
                                        [SEVERITY] = &assessment->severity,
                                        [RULE] = &assessment->rule,
                                        [PRODUCT] = &assessment->product};
    const size_t B = resamples->B;
    struct sums sums = {0};
    double totals[COLUMNS + 1], *replicates = memory_alloc((COLUMNS + 1) * B, sizeof *replicates);
    const bool done =
        (replicates != NULL || memory_error(error, (COLUMNS + 1) * B * sizeof *replicates, "the intervals")) &&
        sum_hits(&sums, truth, patients, catalog, outputs, error);
    if (done) {
        sums_total(&sums, totals);
        sums_replicates(&sums, resamples, replicates);
        for (size_t c = 0; c < COLUMNS; c++) {
            double *values = replicates + c * B;
            for (size_t b = 0; b < B; b++) values[b] /= replicates[COLUMNS * B + b];
            *shares[c] = interval_percentile(totals[c] / totals[COLUMNS], values, B);
        }
    }
    sums_close(&sums);
    memory_free(replicates);
    return done;
}

bool two_label_assess(struct two_label_assessment *assessment, const struct dataset *dataset,
                      const struct catalog *catalog, const double *outputs, size_t resamples, uint64_t seed,
                      struct error *error) {
    const size_t N = dataset->count;
    struct arena arena = {0};
    struct patients patients = {0};
    struct resamples drawn = {0};
    struct truth truth = {arena_alloc(&arena, N, sizeof(int32_t)), arena_alloc(&arena, N, sizeof(int32_t)),
                          arena_alloc(&arena, N, sizeof *truth.drgs)};
    const bool done =
        ((truth.bases != NULL && truth.severities != NULL && truth.drgs != NULL) ||
         memory_error(error, N * sizeof *truth.drgs, "the stays' base DRGs")) &&
        find_truth(&truth, dataset, catalog, error) &&
        metrics_two_label(catalog, outputs, truth.bases, truth.severities, (int64_t)N, &assessment->metrics, error) &&
        patients_open(&patients, dataset, error) && resamples_open(&drawn, patients.count, resamples, seed, error) &&
        measure_shares(assessment, &truth, &patients, &drawn, catalog, outputs, error);
    resamples_close(&drawn);
    patients_close(&patients);
    arena_free(&arena);
    return done;
}

static void add_interval(struct text *out, const char *name, struct interval interval) {
    text_printf(out, ", \"%s\": ", name);
    text_add_json_double(out, interval.value);
    text_printf(out, ", \"%s_interval\": [", name);
    text_add_json_double(out, interval.low);
    text_add(out, ", ");
    text_add_json_double(out, interval.high);
    text_add_char(out, ']');
}

void two_label_add_json(struct text *out, const struct two_label_assessment *assessment) {
    text_add(out, ",\n\"two_label\": {");
    metrics_add_json(out, &assessment->metrics.base, "_base");
    text_add(out, ", ");
    metrics_add_json(out, &assessment->metrics.severity, "_cc");
    add_interval(out, "acc_base", assessment->base);
    add_interval(out, "acc_cc", assessment->severity);
    add_interval(out, "acc_drg", assessment->rule);
    add_interval(out, "acc_product", assessment->product);
    text_add_char(out, '}');
}

static void add_row(struct text *out, const char *name, struct interval share, const struct metrics *metrics) {
    text_printf(out, "  %-34s %6.1f %% (%5.1f to %5.1f)", name, 100 * share.value, 100 * share.low, 100 * share.high);
    if (metrics != NULL) text_printf(out, "   %8.3f  %9.4f", metrics->f1_macro, metrics->auc_macro);
    text_add_char(out, '\n');
}

void two_label_add_text(struct text *out, const struct two_label_assessment *assessment) {
    text_printf(out, "\n  %-34s %8s %-18s %8s  %9s\n", "The two heads by themselves", "acc@1", "", "macro-F1",
                "macro-AUC");
    add_row(out, "base", assessment->base, &assessment->metrics.base);
    add_row(out, "severity (CC/MCC)", assessment->severity, &assessment->metrics.severity);
    add_row(out, "DRG by the paper's rule", assessment->rule, NULL);
    add_row(out, "DRG by the product", assessment->product, NULL);
}
