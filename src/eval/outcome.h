/* What became of each stay: the true DRG beside the predicted one, how sure the model was, and what it would have cost.
 *
 * Probabilities are softmax(logits / temperature) over the DRGs that the model has. The prediction is the first
 * largest. A base DRG is right when the bases are equal. Severity is right when the classes are equal: on v34 the
 * paper's five (CC and CC/MCC are one class), on v43 the catalog's. The composed ranking orders the model's DRGs by
 * P(base) * P(severity), each the sum of p over the model's DRGs that share it; it is what a two-label model would
 * say, and shows whether base and severity are better known than their combination. */
#ifndef CASEMIX_EVAL_OUTCOME_H
#define CASEMIX_EVAL_OUTCOME_H

#include "drg/catalog.h"
#include "eval/evaluation.h"

struct outcome {
    const struct drg *truth, *predicted;
    bool known;            /* the model has the true DRG */
    bool right;            /* truth and prediction are one DRG */
    bool base, severity;   /* each right by itself */
    int32_t rank;          /* of the truth, as acc@k counts it (metric_rank) */
    int32_t composed_rank; /* of the truth in the composed ranking; METRIC_RANKS beyond the tenth */
    double confidence;     /* p of the prediction */
    double nll;            /* -log p of the truth; 0 where it is not known to the model */
    double brier;          /* sum over DRGs of (p - [is the truth])^2: 0 to 2 */
    double expected;       /* sum of p * relative weight */
};

/* outcomes[N] of an evaluation whose rows have all been put. A DRG that the catalog has not is an error. */
bool outcomes_fill(struct outcome *outcomes, const struct evaluation *evaluation, const struct catalog *catalog,
                   double temperature, struct error *error);

#endif
