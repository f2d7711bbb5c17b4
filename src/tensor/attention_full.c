/* Full attention in tiles of a few queries against all keys. One task owns a head of a sequence, so that every sum has
 * a fixed order: same bits for any number of threads. */
#include "tensor/attention_full.h"
#include "base/threads.h"
#include "tensor/exponential.h"
#include "tensor/tile.h"
#include <math.h>
#include <string.h>

enum { QUERIES = 32, KEY_BITS = 20 };

/* One head of one sequence: sizes, and a thread's scratch cut into tiles. P: keys rounded up to whole lanes, W: D
 * rounded up. */
struct head {
    int64_t D, W, P, keys, stride;      /* stride: floats between rows of q, k, v */
    int64_t first_query, queries, h, H; /* first_query: row in q */
    float scale;
    struct dropout dropout;
    float *k_transposed, *v_transposed; /* [D, P] */
    float *k, *v, *d_k, *d_v;           /* [P, W] */
    float *weights, *d_scores;          /* [QUERIES, P] */
    float *factors;                     /* [P] of dropout */
    float *q, *d_out, *rows;            /* [QUERIES, W] */
};

static int64_t whole_lanes(int64_t count) {
    return (count + LANES - 1) / LANES * LANES;
}

int64_t full_attention_scratch(int64_t D, int64_t longest) {
    const int64_t P = whole_lanes(longest), W = whole_lanes(D);
    return 2 * D * P + 4 * P * W + (2 * QUERIES + 1) * P + 3 * QUERIES * W;
}

static float *take(float **scratch, int64_t count) {
    float *piece = *scratch;
    *scratch += count;
    return piece;
}

static struct head head_of(const struct full_attention *a, int64_t n, int64_t h) {
    struct head head = {.D = a->D,
                        .W = whole_lanes(a->D),
                        .keys = a->key_offsets[n + 1] - a->key_offsets[n],
                        .stride = a->H * a->D,
                        .first_query = a->query_offsets[n],
                        .queries = a->query_offsets[n + 1] - a->query_offsets[n],
                        .h = h,
                        .H = a->H,
                        .scale = a->scale,
                        .dropout = a->dropout};
    float *scratch = a->scratch + threads_index() * full_attention_scratch(a->D, a->longest);
    head.P = whole_lanes(head.keys);
    head.k_transposed = take(&scratch, head.D * head.P);
    head.v_transposed = take(&scratch, head.D * head.P);
    head.k = take(&scratch, head.P * head.W);
    head.v = take(&scratch, head.P * head.W);
    head.d_k = take(&scratch, head.P * head.W);
    head.d_v = take(&scratch, head.P * head.W);
    head.weights = take(&scratch, QUERIES * head.P);
    head.d_scores = take(&scratch, QUERIES * head.P);
    head.factors = take(&scratch, head.P);
    head.q = take(&scratch, QUERIES * head.W);
    head.d_out = take(&scratch, QUERIES * head.W);
    head.rows = take(&scratch, QUERIES * head.W);
    return head;
}

/* Rows [count, D], `stride` apart, into [count, W], zero behind D. */
static void pack(const struct head *head, float *to, const float *from, int64_t count) {
    for (int64_t r = 0; r < count; r++) {
        memcpy(to + r * head->W, from + r * head->stride, (size_t)head->D * sizeof *to);
        memset(to + r * head->W + head->D, 0, (size_t)(head->W - head->D) * sizeof *to);
    }
}

static void unpack(const struct head *head, float *to, const float *from, int64_t count) {
    for (int64_t r = 0; r < count; r++) memcpy(to + r * head->stride, from + r * head->W, (size_t)head->D * sizeof *to);
}

/* The keys' rows transposed into [D, P], zero behind them. */
static void pack_transposed(const struct head *head, float *to, const float *from) {
    for (int64_t d = 0; d < head->D; d++) {
        float *row = to + d * head->P;
        for (int64_t j = 0; j < head->keys; j++) row[j] = from[j * head->stride + d];
        for (int64_t j = head->keys; j < head->P; j++) row[j] = 0;
    }
}

