/* Runs that answer together: see ensemble.h. */
#include "model/ensemble.h"
#include "base/error.h"
#include "base/memory.h"
#include "tensor/kernels.h"
#include <math.h>
#include <string.h>

enum { BASES = 512, CLASSES = 6, DRG_CODES = 1000 };

bool decoding_parse(const char *name, enum decoding *decoding, struct error *error) {
    *decoding = strcmp(name, "product") == 0 ? DECODE_PRODUCT : DECODE_DIRECT;
    return *decoding == DECODE_PRODUCT || strcmp(name, "direct") == 0 ||
           error_usage(error, "--decode takes direct or product, not \"%s\"", name);
}

/* The DRGs that any member knows. */
static bool join_labels(struct ensemble *ensemble, struct error *error) {
    bool known[DRG_CODES] = {false};
    struct labels *labels = &ensemble->labels;
    labels->grouper = ensemble->catalog->grouper;
    labels->codes = memory_alloc(DRG_CODES, sizeof *labels->codes);
    if (labels->codes == NULL) return memory_error(error, DRG_CODES * sizeof *labels->codes, "the labels");
    for (size_t m = 0; m < ensemble->count; m++) {
        const struct labels *own = &ensemble->members[m].card.labels;
        for (size_t i = 0; i < own->count; i++) known[own->codes[i]] = true;
    }
    for (int code = 1; code < DRG_CODES; code++) {
        if (known[code]) labels->codes[labels->count++] = code;
    }
    return true;
}

static bool check_alike(const struct ensemble *ensemble, const char *const *directories, struct error *error) {
    const struct run_card *first = &ensemble->members[0].card;
    for (size_t m = 1; m < ensemble->count; m++) {
        const struct run_card *other = &ensemble->members[m].card;
        if (other->grouper != first->grouper)
            return error_set(error, "%s speaks grouper %s, %s speaks %s", directories[0], grouper_name(first->grouper),
                             directories[m], grouper_name(other->grouper));
        if (other->whole_note != first->whole_note)
            return error_set(error, "%s reads the %s, %s the %s", directories[0],
                             first->whole_note ? "whole note" : "hospital course", directories[m],
                             other->whole_note ? "whole note" : "hospital course");
    }
    return true;
}

bool ensemble_open(struct ensemble *ensemble, const char *const *directories, size_t count, enum decoding decoding,
                   struct error *error) {
    *ensemble = (struct ensemble){.decoding = decoding};
    bool done = count <= ENSEMBLE_LIMIT || error_usage(error, "more than %d models", ENSEMBLE_LIMIT);
    for (size_t m = 0; done && m < count; m++) {
        done = classifier_open(&ensemble->members[m], directories[m], error);
        ensemble->count += done;
    }
    if (done) ensemble->catalog = ensemble->members[0].catalog;
    done = done && check_alike(ensemble, directories, error) && join_labels(ensemble, error);
    if (!done) ensemble_close(ensemble);
    return done;
}

void ensemble_close(struct ensemble *ensemble) {
    for (size_t m = 0; m < ensemble->count; m++) classifier_close(&ensemble->members[m]);
    labels_free(&ensemble->labels);
    ensemble->count = 0;
}

bool ensemble_compute(struct ensemble *ensemble, enum compute_type type, const char *int8_cache, struct error *error) {
    for (size_t m = 0; m < ensemble->count; m++) {
        if (!classifier_compute(&ensemble->members[m], type, int8_cache, error)) return false;
    }
    return true;
}

size_t ensemble_width(const struct ensemble *ensemble) {
    return ensemble->count == 1 && ensemble->members[0].card.bases > 0 ? classifier_width(&ensemble->members[0]) : 0;
}

/* p [labels] of a run becomes the product of its sums over bases and over severities, renormalised. */
static void multiply_sums(const struct classifier *member, float *p) {
    const struct labels *labels = &member->card.labels;
    const struct drg *drgs[DRG_CODES];
    double bases[BASES] = {0}, severities[CLASSES] = {0}, sum = 0;
    for (size_t i = 0; i < labels->count; i++) {
        drgs[i] = catalog_find(member->catalog, labels->codes[i]);
        bases[drgs[i]->base] += (double)p[i];
        severities[severity_class(drgs[i])] += (double)p[i];
    }
    for (size_t i = 0; i < labels->count; i++) sum += bases[drgs[i]->base] * severities[severity_class(drgs[i])];
    for (size_t i = 0; i < labels->count; i++)
        p[i] = (float)(bases[drgs[i]->base] * severities[severity_class(drgs[i])] / sum);
}

/* Adds a member's share of the probabilities: logits [count, its labels] are used up, sums [count, labels] grow. */
static void add_member(const struct ensemble *ensemble, const struct classifier *member, float *logits, size_t count,
                       float *sums) {
    const struct labels *own = &member->card.labels;
    softmax_rows(logits, logits, (int64_t)count, (int64_t)own->count);
    for (size_t n = 0; n < count; n++) {
        float *p = logits + n * own->count, *sum = sums + n * ensemble->labels.count;
        /* A two-label run's p is a product already. */
        if (ensemble->decoding == DECODE_PRODUCT && member->card.bases == 0) multiply_sums(member, p);
        for (size_t i = 0, all = 0; i < own->count; i++) {
            while (ensemble->labels.codes[all] != own->codes[i]) all++;
            sum[all] += p[i] / (float)ensemble->count;
        }
    }
}

/* The probabilities of all members, as logarithms. */
static bool average(const struct ensemble *ensemble, const struct note *notes, size_t count, float *logits,
                    int32_t *token_counts, bool *truncated, struct error *error) {
    const size_t labels = ensemble->labels.count;
    float *own = memory_alloc(count, labels * sizeof *own);
    bool *cut = memory_alloc(count, sizeof *cut),
         done =
             (own != NULL && cut != NULL) || memory_error(error, count * labels * sizeof *own, "the logits of a run");
    memset(logits, 0, count * labels * sizeof *logits);
    for (size_t n = 0; truncated != NULL && n < count; n++) truncated[n] = false;
    for (size_t m = 0; done && m < ensemble->count; m++) {
        const struct classifier *member = &ensemble->members[m];
        done = classifier_logits(member, notes, count, 0, own, m == 0 ? token_counts : NULL, cut, NULL, NULL, error);
        if (done) add_member(ensemble, member, own, count, logits);
        for (size_t n = 0; done && truncated != NULL && n < count; n++) truncated[n] = truncated[n] || cut[n];
    }
    for (size_t i = 0; done && i < count * labels; i++) logits[i] = logf(fmaxf(logits[i], 1e-30f));
    memory_free(own);
    memory_free(cut);
    return done;
}

bool ensemble_logits(const struct ensemble *ensemble, const struct note *notes, size_t count, float *logits,
                     float *outputs, int32_t *token_counts, bool *truncated, struct error *error) {
    const struct classifier *lone = &ensemble->members[0];
    if (ensemble->count > 1 || (ensemble->decoding == DECODE_PRODUCT && lone->card.bases == 0))
        return average(ensemble, notes, count, logits, token_counts, truncated, error);
    if (outputs == NULL)
        return classifier_logits(lone, notes, count, 0, logits, token_counts, truncated, NULL, NULL, error);
    if (!classifier_outputs(lone, notes, count, 0, outputs, token_counts, truncated, NULL, NULL, error)) return false;
    classifier_compose(lone, outputs, count, logits);
    return true;
}
