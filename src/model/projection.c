/* Projections: see projection.h. The products are oneDNN's, through tensor/gemm. */
#include "model/projection.h"
#include "tensor/gemm.h"

void projection_forward(const struct projection *projection, float *y, const float *x, float *xa, int64_t T,
                        bool accumulate, struct dropout dropout, const struct projection_scratch *scratch) {
    const struct lora *lora = &projection->lora;
    const int64_t outputs = projection->weight.rows, inputs = projection->weight.cols;
    linear_forward(y, x, &projection->weight, &projection->bias, T, accumulate, scratch->panel);
    if (lora->R == 0) return;
    const float *in = x;
    if (dropout.rate > 0) {
        dropout_apply(scratch->dropped, x, T * inputs, dropout);
        in = scratch->dropped;
    }
    gemm(false, true, T, lora->R, inputs, 1, in, inputs, lora->a, inputs, 0, xa, lora->R);
    gemm(false, true, T, outputs, lora->R, lora->scale, xa, lora->R, lora->b, lora->R, 1, y, outputs);
}

static void lora_backward(const struct projection *projection, float *d_x, const float *d_y, const float *x,
                          const float *xa, int64_t T, struct dropout dropout,
                          const struct projection_scratch *scratch) {
    const struct lora *lora = &projection->lora;
    const int64_t outputs = projection->weight.rows, inputs = projection->weight.cols, R = lora->R;
    gemm(false, false, T, R, outputs, lora->scale, d_y, outputs, lora->b, R, 0, scratch->d_xa, R);
    if (lora->d_b != NULL) gemm(true, false, outputs, R, T, lora->scale, d_y, outputs, xa, R, 1, lora->d_b, R);
    if (dropout.rate <= 0) {
        if (lora->d_a != NULL) gemm(true, false, R, inputs, T, 1, scratch->d_xa, R, x, inputs, 1, lora->d_a, inputs);
        if (d_x != NULL) gemm(false, false, T, inputs, R, 1, scratch->d_xa, R, lora->a, inputs, 1, d_x, inputs);
        return;
    }
    if (lora->d_a != NULL) {
        dropout_apply(scratch->dropped, x, T * inputs, dropout);
        gemm(true, false, R, inputs, T, 1, scratch->d_xa, R, scratch->dropped, inputs, 1, lora->d_a, inputs);
    }
    if (d_x == NULL) return;
    gemm(false, false, T, inputs, R, 1, scratch->d_xa, R, lora->a, inputs, 0, scratch->dropped, inputs);
    dropout_backward(d_x, scratch->dropped, T * inputs, dropout);
}

void projection_backward(const struct projection *projection, float *d_x, const float *d_y, const float *x,
                         const float *xa, int64_t T, bool accumulate, struct dropout dropout,
                         const struct projection_scratch *scratch) {
    const int64_t outputs = projection->weight.rows, inputs = projection->weight.cols;
    if (projection->d_weight != NULL) linear_backward_weight(projection->d_weight, d_y, x, T, outputs, inputs);
    if (projection->d_bias != NULL) linear_backward_bias(projection->d_bias, d_y, T, outputs);
    if (d_x != NULL) linear_backward_input(d_x, d_y, &projection->weight, T, accumulate, scratch->panel);
    if (projection->lora.R > 0) lora_backward(projection, d_x, d_y, x, xa, T, dropout, scratch);
}
