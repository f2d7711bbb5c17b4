/* The model that adapters are laid over: one layer, width 4. The seeds are made with it too. */
#ifndef CASEMIX_FUZZ_SMALL_MODEL_H
#define CASEMIX_FUZZ_SMALL_MODEL_H

#include "model/decoder.h"
#include <stdbool.h>

extern const struct model_config small_model;

/* Writes config.json and model.safetensors into the folder, unless a call before has done so. */
bool small_model_write(const char *folder);

#endif
