/* Attention over blocks: for each key/value head, the queries of its group of heads and of a few tokens go through the
 * sequence's blocks together, with a running maximum and sum. */
#include "tensor/attention_blocks.h"
#include "tensor/exponential.h"
#include "tensor/tile.h"
#include <string.h>

/* Query rows (tokens times heads of a group) that go through the blocks together. */
enum { QUERIES = ATTENTION_GROUP_LIMIT };

static int64_t padded_width(const struct attention_shape *shape) {
    return (shape->D + LANES - 1) / LANES * LANES;
}

int64_t attention_block_head(const struct attention_shape *shape) {
    return ATTENTION_BLOCK * (shape->D + padded_width(shape));
}

void attention_block_store(float *block, int64_t slot, const float *k, const float *v,
                           const struct attention_shape *shape) {
    const int64_t D = shape->D, padded = padded_width(shape);
    for (int64_t h = 0; h < shape->K; h++) {
        float *keys = block + h * attention_block_head(shape), *values = keys + D * ATTENTION_BLOCK + slot * padded;
        for (int64_t d = 0; d < D; d++) keys[d * ATTENTION_BLOCK + slot] = k[h * D + d];
        memcpy(values, v + h * D, (size_t)D * sizeof *values);
        memset(values + D, 0, (size_t)(padded - D) * sizeof *values);
    }
}

/* Running state of the query rows. */
struct block_state {
    float maximum[QUERIES], sum[QUERIES];
    float q[QUERIES * ATTENTION_HEAD_LIMIT];   /* [rows, D] gathered and scaled */
    float out[QUERIES * ATTENTION_HEAD_LIMIT]; /* [rows, padded] not yet divided by sum */
    float scores[QUERIES * ATTENTION_BLOCK];
};

/* Scores of one row over a block become weights; `seen` of its keys are visible. */
static void weigh_row(struct block_state *state, int64_t row, int64_t seen, int64_t padded) {
    float *scores = state->scores + row * ATTENTION_BLOCK, *out = state->out + row * padded;
    float largest = state->maximum[row], added = 0;
    for (int64_t j = 0; j < seen; j++) largest = scores[j] > largest ? scores[j] : largest;
    const float shrink = exponential(state->maximum[row] - largest);
#pragma omp simd reduction(+ : added)
    for (int64_t j = 0; j < seen; j++) {
        scores[j] = exponential(scores[j] - largest);
        added += scores[j];
    }
    for (int64_t j = seen; j < ATTENTION_BLOCK; j++) scores[j] = 0;
    if (largest > state->maximum[row]) {
        for (int64_t d = 0; d < padded; d++) out[d] *= shrink;
    }
    state->sum[row] = state->sum[row] * shrink + added;
    state->maximum[row] = largest;
}

/* Tokens first … first + count of a group, with the heads of key/value head h. */
static void head_forward(float *out, const float *q, const float *base, int64_t stride,
                         const struct attention_shape *shape, const struct block_rows *rows, int64_t first,
                         int64_t count, int64_t h, struct block_state *state) {
    const int64_t D = shape->D, padded = padded_width(shape), group = shape->H / shape->K, queries = count * group;
    const int64_t row0 = rows->first + first, position = rows->position + first;
    for (int64_t r = 0; r < queries; r++) {
        const float *from = q + ((row0 + r / group) * shape->H + h * group + r % group) * D;
        for (int64_t d = 0; d < D; d++) state->q[r * D + d] = from[d] * shape->scale;
        state->maximum[r] = -1e30f;
        state->sum[r] = 0;
    }
    memset(state->out, 0, (size_t)(queries * padded) * sizeof(float));
    for (int64_t k0 = 0; k0 < position + count; k0 += ATTENTION_BLOCK) {
        const float *keys = base + rows->blocks[k0 / ATTENTION_BLOCK] * stride + h * attention_block_head(shape);
        const float *values = keys + D * ATTENTION_BLOCK;
        const int64_t left = position + count - k0, present = left < ATTENTION_BLOCK ? left : ATTENTION_BLOCK;
        memset(state->scores, 0, (size_t)(queries * ATTENTION_BLOCK) * sizeof(float));
        tile_product(state->scores, ATTENTION_BLOCK, (struct operand){state->q, D, 1}, keys, ATTENTION_BLOCK, queries,
                     D, ATTENTION_BLOCK);
        for (int64_t r = 0; r < queries; r++) {
            const int64_t visible = position + r / group + 1 - k0;
            weigh_row(state, r, visible < 0 ? 0 : visible < present ? visible : present, padded);
        }
        tile_product(state->out, padded, (struct operand){state->scores, ATTENTION_BLOCK, 1}, values, padded, queries,
                     present, padded);
    }
    for (int64_t r = 0; r < queries; r++) {
        float *to = out + ((row0 + r / group) * shape->H + h * group + r % group) * D;
        const float share = 1.0f / state->sum[r];
        for (int64_t d = 0; d < D; d++) to[d] = state->out[r * padded + d] * share;
    }
}

void attention_blocks_forward(float *out, const float *q, const float *base, int64_t stride,
                              const struct attention_shape *shape, const struct block_rows *groups, int64_t count) {
    const int64_t heads = shape->H / shape->K, tokens = heads < QUERIES / 2 ? QUERIES / 2 / heads : 1;
    int64_t longest = 0;
    for (int64_t g = 0; g < count; g++) longest = groups[g].count > longest ? groups[g].count : longest;
    const int64_t pieces = (longest + tokens - 1) / tokens;
#pragma omp parallel for collapse(3) schedule(dynamic, 1)
    for (int64_t piece = 0; piece < pieces; piece++) {
        for (int64_t h = 0; h < shape->K; h++) {
            for (int64_t g = 0; g < count; g++) {
                const int64_t first = piece * tokens, left = groups[g].count - first;
                if (left <= 0) continue;
                struct block_state state;
                head_forward(out, q, base, stride, shape, &groups[g], first, left < tokens ? left : tokens, h, &state);
            }
        }
    }
}
