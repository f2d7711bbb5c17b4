/* The working memory of a decoder: what one forward keeps for its backward, and the scratch of both. Private to the
 * decoder's own files. */
#ifndef CASEMIX_MODEL_DECODER_RUN_H
#define CASEMIX_MODEL_DECODER_RUN_H

#include "model/decoder.h"
#include "model/projection.h"
#include "tensor/attention.h"

/* Activations of one layer. Rows Q are the rows that go on behind the attention: all T or, in the last layer, those
 * that a head will read. Layers that are computed again share one set but for x_in and xa; so do arrays that no
 * gradient needs. Without training all layers share one set, and x_in and x_mid are the same array except in the last
 * layer. */
struct layer_activations {
    float *x_in;            /* [T, C] residual that enters */
    float *attention_rms;   /* [T] 1 / rms of x_in */
    float *attention_in;    /* [T, C] normed */
    float *query_in;        /* [Q, C] its chosen rows, in the last layer */
    float *q;               /* [Q, H*D] rotated */
    float *k, *v;           /* [T, K*D] k rotated */
    float *attended;        /* [Q, H*D] */
    float *log_sum;         /* [Q, H] */
    float *x_mid;           /* [Q, C] residual between attention and MLP */
    float *mlp_rms;         /* [Q] */
    float *mlp_in;          /* [Q, C] normed */
    float *gate, *up, *act; /* [Q, F] */
    float
        *xa[PROJECTIONS]; /* [T, R] A x of the LoRA terms, side by side for the projections of a group: at its first */
};

struct decoder_run {
    struct run_plan plan;
    uint64_t dropout_seed;            /* of the last forward */
    struct layer_activations *layers; /* [L] */
    float *x_out;                     /* [Q, C] residual behind the last layer */
    float *final_rms;                 /* [Q] */
    float *final_in;                  /* [Q, C] normed */
    float *rope_cosines, *rope_sines; /* [positions, D/2] */
    int32_t *position;                /* [T] of each token in its sequence */
    bool chosen;                      /* the last forward had rows of its own, not all T */
    int64_t Q;                        /* their number; T otherwise */
    int32_t *rows;                    /* [Q] */
    int32_t *row_position;            /* [Q] */
    int32_t *row_offsets;             /* [N+1] the rows of each sequence */
    struct projection_scratch scratch;
    /* backward only */
    float *d_x;             /* [T, C] gradient of the residual */
    float *d_rows;          /* [Q, C] gradient of the chosen rows of the last residual */
    float *d_normed;        /* [T, C] */
    float *d_query_in;      /* [Q, C] */
    float *d_q, *d_k, *d_v; /* [Q or T, H*D], [T, K*D] x 2 */
    float *d_attended;      /* [Q or T, H*D] */
    float *delta;           /* [Q or T, H] */
    float *d_act, *d_up;    /* [Q or T, F]; d_gate takes d_act's place */
    float *norm_sums;       /* [threads, C] */
    int64_t lowest_trained; /* nothing is propagated below this layer; L if only the head is trained, -1 if the
                               embedding is, or its gradient is wanted */
    int64_t first_kept;     /* the layers from here on keep their activations */
    int64_t shared_layer;   /* the layer whose activations stand in the shared set; -1: none */
    void *memory;
};

/* Dropout of one projection in this forward. */
struct dropout run_dropout(const struct decoder *decoder, const struct decoder_run *run, int64_t layer,
                           enum projection_kind kind);

/* The queries of a layer: all tokens, or the chosen rows. */
struct attention_batch run_attention_batch(const struct decoder_run *run, const struct batch *batch, bool chosen);

struct attention_shape run_attention_shape(const struct decoder *decoder);

/* Whether only the chosen rows go on behind this layer's keys and values, and how many rows do. */
static inline bool run_chosen(const struct decoder *decoder, const struct decoder_run *run, int64_t l) {
    return run->chosen && l == decoder->config.L - 1;
}

static inline int64_t run_rows(const struct decoder *decoder, const struct decoder_run *run, const struct batch *batch,
                               int64_t l) {
    return run_chosen(decoder, run, l) ? run->Q : batch->T;
}

/* Computes the activations of a layer again that were not kept; the residual that leaves it is not. */
void run_recompute(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch, int64_t l);

#endif
