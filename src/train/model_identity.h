/* Telling one model directory from another without reading gigabytes. */
#ifndef CASEMIX_TRAIN_MODEL_IDENTITY_H
#define CASEMIX_TRAIN_MODEL_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

struct error;

/* *identity: a hash of config.json (of an adapter, adapter_config.json) and, of each .safetensors file in the
 * directory, of its size, its beginning (with the header) and some hundred blocks spread over it: fine-tuned weights
 * differ nearly everywhere. */
bool model_identity(uint64_t *identity, const char *directory, struct error *error);

#endif
