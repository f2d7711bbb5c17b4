/* Attention backward (Dao 2023, algorithm 4): scores are computed again tile by tile. One task owns a key/value head of
 * a sequence and of those that go on from it, so that the sums over queries, over the query heads of the group and over
 * continuations run in a fixed order. */
#include "tensor/attention_tiles.h"
#include "tensor/exponential.h"

enum { QUERIES = 32 }; /* of a tile */

/* Tiles of one key block: keys and values both ways, and their gradients. */
struct key_tile {
    TILE_ALIGNED float k[KEYS * HEAD_LIMIT];
    TILE_ALIGNED float k_transposed[HEAD_LIMIT * KEYS];
    TILE_ALIGNED float v_transposed[HEAD_LIMIT * KEYS];
    TILE_ALIGNED float d_k[KEYS * HEAD_LIMIT];
    TILE_ALIGNED float d_v[KEYS * HEAD_LIMIT];
};

/* Tiles of one query block of one head. */
struct query_tile {
    TILE_ALIGNED float q[QUERIES * HEAD_LIMIT];
    TILE_ALIGNED float d_out[QUERIES * HEAD_LIMIT];
    TILE_ALIGNED float d_q[QUERIES * HEAD_LIMIT];
    TILE_ALIGNED float weights[QUERIES * KEYS];
    TILE_ALIGNED float d_scores[QUERIES * KEYS];
};

/* One query head's arrays, all beginning at its first query. */
struct head_arrays {
    const float *q, *d_out, *log_sum, *delta;
    float *d_q;
    int64_t log_stride;
};

/* weights and d_scores [rows, KEYS] of the query block that begins at i against the keys from k0 on:
 * w = exp(scale s - log_sum), ds = w (dout . v - delta) scale. */
static void tile_gradients(const struct head_view *view, const struct head_arrays *head, const struct key_range *range,
                           const struct key_tile *keys, struct query_tile *tile, int64_t i, int64_t rows, int64_t k0,
                           int64_t present, float scale) {
    memset(tile->weights, 0, sizeof tile->weights);
    memset(tile->d_scores, 0, sizeof tile->d_scores);
    tile_product(tile->weights, KEYS, (struct operand){tile->q, view->padded, 1}, keys->k_transposed, KEYS, rows,
                 view->D, KEYS);
    tile_product(tile->d_scores, KEYS, (struct operand){tile->d_out, view->padded, 1}, keys->v_transposed, KEYS, rows,
                 view->D, KEYS);
    for (int64_t r = 0; r < rows; r++) {
        const int32_t seen = (int32_t)keys_seen(view, range, i + r, k0, present);
        const float log_sum = head->log_sum[(i + r) * head->log_stride],
                    delta = head->delta[(i + r) * head->log_stride];
        float *w = tile->weights + r * KEYS, *ds = tile->d_scores + r * KEYS;
#pragma omp simd
        for (int32_t j = 0; j < KEYS; j++) {
            const float weight = j < seen ? exponential(w[j] * scale - log_sum) : 0.0f;
            w[j] = weight;
            ds[j] = weight * (ds[j] - delta) * scale;
        }
    }
}

static void backward_query_block(const struct head_view *view, const struct head_arrays *head,
                                 const struct key_range *range, struct key_tile *keys, struct query_tile *tile,
                                 int64_t i, int64_t k0, int64_t present, float scale) {
    const int64_t rows = view->queries - i < QUERIES ? view->queries - i : QUERIES, padded = view->padded;
    pack_rows(tile->q, head->q + i * view->query_stride, view->query_stride, rows, view->D, padded, rows);
    pack_rows(tile->d_out, head->d_out + i * view->query_stride, view->query_stride, rows, view->D, padded, rows);
    tile_gradients(view, head, range, keys, tile, i, rows, k0, present, scale);
    tile_product(keys->d_v, padded, (struct operand){tile->weights, 1, KEYS}, tile->d_out, padded, present, rows,
                 padded);
    tile_product(keys->d_k, padded, (struct operand){tile->d_scores, 1, KEYS}, tile->q, padded, present, rows, padded);
    memset(tile->d_q, 0, (size_t)(rows * padded) * sizeof(float));
    tile_product(tile->d_q, padded, (struct operand){tile->d_scores, KEYS, 1}, keys->k, padded, rows, present, padded);
    for (int64_t r = 0; r < rows; r++) {
        float *to = head->d_q + (i + r) * view->query_stride;
        for (int64_t d = 0; d < view->D; d++) to[d] += tile->d_q[r * padded + d];
    }
}

