/* Groups with their intervals, the table of DRGs, and the confusions of bases. */
#include "eval/breakdown.h"
#include "base/error.h"
#include "drg/mdc.h"
#include "eval/metric_intervals.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { DRG_CODES = 1000, BASES = 512 };

/* Training stays of a DRG, by lower end of the class. */
static const struct {
    uint32_t low;
    const char *name;
} frequencies[] = {{0, "0"},         {1, "1-9"},       {10, "10-29"},          {30, "30-99"},
                   {100, "100-299"}, {300, "300-999"}, {1000, "1000 and more"}};
enum { FREQUENCIES = sizeof frequencies / sizeof frequencies[0] };

const char *group_kind_name(enum group_kind kind) {
    static const char *const names[] = {"mdc", "training_stays", "severity", "type"};
    return names[kind];
}

/* A group under construction: sums over its stays. */
struct tally {
    size_t stays, first5, first10, base, severity;
    double weight_true, weight_predicted;
};

static size_t frequency_class(uint32_t stays) {
    size_t k = 0;
    while (k + 1 < FREQUENCIES && stays >= frequencies[k + 1].low) k++;
    return k;
}

/* Places in the list of possible groups, kind by kind. MDCs come in the order of the catalog's codes. */
enum { MDC_PLACES = 32, SEVERITIES = 6, TYPES = 3 };
enum {
    FIRST_FREQUENCY = MDC_PLACES,
    FIRST_SEVERITY = FIRST_FREQUENCY + FREQUENCIES,
    FIRST_TYPE = FIRST_SEVERITY + SEVERITIES,
    PLACES = FIRST_TYPE + TYPES
};

static size_t mdc_place(const char *mdc) {
    if (mdc[0] >= '0' && mdc[0] <= '9') return (size_t)(atoi(mdc) % 26) + 1;
    return strcmp(mdc, "PRE") == 0 ? 0 : strcmp(mdc, "ALL") == 0 ? 27 : 28;
}

static void name_group(struct group *group, size_t place, const struct drg *drg) {
    group->kind = GROUP_MDC;
    if (place >= FIRST_TYPE) {
        group->kind = GROUP_TYPE;
        snprintf(group->name, sizeof group->name, "%s", type_name(drg->type));
    } else if (place >= FIRST_SEVERITY) {
        group->kind = GROUP_SEVERITY;
        snprintf(group->name, sizeof group->name, "%s", severity_name(drg->severity));
    } else if (place >= FIRST_FREQUENCY) {
        group->kind = GROUP_FREQUENCY;
        snprintf(group->name, sizeof group->name, "%s", frequencies[place - FIRST_FREQUENCY].name);
    } else {
        snprintf(group->name, sizeof group->name, "%s %s", drg->mdc, mdc_name(drg->mdc));
    }
}

/* The places of a stay's groups; returns how many. */
static size_t places_of(const struct outcome *outcome, const uint32_t *training, size_t places[GROUP_KINDS]) {
    size_t count = 0;
    places[count++] = mdc_place(outcome->truth->mdc);
    if (training != NULL) places[count++] = FIRST_FREQUENCY + frequency_class(training[outcome->truth->code]);
    places[count++] = FIRST_SEVERITY + (size_t)outcome->truth->severity;
    places[count++] = FIRST_TYPE + (size_t)outcome->truth->type;
    return count;
}

static void tally_stay(struct tally *tally, const struct outcome *outcome) {
    tally->stays++;
    tally->first5 += outcome->rank < 5;
    tally->first10 += outcome->rank < METRIC_RANKS;
    tally->base += outcome->base;
    tally->severity += outcome->severity;
    tally->weight_true += outcome->truth->weight;
    tally->weight_predicted += outcome->predicted->weight;
}

/* Column 2 * place of the sums: stays; column 2 * place + 1: right ones. */
static bool tally_groups(struct tally *tallies, const struct drg **examples, struct sums *sums,
                         const struct outcome *outcomes, const struct patients *patients, const uint32_t *training,
                         struct error *error) {
    for (size_t i = 0; i < patients->N; i++) {
        size_t places[GROUP_KINDS];
        const size_t count = places_of(&outcomes[i], training, places);
        for (size_t k = 0; k < count; k++) {
            tally_stay(&tallies[places[k]], &outcomes[i]);
            examples[places[k]] = outcomes[i].truth;
            if (!sums_add(sums, patients->of[i], 2 * places[k], 1, error)) return false;
            if (outcomes[i].rank < 1 && !sums_add(sums, patients->of[i], 2 * places[k] + 1, 1, error)) return false;
        }
    }
    sums->columns = 2 * PLACES;
    return true;
}

