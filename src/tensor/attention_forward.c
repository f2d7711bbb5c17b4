/* Attention forward: key tiles outside, queries inside, with a running maximum and sum for every query (Milakov and
 * Gimelshein 2018; Dao 2023). */
#include "tensor/attention_tiles.h"
#include "tensor/exponential.h"
#include <math.h>

/* Queries whose running state is held at once, and those that share a score tile. */
enum { HELD = 256, ROWS = 8 };

/* Running state of up to HELD queries of one head. */
struct running {
    float maximum[HELD], sum[HELD];
    float out[HELD * HEAD_LIMIT]; /* [HELD, padded] not yet divided by sum */
};

/* Scores of one query become weights; its maximum, sum and unfinished output follow. `seen` keys of the tile are
 * visible. */
static void weigh_scores(float *scores, int64_t seen, float scale, float *maximum, float *sum, float *out,
                         int64_t padded) {
    float largest = *maximum;
    for (int64_t j = 0; j < seen; j++) {
        scores[j] *= scale;
        largest = scores[j] > largest ? scores[j] : largest;
    }
    const float shrink = exponential(*maximum - largest);
    float added = 0;
#pragma omp simd reduction(+ : added)
    for (int64_t j = 0; j < seen; j++) {
        scores[j] = exponential(scores[j] - largest);
        added += scores[j];
    }
    for (int64_t j = seen; j < KEYS; j++) scores[j] = 0;
    if (largest > *maximum) {
        for (int64_t d = 0; d < padded; d++) out[d] *= shrink;
    }
    *sum = *sum * shrink + added;
    *maximum = largest;
}

/* The queries first … first + count of one head against all the keys they see. */
static void forward_queries(float *out, float *log_sum, int64_t log_stride, const float *q, const float *k,
                            const float *v, const struct head_view *view, float scale, int64_t first, int64_t count,
                            struct running *state) {
    float keys[HEAD_LIMIT * KEYS], values[KEYS * HEAD_LIMIT], scores[ROWS * KEYS];
    for (int64_t i = 0; i < count; i++) {
        state->maximum[i] = -1e30f;
        state->sum[i] = 0;
    }
    memset(state->out, 0, (size_t)(count * view->padded) * sizeof(float));
    const int64_t last = query_position(view, first + count - 1);
    for (int64_t k0 = 0, i0 = 0; k0 <= last; k0 += KEYS) {
        const int64_t present = view->keys - k0 < KEYS ? view->keys - k0 : KEYS;
        pack_transposed(keys, k + k0 * view->key_stride, view->key_stride, present, view->D);
        pack_rows(values, v + k0 * view->key_stride, view->key_stride, present, view->D, view->padded, KEYS);
        while (query_position(view, first + i0) < k0) i0++; /* queries before this tile see nothing of it */
        for (int64_t i = i0; i < count; i += ROWS) {
            const int64_t rows = count - i < ROWS ? count - i : ROWS;
            memset(scores, 0, sizeof scores);
            const struct operand queries = {q + (first + i) * view->query_stride, view->query_stride, 1};
            tile_product(scores, KEYS, queries, keys, KEYS, rows, view->D, KEYS);
            for (int64_t r = 0; r < rows; r++) {
                const int64_t visible = query_position(view, first + i + r) + 1 - k0;
                weigh_scores(scores + r * KEYS, visible < present ? visible : present, scale, &state->maximum[i + r],
                             &state->sum[i + r], state->out + (i + r) * view->padded, view->padded);
            }
            const struct operand weights = {scores, KEYS, 1};
            tile_product(state->out + i * view->padded, view->padded, weights, values, view->padded, rows, present,
                         view->padded);
        }
    }
    for (int64_t i = 0; i < count; i++) {
        const float share = 1.0f / state->sum[i];
        float *row = out + (first + i) * view->query_stride;
        for (int64_t d = 0; d < view->D; d++) row[d] = state->out[i * view->padded + d] * share;
        if (log_sum != NULL) log_sum[(first + i) * log_stride] = state->maximum[i] + logf(state->sum[i]);
    }
}

void attention_forward(float *out, float *log_sum, const float *q, const float *k, const float *v,
                       const struct attention_shape *shape, const struct attention_batch *batch) {
    const int64_t H = shape->H, D = shape->D, group = H / shape->K;
#pragma omp parallel for collapse(2) schedule(dynamic, 1)
    for (int64_t n = 0; n < batch->N; n++) {
        for (int64_t h = 0; h < H; h++) {
            const struct head_view view = head_view_of(shape, batch, n);
            struct running state;
            const int64_t query = view.first_query * view.query_stride + h * D,
                          key = view.first_key * view.key_stride + h / group * D;
            float *sums = log_sum == NULL ? NULL : log_sum + view.first_query * H + h;
            for (int64_t first = 0; first < view.queries; first += HELD) {
                const int64_t count = view.queries - first < HELD ? view.queries - first : HELD;
                forward_queries(out + query, sums, H, q + query, k + key, v + key, &view, shape->scale, first, count,
                                &state);
            }
        }
    }
}
