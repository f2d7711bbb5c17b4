/* Causal attention of new tokens over keys and values held in blocks (Kwon et al. 2023): what a step of decoding does.
 *
 * A block holds ATTENTION_BLOCK positions of one sequence, for every key/value head the keys [D, ATTENTION_BLOCK]
 * (transposed, as the scores want them) and behind them the values [ATTENTION_BLOCK, padded], padded being D rounded up
 * to sixteen. H, K, D as in attention.h; grouped heads read a block once for the whole group. */
#ifndef CASEMIX_TENSOR_ATTENTION_BLOCKS_H
#define CASEMIX_TENSOR_ATTENTION_BLOCKS_H

#include "tensor/attention.h"
#include <stdint.h>

#define ATTENTION_BLOCK 32

/* Consecutive tokens of one sequence among the rows of a step. Their own keys and values are already in the blocks. */
struct block_rows {
    int64_t first, count;  /* rows of q and out */
    int64_t position;      /* of the first row's token in its sequence */
    const int32_t *blocks; /* [position + count, in blocks] */
};

/* Floats of one key/value head in a block. */
int64_t attention_block_head(const struct attention_shape *shape);

/* Puts one token's key and value, each [K*D], at place `slot` of a block (of one layer). */
void attention_block_store(float *block, int64_t slot, const float *k, const float *v,
                           const struct attention_shape *shape);

/* q, out [rows, H*D]; block b begins at base + b * stride. */
void attention_blocks_forward(float *out, const float *q, const float *base, int64_t stride,
                              const struct attention_shape *shape, const struct block_rows *groups, int64_t count);

#endif
