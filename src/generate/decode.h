/* A step of decoding: new tokens of many sequences, each at its own position, through all layers of a decoder at once.
 *
 * A prompt is the same thing with many consecutive rows of one sequence. The logits are those of decoder_logits on the
 * whole sequence; each row's own bits do not depend on the other rows while there are at most SMALL_PRODUCT_ROWS. */
#ifndef CASEMIX_GENERATE_DECODE_H
#define CASEMIX_GENERATE_DECODE_H

#include "generate/kv_cache.h"
#include "model/decoder.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

/* One token to be appended to a sequence. Rows of one sequence stand one behind the other, in order. */
struct decode_row {
    int32_t sequence;
    int32_t token;
    bool wanted; /* its logits are asked for */
};

/* Working memory of steps of up to `rows` tokens in sequences of up to `positions` (kv_cache_positions); made once.
 * Borrows decoder and cache, which are of one model. */
struct decode;
bool decode_size(const struct decoder *decoder, int64_t positions, int64_t rows, size_t *bytes, struct error *error);
bool decode_open(struct decode **decode, const struct decoder *decoder, struct kv_cache *cache, int64_t rows,
                 struct error *error);
void decode_close(struct decode *decode);

/* Appends the rows to their sequences and gives logits [wanted rows, V] (a classifier's head: [wanted rows, labels]) in
 * their order. Takes no memory. On an error (a token outside the vocabulary, a sequence that is not open or too long,
 * no free block, too many rows) no sequence has changed. */
bool decode_step(struct decode *decode, const struct decode_row *rows, int64_t count, float *logits,
                 struct error *error);

/* Appends a prompt in steps of as many rows as there is room for; logits [V] of its last token, or NULL. On an error
 * the sequence is as long as before. */
bool decode_prompt(struct decode *decode, int32_t sequence, const int32_t *tokens, int64_t count, float *logits,
                   struct error *error);

#endif
