/* A decoder as a Hugging Face directory of its own: adapters in use are merged into the weights. */
#ifndef CASEMIX_MODEL_EXPORT_H
#define CASEMIX_MODEL_EXPORT_H

#include "model/decoder.h"
#include "tensor/dtype.h"
#include <stdint.h>

struct error;

struct export_settings {
    enum dtype dtype;               /* stored as */
    int64_t shard_bytes;            /* a file holds no more, unless one tensor alone does */
    const char *const *label_names; /* [labels] of a classifier; NULL: LABEL_0 … */
};

/* Writes DIR/config.json and model.safetensors, or shards and model.safetensors.index.json. Each weight is widened to
 * f32, W + scale B A is formed there, and only the sum is rounded to dtype. config.json comes last: a directory without
 * it is no model. The decoder is not changed. */
bool decoder_export(const struct decoder *decoder, const char *directory, const struct export_settings *settings,
                    struct error *error);

#endif
