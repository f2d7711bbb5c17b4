/* Causal attention over packed sequences with grouped keys and values, tiled with an online softmax (Dao 2023), forward
 * and backward; and the rotary embedding (Su et al. 2021, half-split pairing: element j with element j + D/2).
 *
 * T tokens, N sequences, H query heads, K key/value heads (H a multiple of K), D head size (even, at most 256). Query
 * head h reads key/value head h / (H/K). Nothing of size T x T is ever stored. */
#ifndef CASEMIX_TENSOR_ATTENTION_H
#define CASEMIX_TENSOR_ATTENTION_H

#include <stdint.h>

/* Largest D, and largest H/K; config.json is held to them. */
#define ATTENTION_HEAD_LIMIT 256
#define ATTENTION_GROUP_LIMIT 128

struct attention_shape {
    int64_t H, K, D;
    float scale; /* 1 / sqrt(D) */
};

/* Sequences of a packed batch. Sequence n has keys offsets[n] .. offsets[n+1]-1 (token rows). Its queries are either
 * all its tokens (query_rows NULL: query row = token row), or a subset: queries query_offsets[n] ..
 * query_offsets[n+1]-1, where query_rows[i] is the token row at which query i stands (not falling within a sequence). A
 * query sees the keys of its sequence up to its own row, and all keys of the sequence's parent. */
struct attention_batch {
    int64_t N;
    const int32_t *offsets;       /* [N+1] */
    const int32_t *query_offsets; /* [N+1], NULL if query_rows is NULL */
    const int32_t *query_rows;    /* [queries] or NULL */
    const int32_t *parents;       /* [N] an earlier sequence that has no parent itself, or -1; NULL: nobody has one */
};

/* q [queries, H*D], k, v [T, K*D], out [queries, H*D], log_sum [queries, H] (log of the sum of exp of the scaled
 * scores; kept for the backward; may be NULL). */
void attention_forward(float *out, float *log_sum, const float *q, const float *k, const float *v,
                       const struct attention_shape *shape, const struct attention_batch *batch);

/* Sets d_q [queries, H*D], d_k, d_v [T, K*D]. delta: scratch [queries, H]. */
void attention_backward(float *d_q, float *d_k, float *d_v, const float *d_out, const float *out, const float *log_sum,
                        const float *q, const float *k, const float *v, const struct attention_shape *shape,
                        const struct attention_batch *batch, float *delta);

/* cosines, sines [positions, D/2] from D/2 inverse frequencies (radians a position). */
void rope_table(float *cosines, float *sines, const double *inverse_frequency, int64_t positions, int64_t D);

/* Rotates x [T, heads*D] in place; position[t] indexes the table. backward rotates the other way (the gradient). */
void rope_forward(float *x, const int32_t *position, const float *cosines, const float *sines, int64_t T, int64_t heads,
                  int64_t D);
void rope_backward(float *d_x, const int32_t *position, const float *cosines, const float *sines, int64_t T,
                   int64_t heads, int64_t D);

#endif
