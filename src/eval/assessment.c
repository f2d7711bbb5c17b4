/* The assessment's numbers: one pass over the outcomes fills the sums, and every share is a quotient of two of them. */
#include "eval/assessment.h"
#include "base/error.h"
#include "base/memory.h"
#include <math.h>
#include <string.h>

/* What is summed over stays. */
enum column {
    STAYS,
    KNOWN,
    BASE,
    SEVERITY,
    COMPOSED1,
    COMPOSED5,
    COMPOSED10,
    WEIGHT_TRUE,
    WEIGHT_PREDICTED,
    WEIGHT_EXPECTED,
    OVER,
    OVER_EXCESS,
    UNDER,
    UNDER_EXCESS,
    WRONG_BASE,
    WRONG_SEVERITY,
    WRONG_BOTH,
    SURGICAL_MEDICAL,
    MEDICAL_SURGICAL,
    CONFIDENCE,
    NLL,
    BRIER,
    GAP_WIDTH, /* accuracy minus confidence in each bin */
    GAP_MASS = GAP_WIDTH + CALIBRATION_BINS,
    COLUMNS = GAP_MASS + CALIBRATION_BINS
};

/* How a ratio comes from the sums. */
enum form { QUOTIENT, RELATIVE, SIZE, BINNED };

static const struct {
    const char *name;
    enum form form;
    enum column above, below;
} ratios[RATIOS] = {
    [RATIO_BASE] = {"base_acc1", QUOTIENT, BASE, STAYS},
    [RATIO_SEVERITY] = {"severity_acc1", QUOTIENT, SEVERITY, STAYS},
    [RATIO_COMPOSED1] = {"composed1", QUOTIENT, COMPOSED1, STAYS},
    [RATIO_COMPOSED5] = {"composed5", QUOTIENT, COMPOSED5, STAYS},
    [RATIO_COMPOSED10] = {"composed10", QUOTIENT, COMPOSED10, STAYS},
    [RATIO_CMI_TRUE] = {"cmi_true", QUOTIENT, WEIGHT_TRUE, STAYS},
    [RATIO_CMI_PREDICTED] = {"cmi_predicted", QUOTIENT, WEIGHT_PREDICTED, STAYS},
    [RATIO_CMI_EXPECTED] = {"cmi_expected", QUOTIENT, WEIGHT_EXPECTED, STAYS},
    [RATIO_BIAS_PREDICTED] = {"cmi_bias", RELATIVE, WEIGHT_PREDICTED, WEIGHT_TRUE},
    [RATIO_BIAS_EXPECTED] = {"cmi_bias_expected", RELATIVE, WEIGHT_EXPECTED, WEIGHT_TRUE},
    [RATIO_ERROR_PREDICTED] = {"cmi_error", SIZE, WEIGHT_PREDICTED, WEIGHT_TRUE},
    [RATIO_ERROR_EXPECTED] = {"cmi_error_expected", SIZE, WEIGHT_EXPECTED, WEIGHT_TRUE},
    [RATIO_OVER_SHARE] = {"over_coded", QUOTIENT, OVER, STAYS},
    [RATIO_OVER_EXCESS] = {"over_coded_weight", QUOTIENT, OVER_EXCESS, OVER},
    [RATIO_UNDER_SHARE] = {"under_coded", QUOTIENT, UNDER, STAYS},
    [RATIO_UNDER_EXCESS] = {"under_coded_weight", QUOTIENT, UNDER_EXCESS, UNDER},
    [RATIO_WRONG_BASE] = {"wrong_base", QUOTIENT, WRONG_BASE, STAYS},
    [RATIO_WRONG_SEVERITY] = {"wrong_severity", QUOTIENT, WRONG_SEVERITY, STAYS},
    [RATIO_WRONG_BOTH] = {"wrong_both", QUOTIENT, WRONG_BOTH, STAYS},
    [RATIO_SURGICAL_MEDICAL] = {"surgical_as_medical", QUOTIENT, SURGICAL_MEDICAL, STAYS},
    [RATIO_MEDICAL_SURGICAL] = {"medical_as_surgical", QUOTIENT, MEDICAL_SURGICAL, STAYS},
    [RATIO_CONFIDENCE] = {"confidence", QUOTIENT, CONFIDENCE, STAYS},
    [RATIO_NLL] = {"nll", QUOTIENT, NLL, KNOWN},
    [RATIO_BRIER] = {"brier", QUOTIENT, BRIER, STAYS},
    [RATIO_ECE_WIDTH] = {"ece_width", BINNED, GAP_WIDTH, STAYS},
    [RATIO_ECE_MASS] = {"ece_mass", BINNED, GAP_MASS, STAYS},
};

