/* Accuracy and F1 by counting; AUC by a walk over ordered rows in which every resample keeps its own running weights.
 */
#include "eval/metric_intervals.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/numpy_sort.h"
#include "base/threads.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *metric_name(enum metric metric) {
    static const char *const names[] = {"acc1", "acc5", "acc10", "f1_macro", "f1_micro", "auc_macro", "auc_micro"};
    return names[metric];
}

int32_t metric_rank(int64_t *order, const double *logits, int64_t C, int32_t label) {
    numpy_argsort_double(order, logits, C);
    for (int32_t rank = 0; rank < C && rank < METRIC_RANKS; rank++) {
        if (order[C - 1 - rank] == label) return rank;
    }
    return METRIC_RANKS;
}

/* What the replicates are computed from. */
struct rows {
    const struct scores *scores;
    const uint32_t *patients;
    const struct resamples *resamples;
    double *p;                  /* [N, C] softmax */
    int32_t *ranks, *predicted; /* [N] */
};

static bool rows_open(struct rows *rows, struct arena *arena, struct error *error) {
    const int64_t N = rows->scores->N, C = rows->scores->C;
    const size_t threads = (size_t)threads_count();
    rows->p = arena_alloc(arena, (size_t)N * (size_t)C, sizeof *rows->p);
    rows->ranks = arena_alloc(arena, (size_t)N, sizeof *rows->ranks);
    rows->predicted = arena_alloc(arena, (size_t)N, sizeof *rows->predicted);
    int64_t *orders = arena_alloc(arena, threads * (size_t)C, sizeof *orders);
    if (rows->p == NULL || rows->ranks == NULL || rows->predicted == NULL || orders == NULL)
        return memory_error(error, (size_t)N * (size_t)C * sizeof *rows->p, "the intervals");
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < N; r++) {
        const double *logits = rows->scores->logits + r * rows->scores->stride;
        int32_t best = 0;
        for (int32_t c = 1; c < C; c++) best = logits[c] > logits[best] ? c : best;
        rows->predicted[r] = best;
        rows->ranks[r] = metric_rank(orders + threads_index() * C, logits, C, rows->scores->labels[r]);
        softmax_double(rows->p + r * C, logits, C);
    }
    return true;
}

/* One resample's accuracy and F1. counts: [3, C] scratch. */
static void count_replicate(const struct rows *rows, size_t b, int64_t *counts, double *replicates) {
    const int64_t N = rows->scores->N, C = rows->scores->C;
    const size_t B = rows->resamples->B;
    int64_t *actual = counts, *claimed = counts + C, *right = counts + 2 * C, hits[3] = {0}, total = 0;
    memset(counts, 0, 3 * (size_t)C * sizeof *counts);
    for (int64_t r = 0; r < N; r++) {
        const int64_t weight = rows->resamples->counts[rows->patients[r] * B + b];
        const int32_t label = rows->scores->labels[r], rank = rows->ranks[r];
        total += weight;
        hits[0] += rank < 1 ? weight : 0;
        hits[1] += rank < 5 ? weight : 0;
        hits[2] += rank < 10 ? weight : 0;
        actual[label] += weight;
        claimed[rows->predicted[r]] += weight;
        right[label] += rows->predicted[r] == label ? weight : 0;
    }
    int64_t sums[3] = {0}, present = 0;
    double macro = 0;
    for (int64_t c = 0; c < C; c++) {
        if (actual[c] == 0) continue;
        present++;
        sums[0] += actual[c];
        sums[1] += claimed[c];
        sums[2] += right[c];
        macro += right[c] == 0 ? 0 : 2 * (double)right[c] / (double)(claimed[c] + actual[c]);
    }
    for (size_t k = 0; k < 3; k++) replicates[(ACC1 + k) * B + b] = (double)hits[k] / (double)total;
    replicates[F1_MACRO * B + b] = macro / (double)present;
    replicates[F1_MICRO * B + b] = sums[2] == 0 ? 0 : 2 * (double)sums[2] / (double)(sums[0] + sums[1]);
}

static bool count_replicates(const struct rows *rows, double *replicates, struct error *error) {
    const size_t C = (size_t)rows->scores->C;
    int64_t *counts = memory_alloc((size_t)threads_count() * 3 * C, sizeof *counts);
    if (counts == NULL) return memory_error(error, 3 * C * sizeof *counts, "the intervals");
#pragma omp parallel for schedule(static)
    for (size_t b = 0; b < rows->resamples->B; b++)
        count_replicate(rows, b, counts + (size_t)threads_index() * 3 * C, replicates);
    memory_free(counts);
    return true;
}

