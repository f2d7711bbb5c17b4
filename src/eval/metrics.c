/* Accuracy at k, F1 and AUC of rows of logits. */
#include "eval/metrics.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/numpy_sort.h"
#include "base/text.h"
#include "base/threads.h"
#include "drg/catalog.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What AUC needs of a row's softmax: p of class c is exp(logit - shift) / sum. */
struct normaliser {
    double shift, sum;
};

/* Everything counted over the rows. */
struct tally {
    int64_t hits1, hits5, hits10;
    int32_t *predicted;                /* [N] first largest logit */
    struct normaliser *normalisers;    /* [N] */
    int64_t *actual, *claimed, *right; /* [C] rows of the class, rows predicted as it, and both */
};

/* numpy's sum of doubles: eight running sums, and halves beyond 128 terms. Rows that hold the same logits in another
 * order tie or do not tie in AUC by the last bit of this sum. */
static double pairwise_sum(const double *x, int64_t count) {
    enum { LANES = 8, BLOCK = 128 };
    if (count > BLOCK) {
        const int64_t half = count / 2 / LANES * LANES;
        return pairwise_sum(x, half) + pairwise_sum(x + half, count - half);
    }
    double sum = 0, lanes[LANES];
    int64_t i = 0;
    if (count >= LANES) {
        memcpy(lanes, x, sizeof lanes);
        for (i = LANES; i + LANES <= count; i += LANES) {
            for (int lane = 0; lane < LANES; lane++) lanes[lane] += x[i + lane];
        }
        sum = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
    }
    for (; i < count; i++) sum += x[i];
    return sum;
}

/* The published softmax subtracts no maximum, and that shows: rows whose logits differ by a constant would tie in AUC
 * if it did. So it is subtracted only where exp would leave the range of doubles. Fills p with exp(logit - shift). */
static struct normaliser normalise(double *p, const double *logits, int64_t C) {
    double largest = logits[0];
    for (int64_t c = 1; c < C; c++) largest = fmax(largest, logits[c]);
    const double shift = fabs(largest) < 600 ? 0 : largest;
    for (int64_t c = 0; c < C; c++) p[c] = exp(logits[c] - shift);
    return (struct normaliser){shift, pairwise_sum(p, C)};
}

void softmax_double(double *p, const double *logits, int64_t C) {
    const double sum = normalise(p, logits, C).sum;
    for (int64_t c = 0; c < C; c++) p[c] /= sum;
}

static int32_t first_largest(const double *logits, int64_t C) {
    int64_t best = 0;
    for (int64_t c = 1; c < C; c++) {
        if (logits[c] > logits[best]) best = c;
    }
    return (int32_t)best;
}

/* Place of the label from the end of numpy's argsort; 10 when it is not among the last ten. */
static int64_t label_rank(int64_t *order, const double *logits, int64_t C, int32_t label) {
    enum { DEEPEST = 10 };
    numpy_argsort_double(order, logits, C);
    for (int64_t rank = 0; rank < C && rank < DEEPEST; rank++) {
        if (order[C - 1 - rank] == label) return rank;
    }
    return DEEPEST;
}

static bool check_scores(const struct scores *scores, struct error *error) {
    if (scores->N < 1 || scores->C < 1) return error_set(error, "there are no labelled rows to score");
    for (int64_t r = 0; r < scores->N; r++) {
        if (scores->labels[r] >= 0 && scores->labels[r] < scores->C) continue;
        return error_set(error, "row %lld: label %d, expected 0 to %lld", (long long)r, scores->labels[r],
                         (long long)scores->C - 1);
    }
    return true;
}

