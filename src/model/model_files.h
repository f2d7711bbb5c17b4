/* The hash by which a model is named where an answer must be traced to it. */
#ifndef CASEMIX_MODEL_MODEL_FILES_H
#define CASEMIX_MODEL_MODEL_FILES_H

#include <stdbool.h>

struct error;
struct run_card;

/* SHA-256 of the list that `sha256sum FILE…` prints, in the order of their names, for the files that decide what a
 * directory's model answers: weights, configuration, tokenizer, card. Of a run over a base model *sha256 is the base's
 * and *adapter_sha256 the run's own; of any other *adapter_sha256 is "". */
bool model_files_hash(const struct run_card *card, const char *directory, char sha256[65], char adapter_sha256[65],
                      struct error *error);

#endif