/* Positives and negatives of one ROC curve. Bucket 2k holds the negatives above positive k-1 and below positive k,
 * bucket 2k + 1 those level with it (k being the first of equal positives). */
struct contest {
    struct positive {
        double p;
        uint32_t row;
    } * positives;       /* [P] by rising p */
    uint32_t *negatives; /* rows, bucket by bucket */
    uint32_t *ends;      /* [2P + 1] where each bucket ends */
    size_t P;
};

static int compare_positives(const void *a, const void *b) {
    const struct positive *x = a, *y = b;
    return (x->p > y->p) - (x->p < y->p);
}

static uint32_t bucket_of(const struct contest *contest, double p) {
    size_t low = 0, high = contest->P;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (contest->positives[middle].p < p)
            low = middle + 1;
        else
            high = middle;
    }
    return (uint32_t)(2 * low + (low < contest->P && contest->positives[low].p <= p));
}

/* Turns the counts in ends[] into the first free place of each bucket; filling then leaves them at the buckets' ends.
 */
static void open_buckets(struct contest *contest) {
    uint32_t place = 0;
    for (size_t k = 0; k < 2 * contest->P + 1; k++) {
        const uint32_t count = contest->ends[k];
        contest->ends[k] = place;
        place += count;
    }
}

enum { LANES = 256 };

/* Running weights of a block of resamples. */
struct lanes {
    uint64_t wins[LANES], positive[LANES];
    uint32_t below[LANES], level[LANES], group[LANES];
};

static void add_rows(uint32_t *weights, const struct rows *rows, const uint32_t *list, size_t count, size_t first,
                     size_t lanes) {
    for (size_t i = 0; i < count; i++) {
        const uint8_t *counts = rows->resamples->counts + rows->patients[list[i]] * rows->resamples->B + first;
        for (size_t b = 0; b < lanes; b++) weights[b] += counts[b];
    }
}

/* Twice the weighted pairs with the positive ahead, a tie counting one (wins), the positives' weight, and the
 * negatives' (left in `below`), for resamples first … first + lanes - 1. */
static void walk(const struct contest *contest, const struct rows *rows, size_t first, size_t lanes,
                 struct lanes *out) {
    memset(out, 0, sizeof *out);
    for (size_t k = 0, end; k < contest->P; k = end) {
        const uint32_t start = k == 0 ? 0 : contest->ends[2 * k - 1], middle = contest->ends[2 * k];
        add_rows(out->below, rows, contest->negatives + start, middle - start, first, lanes);
        memset(out->level, 0, sizeof out->level);
        memset(out->group, 0, sizeof out->group);
        add_rows(out->level, rows, contest->negatives + middle, contest->ends[2 * k + 1] - middle, first, lanes);
        for (end = k; end < contest->P && contest->positives[end].p <= contest->positives[k].p; end++)
            add_rows(out->group, rows, &contest->positives[end].row, 1, first, lanes);
        for (size_t b = 0; b < lanes; b++) {
            out->wins[b] += out->group[b] * (2 * (uint64_t)out->below[b] + out->level[b]);
            out->positive[b] += out->group[b];
            out->below[b] += out->level[b];
        }
    }
    const uint32_t start = contest->ends[2 * contest->P - 1];
    add_rows(out->below, rows, contest->negatives + start, contest->ends[2 * contest->P] - start, first, lanes);
}

/* AUC of each resample; NaN without a positive or without a negative (then `absent` tells which: no positive). */
static void contest_auc(const struct contest *contest, const struct rows *rows, size_t first, double *auc,
                        bool *absent) {
    const size_t B = rows->resamples->B, lanes = B - first < LANES ? B - first : LANES;
    struct lanes out;
    walk(contest, rows, first, lanes, &out);
    for (size_t b = 0; b < lanes; b++) {
        auc[first + b] = 0.5 * (double)out.wins[b] / ((double)out.positive[b] * (double)out.below[b]);
        if (absent != NULL) absent[first + b] = out.positive[b] == 0;
    }
}

