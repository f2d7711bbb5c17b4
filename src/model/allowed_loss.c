/* Rows of few allowed tokens: see allowed_loss.h. */
#include "model/allowed_loss.h"
#include <math.h>

size_t allowed_loss_scratch(const struct decoder *decoder, size_t count) {
    return count + (size_t)decoder->head.weight.cols;
}

/* Logits of the allowed tokens, divided by the temperature, into scratch [count]; log of the sum of their exp. */
static double allowed_logits(const struct decoder *decoder, const struct allowed_row *row, float *scratch) {
    const struct matrix *head = &decoder->head.weight;
    const int64_t C = head->cols;
    float *weight = scratch + row->count;
    double largest = -1e300, sum = 0;
    for (size_t j = 0; j < row->count; j++) {
        matrix_widen(weight, head, row->ids[j] * C, C);
        float z = 0;
#pragma omp simd reduction(+ : z)
        for (int64_t c = 0; c < C; c++) z += weight[c] * row->hidden[c];
        scratch[j] = z / row->temperature;
        largest = fmax(largest, (double)scratch[j]);
    }
    for (size_t j = 0; j < row->count; j++) sum += exp((double)scratch[j] - largest);
    return largest + log(sum);
}

float allowed_loss_forward(const struct decoder *decoder, const struct allowed_row *row, float *entropy,
                           float *scratch) {
    const double log_sum = allowed_logits(decoder, row, scratch);
    double log_p = 0, spread = 0;
    for (size_t j = 0; j < row->count; j++) {
        const double one = (double)scratch[j] - log_sum;
        spread -= exp(one) * one;
        if (row->ids[j] == row->target) log_p = one;
    }
    if (entropy != NULL) *entropy = (float)spread;
    return (float)log_p;
}

void allowed_loss_backward(const struct decoder *decoder, const struct allowed_row *row, float coefficient,
                           float *d_hidden, float *scratch) {
    const struct matrix *head = &decoder->head.weight;
    const int64_t C = head->cols;
    const double log_sum = allowed_logits(decoder, row, scratch);
    float *weight = scratch + row->count;
    for (size_t j = 0; j < row->count; j++) {
        const double p = exp((double)scratch[j] - log_sum) - (row->ids[j] == row->target ? 1 : 0);
        const float d = coefficient / row->temperature * (float)p;
        matrix_widen(weight, head, row->ids[j] * C, C);
#pragma omp simd
        for (int64_t c = 0; c < C; c++) d_hidden[c] += d * weight[c];
        float *d_weight = decoder->head.d_weight == NULL ? NULL : decoder->head.d_weight + row->ids[j] * C;
        for (int64_t c = 0; d_weight != NULL && c < C; c++) d_weight[c] += d * row->hidden[c];
    }
}
