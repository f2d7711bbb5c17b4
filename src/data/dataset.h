/* Datasets: stays with their text and DRG, one JSON object a line, in DIR/train.jsonl, dev.jsonl and test.jsonl, and
 * DIR/labels.tsv.
 *
 * Line: {"note_id":…, "hadm_id":…, "subject_id":…, "text":…, "drg":470, "title":…, "split":"train|dev|test"} */
#ifndef CASEMIX_DATA_DATASET_H
#define CASEMIX_DATA_DATASET_H

#include "base/memory.h"
#include "base/text.h"
#include "drg/catalog.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

struct stay {
    const char *note_id, *hadm_id, *subject_id; /* "" when absent */
    const char *text;
    size_t text_length;
    int drg; /* 0 when the line has none */
};

struct dataset {
    struct stay *stays; /* [count] in file order */
    size_t count, capacity;
    struct arena arena; /* owns the strings */
};

/* Appends the stays of one JSONL file (plain or gzip). "text" is required; ids may be strings or integers.
 * Zero-initialise the dataset. */
bool dataset_load(struct dataset *dataset, const char *path, struct error *error);
void dataset_free(struct dataset *dataset);

/* One stay to be written. */
struct dataset_line {
    const char *note_id;
    int64_t hadm_id, subject_id;
    const char *text;
    size_t length;
    const struct drg *drg;
    const char *split; /* "train", "dev", "test" */
};

/* Appends the stay as a line of a dataset file. A DRG of v34 has its two-label targets beside it: "base" (0..339) and
 * "severity" (0..4), in DRG-LLaMA's numbering. */
void dataset_add_line(struct text *out, const struct dataset_line *line);

/* Labels: rank of the DRG code among those listed. Zero-initialise; release with labels_free. */
struct labels {
    enum grouper grouper;
    int *codes; /* [count] rising */
    size_t count;
};
bool labels_load(struct labels *labels, const char *path,
                 struct error *error); /* labels.tsv: "# grouper v43", header label, drg */
/* Appends the file's text; v34 has the columns base and severity too. */
void labels_add_tsv(struct text *out, const struct labels *labels);
bool labels_write(const struct labels *labels, const char *path, struct error *error);
/* The label of a DRG code; -1 if it is not among them. */
int labels_find(const struct labels *labels, int code);
void labels_free(struct labels *labels);

#endif
