/* adapter_config.json of a PEFT LoRA adapter. */
#ifndef CASEMIX_MODEL_ADAPTER_H
#define CASEMIX_MODEL_ADAPTER_H

#include "model/decoder.h"
#include <stdbool.h>
#include <stdint.h>

struct error;

struct adapter_config {
    int64_t rank;
    double alpha, dropout;
    bool rank_stable; /* use_rslora */
    bool targets[PROJECTIONS];
    bool saves_score; /* the score head is trained whole (modules_to_save) */
    char base[1024];  /* base_model_name_or_path */
};

/* Reads DIR/adapter_config.json. Features that would change the result and are not computed (DoRA, rank patterns,
 * biases, other targets) are refused by name. */
bool adapter_config_load(struct adapter_config *config, const char *directory, struct error *error);

/* Writes DIR/adapter_config.json; labels 0: a causal model without a head. */
bool adapter_config_write(const struct adapter_config *config, const char *directory, int64_t labels,
                          struct error *error);

#endif
