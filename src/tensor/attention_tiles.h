/* What the forward and the backward of attention share: tile sizes, one head's view of a packed batch, and packing of
 * keys and values. */
#ifndef CASEMIX_TENSOR_ATTENTION_TILES_H
#define CASEMIX_TENSOR_ATTENTION_TILES_H

#include "tensor/attention.h"
#include "tensor/tile.h"
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

#endif
