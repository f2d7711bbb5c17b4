/* Log-probabilities among the tokens that are allowed, with their gradients: what lm_loss computes over the whole
 * vocabulary, for single rows at which an answer is kept to the titles that exist.
 *
 * log p = z_target - log sum exp z_j over the allowed j, z = hidden . W / temperature. The work depends on the number
 * of allowed tokens alone. */
#ifndef CASEMIX_MODEL_ALLOWED_LOSS_H
#define CASEMIX_MODEL_ALLOWED_LOSS_H

#include "model/decoder.h"
#include <stddef.h>
#include <stdint.h>

/* One row: hidden [C], and the tokens that could have come, the target among them. */
struct allowed_row {
    const float *hidden;
    const int32_t *ids; /* [count] distinct */
    size_t count;
    int32_t target;
    float temperature;
};

/* Scratch for rows of up to `count` allowed tokens: floats. */
size_t allowed_loss_scratch(const struct decoder *decoder, size_t count);

/* log p of the target, and the entropy among the allowed (may be NULL). */
float allowed_loss_forward(const struct decoder *decoder, const struct allowed_row *row, float *entropy,
                           float *scratch);

/* From the derivative of the loss by -log p: adds to d_hidden [C], and to the head's gradient if it has one. */
void allowed_loss_backward(const struct decoder *decoder, const struct allowed_row *row, float coefficient,
                           float *d_hidden, float *scratch);

#endif
