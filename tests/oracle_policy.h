/* Cases of kinds "grpo_step" and "dpo_step" of build/oracle: losses of completions that share their prompts. */
#ifndef CASEMIX_TESTS_ORACLE_POLICY_H
#define CASEMIX_TESTS_ORACLE_POLICY_H

#include "base/json.h"
#include "model/decoder.h"
#include "oracle_encoder.h"

/* The decoder has its adapter open for training. Ends the program with a message when something cannot be done. */
void oracle_grpo(struct decoder *decoder, const json_node *root, const struct oracle_report *report);
void oracle_dpo(struct decoder *decoder, const json_node *root, const struct oracle_report *report);

#endif
