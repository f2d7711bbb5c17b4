/* Rows of logits turned into outcomes. */
#include "eval/outcome.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/threads.h"
#include "eval/metric_intervals.h"
#include <math.h>

enum { BASES = 512, CLASSES = 6 };

/* The columns of an evaluation as DRGs. */
struct columns {
    const struct evaluation *evaluation;
    const struct drg **drgs; /* [C] */
    double temperature;
};

/* What one thread writes into. */
struct scratch {
    double *p;      /* [C] */
    int64_t *order; /* [C] */
};

static int32_t composed_rank(const struct columns *columns, const double *p, size_t target) {
    double bases[BASES] = {0}, severities[CLASSES] = {0};
    const size_t known = columns->evaluation->known;
    if (target >= known) return METRIC_RANKS;
    for (size_t c = 0; c < known; c++) {
        bases[columns->drgs[c]->base] += p[c];
        severities[severity_class(columns->drgs[c])] += p[c];
    }
    const double own = bases[columns->drgs[target]->base] * severities[severity_class(columns->drgs[target])];
    int32_t rank = 0;
    for (size_t c = 0; c < known && rank < METRIC_RANKS; c++) {
        const double other = bases[columns->drgs[c]->base] * severities[severity_class(columns->drgs[c])];
        rank += other > own || (other >= own && c < target);
    }
    return rank;
}

static void fill(struct outcome *outcome, const struct columns *columns, size_t i, struct scratch scratch) {
    const struct evaluation *evaluation = columns->evaluation;
    const size_t known = evaluation->known, target = (size_t)evaluation->targets[i];
    const double *logits = evaluation->logits + i * evaluation->C;
    size_t best = 0;
    for (size_t c = 0; c < known; c++) {
        scratch.p[c] = logits[c] / columns->temperature;
        best = logits[c] > logits[best] ? c : best;
    }
    softmax_double(scratch.p, scratch.p, (int64_t)known);
    *outcome = (struct outcome){.truth = columns->drgs[target], .predicted = columns->drgs[best]};
    outcome->known = target < known;
    outcome->right = target == best;
    outcome->base = outcome->truth->base == outcome->predicted->base;
    outcome->severity = severity_class(outcome->truth) == severity_class(outcome->predicted);
    outcome->rank = metric_rank(scratch.order, logits, (int64_t)evaluation->C, evaluation->targets[i]);
    outcome->composed_rank = composed_rank(columns, scratch.p, target);
    outcome->confidence = scratch.p[best];
    outcome->brier = outcome->known ? 0 : 1;
    for (size_t c = 0; c < known; c++) {
        const double miss = scratch.p[c] - (c == target ? 1 : 0);
        outcome->brier += miss * miss;
        outcome->expected += scratch.p[c] * columns->drgs[c]->weight;
    }
    /* By the logits, since a probability that has vanished has no logarithm. */
    if (!outcome->known) return;
    double sum = 0;
    for (size_t c = 0; c < known; c++) sum += exp((logits[c] - logits[best]) / columns->temperature);
    outcome->nll = log(sum) - (logits[target] - logits[best]) / columns->temperature;
}

static bool find_columns(struct columns *columns, const struct catalog *catalog, struct error *error) {
    const struct evaluation *evaluation = columns->evaluation;
    for (size_t c = 0; c < evaluation->C; c++) {
        columns->drgs[c] = catalog_find(catalog, evaluation->codes[c]);
        if (columns->drgs[c] != NULL) continue;
        error_set(error, "DRG %03d of the data is not in grouper %s, which the model speaks", evaluation->codes[c],
                  grouper_name(catalog->grouper));
        return error_hint(error, "score a model on data of its own grouper (\"# grouper\" in labels.tsv)");
    }
    return true;
}

bool outcomes_fill(struct outcome *outcomes, const struct evaluation *evaluation, const struct catalog *catalog,
                   double temperature, struct error *error) {
    const size_t C = evaluation->C, threads = (size_t)threads_count();
    struct arena arena = {0};
    struct columns columns = {evaluation, arena_alloc(&arena, C, sizeof *columns.drgs), temperature};
    double *p = arena_alloc(&arena, threads * C, sizeof *p);
    int64_t *orders = arena_alloc(&arena, threads * C, sizeof *orders);
    bool done = (columns.drgs != NULL && p != NULL && orders != NULL) ||
                memory_error(error, threads * C * sizeof *p, "the outcomes");
    done = done && find_columns(&columns, catalog, error);
    if (done) {
#pragma omp parallel for schedule(static)
        for (size_t i = 0; i < evaluation->N; i++) {
            const size_t own = (size_t)threads_index() * C;
            fill(&outcomes[i], &columns, i, (struct scratch){p + own, orders + own});
        }
    }
    arena_free(&arena);
    return done;
}
