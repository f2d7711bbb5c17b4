/* The sigmoid loss of DPO and its derivative. */
#include "train/dpo_loss.h"
#include <math.h>

void dpo_loss(struct dpo_sums *sums, double *coefficients, const struct dpo_pairs *pairs, double share) {
    for (int64_t i = 0; i < pairs->N; i++) {
        const double chosen = pairs->beta * (pairs->chosen[i] - pairs->reference_chosen[i]),
                     rejected = pairs->beta * (pairs->rejected[i] - pairs->reference_rejected[i]),
                     margin = chosen - rejected;
        /* log(1 + exp(-|margin|)) does not overflow on either side. */
        sums->loss += share * (log1p(exp(-fabs(margin))) + (margin < 0 ? -margin : 0));
        sums->chosen += chosen;
        sums->rejected += rejected;
        sums->pairs++;
        sums->right += margin > 0;
        coefficients[i] = share * pairs->beta / (1 + exp(margin));
    }
}
