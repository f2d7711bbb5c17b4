/* The working memory of an encoder: what one forward keeps for its backward, and the scratch of both. Private to the
 * encoder's own files. */
#ifndef CASEMIX_MODEL_ENCODER_RUN_H
#define CASEMIX_MODEL_ENCODER_RUN_H

#include "model/encoder.h"
#include "model/projection.h"
#include "tensor/attention_full.h"
#include "tensor/layernorm.h"

/* Activations of one layer. Rows Q are the rows that go on behind the keys and values: all T, or, in the last layer,
 * the N first tokens. Without training the layers share one set. */
struct encoder_activations {
    float *x_in;                                            /* [T, C] */
    float *query_in;                                        /* [Q, C] its first tokens; x_in itself when Q is T */
    float *q;                                               /* [Q, C] */
    float *k, *v;                                           /* [T, C] */
    float *attended;                                        /* [Q, C] */
    float *log_sum;                                         /* [Q, H] */
    float *attention_sum;                                   /* [Q, C] query_in + attention, in front of its norm */
    float *mid;                                             /* [Q, C] behind it */
    float *inner, *act;                                     /* [Q, F] in front of and behind the GELU */
    float *output_sum;                                      /* [Q, C] mid + feed-forward, in front of its norm */
    struct row_moments *attention_moments, *output_moments; /* [Q] */
};

struct encoder_run {
    int64_t capacity_T, capacity_N;
    bool train;
    uint64_t dropout_seed;              /* of the last forward; 0: none */
    struct encoder_activations *layers; /* [L] */
    float *embedded;                    /* [T, C] in front of the embeddings' norm */
    struct row_moments *embedding_moments;
    float *first;        /* [N, C] first tokens behind the last layer */
    float *pooled;       /* [N, C] behind the tanh */
    float *dropped;      /* [N, C] what the classifier reads: pooled itself without dropout */
    int32_t *position;   /* [T] of each token in its sequence */
    int32_t *first_rows; /* [N] row of the first token of each sequence */
    int32_t *one_each;   /* [N+1] 0, 1, …, N */
    struct projection_scratch scratch;
    float *attention_scratch;
    /* backward only */
    float *d_x;             /* [T, C] */
    float *d_first;         /* [N, C] */
    float *d_branch;        /* [T, C] gradient behind a dropout */
    float *d_q, *d_k, *d_v; /* [T, C] */
    float *d_attended;      /* [T, C] */
    float *d_act;           /* [T, F] */
    float *d_pooled;        /* [N, C] */
    float *norm_sums;       /* [threads, 2 C] */
    void *memory;
};

/* Where dropout falls, numbered so that each place draws its own mask. */
enum encoder_dropout {
    DROPOUT_EMBEDDING,
    DROPOUT_ATTENTION,
    DROPOUT_ATTENTION_OUTPUT,
    DROPOUT_OUTPUT,
    DROPOUT_POOLED,
    DROPOUT_PLACES
};
struct dropout encoder_dropout(const struct encoder *encoder, const struct encoder_run *run, int64_t layer,
                               enum encoder_dropout place);

/* The attention of a layer, its queries all tokens or the first ones of the sequences. */
struct full_attention encoder_attention(const struct encoder *encoder, const struct encoder_run *run,
                                        const struct batch *batch, int64_t layer, bool pooled);

#endif
