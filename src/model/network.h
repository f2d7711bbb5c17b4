/* What training and prediction want of a model that classifies texts, whichever it is: the decoder, BERT, CAML or the
 * linear bag of words. */
#ifndef CASEMIX_MODEL_NETWORK_H
#define CASEMIX_MODEL_NETWORK_H

#include "model/caml.h"
#include "model/decoder.h"
#include "model/encoder.h"
#include "model/linear_bag.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

enum network_family { NETWORK_DECODER, NETWORK_BERT, NETWORK_CAML, NETWORK_LINEAR };

/* The working memory of a forward and backward, of the network's own type. */
struct network_run;

/* Sizes that callers need. */
struct network_shape {
    int64_t V;         /* ids of the vocabulary */
    int64_t positions; /* of the longest text */
    int64_t labels;    /* 0: the model classifies nothing yet */
    int64_t width;     /* of an embedding */
};

/* The functions of one family; each does as the function of the same name in decoder.h, encoder.h, caml.h and
 * linear_bag.h says. */
struct network_functions {
    struct network_shape (*shape)(const void *model);
    struct parameters *(*parameters)(void *model);
    bool (*run_size)(const void *model, int64_t T, int64_t N, bool train, size_t *bytes, struct error *error);
    bool (*run_open)(struct network_run **run, const void *model, int64_t T, int64_t N, bool train,
                     struct error *error);
    /* Memory within a budget (decoder_run_plan); only the decoder can do with less by computing twice. */
    bool (*run_plan)(struct run_plan *plan, const void *model, size_t budget, struct error *error);
    bool (*run_open_planned)(struct network_run **run, const void *model, const struct run_plan *plan,
                             struct error *error);
    void (*run_close)(struct network_run *run);
    bool (*check)(const void *model, const struct network_run *run, const struct batch *batch, struct error *error);
    void (*forward)(const void *model, struct network_run *run, const struct batch *batch, uint64_t dropout_seed,
                    float *logits);
    void (*backward)(const void *model, struct network_run *run, const struct batch *batch, const float *d_logits);
    bool (*write)(const void *model, const char *directory, enum dtype dtype, struct error *error);
    bool (*write_config)(const void *model, const char *directory, const char *dtype, const char *const *label_names,
                         struct error *error);
    /* Of a run opened with plan.inputs, after a backward: [T, width]. */
    const float *(*input_gradient)(const struct network_run *run);
    void (*embed)(const void *model, const int32_t *tokens, int64_t T, float *out); /* [T, width] */
};

/* A model (borrowed) and its functions: network.call->forward(network.model, …). */
struct network {
    enum network_family family;
    const struct network_functions *call;
    void *model;
};

struct network network_of_decoder(struct decoder *decoder);
struct network network_of_encoder(struct encoder *encoder);
struct network network_of_caml(struct caml *caml);
struct network network_of_linear_bag(struct linear_bag *bag);

/* The family of the model in a directory, by the architecture that its config.json names; a decoder if it names none
 * that is known to be another's (opening it will say what is wrong). */
bool network_family_of(enum network_family *family, const char *directory, struct error *error);

#endif