static struct interval share_interval(const double *totals, double *replicates, size_t B, size_t place) {
    double *stays = replicates + 2 * place * B, *right = stays + B;
    for (size_t b = 0; b < B; b++) right[b] /= stays[b]; /* NaN without a stay: left out */
    return interval_percentile(totals[2 * place + 1] / totals[2 * place], right, B);
}

static void finish_group(struct group *group, const struct tally *tally) {
    const double stays = (double)tally->stays;
    group->stays = tally->stays;
    group->acc5 = (double)tally->first5 / stays;
    group->acc10 = (double)tally->first10 / stays;
    group->base = (double)tally->base / stays;
    group->severity = (double)tally->severity / stays;
    group->weight_true = tally->weight_true / stays;
    group->weight_predicted = tally->weight_predicted / stays;
}

static bool find_groups(struct breakdown *breakdown, const struct outcome *outcomes, const struct patients *patients,
                        const struct resamples *resamples, const uint32_t *training, struct error *error) {
    struct tally tallies[PLACES] = {0};
    const struct drg *examples[PLACES];
    struct sums sums = {0};
    double totals[2 * PLACES];
    const size_t B = resamples->B;
    double *replicates = memory_alloc(2 * (size_t)PLACES, B * sizeof *replicates);
    breakdown->groups = arena_zero(&breakdown->arena, PLACES, sizeof *breakdown->groups);
    const bool done = ((replicates != NULL && breakdown->groups != NULL) ||
                       memory_error(error, 2 * PLACES * B * sizeof *replicates, "the groups")) &&
                      tally_groups(tallies, examples, &sums, outcomes, patients, training, error);
    if (done) {
        sums_total(&sums, totals);
        sums_replicates(&sums, resamples, replicates);
        for (size_t place = 0; place < PLACES; place++) {
            if (tallies[place].stays == 0) continue;
            struct group *group = &breakdown->groups[breakdown->group_count++];
            name_group(group, place, examples[place]);
            finish_group(group, &tallies[place]);
            group->acc1 = share_interval(totals, replicates, B, place);
        }
    }
    memory_free(replicates);
    sums_close(&sums);
    return done;
}

/* A pair of codes or bases with its stays, for counting what is taken for what. */
struct pair {
    int truth, predicted;
    size_t stays;
};

static int compare_pairs(const void *a, const void *b) {
    const struct pair *x = a, *y = b;
    if (x->truth != y->truth) return x->truth < y->truth ? -1 : 1;
    return (x->predicted > y->predicted) - (x->predicted < y->predicted);
}

static int compare_pair_stays(const void *a, const void *b) {
    const struct pair *x = a, *y = b;
    if (x->stays != y->stays) return x->stays > y->stays ? -1 : 1;
    return compare_pairs(a, b);
}

/* Sorts the pairs and merges equal ones; returns how many remain. */
static size_t merge_pairs(struct pair *pairs, size_t count) {
    size_t kept = 0;
    qsort(pairs, count, sizeof *pairs, compare_pairs);
    for (size_t i = 0; i < count; i++) {
        if (kept > 0 && compare_pairs(&pairs[kept - 1], &pairs[i]) == 0)
            pairs[kept - 1].stays += pairs[i].stays;
        else
            pairs[kept++] = pairs[i];
    }
    return kept;
}

static bool find_drgs(struct breakdown *breakdown, const struct outcome *outcomes, size_t N, struct pair *pairs,
                      struct error *error) {
    struct drg_score *by_code = arena_zero(&breakdown->arena, DRG_CODES, sizeof *by_code);
    if (by_code == NULL) return memory_error(error, DRG_CODES * sizeof *by_code, "the table of DRGs");
    size_t count = 0;
    for (size_t i = 0; i < N; i++) {
        const int truth = outcomes[i].truth->code, predicted = outcomes[i].predicted->code;
        by_code[truth].drg = outcomes[i].truth;
        by_code[predicted].drg = outcomes[i].predicted;
        by_code[truth].stays++;
        by_code[predicted].predicted++;
        by_code[truth].right += truth == predicted;
        if (truth != predicted) pairs[count++] = (struct pair){truth, predicted, 1};
    }
    count = merge_pairs(pairs, count);
    for (size_t k = 0; k < count; k++) {
        struct drg_score *score = &by_code[pairs[k].truth];
        if (pairs[k].stays <= score->mistaken_stays) continue;
        score->mistaken_stays = pairs[k].stays;
        score->mistaken = by_code[pairs[k].predicted].drg;
    }
    breakdown->drgs = by_code;
    for (size_t code = 0; code < DRG_CODES; code++) {
        if (by_code[code].stays == 0) continue;
        struct drg_score score = by_code[code];
        score.f1 = 2 * (double)score.right / (double)(score.stays + score.predicted);
        breakdown->drgs[breakdown->drg_count++] = score;
    }
    return true;
}

