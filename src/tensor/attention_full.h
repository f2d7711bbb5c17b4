/* Attention in which every query sees all keys of its sequence, as in an encoder, with dropout of its weights: forward
 * and backward over packed sequences. (Causal attention stands in attention.h.)
 *
 * T tokens, N sequences, H heads, D head size (at most ATTENTION_HEAD_LIMIT). A row of scores is held whole, so nothing
 * larger than a few rows times the longest sequence is stored. */
#ifndef CASEMIX_TENSOR_ATTENTION_FULL_H
#define CASEMIX_TENSOR_ATTENTION_FULL_H

#include "tensor/dropout.h"
#include <stdint.h>

struct full_attention {
    int64_t H, D;
    float scale;            /* 1 / sqrt(D) */
    struct dropout dropout; /* of the weights; rate 0: none */
    int64_t N;
    const int32_t *key_offsets;   /* [N+1] sequence n has the keys key_offsets[n] … key_offsets[n+1]-1 */
    const int32_t *query_offsets; /* [N+1] and these queries: all its tokens, or some */
    int64_t longest;              /* keys of the longest sequence; under 2^20 */
    float *scratch;               /* threads_count() * full_attention_scratch(D, longest) floats */
};

int64_t full_attention_scratch(int64_t D, int64_t longest);

/* q, out [queries, H*D], k, v [T, H*D]; log_sum [queries, H] (log of the sum of exp of the scaled scores) is kept for
 * the backward, NULL if none follows. */
void full_attention_forward(float *out, float *log_sum, const float *q, const float *k, const float *v,
                            const struct full_attention *attention);

/* Sets d_q [queries, H*D], d_k, d_v [T, H*D]. */
void full_attention_backward(float *d_q, float *d_k, float *d_v, const float *d_out, const float *out,
                             const float *log_sum, const float *q, const float *k, const float *v,
                             const struct full_attention *attention);

#endif
