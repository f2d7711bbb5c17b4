/* Attention over blocks: for each key/value head, the queries of its group of heads and of a few tokens go through the
 * sequence's blocks together, with a running maximum and sum; continuations of one prompt go through its blocks
 * together (Juravsky et al. 2024, Hydragen). A row's bits do not depend on its company. */
#include "tensor/attention_blocks.h"
#include "base/threads.h"
#include "tensor/exponential.h"
#include "tensor/tile.h"
#include <stdbool.h>
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

/* Query rows that go through blocks together: tokens of one run of rows, or one token of each of several runs that
 * begin with the same blocks. */
struct query_set {
    const struct block_rows *runs; /* [members] */
    int64_t members;
    int64_t first, count; /* tokens of the one run; members of several have one token each */
    int64_t shared;       /* blocks that all members begin with, and see whole */
};

/* Query rows [from, from + queries) over the keys of one block, of which `present` are there; `position` is that of the
 * first row's token. */
static void block_forward(const float *keys, const struct attention_shape *shape, int64_t k0, int64_t present,
                          int64_t position, bool whole, int64_t from, int64_t queries, struct block_state *state) {
    const int64_t D = shape->D, padded = padded_width(shape), group = shape->H / shape->K;
    const float *values = keys + D * ATTENTION_BLOCK;
    float *scores = state->scores + from * ATTENTION_BLOCK;
    memset(scores, 0, (size_t)(queries * ATTENTION_BLOCK) * sizeof(float));
    tile_product(scores, ATTENTION_BLOCK, (struct operand){state->q + from * D, D, 1}, keys, ATTENTION_BLOCK, queries,
                 D, ATTENTION_BLOCK);
    for (int64_t r = 0; r < queries; r++) {
        const int64_t visible = whole ? present : position + r / group + 1 - k0;
        weigh_row(state, from + r, visible < 0 ? 0 : visible < present ? visible : present, padded);
    }
    tile_product(state->out + from * padded, padded, (struct operand){scores, ATTENTION_BLOCK, 1}, values, padded,
                 queries, present, padded);
}

/* The row of q and out that query row r of a set belongs to: a token, and one of the group's heads. */
static int64_t query_at(const struct query_set *set, const struct attention_shape *shape, int64_t h, int64_t r) {
    const int64_t group = shape->H / shape->K, token = r / group;
    const int64_t row = set->members > 1 ? set->runs[token].first : set->runs->first + set->first + token;
    return (row * shape->H + h * group + r % group) * shape->D;
}

/* A set with the heads of key/value head h. Shared blocks are read once for all members, then each reads its own. */
static void set_forward(float *out, const float *q, const float *base, int64_t stride,
                        const struct attention_shape *shape, const struct query_set *set, int64_t h,
                        struct block_state *state) {
    const int64_t D = shape->D, padded = padded_width(shape), group = shape->H / shape->K;
    const int64_t queries = (set->members > 1 ? set->members : set->count) * group;
    const float *head = base + h * attention_block_head(shape);
    for (int64_t r = 0; r < queries; r++) {
        const float *from = q + query_at(set, shape, h, r);
        for (int64_t d = 0; d < D; d++) state->q[r * D + d] = from[d] * shape->scale;
        state->maximum[r] = -1e30f;
        state->sum[r] = 0;
    }
    memset(state->out, 0, (size_t)(queries * padded) * sizeof(float));
    for (int64_t b = 0; b < set->shared; b++) {
        block_forward(head + set->runs->blocks[b] * stride, shape, b * ATTENTION_BLOCK, ATTENTION_BLOCK, 0, true, 0,
                      queries, state);
    }
    const int64_t each = queries / set->members;
    for (int64_t m = 0; m < set->members; m++) {
        const struct block_rows *run = &set->runs[m];
        const int64_t position = run->position + (set->members > 1 ? 0 : set->first), end = position + each / group;
        for (int64_t k0 = set->shared * ATTENTION_BLOCK; k0 < end; k0 += ATTENTION_BLOCK) {
            const int64_t left = end - k0, present = left < ATTENTION_BLOCK ? left : ATTENTION_BLOCK;
            block_forward(head + run->blocks[k0 / ATTENTION_BLOCK] * stride, shape, k0, present, position, false,
                          m * each, each, state);
        }
    }
    for (int64_t r = 0; r < queries; r++) {
        float *to = out + query_at(set, shape, h, r);
        const float share = 1.0f / state->sum[r];
        for (int64_t d = 0; d < D; d++) to[d] = state->out[r * padded + d] * share;
    }
}

/* Blocks that two runs of one token begin with, and see whole. */
static int64_t blocks_shared(const struct block_rows *a, const struct block_rows *b, int64_t most) {
    const int64_t shorter = a->position < b->position ? a->position : b->position,
                  whole = (shorter + 1) / ATTENTION_BLOCK;
    const int64_t limit = most < whole ? most : whole;
    int64_t shared = 0;
    while (shared < limit && a->blocks[shared] == b->blocks[shared]) shared++;
    return shared;
}

/* The set that begins with run g: with at most `most` runs of one token behind it that share its beginning. */
static struct query_set set_from(const struct block_rows *runs, int64_t g, int64_t count, int64_t most) {
    struct query_set set = {.runs = &runs[g], .members = 1, .count = runs[g].count};
    int64_t shared = INT64_MAX;
    if (set.count > 1) return set;
    while (set.members < most && g + set.members < count && runs[g + set.members].count == 1) {
        const int64_t now = blocks_shared(&runs[g], &runs[g + set.members], shared);
        if (now == 0 || (set.members > 1 && now < shared / 2)) break; /* one stranger would cost the others more */
        shared = now;
        set.shared = now;
        set.members++;
    }
    return set;
}

void attention_blocks_forward(float *out, const float *q, const float *base, int64_t stride,
                              const struct attention_shape *shape, const struct block_rows *runs, int64_t count) {
    const int64_t heads = shape->H / shape->K, tokens = heads < QUERIES / 2 ? QUERIES / 2 / heads : 1;
    /* Sets are no larger than leaves something to do for every thread. */
    const int64_t fair = (count * shape->K + threads_count() - 1) / threads_count(),
                  most = fair < tokens ? fair : tokens;
    int64_t longest = 0;
    for (int64_t g = 0; g < count; g++) longest = runs[g].count > longest ? runs[g].count : longest;
    const int64_t pieces = (longest + tokens - 1) / tokens;
#pragma omp parallel
    for (int64_t g = 0; g < count;) {
        struct query_set set = set_from(runs, g, count, most);
        g += set.members;
#pragma omp for collapse(2) schedule(dynamic, 1) nowait
        for (int64_t piece = 0; piece < pieces; piece++) {
            for (int64_t h = 0; h < shape->K; h++) {
                const int64_t left = set.members > 1 ? 1 - piece : set.runs->count - piece * tokens;
                if (left <= 0) continue;
                struct block_state state;
                struct query_set part = set;
                part.first = set.members > 1 ? 0 : piece * tokens;
                part.count = left < tokens ? left : tokens;
                set_forward(out, q, base, stride, shape, &part, h, &state);
            }
        }
    }
}
