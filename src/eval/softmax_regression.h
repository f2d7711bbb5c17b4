/* Multinomial logistic regression over sparse rows, trained in mini-batches with AdaGrad (Duchi, Hazan and Singer
 * 2011). */
#ifndef CASEMIX_EVAL_SOFTMAX_REGRESSION_H
#define CASEMIX_EVAL_SOFTMAX_REGRESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct sparse_rows;

/* The last feature's row is the bias. */
struct softmax_regression {
    float *weights; /* [features + 1, C] */
    float *squares; /* [features + 1, C] sums of squared gradients */
    int32_t features, C;
};

bool softmax_regression_open(struct softmax_regression *model, int32_t features, int32_t C, struct error *error);
void softmax_regression_close(struct softmax_regression *model);

/* One pass over the rows (labels 0 … C-1) in an order drawn from seed, with step `rate`. The result does not depend on
 * the number of threads. */
bool softmax_regression_epoch(struct softmax_regression *model, const struct sparse_rows *rows, const int32_t *labels,
                              double rate, uint64_t seed, struct error *error);

/* logits [rows->count, C] */
void softmax_regression_logits(const struct softmax_regression *model, const struct sparse_rows *rows, double *logits);

#endif