static bool tally_open(struct tally *tally, struct arena *arena, int64_t N, int64_t C, struct error *error) {
    tally->predicted = arena_alloc(arena, (size_t)N, sizeof *tally->predicted);
    tally->normalisers = arena_alloc(arena, (size_t)N, sizeof *tally->normalisers);
    tally->actual = arena_zero(arena, (size_t)C, sizeof *tally->actual);
    tally->claimed = arena_zero(arena, (size_t)C, sizeof *tally->claimed);
    tally->right = arena_zero(arena, (size_t)C, sizeof *tally->right);
    return (tally->predicted != NULL && tally->normalisers != NULL && tally->actual != NULL && tally->claimed != NULL &&
            tally->right != NULL) ||
           memory_error(error, (size_t)(N + C) * 24, "the metrics");
}

static bool tally_rows(struct tally *tally, const struct scores *scores, struct arena *arena, struct error *error) {
    const int64_t N = scores->N, C = scores->C;
    const size_t threads = (size_t)threads_count();
    int64_t *orders = arena_alloc(arena, threads * (size_t)C, sizeof *orders), hits1 = 0, hits5 = 0, hits10 = 0;
    double *exponentials = arena_alloc(arena, threads * (size_t)C, sizeof *exponentials);
    if (orders == NULL || exponentials == NULL) return memory_error(error, threads * (size_t)C * 16, "the metrics");
#pragma omp parallel for reduction(+ : hits1, hits5, hits10) schedule(static)
    for (int64_t r = 0; r < N; r++) {
        const double *logits = scores->logits + r * scores->stride;
        const int64_t own = threads_index() * C, rank = label_rank(orders + own, logits, C, scores->labels[r]);
        hits1 += rank < 1;
        hits5 += rank < 5;
        hits10 += rank < 10;
        tally->predicted[r] = first_largest(logits, C);
        tally->normalisers[r] = normalise(exponentials + own, logits, C);
    }
    tally->hits1 = hits1;
    tally->hits5 = hits5;
    tally->hits10 = hits10;
    for (int64_t r = 0; r < N; r++) {
        tally->actual[scores->labels[r]]++;
        tally->claimed[tally->predicted[r]]++;
        tally->right[scores->labels[r]] += tally->predicted[r] == scores->labels[r];
    }
    return true;
}

/* 2 P R / (P + R) as scikit-learn has it; a zero denominator anywhere gives 0. */
static double f1(int64_t right, int64_t claimed, int64_t actual) {
    return right == 0 ? 0 : 2 * (double)right / (double)(claimed + actual);
}

static void f1_over_classes(const struct tally *tally, int64_t C, struct metrics *metrics) {
    int64_t right = 0, claimed = 0, actual = 0, present = 0;
    double sum = 0;
    for (int64_t c = 0; c < C; c++) {
        if (tally->actual[c] == 0) continue;
        present++;
        right += tally->right[c];
        claimed += tally->claimed[c];
        actual += tally->actual[c];
        sum += f1(tally->right[c], tally->claimed[c], tally->actual[c]);
    }
    metrics->labels = present;
    metrics->f1_macro = sum / (double)present;
    metrics->f1_micro = f1(right, claimed, actual);
}

/* The probabilities of the true labels, sorted: of all rows together, and class by class. */
struct positives {
    double *all;      /* [N] */
    double *by_class; /* [N] class c at starts[c] … starts[c+1]-1 */
    int64_t *starts;  /* [C + 1] */
    uint64_t
        *wins; /* [C] twice the pairs (positive, negative) of the class with the positive ahead, a tie counting one */
};

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double probability(const struct scores *scores, const struct tally *tally, int64_t r, int64_t c) {
    const struct normaliser row = tally->normalisers[r];
    return exp(scores->logits[r * scores->stride + c] - row.shift) / row.sum;
}

