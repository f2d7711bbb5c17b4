/* Keys and values of running sequences, in blocks with reference counts (Kwon et al. 2023): a prompt is computed once
 * and shared by its continuations; sequences join and leave at any time.
 *
 * All memory is taken when the cache is opened; what follows moves block numbers. A block is shared until one of its
 * sequences writes into it, which then gets a copy of its own. */
#ifndef CASEMIX_GENERATE_KV_CACHE_H
#define CASEMIX_GENERATE_KV_CACHE_H

#include "model/config.h"
#include "tensor/attention_blocks.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct kv_cache;

/* Room for `tokens` positions (rounded up to blocks of ATTENTION_BLOCK) shared by up to `sequences` sequences. */
bool kv_cache_size(const struct model_config *config, int64_t tokens, int64_t sequences, size_t *bytes,
                   struct error *error);
bool kv_cache_open(struct kv_cache **cache, const struct model_config *config, int64_t tokens, int64_t sequences,
                   struct error *error);
void kv_cache_close(struct kv_cache *cache);

/* Tokens that the longest possible sequence holds. */
int64_t kv_cache_positions(const struct kv_cache *cache);

/* An empty sequence, or one that begins with all that `parent` holds, without copying. Its number, or -1 when all
 * sequences are in use. */
int32_t kv_sequence_open(struct kv_cache *cache);
int32_t kv_sequence_fork(struct kv_cache *cache, int32_t parent);

/* Gives back the sequence and the blocks that nobody else holds. */
void kv_sequence_close(struct kv_cache *cache, int32_t sequence);

/* Tokens that it holds. */
int64_t kv_sequence_length(const struct kv_cache *cache, int32_t sequence);
bool kv_sequence_is_open(const struct kv_cache *cache, int32_t sequence);

/* Forgets the tokens from `length` on. */
void kv_sequence_truncate(struct kv_cache *cache, int32_t sequence, int64_t length);

/* Sequences not in use. */
int64_t kv_sequences_free(const struct kv_cache *cache);

/* Blocks nobody holds, and those that appending this many tokens would take. */
int64_t kv_blocks_free(const struct kv_cache *cache);
int64_t kv_blocks_needed(const struct kv_cache *cache, int32_t sequence, int64_t tokens);

/* Makes the sequence longer by `tokens` positions, whose keys and values are to be stored next. False, and nothing
 * changed, when there are not enough blocks or the model has not so many positions. */
bool kv_sequence_extend(struct kv_cache *cache, int32_t sequence, int64_t tokens);

/* For the decoder: the block numbers of a sequence, and where block 0 of a layer begins; others follow by the stride
 * (floats). */
const int32_t *kv_sequence_blocks(const struct kv_cache *cache, int32_t sequence);
float *kv_layer(const struct kv_cache *cache, int64_t layer);
int64_t kv_block_stride(const struct kv_cache *cache);

#endif
