/* Notes with words taken out, and what becomes of their first DRG. */
#include "eval/deletion.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/rng.h"
#include "data/dataset.h"
#include "model/classifier.h"
#include "model/ranking.h"
#include "tensor/kernels.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A batch: the note, the note without the strongest words, and without each draw of random ones. */
enum { WHOLE, STRONGEST, RANDOM, VARIANTS = RANDOM + DELETION_DRAWS, FEWEST_WORDS = 10, STREAM = 0x64656c };

enum measure { P, LOGIT, CHANGED, MEASURES };

static const size_t percents[DELETION_SHARES] = {5, 10, 20};

/* Columns of the sums: of each share and measure strongest and random, then the stays. */
enum { SIDES = 2, STAYS = DELETION_SHARES * MEASURES * SIDES, COLUMNS };

static size_t column_of(size_t share, enum measure measure, size_t side) {
    return (share * MEASURES + (size_t)measure) * SIDES + side;
}

/* Working memory of the test. */
struct deletion {
    const struct classifier *classifier;
    struct evidence_finder *finder;
    struct network_run *run;
    int64_t run_T;
    int32_t *tokens;    /* [run_T] */
    float *outputs, *p; /* [VARIANTS, width], [VARIANTS, labels] */
    size_t *order;      /* [words] */
    bool *gone;         /* [tokens of the note] */
    size_t order_capacity, gone_capacity;
    struct sums sums;
    double words;
};

static void deletion_close(struct deletion *deletion) {
    if (deletion->run != NULL) deletion->classifier->network.call->run_close(deletion->run);
    evidence_finder_close(deletion->finder);
    void *const owned[] = {deletion->tokens, deletion->outputs, deletion->p, deletion->order, deletion->gone};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) memory_free(owned[i]);
    sums_close(&deletion->sums);
}

static bool deletion_open(struct deletion *deletion, const struct classifier *classifier, enum evidence_method method,
                          struct error *error) {
    const size_t scores = classifier_width(classifier), labels = classifier->card.labels.count;
    *deletion = (struct deletion){.classifier = classifier, .sums = {.columns = COLUMNS}};
    deletion->outputs = memory_alloc(VARIANTS, scores * sizeof(float));
    deletion->p = memory_alloc(VARIANTS, labels * sizeof(float));
    const bool done = ((deletion->outputs != NULL && deletion->p != NULL) ||
                       memory_error(error, VARIANTS * (scores + labels) * sizeof(float), "the deletion test")) &&
                      evidence_finder_open(&deletion->finder, classifier, method, error);
    if (!done) deletion_close(deletion);
    return done;
}

static bool reserve(struct deletion *deletion, const struct evidence *evidence, struct error *error) {
    const struct network *network = &deletion->classifier->network;
    const int64_t T = evidence->tokens * VARIANTS;
    if (!memory_grow(&deletion->order, &deletion->order_capacity, evidence->word_count, sizeof *deletion->order,
                     error) ||
        !memory_grow(&deletion->gone, &deletion->gone_capacity, (size_t)evidence->tokens, sizeof *deletion->gone,
                     error))
        return false;
    if (T <= deletion->run_T) return true;
    if (deletion->run != NULL) network->call->run_close(deletion->run);
    deletion->run = NULL;
    deletion->run_T = 0;
    memory_free(deletion->tokens);
    deletion->tokens = memory_alloc((size_t)T, sizeof *deletion->tokens);
    if (deletion->tokens == NULL) return memory_error(error, (size_t)T * sizeof(int32_t), "the deletion test");
    if (!network->call->run_open(&deletion->run, network->model, T, VARIANTS, false, error)) return false;
    deletion->run_T = T;
    return true;
}