const char *ratio_name(enum ratio ratio) {
    return ratios[ratio].name;
}

/* The ratio from sums that lie `stride` apart. */
static double ratio_value(enum ratio ratio, const double *sums, size_t stride) {
    const double below = sums[ratios[ratio].below * stride], above = sums[ratios[ratio].above * stride];
    double gaps = 0;
    switch (ratios[ratio].form) {
    case QUOTIENT:
        return above / below;
    case RELATIVE:
        return (above - below) / below;
    case SIZE:
        return fabs(above - below) / below;
    case BINNED:
        for (size_t k = 0; k < CALIBRATION_BINS; k++) gaps += fabs(sums[(ratios[ratio].above + k) * stride]);
        return gaps / below;
    }
    return (double)NAN;
}

/* The contributions of one stay. */
static void stay_columns(double *columns, const struct outcome *outcome, uint8_t bin_width, uint8_t bin_mass) {
    const double difference = outcome->predicted->weight - outcome->truth->weight;
    const bool surgical = outcome->truth->type == DRG_SURGICAL, medical = outcome->truth->type == DRG_MEDICAL;
    const double gap = (outcome->right ? 1 : 0) - outcome->confidence;
    memset(columns, 0, COLUMNS * sizeof *columns);
    columns[STAYS] = 1;
    columns[KNOWN] = outcome->known;
    columns[BASE] = outcome->base;
    columns[SEVERITY] = outcome->severity;
    columns[COMPOSED1] = outcome->composed_rank < 1;
    columns[COMPOSED5] = outcome->composed_rank < 5;
    columns[COMPOSED10] = outcome->composed_rank < METRIC_RANKS;
    columns[WEIGHT_TRUE] = outcome->truth->weight;
    columns[WEIGHT_PREDICTED] = outcome->predicted->weight;
    columns[WEIGHT_EXPECTED] = outcome->expected;
    columns[OVER] = difference > 0;
    columns[OVER_EXCESS] = difference > 0 ? difference : 0;
    columns[UNDER] = difference < 0;
    columns[UNDER_EXCESS] = difference < 0 ? difference : 0;
    columns[WRONG_BASE] = !outcome->base && outcome->severity;
    columns[WRONG_SEVERITY] = outcome->base && !outcome->severity;
    columns[WRONG_BOTH] = !outcome->base && !outcome->severity;
    columns[SURGICAL_MEDICAL] = surgical && outcome->predicted->type == DRG_MEDICAL;
    columns[MEDICAL_SURGICAL] = medical && outcome->predicted->type == DRG_SURGICAL;
    columns[CONFIDENCE] = outcome->confidence;
    columns[NLL] = outcome->nll;
    columns[BRIER] = outcome->brier;
    columns[GAP_WIDTH + bin_width] = gap;
    columns[GAP_MASS + bin_mass] = gap;
}

static bool sum_outcomes(struct sums *sums, const struct assessment *assessment, const uint8_t *bin_of,
                         struct error *error) {
    const size_t N = assessment->evaluation->N;
    double columns[COLUMNS];
    for (size_t i = 0; i < N; i++) {
        stay_columns(columns, &assessment->outcomes[i], bin_of[i], bin_of[N + i]);
        for (size_t c = 0; c < COLUMNS; c++) {
            if ((columns[c] > 0 || columns[c] < 0) && !sums_add(sums, assessment->patients.of[i], c, columns[c], error))
                return false;
        }
    }
    sums->columns = COLUMNS;
    return true;
}

static bool measure_ratios(struct assessment *assessment, const struct resamples *resamples, const uint8_t *bin_of,
                           struct error *error) {
    struct sums sums = {0};
    double totals[COLUMNS];
    const size_t B = resamples->B;
    double *replicates = memory_alloc((COLUMNS + 1) * B, sizeof *replicates);
    const bool done = (replicates != NULL || memory_error(error, COLUMNS * B * sizeof *replicates, "the intervals")) &&
                      sum_outcomes(&sums, assessment, bin_of, error);
    if (done) {
        sums_total(&sums, totals);
        sums_replicates(&sums, resamples, replicates);
        double *values = replicates + COLUMNS * B;
        for (size_t r = 0; r < RATIOS; r++) {
            for (size_t b = 0; b < B; b++) values[b] = ratio_value((enum ratio)r, replicates + b, B);
            assessment->ratios[r] = interval_percentile(ratio_value((enum ratio)r, totals, 1), values, B);
        }
    }
    memory_free(replicates);
    sums_close(&sums);
    return done;
}

