/* The oracle's kinds bert_classify and caml: logits, loss, attention and the gradient of every parameter. */
#include "oracle_encoder.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "model/caml.h"
#include "model/encoder.h"
#include "tensor/kernels.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const struct error *error) {
    fprintf(stderr, "oracle: %s\n", error->message);
    exit(1);
}

static void die_unless(bool done, const struct error *error) {
    if (!done) die(error);
}

/* All integers of a list of lists, end to end, and where each list begins. */
struct ragged {
    int32_t *values, *offsets;
    int64_t lists;
};

static struct ragged read_ragged(const json_node *list) {
    struct ragged ragged = {.lists = (int64_t)json_count(list)};
    size_t total = 0;
    for (const json_node *row = json_first(list); row != NULL; row = json_next(row)) total += json_count(row);
    ragged.values = memory_alloc(total, sizeof *ragged.values);
    ragged.offsets = memory_zero((size_t)ragged.lists + 1, sizeof *ragged.offsets);
    int32_t filled = 0, n = 0;
    for (const json_node *row = json_first(list); row != NULL; row = json_next(row)) {
        for (const json_node *item = json_first(row); item != NULL; item = json_next(item))
            ragged.values[filled++] = (int32_t)json_number(item);
        ragged.offsets[++n] = filled;
    }
    return ragged;
}

static void ragged_free(struct ragged *ragged) {
    memory_free(ragged->values);
    memory_free(ragged->offsets);
}

/* The inputs of a case, and room for what is computed from them. */
struct step {
    char model[4096];
    struct ragged sequences, types;
    struct batch batch;
    int32_t *labels;
    int64_t classes;
    float *logits, *d_logits, *losses;
};

static void step_open(struct step *step, const char *directory, const json_node *root) {
    const json_node *inputs = json_member(root, "inputs"), *list = json_member(inputs, "labels");
    const char *model = json_string(json_member(root, "model"));
    *step = (struct step){.sequences = read_ragged(json_member(inputs, "sequences"))};
    path_join(step->model, sizeof step->model, directory, model == NULL ? "model" : model);
    if (json_member(inputs, "token_type_ids") != NULL) step->types = read_ragged(json_member(inputs, "token_type_ids"));
    const int64_t N = step->sequences.lists;
    step->batch = (struct batch){
        .T = step->sequences.offsets[N], .N = N, .tokens = step->sequences.values, .offsets = step->sequences.offsets};
    step->labels = memory_alloc((size_t)N, sizeof *step->labels);
    size_t n = 0;
    for (const json_node *label = json_first(list); label != NULL && n < (size_t)N; label = json_next(label))
        step->labels[n++] = (int32_t)json_number(label);
}

static void step_make_room(struct step *step, int64_t classes) {
    const size_t cells = (size_t)(step->batch.N * classes);
    step->classes = classes;
    step->logits = memory_alloc(cells, sizeof(float));
    step->d_logits = memory_alloc(cells, sizeof(float));
    step->losses = memory_alloc((size_t)step->batch.N, sizeof(float));
}

/* From the logits, the loss and its gradient, both of the mean. */
static void step_loss(struct step *step, const struct oracle_report *report) {
    const int64_t N = step->batch.N;
    double sum = 0;
    cross_entropy(step->losses, step->d_logits, step->logits, step->labels, N, step->classes, 1.0f / (float)N);
    for (int64_t n = 0; n < N; n++) sum += (double)step->losses[n];
    const float loss = (float)(sum / (double)N);
    report->check(report->context, "logits", step->logits, N * step->classes);
    report->check(report->context, "loss", &loss, 1);
}

static void report_gradients(const struct parameters *set, const struct oracle_report *report) {
    for (size_t i = 0; i < set->count; i++) {
        char name[256];
        snprintf(name, sizeof name, "grad.%s", set->items[i].name);
        report->check(report->context, name, parameter_gradient(set, i), set->items[i].rows * set->items[i].cols);
    }
}

static void step_close(struct step *step) {
    ragged_free(&step->sequences);
    ragged_free(&step->types);
    memory_free(step->labels);
    memory_free(step->logits);
    memory_free(step->d_logits);
    memory_free(step->losses);
}

static void run_bert(const char *directory, const json_node *root, const struct oracle_report *report) {
    struct error error = {0};
    struct step step;
    struct encoder encoder;
    struct encoder_run *run = NULL;
    step_open(&step, directory, root);
    die_unless(encoder_open(&encoder, step.model, 1, &error) && encoder_train_all(&encoder, &error) &&
                   encoder_run_open(&run, &encoder, step.batch.T, step.batch.N, true, &error) &&
                   encoder_check(&encoder, run, &step.batch, step.types.values, &error),
               &error);
    step_make_room(&step, encoder.config.labels);
    encoder_classify_forward(&encoder, run, &step.batch, step.types.values, 0, step.logits);
    step_loss(&step, report);
    encoder_classify_backward(&encoder, run, &step.batch, step.types.values, step.d_logits);
    report_gradients(&encoder.parameters, report);
    encoder_run_close(run);
    encoder_close(&encoder);
    step_close(&step);
}

static void report_attention(const struct caml *caml, const struct caml_run *run, int64_t texts,
                             const struct oracle_report *report) {
    for (int64_t n = 0; n < texts; n++) {
        char name[64];
        int64_t positions;
        caml_attention(run, n, 0, &positions);
        float *rows = memory_alloc((size_t)(caml->config.labels * positions), sizeof *rows);
        for (int64_t c = 0; c < caml->config.labels; c++)
            memcpy(rows + c * positions, caml_attention(run, n, c, &positions), (size_t)positions * sizeof *rows);
        snprintf(name, sizeof name, "attention.%lld", (long long)n);
        report->check(report->context, name, rows, caml->config.labels * positions);
        memory_free(rows);
    }
}

static void run_caml(const char *directory, const json_node *root, const struct oracle_report *report) {
    struct error error = {0};
    struct step step;
    struct caml caml;
    struct caml_run *run = NULL;
    step_open(&step, directory, root);
    die_unless(caml_open(&caml, step.model, &error) &&
                   caml_run_open(&run, &caml, step.batch.T, step.batch.N, true, &error) &&
                   caml_check(&caml, run, &step.batch, &error),
               &error);
    step_make_room(&step, caml.config.labels);
    caml_classify_forward(&caml, run, &step.batch, 0, step.logits);
    report_attention(&caml, run, step.batch.N, report);
    step_loss(&step, report);
    caml_classify_backward(&caml, run, &step.batch, step.d_logits);
    report_gradients(&caml.parameters, report);
    caml_run_close(run);
    caml_close(&caml);
    step_close(&step);
}

bool oracle_encoder_run(const char *kind, const char *directory, const json_node *root,
                        const struct oracle_report *report) {
    if (strcmp(kind, "bert_classify") == 0)
        run_bert(directory, root, report);
    else if (strcmp(kind, "caml") == 0)
        run_caml(directory, root, report);
    else
        return false;
    return true;
}
