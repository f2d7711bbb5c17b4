/* Agreement of two raters beyond chance: weighted kappa (Cohen 1968). */
#ifndef CASEMIX_SERVE_KAPPA_H
#define CASEMIX_SERVE_KAPPA_H

#include <stdint.h>

enum { KAPPA_LEVELS = 5 };

enum kappa_weights { KAPPA_LINEAR, KAPPA_QUADRATIC };

/* pairs[i][j]: items that the first rater gave level i + 1 and the second j + 1. 1 minus the weighted disagreement
 * observed over that expected from the raters' own frequencies; NaN when none is expected (both gave one and the same
 * level throughout) or there are no items. */
double weighted_kappa(const int64_t pairs[KAPPA_LEVELS][KAPPA_LEVELS], enum kappa_weights weights);

#endif
