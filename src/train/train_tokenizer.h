/* Learning a tokenizer from the texts of a dataset. */
#ifndef CASEMIX_TRAIN_TRAIN_TOKENIZER_H
#define CASEMIX_TRAIN_TRAIN_TOKENIZER_H

#include "train/recipe.h"
#include <stdbool.h>

struct error;

/* Counts the words of DATA/train.jsonl, learns a BPE as the recipe says, and writes OUT/tokenizer.json and
 * tokenizer_config.json. */
bool train_tokenizer(const struct recipe *recipe, const char *data, const char *out, struct error *error);

#endif
