/* casemix predict --fhir. */
#ifndef CASEMIX_CLI_PREDICT_FHIR_H
#define CASEMIX_CLI_PREDICT_FHIR_H

#include <stdbool.h>
#include <stddef.h>

struct ensemble;
struct error;

/* Codes the documents of FHIR files ("-": standard input) and prints a Bundle for each, a line each. `models` are the
 * directories of the ensemble's members, in their order. */
bool predict_fhir(const struct ensemble *ensemble, const char *const *models, size_t top_k, char **paths, int count,
                  struct error *error);

#endif