/* What the probabilities were before the temperature; leaves the outcomes at T = 1. */
static bool measure_raw(struct assessment *assessment, uint8_t *bin_of, struct error *error) {
    const size_t N = assessment->evaluation->N;
    double nll = 0, brier = 0, known = 0;
    if (!outcomes_fill(assessment->outcomes, assessment->evaluation, assessment->settings.catalog, 1, error) ||
        !reliability_tables(assessment->outcomes, N, &assessment->raw_width, &assessment->raw_mass, bin_of, error))
        return false;
    for (size_t i = 0; i < N; i++) {
        known += assessment->outcomes[i].known;
        nll += assessment->outcomes[i].nll;
        brier += assessment->outcomes[i].brier;
    }
    assessment->raw_nll = nll / known;
    assessment->raw_brier = brier / (double)N;
    return true;
}

static bool measure_metrics(struct assessment *assessment, const struct resamples *resamples, struct error *error) {
    const struct evaluation *evaluation = assessment->evaluation;
    const size_t B = resamples->B;
    const struct scores scores = {evaluation->logits, evaluation->targets, (int64_t)evaluation->N,
                                  (int64_t)evaluation->C, (int64_t)evaluation->C};
    double *replicates = memory_alloc(METRICS * B, sizeof *replicates);
    const bool done = (replicates != NULL || memory_error(error, METRICS * B * sizeof *replicates, "the intervals")) &&
                      evaluation_score(evaluation, &assessment->metrics, error) &&
                      metric_replicates(&scores, assessment->patients.of, resamples, replicates, error);
    if (done) metric_intervals(&assessment->metrics, replicates, B, assessment->metric_intervals);
    memory_free(replicates);
    return done;
}

/* Thresholds are chosen on dev where there is one: chosen on the stays scored, they flatter. */
static bool measure_thresholds(struct assessment *assessment, const struct resamples *resamples, struct error *error) {
    const struct assessment_settings *settings = &assessment->settings;
    const size_t N = assessment->evaluation->N;
    if (!selective_measure(assessment->outcomes, N, assessment->patients.of, resamples, &assessment->selective, error))
        return false;
    if (settings->dev != NULL) {
        struct selective dev;
        const struct resamples none = {0};
        if (!selective_measure(settings->dev, settings->dev_count, NULL, &none, &dev, error)) return false;
        assessment->selective.observed = dev.observed;
        assessment->selective.assured = dev.assured;
    }
    assessment->observed = coverage_at(assessment->outcomes, N, assessment->selective.observed);
    assessment->assured = coverage_at(assessment->outcomes, N, assessment->selective.assured);
    return true;
}

static bool measure(struct assessment *assessment, struct error *error) {
    const struct assessment_settings *settings = &assessment->settings;
    const size_t N = assessment->evaluation->N;
    struct resamples resamples = {0};
    uint8_t *bin_of = memory_alloc(2, N);
    assessment->outcomes = memory_alloc(N, sizeof *assessment->outcomes);
    const bool done =
        ((bin_of != NULL && assessment->outcomes != NULL) ||
         memory_error(error, N * sizeof *assessment->outcomes, "the outcomes")) &&
        patients_open(&assessment->patients, assessment->evaluation->dataset, error) &&
        resamples_open(&resamples, assessment->patients.count, settings->resamples, settings->seed, error) &&
        measure_raw(assessment, bin_of, error) &&
        outcomes_fill(assessment->outcomes, assessment->evaluation, settings->catalog, settings->temperature, error) &&
        reliability_tables(assessment->outcomes, N, &assessment->width, &assessment->mass, bin_of, error) &&
        measure_metrics(assessment, &resamples, error) && measure_ratios(assessment, &resamples, bin_of, error) &&
        measure_thresholds(assessment, &resamples, error) &&
        breakdown_open(&assessment->breakdown, assessment->outcomes, N, &assessment->patients, &resamples,
                       settings->training, error);
    resamples_close(&resamples);
    memory_free(bin_of);
    return done;
}

bool assessment_open(struct assessment *assessment, const struct evaluation *evaluation,
                     const struct assessment_settings *settings, struct error *error) {
    memset(assessment, 0, sizeof *assessment);
    assessment->evaluation = evaluation;
    assessment->settings = *settings;
    if (measure(assessment, error)) return true;
    assessment_close(assessment);
    return false;
}

void assessment_close(struct assessment *assessment) {
    breakdown_close(&assessment->breakdown);
    patients_close(&assessment->patients);
    memory_free(assessment->outcomes);
    memset(assessment, 0, sizeof *assessment);
}