/* The dropout factors of query i's weights. */
static const float *factors_of(const struct head *head, int64_t i) {
    const uint64_t row = (uint64_t)((head->first_query + i) * head->H + head->h);
    dropout_factors(head->factors, row << KEY_BITS, head->keys, head->dropout);
    return head->factors;
}

/* scores [P] of query i become its weights; gives log of the sum of exp. */
static float weigh(const struct head *head, float *scores, int64_t i) {
    const int64_t keys = head->keys;
    float largest = -3e38f, sum = 0;
#pragma omp simd reduction(max : largest)
    for (int64_t j = 0; j < keys; j++) largest = scores[j] > largest ? scores[j] : largest;
#pragma omp simd reduction(+ : sum)
    for (int64_t j = 0; j < keys; j++) {
        scores[j] = exponential((scores[j] - largest) * head->scale);
        sum += scores[j];
    }
    const float share = 1.0f / sum;
    for (int64_t j = 0; j < keys; j++) scores[j] *= share;
    if (head->dropout.rate > 0) {
        const float *factors = factors_of(head, i);
        for (int64_t j = 0; j < keys; j++) scores[j] *= factors[j];
    }
    return largest * head->scale + logf(sum);
}

/* out, log_sum: of the head's first query. */
static void forward_head(const struct head *head, float *out, float *log_sum, const float *q, const float *k,
                         const float *v) {
    pack_transposed(head, head->k_transposed, k);
    pack(head, head->v, v, head->keys);
    for (int64_t i = 0; i < head->queries; i += QUERIES) {
        const int64_t rows = head->queries - i < QUERIES ? head->queries - i : QUERIES;
        const struct operand queries = {q + i * head->stride, head->stride, 1}, weights = {head->weights, head->P, 1};
        memset(head->weights, 0, (size_t)(rows * head->P) * sizeof(float));
        tile_product(head->weights, head->P, queries, head->k_transposed, head->P, rows, head->D, head->P);
        for (int64_t r = 0; r < rows; r++) {
            const float sum = weigh(head, head->weights + r * head->P, i + r);
            if (log_sum != NULL) log_sum[(i + r) * head->H] = sum;
        }
        memset(head->rows, 0, (size_t)(rows * head->W) * sizeof(float));
        tile_product(head->rows, head->W, weights, head->v, head->W, rows, head->keys, head->W);
        unpack(head, out + i * head->stride, head->rows, rows);
    }
}

void full_attention_forward(float *out, float *log_sum, const float *q, const float *k, const float *v,
                            const struct full_attention *attention) {
#pragma omp parallel for collapse(2) schedule(dynamic, 1)
    for (int64_t n = 0; n < attention->N; n++) {
        for (int64_t h = 0; h < attention->H; h++) {
            const struct head head = head_of(attention, n, h);
            const int64_t query = head.first_query * head.stride + h * head.D,
                          key = attention->key_offsets[n] * head.stride + h * head.D;
            forward_head(&head, out + query, log_sum == NULL ? NULL : log_sum + head.first_query * head.H + h,
                         q + query, k + key, v + key);
        }
    }
}

/* Of query i: p = exp(scale s - log_sum), with f the dropout factors and dp = f (dout . v):  ds = scale p (dp - p .
 * dp), and the weights that V saw, f p. scores and d_weights [P] become these two; p . dp is dout . out. */
static void weigh_backward(const struct head *head, float *scores, float *d_weights, float log_sum, float dot,
                           int64_t i) {
    const float *factors = head->dropout.rate > 0 ? factors_of(head, i) : NULL;
    const int64_t keys = head->keys;
#pragma omp simd
    for (int64_t j = 0; j < keys; j++) {
        const float p = exponential(scores[j] * head->scale - log_sum), f = factors == NULL ? 1.0f : factors[j];
        scores[j] = f * p;
        d_weights[j] = p * (f * d_weights[j] - dot) * head->scale;
    }
    for (int64_t j = keys; j < head->P; j++) scores[j] = d_weights[j] = 0;
}