/* The ROC curve of class c: its rows against the others. Scratch of N rows. */
static void class_contest(struct contest *contest, const struct rows *rows, int64_t c, uint32_t *buckets) {
    const int64_t N = rows->scores->N, C = rows->scores->C;
    contest->P = 0;
    for (int64_t r = 0; r < N; r++) {
        if (rows->scores->labels[r] == c)
            contest->positives[contest->P++] = (struct positive){rows->p[r * C + c], (uint32_t)r};
    }
    qsort(contest->positives, contest->P, sizeof *contest->positives, compare_positives);
    memset(contest->ends, 0, (2 * contest->P + 1) * sizeof *contest->ends);
    for (int64_t r = 0; r < N; r++) {
        if (rows->scores->labels[r] == c) continue;
        buckets[r] = bucket_of(contest, rows->p[r * C + c]);
        contest->ends[buckets[r]]++;
    }
    open_buckets(contest);
    for (int64_t r = 0; r < N; r++) {
        if (rows->scores->labels[r] != c) contest->negatives[contest->ends[buckets[r]]++] = (uint32_t)r;
    }
}

static bool contest_open(struct contest *contest, size_t P, size_t negatives, struct error *error) {
    contest->positives = memory_alloc(P, sizeof *contest->positives);
    contest->negatives = memory_alloc(negatives, sizeof *contest->negatives);
    contest->ends = memory_zero(2 * P + 1, sizeof *contest->ends);
    return (contest->positives != NULL && contest->negatives != NULL && contest->ends != NULL) ||
           memory_error(error, negatives * sizeof *contest->negatives, "the intervals of AUC");
}

static void contest_close(struct contest *contest) {
    memory_free(contest->positives);
    memory_free(contest->negatives);
    memory_free(contest->ends);
}

/* Means over classes are taken in the order of the classes, whichever thread was first. */
static void average_classes(const double *aucs, const bool *absent, int64_t C, size_t B, double *out) {
    for (size_t b = 0; b < B; b++) {
        double sum = 0, present = 0;
        for (size_t c = 0; c < (size_t)C; c++) {
            if (absent[c * B + b]) continue;
            sum += aucs[c * B + b];
            present++;
        }
        out[b] = sum / present;
    }
}

/* AUC of every class in every resample; a thread without memory for its share makes it fail. */
static bool class_aucs(const struct rows *rows, double *aucs, bool *absent, struct error *error) {
    const int64_t C = rows->scores->C;
    const size_t N = (size_t)rows->scores->N, B = rows->resamples->B;
    bool failed = false;
#pragma omp parallel
    {
        struct contest contest = {0};
        uint32_t *buckets = memory_alloc(N, sizeof *buckets);
        const bool ready = contest_open(&contest, N, N, NULL) && buckets != NULL;
        if (!ready) {
#pragma omp atomic write
            failed = true;
        }
#pragma omp for schedule(dynamic)
        for (int64_t c = 0; c < C; c++) {
            if (!ready) continue;
            class_contest(&contest, rows, c, buckets);
            if (contest.P == 0) continue;
            for (size_t first = 0; first < B; first += LANES)
                contest_auc(&contest, rows, first, aucs + (size_t)c * B, absent + (size_t)c * B);
        }
        contest_close(&contest);
        memory_free(buckets);
    }
    return !failed || memory_error(error, 4 * N * sizeof(double), "the intervals of AUC");
}

static bool macro_auc(const struct rows *rows, double *out, struct error *error) {
    const size_t C = (size_t)rows->scores->C, B = rows->resamples->B;
    double *aucs = memory_zero(C * B, sizeof *aucs);
    bool *absent = memory_alloc(C * B, sizeof *absent);
    bool done = (aucs != NULL && absent != NULL) || memory_error(error, C * B * sizeof *aucs, "the intervals of AUC");
    if (done) {
        memset(absent, true, C * B * sizeof *absent);
        done = class_aucs(rows, aucs, absent, error);
    }
    if (done) average_classes(aucs, absent, rows->scores->C, B, out);
    memory_free(aucs);
    memory_free(absent);
    return done;
}

