/* openapi.json as a test reads it: which operations there are, and whether a JSON answer is as its schema says. */
#ifndef CASEMIX_TESTS_CONTRACT_H
#define CASEMIX_TESTS_CONTRACT_H

#include "base/json.h"
#include "base/text.h"
#include <stdbool.h>
#include <stddef.h>

/* The operation ("get", "/v1/models"); NULL: there is none. */
const json_node *contract_operation(const json_node *root, const char *method, const char *path);

/* Whether an answer of this status and type is foreseen, and, where it is JSON or JSON lines, like its schema: types,
 * bounds, required members, and none that is not named there. `why` gets where it is not. */
bool contract_allows(const json_node *root, const json_node *operation, int status, const char *type,
                     const struct text *body, char *why, size_t capacity);

#endif
