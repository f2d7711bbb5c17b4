/* The one list of a decoder's tensors: opening, creating, training, writing and exporting walk it. Private to the files
 * of the model. */
#ifndef CASEMIX_MODEL_DECODER_TENSORS_H
#define CASEMIX_MODEL_DECODER_TENSORS_H

#include "model/decoder.h"
#include <stdbool.h>
#include <stdint.h>

/* Where one tensor of the model lives, and what a fresh one is filled with. */
struct tensor_slot {
    struct matrix *matrix;
    float **gradient;
    int64_t rows, cols;
    bool vector;
    double deviation; /* of the normal distribution of a fresh tensor */
    float constant;   /* added to it: 1 for norms */
};

typedef bool tensor_visitor(void *context, const char *name, const struct tensor_slot *slot, struct error *error);

/* Every tensor of the model in the order of the checkpoint's names; the head last. */
bool decoder_each_tensor(struct decoder *decoder, tensor_visitor *visit, void *context, struct error *error);

#endif