static void store_rows(float *to, int64_t stride, const float *tile, int64_t padded, int64_t count, int64_t D) {
    for (int64_t r = 0; r < count; r++) memcpy(to + r * stride, tile + r * padded, (size_t)D * sizeof *to);
}

/* The arrays of a whole attention. */
struct arrays {
    const float *q, *k, *v, *d_out, *log_sum, *delta;
    float *d_q, *d_k, *d_v;
};

/* Adds what the queries of sequence n give to one tile of keys (its own or its parent's), and to d_q. */
static void backward_queries(const struct arrays *arrays, const struct attention_shape *shape,
                             const struct attention_batch *batch, int64_t n, int64_t kv, const struct key_range *range,
                             struct key_tile *keys, struct query_tile *tile, int64_t k0, int64_t present) {
    const struct head_view view = head_view_of(shape, batch, n);
    const int64_t H = shape->H, group = H / shape->K, first = first_query_seeing(&view, range, k0);
    for (int64_t h = kv * group; h < (kv + 1) * group; h++) {
        const int64_t at = view.first_query * view.query_stride + h * shape->D, sums = view.first_query * H + h;
        const struct head_arrays head = {arrays->q + at,       arrays->d_out + at, arrays->log_sum + sums,
                                         arrays->delta + sums, arrays->d_q + at,   H};
        for (int64_t i = first; i < view.queries; i += QUERIES)
            backward_query_block(&view, &head, range, keys, tile, i, k0, present, shape->scale);
    }
}

/* All the gradients that pass through one key/value head of the keys of sequence n: from its own queries and from those
 * of the sequences that go on from it. */
static void backward_keys(const struct arrays *arrays, const struct attention_shape *shape,
                          const struct attention_batch *batch, int64_t n, int64_t kv) {
    struct key_tile keys;
    struct query_tile tile;
    const struct key_range own = key_range_of(batch, n, true), before = key_range_of(batch, n, false);
    const int64_t D = shape->D, stride = shape->K * D, padded = (D + LANES - 1) / LANES * LANES;
    for (int64_t k0 = 0; k0 < own.count; k0 += KEYS) {
        const int64_t present = own.count - k0 < KEYS ? own.count - k0 : KEYS, at = (own.first + k0) * stride + kv * D;
        pack_rows(keys.k, arrays->k + at, stride, present, D, padded, present);
        pack_transposed(keys.k_transposed, arrays->k + at, stride, present, D);
        pack_transposed(keys.v_transposed, arrays->v + at, stride, present, D);
        memset(keys.d_k, 0, (size_t)(present * padded) * sizeof(float));
        memset(keys.d_v, 0, (size_t)(present * padded) * sizeof(float));
        backward_queries(arrays, shape, batch, n, kv, &own, &keys, &tile, k0, present);
        for (int64_t m = n + 1; batch->parents != NULL && m < batch->N; m++) {
            if (batch->parents[m] == n)
                backward_queries(arrays, shape, batch, m, kv, &before, &keys, &tile, k0, present);
        }
        store_rows(arrays->d_k + at, stride, keys.d_k, padded, present, D);
        store_rows(arrays->d_v + at, stride, keys.d_v, padded, present, D);
    }
}

/* delta [queries, H]: the dot product of each head's output and its gradient. */
static void compute_delta(float *delta, const float *d_out, const float *out, int64_t count, int64_t D) {
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < count; i++) {
        float sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t d = 0; d < D; d++) sum += d_out[i * D + d] * out[i * D + d];
        delta[i] = sum;
    }
}

void attention_backward(float *d_q, float *d_k, float *d_v, const float *d_out, const float *out, const float *log_sum,
                        const float *q, const float *k, const float *v, const struct attention_shape *shape,
                        const struct attention_batch *batch, float *delta) {
    const int64_t H = shape->H, K = shape->K, D = shape->D;
    const int64_t queries = batch->query_rows == NULL ? batch->offsets[batch->N] : batch->query_offsets[batch->N];
    const struct arrays arrays = {q, k, v, d_out, log_sum, delta, d_q, d_k, d_v};
    compute_delta(delta, d_out, out, queries * H, D);
    memset(d_q, 0, (size_t)(queries * H * D) * sizeof *d_q);
#pragma omp parallel for collapse(2) schedule(dynamic, 1)
    for (int64_t n = 0; n < batch->N; n++) {
        for (int64_t kv = 0; kv < K; kv++) {
            if (parent_of(batch, n) >= 0) continue; /* its parent's task does it */
            backward_keys(&arrays, shape, batch, n, kv);
            for (int64_t m = n + 1; batch->parents != NULL && m < batch->N; m++) {
                if (batch->parents[m] == n) backward_keys(&arrays, shape, batch, m, kv);
            }
        }
    }
}
