/* The guard of a run. */
#include "train/guard.h"
#include "base/error.h"
#include "base/log.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A norm that is so many times the median is worth a warning, once so many are known. */
#define ALARM_RATIO 8.0
enum { ALARM_AFTER = 16 };

static bool all_finite(const float *values, int64_t count) {
    int bad = 0;
#pragma omp parallel for simd schedule(static) reduction(| : bad)
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &values[i], sizeof bits);
        bad |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return bad == 0;
}

static bool tensor_is_finite(const struct parameters *set, size_t index, const float *array) {
    return all_finite(array + set->items[index].first, set->items[index].rows * set->items[index].cols);
}

/* How many tensors of the array hold a number that is none; *first and *last of them. */
static size_t find_bad(const struct parameters *set, const float *array, size_t *first, size_t *last) {
    size_t count = 0;
    for (size_t i = 0; i < set->count; i++) {
        if (tensor_is_finite(set, i, array)) continue;
        if (count++ == 0) *first = i;
        *last = i;
    }
    return count;
}

static bool kept_hint(struct error *error, const char *remedy) {
    return error_hint(error, "the last checkpoint is kept and was good; %s", remedy);
}

bool guard_gradients(const struct parameters *set, int64_t step, double loss, double norm, struct error *error) {
    if (isfinite(loss) && isfinite(norm)) return true;
    size_t first = 0, last = 0;
    if (!isfinite(loss)) {
        error_set(error, "step %lld: the loss is %g, while all trained weights are finite: the forward overflowed",
                  (long long)step, loss);
        return kept_hint(error, "lower train.learning_rate; at the first step look at the model that it starts from");
    }
    const size_t count = find_bad(set, set->gradients, &first, &last);
    if (count == 0) {
        error_set(error, "step %lld: the gradient norm is %g, loss %g", (long long)step, norm, loss);
    } else {
        error_set(error,
                  "step %lld: the gradient of %s is no finite number (the first on the way back from the loss, %g; "
                  "%zu of %zu tensors are not)",
                  (long long)step, set->items[last].name, loss, count, set->count);
    }
    return kept_hint(error, "lower train.learning_rate or train.max_grad_norm");
}

bool guard_weights(const struct parameters *set, const struct adamw *optimizer, int64_t step, struct error *error) {
    const struct {
        const char *name;
        const float *array;
    } arrays[] = {
        {"the weight", set->values}, {"the first moment of", optimizer->m}, {"the second moment of", optimizer->v}};
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        size_t first = 0, last = 0;
        if (all_finite(arrays[i].array, set->total)) continue;
        const size_t count = find_bad(set, arrays[i].array, &first, &last);
        error_set(error,
                  "step %lld: the update made %s %s no finite number (the first of %zu tensors; gradients and loss "
                  "were finite)",
                  (long long)step, arrays[i].name, count > 0 ? set->items[first].name : "(padding)", count);
        return kept_hint(error, "lower train.learning_rate or train.weight_decay");
    }
    return true;
}

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double norm_window_median(const struct norm_window *window) {
    double sorted[NORM_WINDOW];
    const size_t count = window->count < NORM_WINDOW ? (size_t)window->count : NORM_WINDOW;
    if (count == 0) return 0;
    memcpy(sorted, window->norms, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_doubles);
    return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2;
}

bool norm_window_add(struct norm_window *window, double norm, double *median) {
    const double middle = norm_window_median(window);
    const bool alarm = window->count >= ALARM_AFTER && window->count >= window->quiet_until && middle > 0 &&
                       norm > ALARM_RATIO * middle;
    if (median != NULL) *median = middle;
    window->norms[window->count++ % NORM_WINDOW] = norm;
    if (alarm) window->quiet_until = window->count + NORM_WINDOW;
    window->alarms += alarm;
    return alarm;
}

void norm_window_warn(const struct parameters *set, int64_t step, double norm, double median, double max_norm) {
    size_t largest = 0;
    double most = -1;
    for (size_t i = 0; i < set->count; i++) {
        const float *gradient = parameter_gradient(set, i);
        double sum = 0;
        for (int64_t e = 0; e < set->items[i].rows * set->items[i].cols; e++)
            sum += (double)gradient[e] * (double)gradient[e];
        if (sum > most) {
            most = sum;
            largest = i;
        }
    }
    char what[64] = "nothing clips it: set train.max_grad_norm";
    if (max_norm > 0) snprintf(what, sizeof what, "it was clipped to %g", max_norm);
    log_warning("step %lld: the gradient norm %.4g is %.1f times the median of the last steps, %.4g; %s; "
                "most of it in %s. One alone does no harm; if more follow or the loss rises, train with a lower "
                "train.learning_rate or a longer train.warmup_share",
                (long long)step, norm, norm / median, median, what, set->count > 0 ? set->items[largest].name : "none");
}
