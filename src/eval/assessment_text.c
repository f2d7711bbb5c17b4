/* The assessment as people read it in a terminal of 100 columns. */
#include "base/text.h"
#include "eval/assessment.h"
#include <math.h>
#include <stdio.h>

enum { NAME = 19, TITLE = 34, SHOWN_CONFUSIONS = 10 };

/* "acc@1                    61.2 %  (59.0 to 63.3)" in 48 columns; shares in per cent, others as they are. */
static void add_cell(struct text *out, const char *name, struct interval interval, bool share, bool ends) {
    const double scale = share ? 100 : 1;
    char bounds[40] = "";
    if (!isnan(interval.low)) {
        snprintf(bounds, sizeof bounds, share ? "(%.1f to %.1f)" : "(%.4f to %.4f)", scale * interval.low,
                 scale * interval.high);
    }
    text_printf(out, share ? "  %-*s %6.1f %% " : "  %-*s %8.4f ", NAME, name, scale * interval.value);
    text_printf(out, ends ? "%s\n" : "%-18s", bounds);
}

static void add_pairs(struct text *out, const struct assessment *assessment) {
    const struct interval *m = assessment->metric_intervals, *r = assessment->ratios;
    text_printf(out, "\n  %-47s%s\n", "DRG", "Base, severity, composed");
    add_cell(out, "acc@1", m[ACC1], true, false);
    add_cell(out, "base acc@1", r[RATIO_BASE], true, true);
    add_cell(out, "acc@5", m[ACC5], true, false);
    add_cell(out, "severity acc@1", r[RATIO_SEVERITY], true, true);
    add_cell(out, "acc@10", m[ACC10], true, false);
    add_cell(out, "composed acc@1", r[RATIO_COMPOSED1], true, true);
    add_cell(out, "macro-F1", m[F1_MACRO], false, false);
    add_cell(out, "composed acc@5", r[RATIO_COMPOSED5], true, true);
    add_cell(out, "micro-F1", m[F1_MICRO], false, false);
    add_cell(out, "composed acc@10", r[RATIO_COMPOSED10], true, true);
    add_cell(out, "macro-AUC", m[AUC_MACRO], false, true);
    add_cell(out, "micro-AUC", m[AUC_MICRO], false, true);
}

static void add_money(struct text *out, const struct assessment *assessment) {
    const struct interval *r = assessment->ratios;
    text_printf(out, "\n  %-47s%s\n", "Case-mix index", "Errors (of all stays)");
    add_cell(out, "true", r[RATIO_CMI_TRUE], false, false);
    add_cell(out, "wrong base only", r[RATIO_WRONG_BASE], true, true);
    add_cell(out, "predicted", r[RATIO_CMI_PREDICTED], false, false);
    add_cell(out, "wrong severity only", r[RATIO_WRONG_SEVERITY], true, true);
    add_cell(out, "expected under p", r[RATIO_CMI_EXPECTED], false, false);
    add_cell(out, "both wrong", r[RATIO_WRONG_BOTH], true, true);
    add_cell(out, "error of predicted", r[RATIO_ERROR_PREDICTED], true, false);
    add_cell(out, "surgical as medical", r[RATIO_SURGICAL_MEDICAL], true, true);
    add_cell(out, "error of expected", r[RATIO_ERROR_EXPECTED], true, false);
    add_cell(out, "medical as surgical", r[RATIO_MEDICAL_SURGICAL], true, true);
    add_cell(out, "bias of predicted", r[RATIO_BIAS_PREDICTED], true, false);
    add_cell(out, "over-coded", r[RATIO_OVER_SHARE], true, true);
    add_cell(out, "bias of expected", r[RATIO_BIAS_EXPECTED], true, false);
    add_cell(out, "mean weight over", r[RATIO_OVER_EXCESS], false, true);
    text_printf(out, "%-49s", "");
    add_cell(out, "under-coded", r[RATIO_UNDER_SHARE], true, true);
    text_printf(out, "%-49s", "");
    add_cell(out, "mean weight under", r[RATIO_UNDER_EXCESS], false, true);
}

static void add_calibration(struct text *out, const struct assessment *assessment) {
    const struct interval *r = assessment->ratios;
    text_printf(out, "\n  Probabilities (temperature %.4f)\n", assessment->settings.temperature);
    add_cell(out, "mean confidence", r[RATIO_CONFIDENCE], true, true);
    add_cell(out, "ECE, equal width", r[RATIO_ECE_WIDTH], true, false);
    text_printf(out, "  at temperature 1 %7.1f %%\n", 100 * assessment->raw_width.ece);
    add_cell(out, "ECE, equal mass", r[RATIO_ECE_MASS], true, false);
    text_printf(out, "  at temperature 1 %7.1f %%\n", 100 * assessment->raw_mass.ece);
    add_cell(out, "NLL", r[RATIO_NLL], false, false);
    text_printf(out, "  at temperature 1 %9.4f\n", assessment->raw_nll);
    add_cell(out, "Brier", r[RATIO_BRIER], false, false);
    text_printf(out, "  at temperature 1 %9.4f\n", assessment->raw_brier);
    text_printf(out, "\n    %10s %8s %12s %10s\n", "confidence", "stays", "mean", "right");
    for (size_t k = 0; k < CALIBRATION_BINS; k++) {
        const struct reliability_bin *bin = &assessment->width.bins[k];
        if (bin->stays == 0) continue;
        text_printf(out, "    %3.0f to %3.0f %8zu %10.1f %% %8.1f %%\n", 100 * bin->low, 100 * bin->high, bin->stays,
                    100 * bin->confidence, 100 * bin->accuracy);
    }
}

