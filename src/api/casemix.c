/* The public interface of include/casemix.h over the classifier of notes. */
#include "casemix.h"
#include "base/error.h"
#include "base/memory.h"
#include "drg/note.h"
#include "model/classifier.h"
#include "model/ranking.h"
#include "tensor/kernels.h"
#include <stdio.h>

struct casemix_model {
    struct classifier classifier;
};

static bool report(const struct error *error, char message[CASEMIX_MESSAGE]) {
    snprintf(message, CASEMIX_MESSAGE, "%s%s%s", error->message, error->hint[0] == '\0' ? "" : "; ", error->hint);
    return false;
}

bool casemix_open(struct casemix_model **out, const char *directory, char message[CASEMIX_MESSAGE]) {
    struct error error = {0};
    *out = NULL;
    struct casemix_model *model = memory_zero(1, sizeof *model);
    if (model == NULL) {
        memory_error(&error, sizeof *model, "a model");
        return report(&error, message);
    }
    if (!classifier_open(&model->classifier, directory, &error)) {
        memory_free(model);
        return report(&error, message);
    }
    *out = model;
    return true;
}

static void fill_prediction(const struct classifier *classifier, struct casemix_prediction *prediction,
                            struct ranked ranked) {
    const struct drg *drg = catalog_find(classifier->catalog, classifier->card.labels.codes[ranked.label]);
    *prediction = (struct casemix_prediction){
        drg->code, drg->title, (double)ranked.p, drg->weight, drg->gmlos, drg->mdc, severity_name(drg->severity)};
}

bool casemix_predict(const struct casemix_model *model, const char *note, size_t length, struct casemix_prediction *top,
                     size_t k, char message[CASEMIX_MESSAGE]) {
    const struct classifier *classifier = &model->classifier;
    const size_t labels = classifier->card.labels.count;
    struct error error = {0};
    if (k > labels) {
        error_set(&error, "%zu DRGs were asked for, the model knows %zu", k, labels);
        return report(&error, message);
    }
    if (!note_check("note", note, length, &error)) return report(&error, message);
    struct span section;
    classifier_section(classifier, note, length, &section);
    float *p = memory_alloc(labels, sizeof *p);
    struct ranked *ranked = memory_alloc(k, sizeof *ranked);
    const struct note read = {note + section.start, section.end - section.start};
    bool done = p != NULL && ranked != NULL;
    if (!done) memory_error(&error, labels * sizeof *p, "the probabilities of a note");
    done = done && classifier_logits(classifier, &read, 1, 0, p, NULL, NULL, NULL, NULL, &error);
    if (done) {
        softmax_rows(p, p, 1, (int64_t)labels);
        ranking_top(p, labels, ranked, k);
        for (size_t i = 0; i < k; i++) fill_prediction(classifier, &top[i], ranked[i]);
    }
    memory_free(ranked);
    memory_free(p);
    return done || report(&error, message);
}

size_t casemix_labels(const struct casemix_model *model) {
    return model->classifier.card.labels.count;
}

const char *casemix_grouper(const struct casemix_model *model) {
    return grouper_name(model->classifier.card.grouper);
}

void casemix_close(struct casemix_model *model) {
    if (model == NULL) return;
    classifier_close(&model->classifier);
    memory_free(model);
}
