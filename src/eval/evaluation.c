/* Collecting logits, scoring them, writing them down. */
#include "eval/evaluation.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/text.h"
#include <math.h>
#include <string.h>

enum { LISTED = 10, DRG_CODES = 1000 };

/* Gives every DRG of the data a column. */
static bool assign_columns(struct evaluation *evaluation, const struct labels *labels, struct error *error) {
    int32_t columns[DRG_CODES];
    for (size_t i = 0; i < DRG_CODES; i++) columns[i] = -1;
    for (size_t c = 0; c < labels->count; c++) {
        columns[labels->codes[c]] = (int32_t)c;
        evaluation->codes[c] = labels->codes[c];
    }
    evaluation->C = evaluation->known = labels->count;
    for (size_t i = 0; i < evaluation->N; i++) {
        const int code = evaluation->dataset->stays[i].drg;
        if (code == 0) return error_set(error, "stay %zu of the data has no \"drg\" to compare with", i + 1);
        if (columns[code] < 0) {
            columns[code] = (int32_t)evaluation->C;
            evaluation->codes[evaluation->C++] = code;
        }
        evaluation->targets[i] = columns[code];
        evaluation->unknown_stays += evaluation->targets[i] >= (int32_t)evaluation->known;
    }
    return true;
}

bool evaluation_open(struct evaluation *evaluation, const struct dataset *dataset, const struct labels *labels,
                     struct error *error) {
    *evaluation = (struct evaluation){.dataset = dataset, .N = dataset->count};
    if (dataset->count == 0) return error_set(error, "the data has no stays");
    evaluation->codes = memory_alloc(DRG_CODES, sizeof *evaluation->codes);
    evaluation->targets = memory_alloc(evaluation->N, sizeof *evaluation->targets);
    bool done = (evaluation->codes != NULL && evaluation->targets != NULL) ||
                memory_error(error, evaluation->N * sizeof *evaluation->targets, "the DRGs of the data");
    done = done && assign_columns(evaluation, labels, error);
    if (done) {
        evaluation->logits = memory_alloc(evaluation->N, evaluation->C * sizeof *evaluation->logits);
        done =
            evaluation->logits != NULL ||
            memory_error(error, evaluation->N * evaluation->C * sizeof *evaluation->logits, "the logits of the data");
    }
    if (!done) evaluation_close(evaluation);
    return done;
}

void evaluation_close(struct evaluation *evaluation) {
    memory_free(evaluation->logits);
    memory_free(evaluation->targets);
    memory_free(evaluation->codes);
    *evaluation = (struct evaluation){0};
}

bool evaluation_put(struct evaluation *evaluation, size_t first, size_t count, const double *logits,
                    struct error *error) {
    /* So far below the least logit that its probability vanishes beside it. */
    const double margin = 100;
    for (size_t i = 0; i < count; i++) {
        double *row = evaluation->logits + (first + i) * evaluation->C, least = (double)INFINITY;
        for (size_t c = 0; c < evaluation->known; c++) {
            row[c] = logits[i * evaluation->known + c];
            if (!isfinite(row[c])) {
                error_set(error, "stay %zu: the logit of DRG %03d is not a finite number", first + i + 1,
                          evaluation->codes[c]);
                return error_hint(error, "the weights of the model are damaged");
            }
            least = fmin(least, row[c]);
        }
        for (size_t c = evaluation->known; c < evaluation->C; c++) row[c] = least - margin;
    }
    return true;
}

bool evaluation_score(const struct evaluation *evaluation, struct metrics *metrics, struct error *error) {
    const struct scores scores = {evaluation->logits, evaluation->targets, (int64_t)evaluation->N,
                                  (int64_t)evaluation->C, (int64_t)evaluation->C};
    return metrics_classify(&scores, metrics, error);
}

static void add_id(struct text *out, const char *name, const char *id) {
    text_printf(out, "\"%s\": ", name);
    text_add_json(out, id, strlen(id));
    text_add(out, ", ");
}

/* The largest probabilities first, ties by column. p [C] is used up. */
static void add_predictions(struct text *out, const struct evaluation *evaluation, double *p) {
    text_add(out, ", \"predictions\": [");
    for (size_t k = 0; k < LISTED && k < evaluation->known; k++) {
        size_t best = 0;
        for (size_t c = 1; c < evaluation->known; c++) best = p[c] > p[best] ? c : best;
        text_printf(out, "%s{\"drg\": %d, \"p\": ", k == 0 ? "" : ", ", evaluation->codes[best]);
        text_add_json_float(out, (float)p[best]);
        text_add_char(out, '}');
        p[best] = -1;
    }
    text_add(out, "]}\n");
}

static void add_row(struct text *out, const struct evaluation *evaluation, size_t i, double temperature, double *p) {
    const struct stay *stay = &evaluation->dataset->stays[i];
    const size_t target = (size_t)evaluation->targets[i];
    size_t rank = 1;
    for (size_t c = 0; c < evaluation->known; c++) p[c] = evaluation->logits[i * evaluation->C + c] / temperature;
    softmax_double(p, p, (int64_t)evaluation->known);
    for (size_t c = evaluation->known; c < evaluation->C; c++) p[c] = 0;
    for (size_t c = 0; c < evaluation->known; c++) rank += p[c] > p[target] || (c < target && !(p[c] < p[target]));
    text_add_char(out, '{');
    add_id(out, "note_id", stay->note_id);
    add_id(out, "hadm_id", stay->hadm_id);
    text_printf(out, "\"drg\": %d, \"rank\": ", stay->drg);
    if (target < evaluation->known)
        text_printf(out, "%zu", rank);
    else
        text_add(out, "null");
    add_predictions(out, evaluation, p);
}

bool evaluation_write(const struct evaluation *evaluation, double temperature, const char *directory,
                      struct error *error) {
    char path[4096];
    struct text out = {0};
    struct file_writer *writer = NULL;
    double *p = memory_alloc(evaluation->C, sizeof *p);
    bool done = p != NULL || memory_error(error, evaluation->C * sizeof *p, "a row of probabilities");
    done = done && (path_join(path, sizeof path, directory, "predictions.jsonl") ||
                    error_set(error, "%s: path too long", directory));
    done = done && file_writer_open(&writer, path, error);
    for (size_t i = 0; done && i < evaluation->N; i++) {
        text_clear(&out);
        add_row(&out, evaluation, i, temperature, p);
        done = text_ok(&out, error) && file_writer_write(writer, out.data, out.length, error);
    }
    done = done && file_writer_commit(writer, error);
    file_writer_close(writer);
    text_free(&out);
    memory_free(p);
    return done;
}