static bool collect_positives(struct positives *positives, const struct scores *scores, const struct tally *tally,
                              struct arena *arena, struct error *error) {
    const size_t N = (size_t)scores->N, C = (size_t)scores->C;
    positives->all = arena_alloc(arena, N, sizeof(double));
    positives->by_class = arena_alloc(arena, N, sizeof(double));
    positives->starts = arena_zero(arena, C + 1, sizeof *positives->starts);
    positives->wins = arena_zero(arena, C, sizeof *positives->wins);
    int64_t *filled = arena_zero(arena, C, sizeof *filled);
    if (positives->all == NULL || positives->by_class == NULL || positives->starts == NULL || positives->wins == NULL ||
        filled == NULL) {
        return memory_error(error, (N + C) * 16, "the AUC");
    }
    for (size_t c = 0; c < C; c++) positives->starts[c + 1] = positives->starts[c] + tally->actual[c];
    for (size_t r = 0; r < N; r++) {
        const int32_t label = scores->labels[r];
        positives->all[r] = probability(scores, tally, (int64_t)r, label);
        positives->by_class[positives->starts[label] + filled[label]++] = positives->all[r];
    }
    qsort(positives->all, N, sizeof(double), compare_doubles);
    for (size_t c = 0; c < C; c++) {
        qsort(positives->by_class + positives->starts[c], (size_t)tally->actual[c], sizeof(double), compare_doubles);
    }
    return true;
}

/* How many of sorted[count] are below p (or, with `equal`, not above it). */
static int64_t count_below(const double *sorted, int64_t count, double p, bool equal) {
    const double *from = sorted;
    for (int64_t left = count; left > 0;) {
        const int64_t half = left / 2;
        const bool below = equal ? from[half] <= p : from[half] < p;
        from += below ? half + 1 : 0;
        left = below ? left - half - 1 : half;
    }
    return from - sorted;
}

/* Twice the number of sorted[count] above p, plus those equal to it. */
static uint64_t count_wins(const double *sorted, int64_t count, double p) {
    const int64_t below = count_below(sorted, count, p, false);
    const bool tied = below < count && sorted[below] <= p;
    const int64_t upto = tied ? below + count_below(sorted + below, count - below, p, true) : below;
    return (uint64_t)(count - below) + (uint64_t)(count - upto);
}

/* Every negative (row, class) is looked up among the positives: the area under the ROC curve is the share of pairs with
 * the positive ahead (Mann and Whitney 1947; Hanley and McNeil 1982). Classes are shared out, so that the counts need
 * no lock. */
static void auc_over_classes(const struct scores *scores, const struct tally *tally, const struct positives *positives,
                             struct metrics *metrics) {
    enum { BLOCK = 32 };
    const int64_t N = scores->N, C = scores->C;
    uint64_t wins = 0;
#pragma omp parallel for reduction(+ : wins) schedule(dynamic)
    for (int64_t first = 0; first < C; first += BLOCK) {
        const int64_t end = first + BLOCK < C ? first + BLOCK : C;
        for (int64_t r = 0; r < N; r++) {
            for (int64_t c = first; c < end; c++) {
                if (scores->labels[r] == c) continue;
                const double p = probability(scores, tally, r, c);
                wins += count_wins(positives->all, N, p);
                if (tally->actual[c] == 0) continue;
                positives->wins[c] += count_wins(positives->by_class + positives->starts[c], tally->actual[c], p);
            }
        }
    }
    double sum = 0;
    for (int64_t c = 0; c < C; c++) {
        const int64_t actual = tally->actual[c];
        if (actual > 0) sum += 0.5 * (double)positives->wins[c] / ((double)actual * (double)(N - actual));
    }
    metrics->auc_macro = sum / (double)metrics->labels;
    metrics->auc_micro = 0.5 * (double)wins / ((double)N * ((double)N * (double)(C - 1)));
}

bool metrics_classify(const struct scores *scores, struct metrics *metrics, struct error *error) {
    struct arena arena = {0};
    struct tally tally = {0};
    struct positives positives;
    const bool done = check_scores(scores, error) && tally_open(&tally, &arena, scores->N, scores->C, error) &&
                      tally_rows(&tally, scores, &arena, error) &&
                      collect_positives(&positives, scores, &tally, &arena, error);
    if (done) {
        const double N = (double)scores->N;
        *metrics = (struct metrics){
            .acc1 = (double)tally.hits1 / N, .acc5 = (double)tally.hits5 / N, .acc10 = (double)tally.hits10 / N};
        metrics->count = scores->N;
        f1_over_classes(&tally, scores->C, metrics);
        auc_over_classes(scores, &tally, &positives, metrics);
    }
    arena_free(&arena);
    return done;
}

