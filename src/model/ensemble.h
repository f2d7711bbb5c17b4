/* One run or several that answer together: the probabilities of a DRG are averaged over the runs, each with its own
 * tokenizer, window and temperature. Single-label and two-label runs may be mixed; the DRGs are those that any of them
 * knows, with nothing from a run that does not know one. */
#ifndef CASEMIX_MODEL_ENSEMBLE_H
#define CASEMIX_MODEL_ENSEMBLE_H

#include "model/classifier.h"

enum { ENSEMBLE_LIMIT = 16 };

/* How the DRG is read from a run's probabilities. */
enum decoding {
    DECODE_DIRECT, /* a single-label run's own; of two labels the product of base and severity */
    /* Of a single-label run too: P(base) * P(severity), each the sum of p over the run's DRGs that share it
     * (severity_class), renormalised over those DRGs. */
    DECODE_PRODUCT
};

struct ensemble {
    struct classifier members[ENSEMBLE_LIMIT];
    size_t count;
    enum decoding decoding;
    struct labels labels; /* of all members together */
    const struct catalog *catalog;
};

bool decoding_parse(const char *name, enum decoding *decoding, struct error *error); /* "direct", "product" */

/* Opens run directories. They must speak one grouper and read the same part of a note. Release with ensemble_close. */
bool ensemble_open(struct ensemble *ensemble, const char *const *directories, size_t count, enum decoding decoding,
                   struct error *error);
void ensemble_close(struct ensemble *ensemble);

/* classifier_compute for each member. */
bool ensemble_compute(struct ensemble *ensemble, enum compute_type type, const char *int8_cache, struct error *error);

/* Scores of a lone two-label run for a note; 0 for anything else. */
size_t ensemble_width(const struct ensemble *ensemble);

/* Logits [count, labels.count] of texts: a lone run's own, decoded directly (classifier_logits), else log p, with p at
 * least 1e-30. outputs: [count, ensemble_width], or NULL where that is 0. token_counts are the first member's,
 * truncated says whether any cut the text; [count] or NULL. */
bool ensemble_logits(const struct ensemble *ensemble, const struct note *notes, size_t count, float *logits,
                     float *outputs, int32_t *token_counts, bool *truncated, struct error *error);

#endif
