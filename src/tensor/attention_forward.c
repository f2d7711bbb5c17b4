/* Attention forward: key tiles outside, queries inside, with a running maximum and sum for every query (Milakov and
 * Gimelshein 2018; Dao 2023). The query heads that share a key/value head go through a tile together, which is packed
 * once for all of them. */
#include "tensor/attention_tiles.h"
#include "tensor/exponential.h"
#include <math.h>

/* Rows (queries of all heads of a group) whose running state is held at once, and those that share a score tile. */
enum { HELD = 512, ROWS = 8 };

/* Running state of the rows: all queries of the first head of the group, then of the next. */
struct running {
    float maximum[HELD], sum[HELD];
    TILE_ALIGNED float out[HELD * HEAD_LIMIT]; /* [HELD, padded] not yet divided by sum */
};

/* Packed keys and values of one tile. */
struct tile {
    TILE_ALIGNED float keys[HEAD_LIMIT * KEYS];
    TILE_ALIGNED float values[KEYS * HEAD_LIMIT];
};

/* What one task works on: some queries of all heads of a group; arrays begin at the group's first head. */
struct task {
    struct head_view view;
    int64_t group, first, count; /* heads; queries */
    const float *q;
    float *out, *log_sum;
    int64_t log_stride;
    float scale;
};

/* Scores of one query become weights; its maximum, sum and unfinished output follow. `seen` keys of the tile are
 * visible. The loops run over whole tiles, so that they are a few vectors each. */
static void weigh_scores(float *scores, int64_t seen, float scale, float *maximum, float *sum, float *out,
                         int64_t padded) {
    float largest = *maximum, added = 0;
#pragma omp simd reduction(max : largest)
    for (int32_t j = 0; j < KEYS; j++) {
        const float score = j < (int32_t)seen ? scores[j] * scale : -1e30f;
        scores[j] = score;
        largest = score > largest ? score : largest;
    }
#pragma omp simd reduction(+ : added)
    for (int32_t j = 0; j < KEYS; j++) {
        const float weight = j < (int32_t)seen ? exponential(scores[j] - largest) : 0.0f;
        scores[j] = weight;
        added += weight;
    }
    if (largest > *maximum) {
        const float shrink = exponential(*maximum - largest);
        for (int64_t d = 0; d < padded; d++) out[d] *= shrink;
        *sum *= shrink;
    }
    *sum += added;
    *maximum = largest;
}

/* One tile of keys against the queries of one head, whose state begins at row `at`. */
static void forward_tile(const struct task *task, const struct key_range *range, const struct tile *tile, int64_t head,
                         int64_t from, int64_t k0, int64_t present, struct running *state) {
    const struct head_view *view = &task->view;
    const float *q = task->q + head * view->D;
    const int64_t padded = view->padded, at = head * task->count;
    TILE_ALIGNED float scores[ROWS * KEYS];
    for (int64_t i = from; i < task->count; i += ROWS) {
        const int64_t rows = task->count - i < ROWS ? task->count - i : ROWS;
        memset(scores, 0, sizeof scores);
        const struct operand queries = {q + (task->first + i) * view->query_stride, view->query_stride, 1};
        tile_product(scores, KEYS, queries, tile->keys, KEYS, rows, view->D, KEYS);
        for (int64_t r = 0; r < rows; r++) {
            const int64_t row = at + i + r;
            weigh_scores(scores + r * KEYS, keys_seen(view, range, task->first + i + r, k0, present), task->scale,
                         &state->maximum[row], &state->sum[row], state->out + row * padded, padded);
        }
        const struct operand weights = {scores, KEYS, 1};
        tile_product(state->out + (at + i) * padded, padded, weights, tile->values, padded, rows, present, padded);
    }
}

/* A range of keys against all rows of a task; k and v begin at the group's head. */
static void forward_range(const struct task *task, const struct key_range *range, const float *k, const float *v,
                          struct running *state) {
    const struct head_view *view = &task->view;
    struct tile tile;
    const int64_t last = range->own ? query_position(view, task->first + task->count - 1) : range->count - 1;
    for (int64_t k0 = 0; k0 <= last; k0 += KEYS) {
        const int64_t present = range->count - k0 < KEYS ? range->count - k0 : KEYS,
                      at = (range->first + k0) * view->key_stride;
        pack_transposed(tile.keys, k + at, view->key_stride, present, view->D);
        pack_rows(tile.values, v + at, view->key_stride, present, view->D, view->padded, KEYS);
        const int64_t seeing = first_query_seeing(view, range, k0) - task->first, from = seeing < 0 ? 0 : seeing;
        for (int64_t head = 0; head < task->group; head++)
            forward_tile(task, range, &tile, head, from, k0, present, state);
    }
}

static void finish_rows(const struct task *task, const struct running *state) {
    const struct head_view *view = &task->view;
    for (int64_t head = 0; head < task->group; head++) {
        for (int64_t i = 0; i < task->count; i++) {
            const int64_t row = head * task->count + i;
            const float share = 1.0f / state->sum[row];
            float *out = task->out + (task->first + i) * view->query_stride + head * view->D;
            for (int64_t d = 0; d < view->D; d++) out[d] = state->out[row * view->padded + d] * share;
            if (task->log_sum != NULL)
                task->log_sum[(task->first + i) * task->log_stride + head] =
                    state->maximum[row] + logf(state->sum[row]);
        }
    }
}

static void forward_task(const struct task *task, const struct attention_batch *batch, int64_t n, const float *k,
                         const float *v) {
    struct running state;
    for (int64_t row = 0; row < task->group * task->count; row++) {
        state.maximum[row] = -1e30f;
        state.sum[row] = 0;
    }
    memset(state.out, 0, (size_t)(task->group * task->count * task->view.padded) * sizeof(float));
    if (parent_of(batch, n) >= 0) {
        const struct key_range before = key_range_of(batch, parent_of(batch, n), false);
        forward_range(task, &before, k, v, &state);
    }
    const struct key_range own = key_range_of(batch, n, true);
    forward_range(task, &own, k, v, &state);
    finish_rows(task, &state);
}

void attention_forward(float *out, float *log_sum, const float *q, const float *k, const float *v,
                       const struct attention_shape *shape, const struct attention_batch *batch) {
    const int64_t H = shape->H, K = shape->K, D = shape->D, group = H / K, block = HELD / group;
    int64_t blocks = 0;
    for (int64_t n = 0; n < batch->N; n++) {
        const int64_t queries = head_view_of(shape, batch, n).queries;
        if ((queries + block - 1) / block > blocks) blocks = (queries + block - 1) / block;
    }
    /* Late blocks see the most keys: they come first, so that threads end together. */
#pragma omp parallel for collapse(3) schedule(dynamic, 1)
    for (int64_t n = 0; n < batch->N; n++) {
        for (int64_t b = 0; b < blocks; b++) {
            for (int64_t kv = 0; kv < K; kv++) {
                struct task task = {.view = head_view_of(shape, batch, n), .group = group, .log_stride = H};
                task.first = (blocks - 1 - b) * block;
                if (task.first >= task.view.queries) continue;
                task.count = task.view.queries - task.first < block ? task.view.queries - task.first : block;
                const int64_t query = task.view.first_query * task.view.query_stride + kv * group * D;
                task.q = q + query;
                task.out = out + query;
                task.log_sum = log_sum == NULL ? NULL : log_sum + task.view.first_query * H + kv * group;
                task.scale = shape->scale;
                forward_task(&task, batch, n, k + kv * D, v + kv * D);
            }
        }
    }
}