/* The one ROC curve of all N * C pairs of row and class. */
static void pooled_contest(struct contest *contest, const struct rows *rows, uint32_t *buckets) {
    const int64_t N = rows->scores->N, C = rows->scores->C;
    const int32_t *labels = rows->scores->labels;
    contest->P = (size_t)N;
    for (int64_t r = 0; r < N; r++) contest->positives[r] = (struct positive){rows->p[r * C + labels[r]], (uint32_t)r};
    qsort(contest->positives, contest->P, sizeof *contest->positives, compare_positives);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < N * C; i++) {
        if (labels[i / C] != i % C) buckets[i] = bucket_of(contest, rows->p[i]);
    }
    for (int64_t i = 0; i < N * C; i++) {
        if (labels[i / C] != i % C) contest->ends[buckets[i]]++;
    }
    open_buckets(contest);
    for (int64_t i = 0; i < N * C; i++) {
        if (labels[i / C] != i % C) contest->negatives[contest->ends[buckets[i]]++] = (uint32_t)(i / C);
    }
}

static bool micro_auc(const struct rows *rows, double *out, struct error *error) {
    const size_t pairs = (size_t)rows->scores->N * (size_t)rows->scores->C;
    struct contest contest = {0};
    uint32_t *buckets = memory_alloc(pairs, sizeof *buckets);
    const bool done = (buckets != NULL || memory_error(error, pairs * sizeof *buckets, "the intervals of AUC")) &&
                      contest_open(&contest, (size_t)rows->scores->N, pairs, error);
    if (done) {
        pooled_contest(&contest, rows, buckets);
#pragma omp parallel for schedule(dynamic)
        for (size_t first = 0; first < rows->resamples->B; first += LANES)
            contest_auc(&contest, rows, first, out, NULL);
    }
    contest_close(&contest);
    memory_free(buckets);
    return done;
}

bool metric_replicates(const struct scores *scores, const uint32_t *patients, const struct resamples *resamples,
                       double *replicates, struct error *error) {
    /* Running weights have 32 bits: a resample's N * C pairs stay far below. */
    if (scores->N > (1 << 30) / scores->C)
        return error_set(error, "%lld rows of %lld classes are too many for intervals", (long long)scores->N,
                         (long long)scores->C);
    struct arena arena = {0};
    struct rows rows = {.scores = scores, .patients = patients, .resamples = resamples};
    const size_t B = resamples->B;
    const bool done = rows_open(&rows, &arena, error) && count_replicates(&rows, replicates, error) &&
                      macro_auc(&rows, replicates + AUC_MACRO * B, error) &&
                      micro_auc(&rows, replicates + AUC_MICRO * B, error);
    arena_free(&arena);
    return done;
}

void metric_intervals(const struct metrics *metrics, double *replicates, size_t B, struct interval *intervals) {
    const double values[METRICS] = {metrics->acc1,     metrics->acc5,      metrics->acc10,    metrics->f1_macro,
                                    metrics->f1_micro, metrics->auc_macro, metrics->auc_micro};
    for (size_t m = 0; m < METRICS; m++) intervals[m] = interval_percentile(values[m], replicates + m * B, B);
}

bool metric_hits(const struct scores *scores, uint8_t *hits, struct error *error) {
    const size_t C = (size_t)scores->C;
    int64_t *order = memory_alloc(C, sizeof *order);
    if (order == NULL) return memory_error(error, C * sizeof *order, "the metrics");
    for (int64_t r = 0; r < scores->N; r++)
        hits[r] = metric_rank(order, scores->logits + r * scores->stride, scores->C, scores->labels[r]) == 0;
    memory_free(order);
    return true;
}

bool paired_difference(const uint8_t *hits, const uint8_t *others, const struct patients *patients,
                       const struct resamples *resamples, struct interval *difference, struct error *error) {
    enum { ROWS, DIFFERENCE, COLUMNS };
    const size_t B = resamples->B;
    struct sums sums = {.columns = COLUMNS};
    double totals[COLUMNS];
    double *replicates = memory_alloc(COLUMNS * B, sizeof *replicates);
    bool done = replicates != NULL || memory_error(error, COLUMNS * B * sizeof *replicates, "the intervals");
    for (size_t i = 0; done && i < patients->N; i++) {
        done = sums_add(&sums, patients->of[i], ROWS, 1, error) &&
               (hits[i] == others[i] || sums_add(&sums, patients->of[i], DIFFERENCE, hits[i] - others[i], error));
    }
    if (done) {
        sums_total(&sums, totals);
        sums_replicates(&sums, resamples, replicates);
        double *values = replicates + DIFFERENCE * B;
        for (size_t b = 0; b < B; b++) values[b] /= replicates[ROWS * B + b];
        *difference = interval_percentile(totals[DIFFERENCE] / totals[ROWS], values, B);
    }
    memory_free(replicates);
    sums_close(&sums);
    return done;
}