/* Appends the note without words order[0 … count - 1]; returns where it ends. At least one token stays. */
static int32_t add_variant(struct deletion *deletion, const struct evidence *evidence, size_t count, int32_t at) {
    const int32_t first = at;
    memset(deletion->gone, 0, (size_t)evidence->tokens * sizeof *deletion->gone);
    for (size_t i = 0; i < count; i++) {
        const struct span tokens = evidence->word_tokens[deletion->order[i]];
        for (size_t t = tokens.start; t < tokens.end; t++) deletion->gone[t] = true;
    }
    for (int64_t t = 0; t < evidence->tokens; t++) {
        if (!deletion->gone[t]) deletion->tokens[at++] = evidence->ids[t];
    }
    if (at == first) deletion->tokens[at++] = evidence->ids[0];
    return at;
}

/* The words from the strongest to the weakest; equally strong ones in the order of the note. */
static int by_falling_score(const void *a, const void *b, void *context) {
    const struct evidence *evidence = context;
    const size_t x = *(const size_t *)a, y = *(const size_t *)b;
    const float left = evidence->words[x].score, right = evidence->words[y].score;
    if (left != right) return left < right ? 1 : -1;
    return (x > y) - (x < y);
}

static void order_words(struct deletion *deletion, struct evidence *evidence) {
    for (size_t w = 0; w < evidence->word_count; w++) deletion->order[w] = w;
    qsort_r(deletion->order, evidence->word_count, sizeof *deletion->order, by_falling_score, evidence);
}

/* Runs the variants of one share: logits of the label into `logits`, probabilities of all labels into deletion->p. */
static bool run_variants(struct deletion *deletion, struct evidence *evidence, size_t count, struct rng *rng,
                         double *logits, struct error *error) {
    const struct classifier *classifier = deletion->classifier;
    const struct network *network = &classifier->network;
    const size_t labels = classifier->card.labels.count;
    const float temperature = classifier->card.temperature > 0 ? (float)classifier->card.temperature : 1;
    int32_t offsets[VARIANTS + 1] = {0};
    for (int v = 0; v < VARIANTS; v++) {
        if (v == STRONGEST) order_words(deletion, evidence);
        if (v >= RANDOM) rng_shuffle(rng, deletion->order, evidence->word_count, sizeof *deletion->order);
        offsets[v + 1] = add_variant(deletion, evidence, v == WHOLE ? 0 : count, offsets[v]);
    }
    const struct batch batch = {.T = offsets[VARIANTS], .N = VARIANTS, .tokens = deletion->tokens, .offsets = offsets};
    if (!network->call->check(network->model, deletion->run, &batch, error)) return false;
    network->call->forward(network->model, deletion->run, &batch, 0, deletion->outputs);
    classifier_compose(classifier, deletion->outputs, VARIANTS, deletion->p);
    for (size_t v = 0; v < VARIANTS; v++)
        logits[v] = evidence_logit(deletion->p + v * labels, labels, evidence->label, temperature);
    for (size_t i = 0; i < VARIANTS * labels; i++) deletion->p[i] /= temperature;
    softmax_rows(deletion->p, deletion->p, VARIANTS, (int64_t)labels);
    return true;
}

/* What becomes of the label in a variant, against the whole note. */
static void measure_variant(const struct deletion *deletion, int variant, int32_t label, const double *logits,
                            double *falls) {
    const size_t labels = deletion->classifier->card.labels.count;
    const float *whole = deletion->p + WHOLE * labels, *p = deletion->p + (size_t)variant * labels;
    struct ranked first;
    ranking_top(p, labels, &first, 1);
    falls[P] = (double)whole[label] - (double)p[label];
    falls[LOGIT] = logits[WHOLE] - logits[variant];
    falls[CHANGED] = first.label != label;
}

static bool measure_share(struct deletion *deletion, struct evidence *evidence, size_t share, uint32_t patient,
                          struct rng *rng, struct error *error) {
    const size_t count = (percents[share] * evidence->word_count + 99) / 100;
    double logits[VARIANTS], falls[MEASURES];
    if (!run_variants(deletion, evidence, count, rng, logits, error)) return false;
    for (int v = STRONGEST; v < VARIANTS; v++) {
        measure_variant(deletion, v, evidence->label, logits, falls);
        const size_t side = v >= RANDOM;
        for (int m = 0; m < MEASURES; m++) {
            const double value = side == 0 ? falls[m] : falls[m] / DELETION_DRAWS;
            if (!sums_add(&deletion->sums, patient, column_of(share, (enum measure)m, side), value, error))
                return false;
        }
    }
    return true;
}

