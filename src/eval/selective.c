/* Risk against coverage, thresholds, and the exact binomial bound. */
#include "eval/selective.h"
#include "base/error.h"
#include "base/memory.h"
#include <math.h>
#include <stdlib.h>

static const double wanted = 0.95;

/* Continued fraction of the incomplete beta function by Lentz's method (NIST DLMF 8.17.22). */
static double beta_fraction(double a, double b, double x) {
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1);
    d = 1 / (fabs(d) < tiny ? tiny : d);
    double result = d;
    for (int m = 1; m < 10000; m++) {
        double term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        for (int half = 0; half < 2; half++) {
            d = 1 + term * d;
            c = 1 + term / c;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            c = fabs(c) < tiny ? tiny : c;
            result *= c * d;
            if (half == 0) term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        }
        if (fabs(c * d - 1) < 1e-14) break;
    }
    return result;
}

/* Regularised incomplete beta function I_x(a, b). */
static double beta_share(double a, double b, double x) {
    if (x <= 0 || x >= 1) return x <= 0 ? 0 : 1;
    const double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
    return x < (a + 1) / (a + b + 2) ? front * beta_fraction(a, b, x) / a : 1 - front * beta_fraction(b, a, 1 - x) / b;
}

double binomial_lower(size_t right, size_t count, double alpha) {
    if (right == 0) return 0;
    double low = 0, high = 1;
    /* P(at least `right` of `count`) = I_p(right, count - right + 1) rises with p. */
    for (int step = 0; step < 60; step++) {
        const double middle = 0.5 * (low + high);
        if (beta_share((double)right, (double)(count - right) + 1, middle) < alpha)
            low = middle;
        else
            high = middle;
    }
    return low;
}

static int compare_confidence(const void *a, const void *b) {
    const struct outcome *x = *(const struct outcome *const *)a, *y = *(const struct outcome *const *)b;
    const int falling = (x->confidence < y->confidence) - (x->confidence > y->confidence);
    return falling != 0 ? falling : (x > y) - (x < y);
}

static double aurc(const struct outcome *outcomes, const struct outcome *const *order, size_t N,
                   const uint32_t *patients, const struct resamples *resamples, size_t b) {
    double sum = 0, errors = 0, accepted = 0;
    for (size_t k = 0, end; k < N; k = end) {
        double group = 0, wrong = 0;
        for (end = k; end < N && order[end]->confidence >= order[k]->confidence; end++) {
            const size_t i = (size_t)(order[end] - outcomes);
            const double weight = resamples == NULL ? 1 : (double)resamples->counts[patients[i] * resamples->B + b];
            group += weight;
            wrong += order[end]->right ? 0 : weight;
        }
        for (double j = 1; j <= group; j++) sum += (errors + wrong * j / group) / (accepted + j);
        accepted += group;
        errors += wrong;
    }
    return sum / accepted;
}

static double perfect_aurc(size_t N, size_t wrong) {
    double sum = 0;
    for (size_t k = N - wrong + 1; k <= N; k++) sum += (double)(k - (N - wrong)) / (double)k;
    return sum / (double)N;
}

/* The table, and the smallest threshold that keeps the wanted accuracy. */
static void walk_thresholds(const struct outcome *const *order, size_t N, struct selective *selective) {
    size_t right = 0, row = 0;
    selective->observed = selective->assured = 2;
    for (size_t k = 0; k < N; k++) {
        right += order[k]->right;
        const bool last = k + 1 == N || order[k + 1]->confidence < order[k]->confidence;
        if (!last) continue;
        const struct coverage here = {order[k]->confidence, k + 1, right, 0};
        if ((double)right >= wanted * (double)(k + 1)) selective->observed = here.threshold;
        for (; row < COVERAGES && (k + 1) * COVERAGES >= (row + 1) * N; row++) {
            selective->table[row] = here;
            selective->table[row].lower = binomial_lower(right, k + 1, 0.05 / COVERAGES);
            if (selective->table[row].lower >= wanted) selective->assured = here.threshold;
        }
    }
}

bool selective_measure(const struct outcome *outcomes, size_t N, const uint32_t *patients,
                       const struct resamples *resamples, struct selective *selective, struct error *error) {
    const size_t B = resamples->B;
    const struct outcome **order = memory_alloc(N, sizeof *order);
    double *replicates = memory_alloc(B, sizeof *replicates);
    const bool done =
        (order != NULL && replicates != NULL) || memory_error(error, N * sizeof *order, "the risk-coverage curve");
    if (done) {
        size_t wrong = 0;
        for (size_t i = 0; i < N; i++) {
            order[i] = &outcomes[i];
            wrong += !outcomes[i].right;
        }
        qsort(order, N, sizeof *order, compare_confidence);
        walk_thresholds(order, N, selective);
#pragma omp parallel for schedule(static)
        for (size_t b = 0; b < B; b++) replicates[b] = aurc(outcomes, order, N, patients, resamples, b);
        selective->aurc = interval_percentile(aurc(outcomes, order, N, patients, NULL, 0), replicates, B);
        selective->best_aurc = perfect_aurc(N, wrong);
    }
    memory_free(order);
    memory_free(replicates);
    return done;
}

struct coverage coverage_at(const struct outcome *outcomes, size_t N, double threshold) {
    struct coverage coverage = {.threshold = threshold};
    for (size_t i = 0; i < N; i++) {
        if (outcomes[i].confidence < threshold) continue;
        coverage.accepted++;
        coverage.right += outcomes[i].right;
    }
    coverage.lower = coverage.accepted == 0 ? 0 : binomial_lower(coverage.right, coverage.accepted, 0.05);
    return coverage;
}