/* The commonest true bases, falling stays, ties by base. */
static void choose_bases(struct breakdown *breakdown, const size_t *stays) {
    bool taken[BASES] = {false};
    while (breakdown->base_count < MATRIX_BASES) {
        int best = -1;
        for (int base = 0; base < BASES; base++) {
            if (!taken[base] && stays[base] > 0 && (best < 0 || stays[base] > stays[best])) best = base;
        }
        if (best < 0) return;
        taken[best] = true;
        breakdown->bases[breakdown->base_count++] = best;
    }
}

static void fill_matrix(struct breakdown *breakdown, const struct outcome *outcomes, size_t N) {
    int place[BASES];
    for (size_t base = 0; base < BASES; base++) place[base] = -1;
    for (size_t k = 0; k < breakdown->base_count; k++) place[breakdown->bases[k]] = (int)k;
    for (size_t i = 0; i < N; i++) {
        const int row = place[outcomes[i].truth->base], column = place[outcomes[i].predicted->base];
        if (row >= 0) breakdown->matrix[row][column >= 0 ? column : MATRIX_BASES]++;
    }
}

static bool find_confusions(struct breakdown *breakdown, const struct outcome *outcomes, size_t N, struct pair *pairs,
                            struct error *error) {
    size_t stays[BASES] = {0}, count = 0;
    for (size_t i = 0; i < N; i++) {
        stays[outcomes[i].truth->base]++;
        if (!outcomes[i].base) pairs[count++] = (struct pair){outcomes[i].truth->base, outcomes[i].predicted->base, 1};
    }
    count = merge_pairs(pairs, count);
    qsort(pairs, count, sizeof *pairs, compare_pair_stays);
    breakdown->confusion_count = count;
    breakdown->confusions = arena_alloc(&breakdown->arena, count, sizeof *breakdown->confusions);
    if (breakdown->confusions == NULL)
        return memory_error(error, count * sizeof *breakdown->confusions, "the confusions");
    for (size_t k = 0; k < breakdown->confusion_count; k++) {
        breakdown->confusions[k] = (struct confusion){pairs[k].truth, pairs[k].predicted, pairs[k].stays,
                                                      (double)pairs[k].stays / (double)stays[pairs[k].truth]};
    }
    choose_bases(breakdown, stays);
    fill_matrix(breakdown, outcomes, N);
    return true;
}

bool breakdown_open(struct breakdown *breakdown, const struct outcome *outcomes, size_t N,
                    const struct patients *patients, const struct resamples *resamples, const uint32_t *training,
                    struct error *error) {
    memset(breakdown, 0, sizeof *breakdown);
    struct pair *pairs = memory_alloc(N, sizeof *pairs);
    const bool done = (pairs != NULL || memory_error(error, N * sizeof *pairs, "the confusions")) &&
                      find_groups(breakdown, outcomes, patients, resamples, training, error) &&
                      find_drgs(breakdown, outcomes, N, pairs, error) &&
                      find_confusions(breakdown, outcomes, N, pairs, error);
    memory_free(pairs);
    if (!done) breakdown_close(breakdown);
    return done;
}

void breakdown_close(struct breakdown *breakdown) {
    arena_free(&breakdown->arena);
    memset(breakdown, 0, sizeof *breakdown);
}

static const struct drg *base_first(const struct catalog *catalog, int base) {
    for (size_t k = 0; k < catalog->count; k++) {
        if (catalog->drgs[k].base == base) return &catalog->drgs[k];
    }
    return NULL;
}

void base_title(const struct catalog *catalog, int base, char *title, size_t capacity) {
    const struct drg *drg = base_first(catalog, base);
    snprintf(title, capacity, "%s", drg == NULL ? "" : drg->title);
    if (drg == NULL || drg->severity == SEVERITY_ANY) return;
    /* The severity ends the title: " WITH CC", " WITHOUT CC/MCC" and the like. */
    char *last = NULL;
    for (char *at = title; *at != '\0'; at++) {
        if (strncasecmp(at, " with", 5) == 0 && (at[5] == ' ' || strncasecmp(at + 5, "out ", 4) == 0)) last = at;
    }
    if (last != NULL && strcasestr(last, "CC") != NULL) *last = '\0';
}

void base_codes(const struct catalog *catalog, int base, char codes[16]) {
    int first = 0, last = 0;
    for (size_t k = 0; k < catalog->count; k++) {
        if (catalog->drgs[k].base != base) continue;
        last = catalog->drgs[k].code;
        first = first == 0 ? last : first;
    }
    if (first == last)
        snprintf(codes, 16, "%03d", first);
    else
        snprintf(codes, 16, "%03d-%03d", first, last);
}
