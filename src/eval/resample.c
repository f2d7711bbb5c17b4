/* Drawing patients, weighted sums over the draws, percentiles. */
#include "eval/resample.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/rng.h"
#include "data/dataset.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STREAM = 0x626f6f74 };

bool patients_open(struct patients *patients, const struct dataset *dataset, struct error *error) {
    struct hash known = {0};
    *patients = (struct patients){.of = memory_alloc(dataset->count, sizeof *patients->of), .N = dataset->count};
    bool done =
        patients->of != NULL || memory_error(error, dataset->count * sizeof *patients->of, "the patients of the data");
    for (size_t i = 0; done && i < dataset->count; i++) {
        const char *id = dataset->stays[i].subject_id;
        bool existing = false;
        int32_t number = (int32_t)patients->count;
        if (id[0] != '\0') {
            done = hash_insert(&known, id, strlen(id), number, &existing, error);
            if (existing) number = hash_find(&known, id, strlen(id), number);
        }
        patients->of[i] = (uint32_t)number;
        patients->count += !existing;
    }
    hash_free(&known);
    if (!done) patients_close(patients);
    return done;
}

void patients_close(struct patients *patients) {
    memory_free(patients->of);
    *patients = (struct patients){0};
}

bool resamples_open(struct resamples *resamples, size_t patients, size_t B, uint64_t seed, struct error *error) {
    *resamples = (struct resamples){memory_zero(patients, B), patients, B};
    if (resamples->counts == NULL) return memory_error(error, patients * B, "the resamples");
    /* A cache line of resamples at a time, so that no two threads write into one. */
    enum { BLOCK = 64 };
#pragma omp parallel for schedule(dynamic)
    for (size_t first = 0; first < B; first += BLOCK) {
        for (size_t b = first; b < B && b < first + BLOCK; b++) {
            struct rng rng;
            rng_seed_stream(&rng, seed, STREAM, b);
            for (size_t draw = 0; draw < patients; draw++) {
                uint8_t *count = &resamples->counts[rng_below(&rng, patients) * B + b];
                *count = (uint8_t)(*count + (*count < UINT8_MAX));
            }
        }
    }
    return true;
}

void resamples_close(struct resamples *resamples) {
    memory_free(resamples->counts);
    *resamples = (struct resamples){0};
}

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(const double *sorted, size_t count, double share) {
    const double place = share * (double)(count - 1);
    const size_t below = (size_t)place, above = below + 1 < count ? below + 1 : below;
    return sorted[below] + (place - (double)below) * (sorted[above] - sorted[below]);
}

struct interval interval_percentile(double value, double *replicates, size_t B) {
    size_t count = 0;
    for (size_t b = 0; b < B; b++) {
        if (!isnan(replicates[b])) replicates[count++] = replicates[b];
    }
    if (count == 0) return (struct interval){value, (double)NAN, (double)NAN};
    qsort(replicates, count, sizeof *replicates, compare_doubles);
    return (struct interval){value, percentile(replicates, count, 0.025), percentile(replicates, count, 0.975)};
}

bool sums_add(struct sums *sums, uint32_t patient, size_t column, double value, struct error *error) {
    if (!memory_grow(&sums->items, &sums->capacity, sums->count + 1, sizeof *sums->items, error)) return false;
    sums->items[sums->count++] = (struct contribution){patient, (uint32_t)column, value};
    if (column >= sums->columns) sums->columns = column + 1;
    return true;
}

void sums_close(struct sums *sums) {
    memory_free(sums->items);
    *sums = (struct sums){0};
}

void sums_total(const struct sums *sums, double *totals) {
    for (size_t c = 0; c < sums->columns; c++) totals[c] = 0;
    for (size_t i = 0; i < sums->count; i++) totals[sums->items[i].column] += sums->items[i].value;
}

void sums_replicates(const struct sums *sums, const struct resamples *resamples, double *replicates) {
    enum { LANES = 128 };
    const size_t B = resamples->B;
#pragma omp parallel for schedule(dynamic)
    for (size_t first = 0; first < B; first += LANES) {
        const size_t lanes = B - first < LANES ? B - first : LANES;
        for (size_t c = 0; c < sums->columns; c++) {
            for (size_t b = 0; b < lanes; b++) replicates[c * B + first + b] = 0;
        }
        for (size_t i = 0; i < sums->count; i++) {
            const struct contribution item = sums->items[i];
            const uint8_t *counts = resamples->counts + item.patient * B + first;
            double *column = replicates + item.column * B + first;
            for (size_t b = 0; b < lanes; b++) column[b] += item.value * (double)counts[b];
        }
    }
}
