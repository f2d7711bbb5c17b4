/* Reliability tables and the fit of the temperature. */
#include "eval/calibration.h"
#include "base/error.h"
#include "base/memory.h"
#include <math.h>
#include <stdlib.h>

/* Confidences with the stays they belong to; ties keep the order of the data. */
struct ordered {
    double confidence;
    size_t stay;
};

static int compare_ordered(const void *a, const void *b) {
    const struct ordered *x = a, *y = b;
    const int by_confidence = (x->confidence > y->confidence) - (x->confidence < y->confidence);
    return by_confidence != 0 ? by_confidence : (x->stay > y->stay) - (x->stay < y->stay);
}

static void add_stay(struct reliability_bin *bin, const struct outcome *outcome) {
    bin->stays++;
    bin->confidence += outcome->confidence;
    bin->accuracy += outcome->right ? 1 : 0;
}

static void finish(struct reliability *table, size_t N) {
    for (size_t k = 0; k < CALIBRATION_BINS; k++) {
        struct reliability_bin *bin = &table->bins[k];
        if (bin->stays == 0) continue;
        bin->confidence /= (double)bin->stays;
        bin->accuracy /= (double)bin->stays;
        const double gap = fabs(bin->accuracy - bin->confidence);
        table->ece += gap * (double)bin->stays / (double)N;
        table->largest_gap = fmax(table->largest_gap, gap);
    }
}

bool reliability_tables(const struct outcome *outcomes, size_t N, struct reliability *width, struct reliability *mass,
                        uint8_t *bin_of, struct error *error) {
    struct ordered *order = memory_alloc(N, sizeof *order);
    if (order == NULL) return memory_error(error, N * sizeof *order, "the reliability table");
    *width = *mass = (struct reliability){0};
    for (size_t k = 0; k < CALIBRATION_BINS; k++) {
        width->bins[k].low = (double)k / CALIBRATION_BINS;
        width->bins[k].high = (double)(k + 1) / CALIBRATION_BINS;
    }
    for (size_t i = 0; i < N; i++) {
        const size_t bin = (size_t)fmin(outcomes[i].confidence * CALIBRATION_BINS, CALIBRATION_BINS - 1);
        bin_of[i] = (uint8_t)bin;
        add_stay(&width->bins[bin], &outcomes[i]);
        order[i] = (struct ordered){outcomes[i].confidence, i};
    }
    qsort(order, N, sizeof *order, compare_ordered);
    for (size_t place = 0; place < N; place++) {
        const size_t bin = place * CALIBRATION_BINS / N, i = order[place].stay;
        struct reliability_bin *own = &mass->bins[bin];
        bin_of[N + i] = (uint8_t)bin;
        if (own->stays == 0) own->low = order[place].confidence;
        own->high = order[place].confidence;
        add_stay(own, &outcomes[i]);
    }
    finish(width, N);
    finish(mass, N);
    memory_free(order);
    return true;
}

/* Derivatives of one row's -log p with respect to 1/T: mean logit under p minus the true one, and the variance. */
struct slope {
    double first, second;
};

static struct slope row_slope(const double *logits, size_t count, size_t target, double inverse) {
    double largest = logits[0], sum = 0, mean = 0, square = 0;
    for (size_t c = 1; c < count; c++) largest = fmax(largest, logits[c]);
    for (size_t c = 0; c < count; c++) {
        const double z = logits[c] - largest, p = exp(z * inverse);
        sum += p;
        mean += p * z;
        square += p * z * z;
    }
    mean /= sum;
    return (struct slope){mean - (logits[target] - largest), square / sum - mean * mean};
}

static struct slope mean_slope(const struct evaluation *evaluation, struct slope *rows, double inverse) {
    struct slope total = {0};
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < evaluation->N; i++) {
        const size_t target = (size_t)evaluation->targets[i];
        rows[i] = target < evaluation->known
                      ? row_slope(evaluation->logits + i * evaluation->C, evaluation->known, target, inverse)
                      : (struct slope){0};
    }
    for (size_t i = 0; i < evaluation->N; i++) {
        total.first += rows[i].first;
        total.second += rows[i].second;
    }
    return total;
}

bool temperature_fit(const struct evaluation *evaluation, double *temperature, struct error *error) {
    const double hottest = 20, coldest = 0.05;
    if (evaluation->unknown_stays == evaluation->N) {
        error_set(error, "no stay has a DRG that the model knows, so no temperature can be fitted");
        return error_hint(error, "--calibrate takes dev stays of the cohort that the model was trained on");
    }
    struct slope *rows = memory_alloc(evaluation->N, sizeof *rows);
    if (rows == NULL) return memory_error(error, evaluation->N * sizeof *rows, "the temperature");
    double low = 1 / hottest, high = 1 / coldest, inverse = 1;
    for (int step = 0; step < 100 && high - low > 1e-12 * high; step++) {
        const struct slope slope = mean_slope(evaluation, rows, inverse);
        if (slope.first > 0)
            high = inverse;
        else
            low = inverse;
        const double newton = inverse - slope.first / slope.second;
        const double next = newton > low && newton < high ? newton : 0.5 * (low + high);
        const bool settled = fabs(next - inverse) < 1e-10 * inverse;
        inverse = next;
        if (settled) break;
    }
    *temperature = 1 / inverse;
    memory_free(rows);
    return true;
}
