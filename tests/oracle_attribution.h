/* Cases of kind "attribution" of build/oracle: the gradient of the highest logit by the embeddings' output. */
#ifndef CASEMIX_TESTS_ORACLE_ATTRIBUTION_H
#define CASEMIX_TESTS_ORACLE_ATTRIBUTION_H

#include "model/decoder.h"
#include "oracle_generate.h"

/* Hands over logits, top, saliency.N and grad_l2.N of the sequences of a batch; the decoder may be all frozen. Ends the
 * program with a message when something cannot be done. */
void oracle_attribution(const struct decoder *decoder, const struct batch *batch, oracle_check *check, void *oracle);

#endif
