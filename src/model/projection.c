/* Projections: see projection.h. The products are oneDNN's, through tensor/gemm. */
#include "model/projection.h"
#include "tensor/gemm.h"

/* Ranks of all terms of a group: the width of its xa. */
static int64_t group_rank(const struct projection_group *group) {
    int64_t rank = 0;
    for (int i = 0; i < group->count; i++) rank += group->projections[i].lora.R;
    return rank;
}

/* Whether the factors A of the group (or their gradients) follow one another in memory and no dropout tells the inputs
 * apart. *first is where they begin. */
static bool is_one_factor(const struct projection_group *group, bool gradient, float **first) {
    float *next = NULL;
    for (int i = 0; i < group->count; i++) {
        const struct lora *lora = &group->projections[i].lora;
        if (lora->R == 0) continue;
        float *here = gradient ? lora->d_a : lora->a;
        if (here == NULL || group->dropout[i].rate > 0 || (next != NULL && here != next)) return false;
        if (next == NULL) *first = here;
        next = here + lora->R * group->projections[i].weight.cols;
    }
    return next != NULL;
}

/* xa [T, R of all] = x A^T, term by term or at once. */
static void lora_reduce(const struct projection_group *group, float *xa, const float *x, int64_t T, int64_t R,
                        const struct projection_scratch *scratch) {
    const int64_t inputs = group->projections[0].weight.cols;
    float *a;
    if (is_one_factor(group, false, &a)) {
        gemm(false, true, T, R, inputs, 1, x, inputs, a, inputs, 0, xa, R);
        return;
    }
    int64_t column = 0;
    for (int i = 0; i < group->count; i++) {
        const struct lora *lora = &group->projections[i].lora;
        const float *in = x;
        if (lora->R > 0 && group->dropout[i].rate > 0) {
            dropout_apply(scratch->dropped, x, T * inputs, group->dropout[i]);
            in = scratch->dropped;
        }
        gemm(false, true, T, lora->R, inputs, 1, in, inputs, lora->a, inputs, 0, xa + column, R);
        column += lora->R;
    }
}

void projections_forward(const struct projection_group *group, float *const *y, const float *x, float *xa, int64_t T,
                         bool accumulate, const struct projection_scratch *scratch) {
    const int64_t R = group_rank(group);
    for (int i = 0; i < group->count; i++) {
        const struct projection *projection = &group->projections[i];
        linear_forward(y[i], x, &projection->weight, &projection->bias, T, accumulate, scratch->panel);
    }
    if (R == 0) return;
    lora_reduce(group, xa, x, T, R, scratch);
    int64_t column = 0;
    for (int i = 0; i < group->count; i++) {
        const struct lora *lora = &group->projections[i].lora;
        const int64_t outputs = group->projections[i].weight.rows;
        if (lora->R > 0)
            gemm(false, true, T, outputs, lora->R, lora->scale, xa + column, R, lora->b, lora->R, 1, y[i], outputs);
        column += lora->R;
    }
}

/* What comes back through the inputs of the factors A: their gradients, and d_x +=. */
static void lora_reduce_backward(const struct projection_group *group, float *d_x, const float *x, int64_t T, int64_t R,
                                 const struct projection_scratch *scratch) {
    const int64_t inputs = group->projections[0].weight.cols;
    float *a, *d_a;
    const bool values = is_one_factor(group, false, &a), gradients = is_one_factor(group, true, &d_a);
    if (gradients) gemm(true, false, R, inputs, T, 1, scratch->d_xa, R, x, inputs, 1, d_a, inputs);
    if (values && d_x != NULL) gemm(false, false, T, inputs, R, 1, scratch->d_xa, R, a, inputs, 1, d_x, inputs);
    int64_t column = 0;
    for (int i = 0; i < group->count; i++) {
        const struct lora *lora = &group->projections[i].lora;
        const struct dropout dropout = group->dropout[i];
        const float *d_xa = scratch->d_xa + column;
        column += lora->R;
        if (lora->R == 0) continue;
        if (!gradients && lora->d_a != NULL) {
            if (dropout.rate > 0) dropout_apply(scratch->dropped, x, T * inputs, dropout);
            gemm(true, false, lora->R, inputs, T, 1, d_xa, R, dropout.rate > 0 ? scratch->dropped : x, inputs, 1,
                 lora->d_a, inputs);
        }
        if (values || d_x == NULL) continue;
        float *to = dropout.rate > 0 ? scratch->dropped : d_x;
        gemm(false, false, T, inputs, lora->R, 1, d_xa, R, lora->a, inputs, dropout.rate > 0 ? 0.0f : 1.0f, to, inputs);
        if (dropout.rate > 0) dropout_backward(d_x, scratch->dropped, T * inputs, dropout);
    }
}

void projections_backward(const struct projection_group *group, float *d_x, const float *const *d_y, const float *x,
                          const float *xa, int64_t T, bool accumulate, const struct projection_scratch *scratch) {
    const int64_t R = group_rank(group), inputs = group->projections[0].weight.cols;
    int64_t column = 0;
    for (int i = 0; i < group->count; i++) {
        const struct projection *p = &group->projections[i];
        const struct lora *lora = &p->lora;
        const int64_t outputs = p->weight.rows;
        if (p->d_weight != NULL) linear_backward_weight(p->d_weight, d_y[i], x, T, outputs, inputs);
        if (p->d_bias != NULL) linear_backward_bias(p->d_bias, d_y[i], T, outputs);
        if (d_x != NULL) linear_backward_input(d_x, d_y[i], &p->weight, T, accumulate || i > 0, scratch->panel);
        if (lora->R == 0) continue;
        gemm(false, false, T, lora->R, outputs, lora->scale, d_y[i], outputs, lora->b, lora->R, 0,
             scratch->d_xa + column, R);
        if (lora->d_b != NULL)
            gemm(true, false, outputs, lora->R, T, lora->scale, d_y[i], outputs, xa + column, R, 1, lora->d_b, lora->R);
        column += lora->R;
    }
    if (R > 0) lora_reduce_backward(group, d_x, x, T, R, scratch);
}

void projection_forward(const struct projection *projection, float *y, const float *x, float *xa, int64_t T,
                        bool accumulate, struct dropout dropout, const struct projection_scratch *scratch) {
    const struct projection_group alone = {projection, 1, {dropout}};
    projections_forward(&alone, &y, x, xa, T, accumulate, scratch);
}

void projection_backward(const struct projection *projection, float *d_x, const float *d_y, const float *x,
                         const float *xa, int64_t T, bool accumulate, struct dropout dropout,
                         const struct projection_scratch *scratch) {
    const struct projection_group alone = {projection, 1, {dropout}};
    projections_backward(&alone, d_x, &d_y, x, xa, T, accumulate, scratch);
}
