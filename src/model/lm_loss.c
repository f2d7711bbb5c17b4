/* The loss over the vocabulary: see lm_loss.h. Logits are made in pieces that fit the scratch: columns of the
 * vocabulary for all rows, with a running maximum and sums (Milakov and Gimelshein 2018), or all columns for some rows.
 */
#include "model/lm_loss.h"
#include "base/error.h"
#include "base/memory.h"
#include "tensor/exponential.h"
#include "tensor/gemm.h"
#include <math.h>
#include <string.h>

/* 64 MiB of logits: with a vocabulary of 152,000 that is 110 rows at once, enough for an efficient product. */
#define SCRATCH ((int64_t)1 << 24)

enum { COLUMNS = 256 }; /* of a piece at least */

static int64_t smaller(int64_t a, int64_t b) {
    return a < b ? a : b;
}

/* Floats of logits: all of them if that is little, else the limit, else the smallest piece for all rows. */
static int64_t scratch_size(const struct decoder *decoder, int64_t rows) {
    const int64_t V = decoder->head.weight.rows, smallest = rows * smaller(V, COLUMNS);
    const int64_t wanted = smaller(rows * V, SCRATCH);
    return wanted > smallest ? wanted : smallest;
}

size_t lm_loss_size(const struct decoder *decoder, int64_t rows) {
    return sizeof(float) *
           (size_t)(scratch_size(decoder, rows) + linear_panel_size(&decoder->head.weight) + 4 * (rows + 16));
}

bool lm_loss_open(struct lm_loss *loss, const struct decoder *decoder, int64_t rows, struct error *error) {
    *loss = (struct lm_loss){.rows = rows, .scratch = scratch_size(decoder, rows)};
    loss->logits = memory_alloc((size_t)loss->scratch, sizeof(float));
    loss->panel = memory_alloc((size_t)linear_panel_size(&decoder->head.weight), sizeof(float));
    loss->log_sum = memory_alloc((size_t)rows, sizeof(float));
    loss->sum = memory_alloc((size_t)rows, sizeof(float));
    loss->moment = memory_alloc((size_t)rows, sizeof(float));
    loss->behind = memory_alloc((size_t)rows, sizeof(float));
    if (loss->logits != NULL && loss->panel != NULL && loss->log_sum != NULL && loss->sum != NULL &&
        loss->moment != NULL && loss->behind != NULL)
        return true;
    lm_loss_close(loss);
    return memory_error(error, lm_loss_size(decoder, rows), "the loss over the vocabulary");
}

void lm_loss_close(struct lm_loss *loss) {
    memory_free(loss->logits);
    memory_free(loss->panel);
    memory_free(loss->log_sum);
    memory_free(loss->sum);
    memory_free(loss->moment);
    memory_free(loss->behind);
    *loss = (struct lm_loss){0};
}

/* A range of the vocabulary, and the head's rows for it. */
struct piece {
    int64_t first, count;
    struct matrix weight;       /* [count, C] */
    struct int8_rows quantised; /* what the weight points to when it is int8 */
};

static void piece_at(struct piece *piece, const struct decoder *decoder, int64_t first, int64_t columns) {
    const struct matrix *whole = &decoder->head.weight;
    *piece = (struct piece){.first = first, .count = smaller(columns, whole->rows - first), .weight = *whole};
    piece->weight.rows = piece->count;
    if (whole->dtype != DTYPE_INT8) {
        piece->weight.data = (const char *)whole->data + (size_t)(first * whole->cols) * dtype_size(whole->dtype);
        return;
    }
    const struct int8_rows *rows = whole->data;
    piece->quantised = (struct int8_rows){rows->values + first * whole->cols, rows->scales + first, rows->sums + first};
    piece->weight.data = &piece->quantised;
}

/* Columns that the scratch holds for Q rows. */
static int64_t piece_columns(const struct lm_loss *loss, const struct decoder *decoder, int64_t Q) {
    return smaller(decoder->head.weight.rows, loss->scratch / Q);
}

/* Adds logits z (divided by the temperature here) to the running maximum, sum and moment of their row. */
static void gather_some(float *z, int64_t count, float inverse, float *maximum, float *sum, float *moment) {
    float largest = *maximum, added = 0, moved = 0;
#pragma omp simd reduction(max : largest)
    for (int64_t v = 0; v < count; v++) {
        z[v] *= inverse;
        largest = z[v] > largest ? z[v] : largest;
    }
#pragma omp simd reduction(+ : added, moved)
    for (int64_t v = 0; v < count; v++) {
        const float above = z[v] - largest, e = exponential(above);
        added += e;
        moved += e * above;
    }
    const float step = *maximum - largest, shrink = exponential(step);
    *moment = (*moment + *sum * step) * shrink + moved;
    *sum = *sum * shrink + added;
    *maximum = largest;
}

/* Some at a time, so that the sum of a large vocabulary keeps its last bits in f32. */
static void gather_row(float *z, int64_t count, float inverse, float *maximum, float *sum, float *moment) {
    enum { SOME = 2048 };
    for (int64_t first = 0; first < count; first += SOME)
        gather_some(z + first, smaller(SOME, count - first), inverse, maximum, sum, moment);
}

