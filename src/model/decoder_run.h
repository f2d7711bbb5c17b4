/* The working memory of a decoder: what one forward keeps for its backward, and the scratch of both. Private to the
 * decoder's own files. */
#ifndef CASEMIX_MODEL_DECODER_RUN_H
#define CASEMIX_MODEL_DECODER_RUN_H

#include "model/decoder.h"
#include "model/projection.h"
#include "tensor/attention.h"

/* Activations of one layer. Rows Q are the rows that go on behind the attention: all T, or, in the last layer of a
 * classifier, the N pooled ones. Without training the layers share one set, and x_in, x_mid and x_out are the same
 * array except where Q < T. */
struct layer_activations {
    float *x_in;            /* [T, C] residual that enters */
    float *attention_rms;   /* [T] 1 / rms of x_in */
    float *attention_in;    /* [T, C] normed */
    float *query_in;        /* [Q, C] its pooled rows; attention_in itself when Q is T */
    float *q;               /* [Q, H*D] rotated */
    float *k, *v;           /* [T, K*D] k rotated */
    float *attended;        /* [Q, H*D] */
    float *log_sum;         /* [Q, H] */
    float *x_mid;           /* [Q, C] residual between attention and MLP */
    float *mlp_rms;         /* [Q] */
    float *mlp_in;          /* [Q, C] normed */
    float *gate, *up, *act; /* [Q, F] */
    float *xa[PROJECTIONS]; /* [T, R] A x of the LoRA terms */
};

struct decoder_run {
    int64_t capacity_T, capacity_N;
    bool train;
    uint64_t dropout_seed;            /* of the last forward */
    struct layer_activations *layers; /* [L] */
    float *x_out;                     /* [T, C] residual behind the last layer ([N, C] pooled) */
    float *final_rms;                 /* [T] */
    float *final_in;                  /* [T, C] normed */
    float *rope_cosines, *rope_sines; /* [positions, D/2] */
    int32_t *position;                /* [T] of each token in its sequence */
    int32_t *last_rows;               /* [N] token row of each sequence's last token */
    int32_t *last_position;           /* [N] its position */
    int32_t *query_offsets;           /* [N+1] 0, 1, …, N */
    struct projection_scratch scratch;
    /* backward only */
    float *d_x;             /* [T, C] gradient of the residual */
    float *d_rows;          /* [N, C] gradient of the pooled residual */
    float *d_normed;        /* [T, C] */
    float *d_query_in;      /* [N, C] */
    float *d_q, *d_k, *d_v; /* [T, H*D], [T, K*D] x 2 */
    float *d_attended;      /* [T, H*D] */
    float *delta;           /* [T, H] */
    float *d_act, *d_up;    /* [T, F]; d_gate takes d_act's place */
    float *norm_sums;       /* [threads, C] */
    int64_t lowest_trained; /* nothing is propagated below this layer; L if only the head is trained, -1 if the
                               embedding is */
    void *memory;
};

/* Dropout of one projection in this forward. */
struct dropout run_dropout(const struct decoder *decoder, const struct decoder_run *run, int64_t layer,
                           enum projection_kind kind);

/* The queries of a layer: all tokens, or the last ones of the sequences. */
struct attention_batch run_attention_batch(const struct decoder_run *run, const struct batch *batch, bool pooled);

struct attention_shape run_attention_shape(const struct decoder *decoder);

#endif
