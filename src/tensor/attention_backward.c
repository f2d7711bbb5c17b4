/* Attention backward (Dao 2023, algorithm 4): scores are computed again tile by tile. One task owns a key/value head of
 * a sequence, so that the sums over queries and over the query heads of the group run in a fixed order. */
#include "tensor/attention_tiles.h"
#include "tensor/exponential.h"

enum { QUERIES = 32 }; /* of a tile */

/* Tiles of one key block: keys and values both ways, and their gradients. */
struct key_tile {
    float k[KEYS * HEAD_LIMIT], k_transposed[HEAD_LIMIT * KEYS], v_transposed[HEAD_LIMIT * KEYS];
    float d_k[KEYS * HEAD_LIMIT], d_v[KEYS * HEAD_LIMIT];
};

/* Tiles of one query block of one head. */
struct query_tile {
    float q[QUERIES * HEAD_LIMIT], d_out[QUERIES * HEAD_LIMIT], d_q[QUERIES * HEAD_LIMIT];
    float weights[QUERIES * KEYS], d_scores[QUERIES * KEYS];
};

/* One query head's arrays, all beginning at its first query. */
struct head_arrays {
    const float *q, *d_out, *log_sum, *delta;
    float *d_q;
    int64_t log_stride;
};

/* weights and d_scores [rows, KEYS] of the query block that begins at i against the keys from k0 on:
 * w = exp(scale s - log_sum), ds = w (dout . v - delta) scale. */
static void tile_gradients(const struct head_view *view, const struct head_arrays *head, const struct key_tile *keys,
                           struct query_tile *tile, int64_t i, int64_t rows, int64_t k0, int64_t present, float scale) {
    memset(tile->weights, 0, sizeof tile->weights);
    memset(tile->d_scores, 0, sizeof tile->d_scores);
    tile_product(tile->weights, KEYS, (struct operand){tile->q, view->padded, 1}, keys->k_transposed, KEYS, rows,
                 view->D, KEYS);
    tile_product(tile->d_scores, KEYS, (struct operand){tile->d_out, view->padded, 1}, keys->v_transposed, KEYS, rows,
                 view->D, KEYS);
    for (int64_t r = 0; r < rows; r++) {
        const int64_t visible = query_position(view, i + r) + 1 - k0,
                      seen = visible < present ? (visible < 0 ? 0 : visible) : present;
        const float log_sum = head->log_sum[(i + r) * head->log_stride],
                    delta = head->delta[(i + r) * head->log_stride];
        float *w = tile->weights + r * KEYS, *ds = tile->d_scores + r * KEYS;
#pragma omp simd
        for (int64_t j = 0; j < seen; j++) {
            w[j] = exponential(w[j] * scale - log_sum);
            ds[j] = w[j] * (ds[j] - delta) * scale;
        }
        for (int64_t j = seen; j < KEYS; j++) w[j] = ds[j] = 0;
    }
}

static void backward_query_block(const struct head_view *view, const struct head_arrays *head, struct key_tile *keys,
                                 struct query_tile *tile, int64_t i, int64_t k0, int64_t present, float scale) {
    const int64_t rows = view->queries - i < QUERIES ? view->queries - i : QUERIES, padded = view->padded;
    pack_rows(tile->q, head->q + i * view->query_stride, view->query_stride, rows, view->D, padded, rows);
    pack_rows(tile->d_out, head->d_out + i * view->query_stride, view->query_stride, rows, view->D, padded, rows);
    tile_gradients(view, head, keys, tile, i, rows, k0, present, scale);
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

/* All the gradients that pass through one key/value head of one sequence. */
static void backward_key_head(float *d_k, float *d_v, const float *k, const float *v, const struct head_view *view,
                              const struct head_arrays *heads, int64_t group, float scale) {
    struct key_tile keys;
    struct query_tile tile;
    for (int64_t k0 = 0; k0 < view->keys; k0 += KEYS) {
        const int64_t present = view->keys - k0 < KEYS ? view->keys - k0 : KEYS, at = k0 * view->key_stride;
        pack_rows(keys.k, k + at, view->key_stride, present, view->D, view->padded, present);
        pack_transposed(keys.k_transposed, k + at, view->key_stride, present, view->D);
        pack_transposed(keys.v_transposed, v + at, view->key_stride, present, view->D);
        memset(keys.d_k, 0, (size_t)(present * view->padded) * sizeof(float));
        memset(keys.d_v, 0, (size_t)(present * view->padded) * sizeof(float));
        int64_t first = 0;
        while (first < view->queries && query_position(view, first) < k0) first++;
        for (int64_t g = 0; g < group; g++) {
            for (int64_t i = first; i < view->queries; i += QUERIES)
                backward_query_block(view, &heads[g], &keys, &tile, i, k0, present, scale);
        }
        store_rows(d_k + at, view->key_stride, keys.d_k, view->padded, present, view->D);
        store_rows(d_v + at, view->key_stride, keys.d_v, view->padded, present, view->D);
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
    const int64_t H = shape->H, K = shape->K, D = shape->D, group = H / K;
    const int64_t queries = batch->query_rows == NULL ? batch->offsets[batch->N] : batch->query_offsets[batch->N];
    compute_delta(delta, d_out, out, queries * H, D);
    memset(d_q, 0, (size_t)(queries * H * D) * sizeof *d_q);
#pragma omp parallel for collapse(2) schedule(dynamic, 1)
    for (int64_t n = 0; n < batch->N; n++) {
        for (int64_t kv = 0; kv < K; kv++) {
            const struct head_view view = head_view_of(shape, batch, n);
            const int64_t key = view.first_key * view.key_stride + kv * D;
            struct head_arrays heads[ATTENTION_GROUP_LIMIT];
            for (int64_t g = 0; g < group; g++) {
                const int64_t h = kv * group + g, at = view.first_query * view.query_stride + h * D;
                heads[g] = (struct head_arrays){
                    q + at,   d_out + at, log_sum + view.first_query * H + h, delta + view.first_query * H + h,
                    d_q + at, H};
            }
            backward_key_head(d_k + key, d_v + key, k + key, v + key, &view, heads, group, shape->scale);
        }
    }
}
