/* Logits with their labels, as other programs write them: JSONL or safetensors. */
#ifndef CASEMIX_EVAL_LOGITS_FILE_H
#define CASEMIX_EVAL_LOGITS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

#define LABEL_COLUMNS 2

struct logits_table {
    double *logits;                 /* [N, C] */
    int32_t *labels[LABEL_COLUMNS]; /* [N] each; the second only for two-label files */
    int64_t N, C;
    int columns; /* of labels: 1 or 2 */
    size_t logit_capacity, label_capacity[LABEL_COLUMNS];
};

/* Reads rows with `columns` labels each. A path that ends in ".safetensors": tensors "logits" [N, C] (F32 or F64) and
 * "labels" [N] or [N, 2] (I32, I64 or F32). Else JSON lines (plain, gzip, "-" stdin): {"logits":[…], "label":n}, or
 * "label":[base, severity]. Every logit must be finite, every row as long as the first, every label a whole number that
 * is not negative; whether it is below C is for the metrics to say. */
bool logits_load(struct logits_table *table, const char *path, int columns, struct error *error);
void logits_free(struct logits_table *table);

#endif