/* One stay; *measured says whether it had words enough. */
static bool measure_stay(struct deletion *deletion, const struct stay *stay, uint32_t patient, struct rng *rng,
                         bool *measured, struct error *error) {
    struct evidence evidence;
    if (!evidence_find(deletion->finder, stay->text, (struct span){0, stay->text_length}, -1, &evidence, error))
        return false;
    *measured = evidence.word_count >= FEWEST_WORDS;
    if (!*measured) return true;
    if (!reserve(deletion, &evidence, error)) return false;
    for (size_t s = 0; s < DELETION_SHARES; s++) {
        if (!measure_share(deletion, &evidence, s, patient, rng, error)) return false;
    }
    deletion->words += (double)evidence.word_count;
    return sums_add(&deletion->sums, patient, STAYS, 1, error);
}

/* Means with intervals of one measure at one share. `values` is room for B numbers. */
static struct deletion_effect effect_of(const double *totals, const double *replicates, size_t B, size_t share,
                                        enum measure measure, double *values) {
    const size_t strongest = column_of(share, measure, 0), random = column_of(share, measure, 1);
    const double *stays = replicates + STAYS * B;
    const double weights[3][2] = {{1, 0}, {0, 1}, {1, -1}};
    struct interval intervals[3];
    for (int i = 0; i < 3; i++) {
        const double a = weights[i][0], b = weights[i][1];
        for (size_t r = 0; r < B; r++)
            values[r] = stays[r] > 0 ? (a * replicates[strongest * B + r] + b * replicates[random * B + r]) / stays[r]
                                     : (double)NAN;
        intervals[i] = interval_percentile((a * totals[strongest] + b * totals[random]) / totals[STAYS], values, B);
    }
    return (struct deletion_effect){intervals[0], intervals[1], intervals[2]};
}

static bool fill_assessment(struct deletion_assessment *assessment, const struct deletion *deletion,
                            const struct resamples *resamples, struct error *error) {
    const size_t B = resamples->B;
    double totals[COLUMNS], *replicates = memory_alloc((COLUMNS + 1) * B, sizeof *replicates);
    if (replicates == NULL) return memory_error(error, (COLUMNS + 1) * B * sizeof *replicates, "the intervals");
    sums_total(&deletion->sums, totals);
    sums_replicates(&deletion->sums, resamples, replicates);
    assessment->words = deletion->words / totals[STAYS];
    for (size_t s = 0; s < DELETION_SHARES; s++) {
        struct deletion_share *share = &assessment->shares[s];
        share->percent = (int)percents[s];
        double *values = replicates + COLUMNS * B;
        share->p = effect_of(totals, replicates, B, s, P, values);
        share->logit = effect_of(totals, replicates, B, s, LOGIT, values);
        share->changed = effect_of(totals, replicates, B, s, CHANGED, values);
    }
    memory_free(replicates);
    return true;
}

static bool measure_stays(struct deletion_assessment *assessment, struct deletion *deletion,
                          const struct dataset *dataset, const struct patients *patients,
                          const struct deletion_settings *settings, struct error *error) {
    const size_t count = settings->stays < dataset->count ? settings->stays : dataset->count;
    for (size_t n = 0; n < count; n++) {
        const size_t i = n * dataset->count / count;
        struct rng rng;
        bool measured;
        rng_seed_stream(&rng, settings->seed, STREAM, i);
        if (!measure_stay(deletion, &dataset->stays[i], patients->of[i], &rng, &measured, error))
            return error_context(error, "stay %zu", i + 1);
        assessment->stays += measured;
        assessment->skipped += !measured;
        if (settings->progress != NULL) settings->progress(settings->context, n + 1);
    }
    return assessment->stays > 0 ||
           error_set(error, "deletion test: none of %zu stays has %d words", count, FEWEST_WORDS);
}

