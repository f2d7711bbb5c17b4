/* Reading logits and labels: row by row from JSON lines, or whole tensors. */
#include "eval/logits_file.h"
#include "base/error.h"
#include "base/json.h"
#include "base/memory.h"
#include "model/safetensors.h"
#include <math.h>
#include <string.h>

static bool read_label(int32_t *label, double value, struct error *error) {
    if (!(value >= 0 && value <= INT32_MAX) || value > floor(value))
        return error_set(error, "a label is no whole number from 0 up");
    *label = (int32_t)value;
    return true;
}

static bool table_grow(struct logits_table *table, size_t C, struct error *error) {
    size_t cells;
    if (!size_multiply((size_t)table->N + 1, C, &cells)) return memory_error(error, SIZE_MAX, "the logits");
    if (!memory_grow(&table->logits, &table->logit_capacity, cells, sizeof *table->logits, error)) return false;
    for (int i = 0; i < table->columns; i++) {
        if (!memory_grow(&table->labels[i], &table->label_capacity[i], (size_t)table->N + 1, sizeof **table->labels,
                         error))
            return false;
    }
    return true;
}

static bool add_labels(struct logits_table *table, const json_node *label, struct error *error) {
    if (table->columns == 1) {
        if (!json_is_number(label)) return error_set(error, "\"label\" is missing or not a number");
        return read_label(&table->labels[0][table->N], json_number(label), error);
    }
    if (!json_is_array(label) || json_count(label) != LABEL_COLUMNS) {
        return error_set(error, "\"label\" is missing or not a pair [base, severity]");
    }
    label = json_first(label);
    for (int i = 0; i < table->columns; i++, label = json_next(label)) {
        if (!read_label(&table->labels[i][table->N], json_number(label), error)) return false;
    }
    return true;
}

static bool add_row(void *context, uint64_t line, const json_node *root, struct error *error) {
    struct logits_table *table = context;
    const json_node *logits = json_member(root, "logits");
    const int64_t C = (int64_t)json_count(logits);
    (void)line;
    if (!json_is_array(logits) || C == 0) return error_set(error, "\"logits\" is missing or not a list of numbers");
    if (table->N == 0) table->C = C;
    if (C != table->C)
        return error_set(error, "%lld logits, the rows before have %lld", (long long)C, (long long)table->C);
    if (!table_grow(table, (size_t)C, error)) return false;
    double *row = table->logits + table->N * C;
    for (const json_node *logit = json_first(logits); logit != NULL; logit = json_next(logit)) {
        if (!json_is_number(logit) || !isfinite(json_number(logit)))
            return error_set(error, "a logit is not a finite number");
        *row++ = json_number(logit);
    }
    if (!add_labels(table, json_member(root, "label"), error)) return false;
    table->N++;
    return true;
}

static const struct stored_tensor *require(const struct safetensors *set, const char *path, const char *name,
                                           struct error *error) {
    const struct stored_tensor *tensor = safetensors_find(set, name);
    if (tensor == NULL) error_set(error, "%s: there is no tensor \"%s\"", path, name);
    return tensor;
}

static double element(const struct stored_tensor *tensor, int64_t index) {
    switch (tensor->type) {
    case STORED_F64:
        return ((const double *)tensor->data)[index];
    case STORED_F32:
        return (double)((const float *)tensor->data)[index];
    case STORED_I64:
        return (double)((const int64_t *)tensor->data)[index];
    default:
        return (double)((const int32_t *)tensor->data)[index];
    }
}

static bool check_tensors(const char *path, const struct stored_tensor *logits, const struct stored_tensor *labels,
                          int columns, struct error *error) {
    if (logits->type != STORED_F32 && logits->type != STORED_F64)
        return error_set(error, "%s: tensor logits is neither F32 nor F64", path);
    if (logits->dims != 2 || logits->elements == 0)
        return error_set(error, "%s: tensor logits is not [rows, labels], or it is empty", path);
    if (labels->type != STORED_I32 && labels->type != STORED_I64 && labels->type != STORED_F32) {
        return error_set(error, "%s: tensor labels is neither I32, I64 nor F32", path);
    }
    const bool shaped = columns == 1 ? labels->dims == 1 : labels->dims == 2 && labels->shape[1] == columns;
    if (shaped && labels->shape[0] == logits->shape[0]) return true;
    return error_set(error, "%s: tensor labels is not [%lld%s], as %lld rows of logits ask", path,
                     (long long)logits->shape[0], columns == 1 ? "" : ", 2", (long long)logits->shape[0]);
}

static bool copy_tensors(struct logits_table *table, const char *path, const struct stored_tensor *logits,
                         const struct stored_tensor *labels, struct error *error) {
    table->N = logits->shape[0];
    table->C = logits->shape[1];
    table->logits = memory_alloc((size_t)logits->elements, sizeof *table->logits);
    if (table->logits == NULL) return memory_error(error, (size_t)logits->elements * sizeof *table->logits, path);
    for (int64_t i = 0; i < logits->elements; i++) {
        table->logits[i] = element(logits, i);
        if (!isfinite(table->logits[i])) {
            return error_set(error, "%s: logits[%lld, %lld] is not finite", path, (long long)(i / table->C),
                             (long long)(i % table->C));
        }
    }
    for (int column = 0; column < table->columns; column++) {
        table->labels[column] = memory_alloc((size_t)table->N, sizeof *table->labels[column]);
        if (table->labels[column] == NULL) return memory_error(error, (size_t)table->N * sizeof **table->labels, path);
        for (int64_t r = 0; r < table->N; r++) {
            if (!read_label(&table->labels[column][r], element(labels, r * table->columns + column), error)) {
                return error_context(error, "%s, row %lld", path, (long long)r);
            }
        }
    }
    return true;
}

static bool load_tensors(struct logits_table *table, const char *path, struct error *error) {
    struct safetensors *set;
    if (!safetensors_open(&set, path, error)) return false;
    const struct stored_tensor *logits = require(set, path, "logits", error);
    const struct stored_tensor *labels = logits == NULL ? NULL : require(set, path, "labels", error);
    const bool done = labels != NULL && check_tensors(path, logits, labels, table->columns, error) &&
                      copy_tensors(table, path, logits, labels, error);
    safetensors_close(set);
    return done;
}

bool logits_load(struct logits_table *table, const char *path, int columns, struct error *error) {
    static const char suffix[] = ".safetensors";
    const size_t length = strlen(path), tail = sizeof suffix - 1;
    *table = (struct logits_table){.columns = columns};
    const bool tensors = length > tail && strcmp(path + length - tail, suffix) == 0;
    bool done = tensors ? load_tensors(table, path, error) : json_lines(path, add_row, table, error);
    if (done && table->N == 0) done = error_set(error, "%s: no rows", path);
    if (!done) logits_free(table);
    return done;
}

void logits_free(struct logits_table *table) {
    memory_free(table->logits);
    for (int i = 0; i < LABEL_COLUMNS; i++) memory_free(table->labels[i]);
    *table = (struct logits_table){0};
}
