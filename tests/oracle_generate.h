/* Cases of kind "generate" of build/oracle: greedy continuations of prompts that share the steps of one batch. */
#ifndef CASEMIX_TESTS_ORACLE_GENERATE_H
#define CASEMIX_TESTS_ORACLE_GENERATE_H

#include "base/json.h"
#include "model/decoder.h"
#include <stdint.h>

/* Called for every computed tensor. */
typedef void oracle_check(void *oracle, const char *name, const float *got, int64_t count);

/* Runs the prompts of inputs.prompts for hyper.max_new_tokens tokens and hands over ids.N, top5_ids.N and
 * top5_logprobs.N. Ends the program with a message when something cannot be done. */
void oracle_generate(const struct decoder *decoder, const json_node *root, oracle_check *check, void *oracle);

#endif
