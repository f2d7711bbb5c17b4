/* A decoder's frozen weights in eight bits: a quarter to an eighth of the memory, products in integers (tensor/int8.h).
 *
 * What is quantised: q, k, v, o, gate, up and down of every layer, and lm_head if asked, as far as they are not
 * trained. Embedding, norms, biases, LoRA terms and the score head stay as they are. The quantised form can be kept in
 * a directory, so that the next start maps it instead of making it again. */
#ifndef CASEMIX_MODEL_QUANTISE_H
#define CASEMIX_MODEL_QUANTISE_H

#include "model/decoder.h"
#include <stdbool.h>
#include <stddef.h>

struct error;
struct quantised;

struct quantise_settings {
    bool head;         /* lm_head too: it is the largest matrix of a small model, and read for every token decoded */
    const char *cache; /* directory of the kept form, made if absent; NULL: nothing is kept. A file there is named after
                          the weights that it was made from; a damaged one is replaced. That it cannot be written is a
                          warning. */
};

/* Bytes that decoder_quantise will hold in memory. */
size_t decoder_quantise_size(const struct decoder *decoder, bool head);

/* Quantises in place: the decoder's matrices then point to memory that decoder_close gives back. Call it after what is
 * trained was chosen and before any decoder_run is opened. Pages of the checkpoint that are not needed any more leave
 * this process's memory. *kept (may be NULL) says whether the kept form was used. On an error the decoder is as it was.
 */
bool decoder_quantise(struct decoder *decoder, const struct quantise_settings *settings, bool *kept,
                      struct error *error);

void quantised_close(struct quantised *quantised);

#endif
