/* adapter_config.json of a PEFT LoRA adapter, and an adapter that has been laid over a decoder. */
#ifndef CASEMIX_MODEL_ADAPTER_H
#define CASEMIX_MODEL_ADAPTER_H

#include "base/memory.h"
#include "model/decoder.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

/* A rank or alpha for the modules whose name matches. */
struct adapter_override {
    const char *pattern; /* regular expression for the end of a module's name, from its start or behind a dot */
    double value;
};

/* Zero-initialise or load; release with adapter_config_free. */
struct adapter_config {
    int64_t rank;
    double alpha, dropout;
    bool rank_stable;       /* use_rslora */
    const char *expression; /* target_modules as one string: "all-linear" or a regular expression for whole names */
    const char **targets;   /* [target_count] target_modules as a list: names, or ends of names behind a dot */
    size_t target_count;
    int64_t *layers; /* [layer_count] layers_to_transform; none: all */
    size_t layer_count;
    struct adapter_override *ranks, *alphas; /* rank_pattern, alpha_pattern */
    size_t rank_count, alpha_count;
    bool saves_score; /* the score head is trained whole (modules_to_save) */
    char base[1024];  /* base_model_name_or_path */
    struct arena owned;
};

/* Reads DIR/adapter_config.json. Features that would change the result and are not computed (DoRA, biases, other
 * targets, other saved modules) are refused by name. */
bool adapter_config_load(struct adapter_config *config, const char *directory, struct error *error);
void adapter_config_free(struct adapter_config *config);

/* The configuration of fresh LoRA terms. */
bool adapter_config_make(struct adapter_config *config, const struct lora_settings *settings, bool saves_score,
                         struct error *error);

/* Rank (0: not a target) and alpha of one projection, as PEFT finds them: lists by the end of a name, expressions by
 * the whole of it, patterns by its end. Fails when an expression is none. */
bool adapter_config_term(const struct adapter_config *config, int64_t layer, enum projection_kind kind, int64_t *rank,
                         double *alpha, struct error *error);

/* Writes DIR/adapter_config.json; classifier: of task type SEQ_CLS. */
bool adapter_config_write(const struct adapter_config *config, const char *directory, bool classifier,
                          struct error *error);

/* An adapter in memory. */
struct decoder_adapter {
    char name[64];
    struct adapter_config config;
    struct lora *terms;     /* [L][PROJECTIONS] */
    struct projection head; /* weight absent: the adapter has none */
    struct decoder_adapter *next;
};

/* Sum of the ranks that all adapters of the decoder have for one projection: what may be in use at once. */
int64_t adapters_rank(const struct decoder *decoder, int64_t layer, enum projection_kind kind);

#endif
