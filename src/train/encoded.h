/* A dataset as token ids and labels, in memory, and the order in which an epoch goes through it. */
#ifndef CASEMIX_TRAIN_ENCODED_H
#define CASEMIX_TRAIN_ENCODED_H

#include "data/dataset.h"
#include "model/text_reader.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

struct encoded {
    int32_t *tokens; /* all sequences end to end */
    int64_t *starts; /* [count + 1] */
    int32_t *labels; /* [count] */
    size_t count;
    size_t truncated;     /* sequences that lost tokens to max_tokens */
    uint64_t fingerprint; /* of tokens and labels: a resumed run must see the same */
};

/* Encodes DIR/NAME (train.jsonl, …). A stay whose DRG is not among the labels, and a text without tokens, is an error
 * that names its line. */
bool encoded_load(struct encoded *encoded, const char *path, const struct text_reader *reader,
                  const struct labels *labels, int64_t max_tokens, struct error *error);
void encoded_free(struct encoded *encoded);

/* order [count]: a permutation that depends on seed and epoch alone. */
void encoded_shuffle(uint32_t *order, size_t count, uint64_t seed, int64_t epoch);

#endif
