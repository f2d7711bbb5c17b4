/* AdamW: one pass over values, gradients and moments, which lie side by side in memory. */
#include "train/optimizer.h"
#include "base/memory.h"
#include <math.h>

bool adamw_open(struct adamw *optimizer, const struct parameters *set, struct error *error) {
    optimizer->step = 0;
    optimizer->m = memory_zero((size_t)set->total, sizeof *optimizer->m);
    optimizer->v = memory_zero((size_t)set->total, sizeof *optimizer->v);
    if (optimizer->m != NULL && optimizer->v != NULL) return true;
    adamw_close(optimizer);
    return memory_error(error, (size_t)set->total * 2 * sizeof *optimizer->m, "the optimizer's moments");
}

void adamw_close(struct adamw *optimizer) {
    memory_free(optimizer->m);
    memory_free(optimizer->v);
    optimizer->m = optimizer->v = NULL;
}

double gradient_norm(const struct parameters *set) {
    /* Pieces of fixed size, added up in order: the same sum for any number of threads. */
    enum { PIECE = 1 << 14, PIECES = 1 << 10 };
    double total = 0, sums[PIECES];
    for (int64_t first = 0; first < set->total; first += (int64_t)PIECE * PIECES) {
        const int64_t left = set->total - first,
                      pieces = left > (int64_t)PIECE * PIECES ? PIECES : (left + PIECE - 1) / PIECE;
#pragma omp parallel for schedule(static)
        for (int64_t p = 0; p < pieces; p++) {
            const float *g = set->gradients + first + p * PIECE;
            const int64_t count = left - p * PIECE < PIECE ? left - p * PIECE : PIECE;
            double sum = 0;
#pragma omp simd reduction(+ : sum)
            for (int64_t i = 0; i < count; i++) sum += (double)g[i] * (double)g[i];
            sums[p] = sum;
        }
        for (int64_t p = 0; p < pieces; p++) total += sums[p];
    }
    return sqrt(total);
}

void adamw_update(struct adamw *optimizer, const struct parameters *set, double rate, double norm) {
    const int64_t t = ++optimizer->step;
    const double clip = optimizer->max_norm > 0 ? optimizer->max_norm / (norm + 1e-6) : 1;
    const float scale = (float)(clip < 1 ? clip : 1), keep = (float)(1 - rate * optimizer->weight_decay);
    const float beta1 = (float)optimizer->beta1, beta2 = (float)optimizer->beta2;
    const float fresh1 = (float)(1 - optimizer->beta1), fresh2 = (float)(1 - optimizer->beta2);
    const float step = (float)(rate / (1 - pow(optimizer->beta1, (double)t)));
    const float correction = (float)(1 / sqrt(1 - pow(optimizer->beta2, (double)t))),
                epsilon = (float)optimizer->epsilon;
    float *p = set->values, *m = optimizer->m, *v = optimizer->v;
    const float *gradients = set->gradients;
#pragma omp parallel for simd schedule(static)
    for (int64_t i = 0; i < set->total; i++) {
        const float g = gradients[i] * scale;
        m[i] = beta1 * m[i] + fresh1 * g;
        v[i] = beta2 * v[i] + fresh2 * g * g;
        p[i] = keep * p[i] - step * m[i] / (sqrtf(v[i]) * correction + epsilon);
    }
}