/* What one head reads and sets, from its first query and its first key on. */
struct head_arrays {
    const float *q, *k, *v, *out, *d_out, *log_sum;
    float *d_q, *d_k, *d_v;
};

static void backward_queries(const struct head *head, const struct head_arrays *a, int64_t i, int64_t rows) {
    const int64_t P = head->P, W = head->W, keys = head->keys;
    pack(head, head->q, a->q + i * head->stride, rows);
    pack(head, head->d_out, a->d_out + i * head->stride, rows);
    memset(head->weights, 0, (size_t)(rows * P) * sizeof(float));
    memset(head->d_scores, 0, (size_t)(rows * P) * sizeof(float));
    tile_product(head->weights, P, (struct operand){head->q, W, 1}, head->k_transposed, P, rows, head->D, P);
    tile_product(head->d_scores, P, (struct operand){head->d_out, W, 1}, head->v_transposed, P, rows, head->D, P);
    for (int64_t r = 0; r < rows; r++) {
        const float *out = a->out + (i + r) * head->stride, *d_out = head->d_out + r * W;
        float dot = 0;
#pragma omp simd reduction(+ : dot)
        for (int64_t d = 0; d < head->D; d++) dot += out[d] * d_out[d];
        weigh_backward(head, head->weights + r * P, head->d_scores + r * P, a->log_sum[(i + r) * head->H], dot, i + r);
    }
    tile_product(head->d_v, W, (struct operand){head->weights, 1, P}, head->d_out, W, keys, rows, W);
    tile_product(head->d_k, W, (struct operand){head->d_scores, 1, P}, head->q, W, keys, rows, W);
    memset(head->rows, 0, (size_t)(rows * W) * sizeof(float));
    tile_product(head->rows, W, (struct operand){head->d_scores, P, 1}, head->k, W, rows, keys, W);
    unpack(head, a->d_q + i * head->stride, head->rows, rows);
}

static void backward_head(const struct head *head, const struct head_arrays *a) {
    const size_t bytes = (size_t)(head->keys * head->W) * sizeof(float);
    pack_transposed(head, head->k_transposed, a->k);
    pack_transposed(head, head->v_transposed, a->v);
    pack(head, head->k, a->k, head->keys);
    memset(head->d_k, 0, bytes);
    memset(head->d_v, 0, bytes);
    for (int64_t i = 0; i < head->queries; i += QUERIES)
        backward_queries(head, a, i, head->queries - i < QUERIES ? head->queries - i : QUERIES);
    unpack(head, a->d_k, head->d_k, head->keys);
    unpack(head, a->d_v, head->d_v, head->keys);
}

void full_attention_backward(float *d_q, float *d_k, float *d_v, const float *d_out, const float *out,
                             const float *log_sum, const float *q, const float *k, const float *v,
                             const struct full_attention *attention) {
#pragma omp parallel for collapse(2) schedule(dynamic, 1)
    for (int64_t n = 0; n < attention->N; n++) {
        for (int64_t h = 0; h < attention->H; h++) {
            const struct head head = head_of(attention, n, h);
            const int64_t query = head.first_query * head.stride + h * head.D,
                          key = attention->key_offsets[n] * head.stride + h * head.D;
            backward_head(&head, &(struct head_arrays){.q = q + query,
                                                       .k = k + key,
                                                       .v = v + key,
                                                       .out = out + query,
                                                       .d_out = d_out + query,
                                                       .log_sum = log_sum + head.first_query * head.H + h,
                                                       .d_q = d_q + query,
                                                       .d_k = d_k + key,
                                                       .d_v = d_v + key});
        }
    }
}