void lm_loss_forward(struct lm_loss *loss, const struct decoder *decoder, const struct lm_rows *rows, float *log_p,
                     float *entropy) {
    const int64_t Q = rows->Q, V = decoder->head.weight.rows;
    if (Q == 0) return;
    const int64_t columns = piece_columns(loss, decoder, Q);
    const float inverse = 1.0f / rows->temperature;
    for (int64_t i = 0; i < Q; i++) {
        /* Far below every logit, but not so far that its difference to one is no number. */
        loss->log_sum[i] = -1e30f;
        loss->sum[i] = loss->moment[i] = 0;
    }
    for (int64_t first = 0; first < V; first += columns) {
        struct piece piece;
        piece_at(&piece, decoder, first, columns);
        linear_forward(loss->logits, rows->hidden, &piece.weight, NULL, Q, false, loss->panel);
#pragma omp parallel for schedule(static)
        for (int64_t i = 0; i < Q; i++) {
            float *z = loss->logits + i * piece.count;
            gather_row(z, piece.count, inverse, &loss->log_sum[i], &loss->sum[i], &loss->moment[i]);
            const int64_t target = rows->targets[i] - first;
            if (target >= 0 && target < piece.count) log_p[i] = z[target];
        }
    }
    for (int64_t i = 0; i < Q; i++) {
        const float log_of_sum = logf(loss->sum[i]);
        if (entropy != NULL) entropy[i] = log_of_sum - loss->moment[i] / loss->sum[i];
        /* The maximum is taken away before the logarithm of the sum: the two differ in size. */
        loss->behind[i] = loss->log_sum[i] - log_p[i];
        log_p[i] = -loss->behind[i] - log_of_sum;
        loss->log_sum[i] += log_of_sum;
    }
    loss->kept = columns == V ? Q : 0;
}

/* Logits of one piece (already divided by the temperature) become gradients:
 * coefficient / temperature * (softmax - onehot). */
static void piece_gradient(const struct lm_loss *loss, const struct lm_rows *rows, const struct piece *piece,
                           const float *coefficients) {
    const float inverse = 1.0f / rows->temperature;
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < rows->Q; i++) {
        float *z = loss->logits + i * piece->count;
        const float scale = coefficients[i] * inverse, log_sum = loss->log_sum[i];
        if (coefficients[i] == 0) {
            memset(z, 0, (size_t)piece->count * sizeof *z);
            continue;
        }
#pragma omp simd
        for (int64_t v = 0; v < piece->count; v++) z[v] = exponential(z[v] - log_sum) * scale;
        const int64_t target = rows->targets[i] - piece->first;
        if (target >= 0 && target < piece->count) z[target] -= scale;
    }
}

static void scale_logits(float *z, int64_t count, float factor) {
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < count; i++) z[i] *= factor;
}

void lm_loss_backward(struct lm_loss *loss, const struct decoder *decoder, const struct lm_rows *rows,
                      const float *coefficients, float *d_hidden) {
    const int64_t Q = rows->Q, V = decoder->head.weight.rows, C = decoder->head.weight.cols;
    if (Q == 0) return;
    const int64_t columns = piece_columns(loss, decoder, Q);
    float *d_weight = decoder->head.d_weight;
    for (int64_t first = 0; first < V; first += columns) {
        struct piece piece;
        piece_at(&piece, decoder, first, columns);
        if (loss->kept != Q) {
            linear_forward(loss->logits, rows->hidden, &piece.weight, NULL, Q, false, loss->panel);
            scale_logits(loss->logits, Q * piece.count, 1.0f / rows->temperature);
        }
        piece_gradient(loss, rows, &piece, coefficients);
        if (d_weight != NULL)
            linear_backward_weight(d_weight + first * C, loss->logits, rows->hidden, Q, piece.count, C);
        if (d_hidden != NULL) linear_backward_input(d_hidden, loss->logits, &piece.weight, Q, first > 0, loss->panel);
    }
    loss->kept = 0;
}

void lm_loss_step(struct lm_loss *loss, const struct decoder *decoder, const struct lm_rows *rows,
                  const float *coefficients, float *log_p, float *entropy, float *d_hidden) {
    enum { FEW = 32 };
    const int64_t V = decoder->head.weight.rows, C = decoder->head.weight.cols;
    int64_t block = smaller(rows->Q, loss->scratch / V);
    if (block < smaller(rows->Q, FEW)) block = rows->Q; /* so few rows would cost more than computing logits twice */
    for (int64_t first = 0; first < rows->Q; first += block) {
        struct lm_rows some = *rows;
        some.Q = smaller(block, rows->Q - first);
        some.hidden += first * C;
        some.targets += first;
        lm_loss_forward(loss, decoder, &some, log_p + first, entropy == NULL ? NULL : entropy + first);
        lm_loss_backward(loss, decoder, &some, coefficients + first, d_hidden == NULL ? NULL : d_hidden + first * C);
    }
}

double lm_loss_weighted(const float *log_p, const float *weights, int64_t Q) {
    double sum = 0;
    for (int64_t i = 0; i < Q; i++) sum -= (double)weights[i] * (double)log_p[i];
    return sum;
}

void lm_loss_kl(float *kl, float *d_kl, const float *log_p, const float *reference, int64_t Q) {
    for (int64_t i = 0; i < Q; i++) {
        const float d = reference[i] - log_p[i], rest = expm1f(d);
        kl[i] = rest - d;
        if (d_kl != NULL) d_kl[i] = rest;
    }
}
