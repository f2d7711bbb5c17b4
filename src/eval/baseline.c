/* The baselines trained and tuned: smoothing on a grid; the step on a sample, then passes until dev gets no better. */
#include "eval/baseline.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "model/classifier.h"
#include <string.h>

enum { FEATURES = 60000, MOST_EPOCHS = 8, SEED = 1, DRG_CODES = 1000 };
static const double smoothings[] = {1, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001};
static const double rates[] = {0.1, 0.3, 1};
/* Notes on which the step is chosen. */
static const size_t RATE_SAMPLE = 20000;

/* Stays as counted and weighted words, and their labels. */
struct bag {
    struct sparse_rows counts, weighted;
    int32_t *labels; /* -1: a DRG that training has not */
};

static bool list_notes(struct note **notes, const struct stay *stays, size_t count, struct error *error) {
    *notes = memory_alloc(count, sizeof **notes);
    if (*notes == NULL) return memory_error(error, count * sizeof **notes, "the notes");
    for (size_t i = 0; i < count; i++) (*notes)[i] = (struct note){stays[i].text, stays[i].text_length};
    return true;
}

static bool find_labels(struct labels *labels, const struct dataset *dataset, struct error *error) {
    bool present[DRG_CODES] = {false};
    for (size_t i = 0; i < dataset->count; i++) present[dataset->stays[i].drg] = true;
    if (present[0]) return error_set(error, "a training stay has no \"drg\"");
    labels->codes = memory_alloc(DRG_CODES, sizeof *labels->codes);
    if (labels->codes == NULL) return memory_error(error, DRG_CODES * sizeof *labels->codes, "the labels");
    for (int code = 1; code < DRG_CODES; code++) {
        if (present[code]) labels->codes[labels->count++] = code;
    }
    return true;
}

static void bag_close(struct bag *bag) {
    sparse_rows_free(&bag->counts);
    sparse_rows_free(&bag->weighted);
    memory_free(bag->labels);
}

static bool bag_open(struct bag *bag, const struct baseline *baseline, const struct note *notes,
                     const struct dataset *dataset, struct error *error) {
    *bag = (struct bag){.labels = memory_alloc(dataset->count, sizeof *bag->labels)};
    if (bag->labels == NULL) return memory_error(error, dataset->count * sizeof *bag->labels, "the labels");
    for (size_t i = 0; i < dataset->count; i++) bag->labels[i] = labels_find(&baseline->labels, dataset->stays[i].drg);
    if (!ngrams_count(&baseline->ngrams, notes, dataset->count, &bag->counts, error)) return false;
    if (!ngrams_count(&baseline->ngrams, notes, dataset->count, &bag->weighted, error)) return false;
    ngrams_weigh(&baseline->ngrams, &bag->weighted);
    return true;
}

/* Share of the rows whose largest logit is their label. */
static double accuracy(const double *logits, const struct bag *bag, size_t C) {
    size_t right = 0;
    for (size_t i = 0; i < bag->counts.count; i++) {
        size_t best = 0;
        for (size_t c = 1; c < C; c++) best = logits[i * C + c] > logits[i * C + best] ? c : best;
        right += (int32_t)best == bag->labels[i];
    }
    return (double)right / (double)bag->counts.count;
}

static bool train_bayes(struct baseline *baseline, const struct bag *train, const struct bag *dev, double *logits,
                        struct error *error) {
    const int32_t C = (int32_t)baseline->labels.count;
    baseline->bayes_dev = -1;
    if (!naive_bayes_open(&baseline->bayes, &train->counts, train->labels, baseline->ngrams.count, C, error))
        return false;
    for (size_t i = 0; i < sizeof smoothings / sizeof smoothings[0]; i++) {
        naive_bayes_smooth(&baseline->bayes, smoothings[i]);
        naive_bayes_logits(&baseline->bayes, &dev->counts, logits);
        const double reached = accuracy(logits, dev, (size_t)C);
        if (reached <= baseline->bayes_dev) continue;
        baseline->bayes_dev = reached;
        baseline->bayes_smoothing = smoothings[i];
    }
    naive_bayes_smooth(&baseline->bayes, baseline->bayes_smoothing);
    log_info("naive Bayes: smoothing %g, dev acc@1 %.1f %%", baseline->bayes_smoothing, 100 * baseline->bayes_dev);
    return true;
}