static void add_threshold(struct text *out, const char *what, const struct coverage *coverage, size_t N) {
    if (coverage->threshold > 1) {
        text_printf(out, "    %s: no threshold reaches it\n", what);
        return;
    }
    text_printf(out, "    %s: p >= %.4f accepts %.1f %%, right %.1f %% (lower bound %.1f %%)\n", what,
                coverage->threshold, 100 * (double)coverage->accepted / (double)N,
                100 * (double)coverage->right / (double)coverage->accepted, 100 * coverage->lower);
}

static void add_selective(struct text *out, const struct assessment *assessment) {
    const struct selective *selective = &assessment->selective;
    const size_t N = assessment->evaluation->N;
    text_printf(out, "\n  Accepting the surest (AURC %.4f, %.4f to %.4f; best possible %.4f)\n", selective->aurc.value,
                selective->aurc.low, selective->aurc.high, selective->best_aurc);
    text_printf(out, "    %8s %12s %10s %20s\n", "accepted", "threshold p", "right", "at least (95 %)");
    for (size_t k = 1; k < COVERAGES; k += 2) {
        const struct coverage *row = &selective->table[k];
        text_printf(out, "    %6.1f %% %12.4f %8.1f %% %18.1f %%\n", 100 * (double)row->accepted / (double)N,
                    row->threshold, 100 * (double)row->right / (double)row->accepted, 100 * row->lower);
    }
    text_printf(out, "  Thresholds for 95 %% right, chosen on %s:\n",
                assessment->settings.dev != NULL ? "dev, applied here"
                                                 : "these very stays (--calibrate DEV is fairer)");
    add_threshold(out, "as counted", &assessment->observed, N);
    add_threshold(out, "with 95 % confidence", &assessment->assured, N);
}

static void add_groups(struct text *out, const struct breakdown *breakdown) {
    static const char *const titles[] = {"By MDC", "By stays of the DRG in training", "By severity",
                                         "Medical, surgical"};
    for (size_t g = 0; g < breakdown->group_count; g++) {
        const struct group *group = &breakdown->groups[g];
        if (g == 0 || breakdown->groups[g - 1].kind != group->kind) {
            text_printf(out, "\n  %-34s %6s %8s %-16s %7s %7s %8s\n", titles[group->kind], "stays", "acc@1", "",
                        "acc@5", "base", "severity");
        }
        text_printf(out, "  %-34s %6zu %6.1f %% (%5.1f to %5.1f) %5.1f %% %5.1f %% %6.1f %%\n", group->name,
                    group->stays, 100 * group->acc1.value, 100 * group->acc1.low, 100 * group->acc1.high,
                    100 * group->acc5, 100 * group->base, 100 * group->severity);
    }
}

static void add_confusions(struct text *out, const struct assessment *assessment) {
    const struct breakdown *breakdown = &assessment->breakdown;
    const struct catalog *catalog = assessment->settings.catalog;
    if (breakdown->confusion_count == 0) return;
    text_printf(out, "\n  %-43s   %-43s %6s\n", "Base taken for another: true", "predicted", "stays");
    for (size_t k = 0; k < breakdown->confusion_count && k < SHOWN_CONFUSIONS; k++) {
        const struct confusion *confusion = &breakdown->confusions[k];
        char titles[2][256], codes[2][16];
        base_title(catalog, confusion->truth, titles[0], sizeof titles[0]);
        base_title(catalog, confusion->predicted, titles[1], sizeof titles[1]);
        base_codes(catalog, confusion->truth, codes[0]);
        base_codes(catalog, confusion->predicted, codes[1]);
        text_printf(out, "  %-8s%-*.*s   %-8s%-*.*s %6zu\n", codes[0], TITLE + 1, TITLE, titles[0], codes[1], TITLE + 1,
                    TITLE, titles[1], confusion->stays);
    }
}

void assessment_add_text(struct text *out, const struct assessment *assessment) {
    add_pairs(out, assessment);
    add_money(out, assessment);
    add_calibration(out, assessment);
    add_selective(out, assessment);
    add_groups(out, &assessment->breakdown);
    add_confusions(out, assessment);
}