/* Adds to the hits of the composed DRG, row by row. */
static bool rank_composed(const struct catalog *catalog, const double *logits, const int32_t *base_labels,
                          const int32_t *severity_labels, int64_t N, struct two_label_metrics *metrics,
                          struct error *error) {
    const int64_t B = (int64_t)catalog->bases, width = B + TWO_LABEL_SEVERITIES;
    int64_t hits1 = 0, hits5 = 0, hits10 = 0;
    struct arena arena = {0};
    double *p = arena_alloc(&arena, catalog->count, sizeof *p), *row = arena_alloc(&arena, (size_t)width, sizeof *row);
    const bool done = (p != NULL && row != NULL) || memory_error(error, catalog->count * sizeof *p, "composed DRGs");
    for (int64_t r = 0; done && r < N; r++) {
        softmax_double(row, logits + r * width, B);
        softmax_double(row + B, logits + r * width + B, TWO_LABEL_SEVERITIES);
        catalog_compose(catalog, row, row + B, p);
        size_t own = catalog->count, ahead = 0;
        for (size_t i = 0; i < catalog->count; i++) {
            const struct drg *drg = &catalog->drgs[i];
            if (drg->base == base_labels[r] && two_label_severity(drg) == severity_labels[r]) own = i;
        }
        if (own == catalog->count) continue; /* a pair that no DRG has is never met */
        for (size_t i = 0; i < catalog->count; i++) ahead += i != own && p[i] >= p[own];
        hits1 += ahead < 1;
        hits5 += ahead < 5;
        hits10 += ahead < 10;
    }
    metrics->composed1 = (double)hits1 / (double)N;
    metrics->composed5 = (double)hits5 / (double)N;
    metrics->composed10 = (double)hits10 / (double)N;
    arena_free(&arena);
    return done;
}

bool metrics_two_label(const struct catalog *catalog, const double *logits, const int32_t *base_labels,
                       const int32_t *severity_labels, int64_t N, struct two_label_metrics *metrics,
                       struct error *error) {
    const int64_t B = (int64_t)catalog->bases, width = B + TWO_LABEL_SEVERITIES;
    const struct scores base = {logits, base_labels, N, B, width};
    const struct scores severity = {logits + B, severity_labels, N, TWO_LABEL_SEVERITIES, width};
    if (!metrics_classify(&base, &metrics->base, error)) return error_context(error, "base DRG");
    if (!metrics_classify(&severity, &metrics->severity, error)) return error_context(error, "severity");
    int64_t right = 0;
    for (int64_t r = 0; r < N; r++) {
        const double *row = logits + r * width;
        if (first_largest(row, B) != base_labels[r]) continue;
        const struct drg *drg = catalog_resolve(catalog, base_labels[r], first_largest(row + B, TWO_LABEL_SEVERITIES));
        right += drg != NULL && two_label_severity(drg) == severity_labels[r];
    }
    metrics->acc_drg = (double)right / (double)N;
    return rank_composed(catalog, logits, base_labels, severity_labels, N, metrics, error);
}

void metrics_add_json(struct text *out, const struct metrics *metrics, const char *suffix) {
    const struct {
        const char *name;
        double value;
    } members[] = {{"acc1", metrics->acc1},          {"acc5", metrics->acc5},         {"acc10", metrics->acc10},
                   {"f1_macro", metrics->f1_macro},  {"f1_micro", metrics->f1_micro}, {"auc_macro", metrics->auc_macro},
                   {"auc_micro", metrics->auc_micro}};
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        text_printf(out, "\"%s%s\": ", members[i].name, suffix);
        text_add_json_double(out, members[i].value);
        text_add(out, ", ");
    }
    text_printf(out, "\"labels%s\": %lld, \"count%s\": %lld", suffix, (long long)metrics->labels, suffix,
                (long long)metrics->count);
}
