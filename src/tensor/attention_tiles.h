/* What the forward and the backward of attention share: tile sizes, one head's view of a packed batch, and packing of
 * keys and values. */
#ifndef CASEMIX_TENSOR_ATTENTION_TILES_H
#define CASEMIX_TENSOR_ATTENTION_TILES_H

#include "tensor/attention.h"
#include "tensor/tile.h"
#include <stdbool.h>
#include <string.h>

enum {
    KEYS = 64, /* keys of a tile */
    HEAD_LIMIT = ATTENTION_HEAD_LIMIT
};

/* One sequence and one query head. Rows are `stride` floats apart. */
struct head_view {
    int64_t D, padded;     /* head size, and rounded up to whole lanes */
    int64_t keys, queries; /* of the sequence */
    int64_t query_stride, key_stride;
    int64_t first_query;       /* row of the first query in q */
    int64_t first_key;         /* row of the first key in k and v */
    const int32_t *query_rows; /* token rows of the queries, or NULL: query i stands at key i */
};

static inline struct head_view head_view_of(const struct attention_shape *shape, const struct attention_batch *batch,
                                            int64_t n) {
    struct head_view view = {.D = shape->D, .padded = (shape->D + LANES - 1) / LANES * LANES};
    view.first_key = batch->offsets[n];
    view.keys = batch->offsets[n + 1] - batch->offsets[n];
    view.first_query = batch->query_rows == NULL ? view.first_key : batch->query_offsets[n];
    view.queries = batch->query_rows == NULL ? view.keys : batch->query_offsets[n + 1] - batch->query_offsets[n];
    view.query_rows = batch->query_rows == NULL ? NULL : batch->query_rows + view.first_query;
    view.query_stride = shape->H * shape->D;
    view.key_stride = shape->K * shape->D;
    return view;
}

/* Keys that the queries of a sequence see: its own, up to each query, or all of its parent's. */
struct key_range {
    int64_t first, count; /* token rows */
    bool own;
};

static inline struct key_range key_range_of(const struct attention_batch *batch, int64_t n, bool own) {
    return (struct key_range){batch->offsets[n], batch->offsets[n + 1] - batch->offsets[n], own};
}

/* The parent of a sequence; -1 if it has none. */
static inline int64_t parent_of(const struct attention_batch *batch, int64_t n) {
    return batch->parents == NULL ? -1 : batch->parents[n];
}

/* Key number, within the sequence, at which query i stands. */
static inline int64_t query_position(const struct head_view *view, int64_t i) {
    return view->query_rows == NULL ? i : view->query_rows[i] - view->first_key;
}

/* Rows [count, D] into a tile [KEYS, padded], zero elsewhere. */
static inline void pack_rows(float *tile, const float *rows, int64_t stride, int64_t count, int64_t D, int64_t padded,
                             int64_t height) {
    for (int64_t r = 0; r < height; r++) {
        float *to = tile + r * padded;
        if (r < count) memcpy(to, rows + r * stride, (size_t)D * sizeof *to);
        const int64_t from = r < count ? D : 0;
        memset(to + from, 0, (size_t)(padded - from) * sizeof *to);
    }
}

/* Rows [count, D] transposed into a tile [D, KEYS], zero elsewhere. */
static inline void pack_transposed(float *tile, const float *rows, int64_t stride, int64_t count, int64_t D) {
    for (int64_t d = 0; d < D; d++) {
        for (int64_t r = 0; r < count; r++) tile[d * KEYS + r] = rows[r * stride + d];
        for (int64_t r = count; r < KEYS; r++) tile[d * KEYS + r] = 0;
    }
}

/* Keys of the tile from k0 on, `present` of them, that query i sees. */
static inline int64_t keys_seen(const struct head_view *view, const struct key_range *range, int64_t i, int64_t k0,
                                int64_t present) {
    if (!range->own) return present;
    const int64_t visible = query_position(view, i) + 1 - k0;
    return visible < 0 ? 0 : visible < present ? visible : present;
}

/* The first query that sees any key from k0 on; queries stand in rising order. */
static inline int64_t first_query_seeing(const struct head_view *view, const struct key_range *range, int64_t k0) {
    int64_t i = 0;
    while (range->own && i < view->queries && query_position(view, i) < k0) i++;
    return i;
}

#endif