/* The step with which one pass over a sample does best on dev. */
static bool choose_rate(struct baseline *baseline, const struct bag *train, const struct bag *dev, double *logits,
                        struct error *error) {
    const int32_t C = (int32_t)baseline->labels.count;
    struct sparse_rows sample = train->weighted;
    double best = -1;
    if (sample.count > RATE_SAMPLE) sample.count = RATE_SAMPLE;
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct softmax_regression model;
        if (!softmax_regression_open(&model, baseline->ngrams.count, C, error)) return false;
        const bool done = softmax_regression_epoch(&model, &sample, train->labels, rates[i], SEED, error);
        if (done) softmax_regression_logits(&model, &dev->weighted, logits);
        softmax_regression_close(&model);
        if (!done) return false;
        const double reached = accuracy(logits, dev, (size_t)C);
        if (reached <= best) continue;
        best = reached;
        baseline->regression_rate = rates[i];
    }
    return true;
}

static bool train_regression(struct baseline *baseline, const struct bag *train, const struct bag *dev, double *logits,
                             struct error *error) {
    const size_t C = baseline->labels.count, cells = ((size_t)baseline->ngrams.count + 1) * C;
    if (!choose_rate(baseline, train, dev, logits, error)) return false;
    if (!softmax_regression_open(&baseline->regression, baseline->ngrams.count, (int32_t)C, error)) return false;
    float *best = memory_alloc(cells, sizeof *best);
    if (best == NULL) return memory_error(error, cells * sizeof *best, "logistic regression");
    bool done = true, better = true;
    baseline->regression_dev = -1;
    for (int epoch = 0; done && better && epoch < MOST_EPOCHS; epoch++) {
        done = softmax_regression_epoch(&baseline->regression, &train->weighted, train->labels,
                                        baseline->regression_rate, SEED + (uint64_t)epoch, error);
        if (!done) break;
        softmax_regression_logits(&baseline->regression, &dev->weighted, logits);
        const double reached = accuracy(logits, dev, C);
        log_info("logistic regression: step %g, pass %d, dev acc@1 %.1f %%", baseline->regression_rate, epoch + 1,
                 100 * reached);
        better = reached > baseline->regression_dev;
        if (!better) break;
        baseline->regression_dev = reached;
        baseline->regression_epochs = epoch + 1;
        memcpy(best, baseline->regression.weights, cells * sizeof *best);
    }
    if (done) memcpy(baseline->regression.weights, best, cells * sizeof *best);
    memory_free(best);
    return done;
}

static bool train_both(struct baseline *baseline, const struct bag *train, const struct bag *dev, struct error *error) {
    const size_t cells = dev->counts.count * baseline->labels.count;
    double *logits = memory_alloc(cells, sizeof *logits);
    const bool done = (logits != NULL || memory_error(error, cells * sizeof *logits, "the logits of dev")) &&
                      train_bayes(baseline, train, dev, logits, error) &&
                      train_regression(baseline, train, dev, logits, error);
    memory_free(logits);
    return done;
}

bool baseline_train(struct baseline *baseline, const struct dataset *train, const struct dataset *dev,
                    struct error *error) {
    *baseline = (struct baseline){0};
    struct note *train_notes = NULL, *dev_notes = NULL;
    struct bag train_bag = {0}, dev_bag = {0};
    bool done =
        (train->count > 0 && dev->count > 0) || error_set(error, "the baselines need training stays and dev stays");
    done = done && find_labels(&baseline->labels, train, error) &&
           list_notes(&train_notes, train->stays, train->count, error) &&
           list_notes(&dev_notes, dev->stays, dev->count, error) &&
           ngrams_open(&baseline->ngrams, train_notes, train->count, FEATURES, error) &&
           bag_open(&train_bag, baseline, train_notes, train, error) &&
           bag_open(&dev_bag, baseline, dev_notes, dev, error) && train_both(baseline, &train_bag, &dev_bag, error);
    bag_close(&train_bag);
    bag_close(&dev_bag);
    memory_free(train_notes);
    memory_free(dev_notes);
    if (!done) baseline_close(baseline);
    return done;
}

void baseline_close(struct baseline *baseline) {
    labels_free(&baseline->labels);
    ngrams_close(&baseline->ngrams);
    naive_bayes_close(&baseline->bayes);
    softmax_regression_close(&baseline->regression);
    *baseline = (struct baseline){0};
}

bool baseline_logits(const struct baseline *baseline, enum baseline_kind kind, const struct stay *stays, size_t count,
                     double *logits, struct error *error) {
    struct note *notes = NULL;
    struct sparse_rows rows = {0};
    const bool done =
        list_notes(&notes, stays, count, error) && ngrams_count(&baseline->ngrams, notes, count, &rows, error);
    if (done && kind == BASELINE_NAIVE_BAYES) naive_bayes_logits(&baseline->bayes, &rows, logits);
    if (done && kind == BASELINE_REGRESSION) {
        ngrams_weigh(&baseline->ngrams, &rows);
        softmax_regression_logits(&baseline->regression, &rows, logits);
    }
    sparse_rows_free(&rows);
    memory_free(notes);
    return done;
}
