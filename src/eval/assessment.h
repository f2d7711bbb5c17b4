/* Everything that `casemix eval` says about a model, with 95 % bootstrap intervals by patient: the paper's metrics,
 * base and severity, money, calibration, risk against coverage, kinds of errors, and the breakdowns. Exact definitions
 * stand here and in the headers of the parts; docs/evaluation.md tells them to readers. */
#ifndef CASEMIX_EVAL_ASSESSMENT_H
#define CASEMIX_EVAL_ASSESSMENT_H

#include "eval/breakdown.h"
#include "eval/calibration.h"
#include "eval/metric_intervals.h"
#include "eval/selective.h"

/* Shares and means over stays; N: all stays. */
enum ratio {
    RATIO_BASE,      /* base DRG right / N */
    RATIO_SEVERITY,  /* severity right / N */
    RATIO_COMPOSED1, /* truth first, among 5, among 10 of the composed ranking / N */
    RATIO_COMPOSED5,
    RATIO_COMPOSED10,
    RATIO_CMI_TRUE,        /* mean relative weight: case-mix index, true */
    RATIO_CMI_PREDICTED,   /* … of the predicted DRGs */
    RATIO_CMI_EXPECTED,    /* … of the weights expected under the probabilities */
    RATIO_BIAS_PREDICTED,  /* (sum predicted weight - sum true weight) / sum true weight */
    RATIO_BIAS_EXPECTED,   /* the same with expected weights */
    RATIO_ERROR_PREDICTED, /* its size: the case-mix-index error */
    RATIO_ERROR_EXPECTED,
    RATIO_OVER_SHARE,       /* stays predicted with a larger weight than the true one / N */
    RATIO_OVER_EXCESS,      /* their mean weight difference (above 0) */
    RATIO_UNDER_SHARE,      /* stays predicted with a smaller weight / N */
    RATIO_UNDER_EXCESS,     /* their mean weight difference (below 0) */
    RATIO_WRONG_BASE,       /* base wrong, severity class right / N */
    RATIO_WRONG_SEVERITY,   /* base right, severity class wrong / N */
    RATIO_WRONG_BOTH,       /* both wrong / N */
    RATIO_SURGICAL_MEDICAL, /* surgical stays predicted as medical / N */
    RATIO_MEDICAL_SURGICAL, /* medical stays predicted as surgical / N */
    RATIO_CONFIDENCE,       /* mean p of the prediction */
    RATIO_NLL,              /* mean -log p of the truth, over stays whose DRG the model has */
    RATIO_BRIER,            /* mean Brier score over the model's DRGs */
    RATIO_ECE_WIDTH,        /* expected calibration error, equal width; replicates keep the bins */
    RATIO_ECE_MASS,         /* equal mass */
    RATIOS
};
const char *ratio_name(enum ratio ratio); /* as evaluation.json has it */

struct text;

struct assessment_settings {
    const struct catalog *catalog;
    double temperature;        /* of the probabilities; 1: as the model gives them */
    const uint32_t *training;  /* [1000] stays of each DRG in training; NULL when not known */
    const struct outcome *dev; /* [dev_count] stays on which the thresholds are chosen; NULL: on those scored */
    size_t dev_count;
    size_t resamples;
    uint64_t seed;
};

struct assessment {
    const struct evaluation *evaluation; /* borrowed */
    struct assessment_settings settings;
    struct patients patients;
    struct outcome *outcomes; /* [N] */
    struct metrics metrics;
    struct interval metric_intervals[METRICS];
    struct interval ratios[RATIOS];
    struct reliability width, mass;         /* at the temperature */
    struct reliability raw_width, raw_mass; /* at T = 1 */
    double raw_nll, raw_brier;
    struct selective selective;
    struct coverage observed, assured; /* the thresholds on the stays scored */
    struct breakdown breakdown;
};

/* Rows of the evaluation must have been put. Shows no progress; release with assessment_close. */
bool assessment_open(struct assessment *assessment, const struct evaluation *evaluation,
                     const struct assessment_settings *settings, struct error *error);
void assessment_close(struct assessment *assessment);

/* One JSON object with all of it (docs/evaluation.md lists the members), without the closing brace, so that callers add
 * their own: names of files, model, baselines. `name` is what was scored. */
void assessment_add_json(struct text *out, const struct assessment *assessment, const char *name);

/* The same for people, at most 100 columns. */
void assessment_add_text(struct text *out, const struct assessment *assessment);

/* DIR/confusion.tsv: true base, predicted base, stays and shares of every confusion and of the right ones. */
bool assessment_write_confusions(const struct assessment *assessment, const char *directory, struct error *error);

/* The seven metrics with intervals as JSON members: flat values as metrics_add_json has them, then "intervals". */
void metrics_add_intervals_json(struct text *out, const struct metrics *metrics, const struct interval *intervals);

#endif
