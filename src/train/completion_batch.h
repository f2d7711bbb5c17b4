/* Prompts with their completions as one packed batch that computes each prompt once (struct batch's parents), the rows
 * that predict completion tokens, and where each of them belongs.
 *
 * The tokens of all completions count through in the order in which they were added: values of completion tokens
 * (log-probabilities, coefficients) lie so, whatever order the rows of the model have. */
#ifndef CASEMIX_TRAIN_COMPLETION_BATCH_H
#define CASEMIX_TRAIN_COMPLETION_BATCH_H

#include "model/decoder.h"
#include "train/examples.h"
#include <stdbool.h>
#include <stdint.h>

struct error;

struct completion_batch {
    struct batch batch;
    int32_t *targets;                /* [Q] the token that each row predicts */
    int64_t *places;                 /* [Q] which completion token that is */
    int64_t tokens, sequences, rows; /* room */
    int32_t *ids, *offsets, *parents, *row_tokens;
};

/* What one prompt with its completions takes. The last token of a completion predicts nothing and is not computed. */
struct completion_size {
    int64_t tokens, sequences, rows;
};
struct completion_size completion_size(const struct token_span *prompt, const struct token_span *completions,
                                       int64_t count);

bool completion_batch_open(struct completion_batch *batch, const struct completion_size *room, struct error *error);
void completion_batch_close(struct completion_batch *batch);
void completion_batch_clear(struct completion_batch *batch);

/* Adds a prompt, which has at least one token, with its completions; false, and nothing changed, when there is no room.
 * Completions without tokens are skipped. */
bool completion_batch_add(struct completion_batch *batch, const struct token_span *prompt,
                          const struct token_span *completions, int64_t count);

/* Values of rows in the order of completion tokens, and back. */
void completion_batch_scatter(const struct completion_batch *batch, float *of_tokens, const float *of_rows);
void completion_batch_gather(const struct completion_batch *batch, float *of_rows, const float *of_tokens);

#endif
