/* The encoder of BERT (Devlin et al. 2019) as a classifier of texts: weights, packed forward, hand-written backward.
 *
 * e = LayerNorm(word + position + token type). Per layer, the norm behind each sum: y = LayerNorm(x + o(attention(q, k,
 * v))), x = LayerNorm(y + output(gelu(intermediate(y)))). The pooler is tanh of a linear layer on token 0, the
 * classifier a linear layer on that; only those tokens go through the last layer's queries, o and feed-forward.
 *
 * T tokens, C width, H heads, D head size, F feed-forward width, V vocabulary, L layers, N sequences. */
#ifndef CASEMIX_MODEL_ENCODER_H
#define CASEMIX_MODEL_ENCODER_H

#include "base/memory.h"
#include "model/decoder.h"
#include "model/encoder_config.h"
#include "model/parameters.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct safetensors;

/* w and b of a LayerNorm, always f32. d_weight, d_bias NULL: frozen. */
struct layernorm {
    struct matrix weight, bias; /* [C] */
    float *d_weight, *d_bias;
};

enum encoder_projection {
    ENCODER_QUERY,
    ENCODER_KEY,
    ENCODER_VALUE,
    ENCODER_ATTENTION_OUTPUT,
    ENCODER_INTERMEDIATE,
    ENCODER_OUTPUT,
    ENCODER_PROJECTIONS
};

struct encoder_layer {
    struct projection projections[ENCODER_PROJECTIONS]; /* no LoRA */
    struct layernorm attention_norm, output_norm;
};

struct encoder {
    struct encoder_config config;
    struct matrix words;     /* [V, C] */
    struct matrix positions; /* [positions, C], f32 */
    struct matrix types;     /* [types, C], f32 */
    float *d_words, *d_positions, *d_types;
    struct layernorm embedding_norm;
    struct encoder_layer *layers; /* [L] */
    struct projection pooler;     /* [C, C] */
    struct projection classifier; /* [labels, C]; weight absent until there is one */
    struct parameters parameters; /* what is trained; empty when nothing is */
    struct safetensors *checkpoint;
    struct arena owned;
};

/* Opens a Hugging Face directory (config.json, model.safetensors) of BertForSequenceClassification, BertModel,
 * BertForPreTraining or BertForMaskedLM, the weights mapped: names with or without "bert.", norms as weight and bias or
 * as the gamma and beta of old checkpoints. Other tensors (cls.*, position_ids) are left alone. A missing pooler is
 * made fresh from `seed`. Zeroed encoder in, release with encoder_close. */
bool encoder_open(struct encoder *encoder, const char *directory, uint64_t seed, struct error *error);

/* A model of this configuration with random weights: normal with deviation initializer_range, norms 1 and 0, biases 0;
 * every tensor is a parameter. */
bool encoder_create(struct encoder *encoder, const struct encoder_config *config, uint64_t seed, struct error *error);

/* Gives the model a classifier of `labels` rows: the one it has if that fits, else a fresh one. Call it before
 * encoder_train_all. */
bool encoder_set_labels(struct encoder *encoder, int64_t labels, uint64_t seed, struct error *error);

/* Makes every tensor of an opened model a parameter (copied to f32). */
bool encoder_train_all(struct encoder *encoder, struct error *error);

/* Writes DIR/model.safetensors from the parameters, named as BertForSequenceClassification names them. */
bool encoder_write(const struct encoder *encoder, const char *directory, enum dtype dtype, struct error *error);

void encoder_close(struct encoder *encoder);

/* The working memory of one forward (and, if `train`, backward) of up to T tokens in N sequences. */
struct encoder_run;

bool encoder_run_size(const struct encoder *encoder, int64_t T, int64_t N, bool train, size_t *bytes,
                      struct error *error);
bool encoder_run_open(struct encoder_run **run, const struct encoder *encoder, int64_t T, int64_t N, bool train,
                      struct error *error);
void encoder_run_close(struct encoder_run *run);

/* Checks a batch that came from outside: ids in the vocabulary, types (NULL: all 0) in theirs, no empty sequence, none
 * longer than the model's positions, fits the run. */
bool encoder_check(const struct encoder *encoder, const struct encoder_run *run, const struct batch *batch,
                   const int32_t *types, struct error *error);

/* logits [N, labels]. types [T] or NULL: all 0. In a run opened with `train` the activations are kept for the backward,
 * and `dropout_seed` drives dropout as config.json states it (0: none). */
void encoder_classify_forward(const struct encoder *encoder, struct encoder_run *run, const struct batch *batch,
                              const int32_t *types, uint64_t dropout_seed, float *logits);

/* Adds to the gradients of all parameters, from d_logits [N, labels], for the batch of the last forward. A frozen model
 * has none, and only the gradient of its inputs remains. */
void encoder_classify_backward(const struct encoder *encoder, struct encoder_run *run, const struct batch *batch,
                               const int32_t *types, const float *d_logits);

/* The gradient [T, C] of the words' embeddings after a backward; it stands in the run until the next forward. */
const float *encoder_input_gradient(const struct encoder_run *run);

/* The words' embeddings [T, C] of tokens, without position and type: what batch.embedded replaces. */
void encoder_embed(const struct encoder *encoder, const int32_t *tokens, int64_t T, float *out);

#endif