bool deletion_assess(struct deletion_assessment *assessment, const struct classifier *classifier,
                     const struct dataset *dataset, const struct deletion_settings *settings, struct error *error) {
    struct deletion deletion;
    struct patients patients = {0};
    struct resamples resamples = {0};
    *assessment = (struct deletion_assessment){.method = settings->method};
    if (!deletion_open(&deletion, classifier, settings->method, error)) return false;
    const bool done = patients_open(&patients, dataset, error) &&
                      resamples_open(&resamples, patients.count, settings->resamples, settings->seed, error) &&
                      measure_stays(assessment, &deletion, dataset, &patients, settings, error) &&
                      fill_assessment(assessment, &deletion, &resamples, error);
    resamples_close(&resamples);
    patients_close(&patients);
    deletion_close(&deletion);
    return done;
}

static void add_interval_json(struct text *out, const char *name, struct interval interval) {
    text_printf(out, "\"%s\": ", name);
    text_add_json_double(out, interval.value);
    text_printf(out, ", \"%s_interval\": [", name);
    text_add_json_double(out, interval.low);
    text_add(out, ", ");
    text_add_json_double(out, interval.high);
    text_add_char(out, ']');
}

static void add_effect_json(struct text *out, const char *name, const struct deletion_effect *effect) {
    text_printf(out, ",\n   \"%s\": {", name);
    add_interval_json(out, "strongest", effect->strongest);
    text_add(out, ", ");
    add_interval_json(out, "random", effect->random);
    text_add(out, ", ");
    add_interval_json(out, "lead", effect->lead);
    text_add_char(out, '}');
}

void deletion_add_json(struct text *out, const struct deletion_assessment *assessment) {
    text_printf(out,
                ",\n\"deletion\": {\"method\": \"%s\", \"stays\": %zu, \"skipped\": %zu, \"draws\": %d, \"words\": ",
                evidence_method_name(assessment->method), assessment->stays, assessment->skipped, DELETION_DRAWS);
    text_add_json_double(out, assessment->words);
    text_add(out, ", \"shares\": [");
    for (size_t s = 0; s < DELETION_SHARES; s++) {
        const struct deletion_share *share = &assessment->shares[s];
        text_printf(out, "%s\n  {\"percent\": %d", s == 0 ? "" : ",", share->percent);
        add_effect_json(out, "p", &share->p);
        add_effect_json(out, "logit", &share->logit);
        add_effect_json(out, "changed", &share->changed);
        text_add_char(out, '}');
    }
    text_add(out, "]}");
}

static void add_row(struct text *out, int percent, const char *name, const struct deletion_effect *effect,
                    double unit) {
    const struct interval *cells[] = {&effect->strongest, &effect->random, &effect->lead};
    char share[16] = "";
    if (percent > 0) snprintf(share, sizeof share, "%d %%", percent);
    text_printf(out, "  %5s  %-22s", share, name);
    for (size_t i = 0; i < 3; i++)
        text_printf(out, "%s%6.2f (%6.2f to %6.2f)", i == 0 ? "" : " ", unit * cells[i]->value, unit * cells[i]->low,
                    unit * cells[i]->high);
    text_add_char(out, '\n');
}

void deletion_add_text(struct text *out, const struct deletion_assessment *assessment) {
    text_printf(out, "\n  Deletion test of evidence by %s: %zu stays, %.0f words a note, %d random draws each\n",
                evidence_method_name(assessment->method), assessment->stays, assessment->words, DELETION_DRAWS);
    if (assessment->skipped > 0)
        text_printf(out, "  %zu stays of fewer than %d words left out\n", assessment->skipped, FEWEST_WORDS);
    text_printf(out, "  %-31s%-24s%-24s%s\n", "without", "the strongest words", "as many at random", "difference");
    for (size_t s = 0; s < DELETION_SHARES; s++) {
        const struct deletion_share *share = &assessment->shares[s];
        add_row(out, share->percent, "p falls by, points", &share->p, 100);
        add_row(out, 0, "logit falls by", &share->logit, 1);
        add_row(out, 0, "another first DRG, %", &share->changed, 100);
    }
}
