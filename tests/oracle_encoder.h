/* The oracle's cases of encoders and of CAML. */
#ifndef CASEMIX_TESTS_ORACLE_ENCODER_H
#define CASEMIX_TESTS_ORACLE_ENCODER_H

#include "base/json.h"
#include <stdbool.h>
#include <stdint.h>

/* Where computed tensors go to be compared. */
struct oracle_report {
    void (*check)(void *context, const char *name, const float *got, int64_t count);
    void *context;
};

/* Runs a case of kind bert_classify or caml and reports its tensors; false if it is of another kind. Exits with a
 * message if the case cannot be run. */
bool oracle_encoder_run(const char *kind, const char *directory, const json_node *root,
                        const struct oracle_report *report);

#endif
