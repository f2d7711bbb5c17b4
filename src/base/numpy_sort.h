/* numpy's argsort, entry for entry: the index introsort behind `argsort()` and unstable sorts in numpy before 1.25 (and
 * later without AVX-512).
 *
 * Where values are equal, the order is what that algorithm happens to leave. The papers' accuracy at k among tied
 * logits and the rows of their train/test split depend on it, so both are reproduced through these functions. */
#ifndef CASEMIX_BASE_NUMPY_SORT_H
#define CASEMIX_BASE_NUMPY_SORT_H

#include <stdint.h>

/* order[count] becomes the indices 0 … count-1 by rising value. f32 keys widened to double sort alike. */
void numpy_argsort_int64(int64_t *order, const int64_t *values, int64_t count);

/* The same for doubles; a NaN counts as larger than every number. */
void numpy_argsort_double(int64_t *order, const double *values, int64_t count);

#endif
