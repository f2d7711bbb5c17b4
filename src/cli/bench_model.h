/* Models of known shapes with random weights at their real size, so that memory and caches are used as by a real
 * checkpoint. */
#ifndef CASEMIX_CLI_BENCH_MODEL_H
#define CASEMIX_CLI_BENCH_MODEL_H

#include "model/decoder.h"
#include "tensor/compute.h"
#include "tensor/dtype.h"

struct error;

struct model_shape {
    const char *name, *title;
    struct model_config config;
};

/* "0.5b", "1.5b" or "7b"; NULL if there is none of that name. */
const struct model_shape *model_shape_find(const char *name);

/* How the weights are stored and multiplied. */
enum { MODEL_WAYS = 4 };
struct model_way {
    const char *name;
    enum compute_type type; /* that --compute asks for */
    enum dtype dtype;
    enum compute_type arithmetic;
};
extern const struct model_way model_ways[MODEL_WAYS];

/* Elements of the projections of one layer. */
double layer_weights(const struct model_config *c);

/* Bytes of a model whose layers and head are stored as `dtype`; the embedding of an int8 model stays bf16. */
double model_bytes(const struct model_config *c, enum dtype dtype);

/* The model with its lm_head; release with decoder_close, also after a failure. */
bool random_decoder(struct decoder *decoder, const struct model_config *config, enum dtype dtype, struct error *error);

/* Bytes that can be taken without swapping. */
double available_memory(void);

#endif
