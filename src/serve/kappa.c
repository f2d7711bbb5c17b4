/* Weighted kappa from a table of pairs. */
#include "serve/kappa.h"
#include <math.h>

double weighted_kappa(const int64_t pairs[KAPPA_LEVELS][KAPPA_LEVELS], enum kappa_weights weights) {
    double rows[KAPPA_LEVELS] = {0}, columns[KAPPA_LEVELS] = {0}, all = 0, observed = 0, expected = 0;
    for (int i = 0; i < KAPPA_LEVELS; i++) {
        for (int j = 0; j < KAPPA_LEVELS; j++) {
            rows[i] += (double)pairs[i][j];
            columns[j] += (double)pairs[i][j];
            all += (double)pairs[i][j];
        }
    }
    for (int i = 0; i < KAPPA_LEVELS; i++) {
        for (int j = 0; j < KAPPA_LEVELS; j++) {
            const double distance = fabs((double)(i - j)) / (KAPPA_LEVELS - 1);
            const double weight = weights == KAPPA_LINEAR ? distance : distance * distance;
            observed += weight * (double)pairs[i][j];
            expected += weight * rows[i] * columns[j];
        }
    }
    return expected > 0 ? 1 - observed * all / expected : (double)NAN;
}
