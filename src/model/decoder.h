/* The decoder of LLaMA and Qwen2: weights, packed forward, hand-written backward.
 *
 * Per layer: x += o(attention(rope(q), rope(k), v)) of RMSNorm(x); x += down(silu(gate) * up) of RMSNorm(x); last a
 * final RMSNorm. The head is lm_head (logits of every token) or score (one row per sequence, pooled at its last token;
 * only those rows go through the last layer's queries, o and MLP). LoRA terms (Hu et al. 2021) hang on any projection.
 *
 * T tokens, C width, H query heads, K key/value heads, D head size, F feed-forward width, V vocabulary, R LoRA rank, L
 * layers, N sequences. */
#ifndef CASEMIX_MODEL_DECODER_H
#define CASEMIX_MODEL_DECODER_H

#include "base/memory.h"
#include "model/config.h"
#include "model/parameters.h"
#include "tensor/dtype.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct safetensors;

/* A low-rank term: y += scale * B (A x). rank 0: none. */
struct lora {
    int64_t R;
    float scale;      /* alpha / R, or alpha / sqrt(R) with rsLoRA */
    float *a;         /* [R, inputs] */
    float *b;         /* [outputs, R] */
    float *d_a, *d_b; /* gradients; NULL when frozen */
};

/* A linear layer: stored weight, optional bias, optional LoRA. d_weight, d_bias NULL: frozen. */
struct projection {
    struct matrix weight; /* [outputs, inputs] */
    struct matrix bias;   /* [outputs] or absent */
    float *d_weight, *d_bias;
    struct lora lora;
};

struct norm {
    struct matrix weight; /* [C], always f32 */
    float *d_weight;
};

enum projection_kind {
    PROJECTION_Q,
    PROJECTION_K,
    PROJECTION_V,
    PROJECTION_O,
    PROJECTION_GATE,
    PROJECTION_UP,
    PROJECTION_DOWN,
    PROJECTIONS
};

struct decoder_layer {
    struct norm attention_norm, mlp_norm;
    struct projection projections[PROJECTIONS];
};

struct decoder {
    struct model_config config;
    struct matrix embedding; /* [V, C] */
    float *d_embedding;
    struct decoder_layer *layers; /* [L] */
    struct norm final_norm;
    struct projection head; /* score [labels, C] of a classifier, else lm_head [V, C]; weight absent if there is none */
    struct parameters parameters;   /* what is trained; empty when nothing is */
    struct safetensors *checkpoint; /* owns mapped weights; NULL for a model made from scratch */
    struct quantised *quantised;    /* owns int8 weights (model/quantise.h); NULL if there are none */
    struct arena owned;             /* layers, and what was widened to f32 */
    double lora_dropout;            /* on the input of every A, in training */
};

/* What is trained. */
struct lora_settings {
    int64_t rank;
    double alpha;
    double dropout;   /* on the input of A, in training only */
    bool rank_stable; /* rsLoRA: alpha / sqrt(rank) */
    bool targets[PROJECTIONS];
};

/* Opens a Hugging Face directory: config.json and weights, mapped. All zero decoder in, release with decoder_close. */
bool decoder_open(struct decoder *decoder, const char *directory, struct error *error);

/* Lays a PEFT adapter (adapter_config.json, adapter_model.safetensors) over the model: LoRA terms and, if it holds one,
 * the score head. With `train`, its tensors become parameters. */
bool decoder_open_adapter(struct decoder *decoder, const char *directory, bool train, struct error *error);

/* A model of this configuration with random weights: normal with deviation initializer_range (o and down divided by
 * sqrt(2 L)), norms 1, biases 0; every tensor is a parameter. */
bool decoder_create(struct decoder *decoder, const struct model_config *config, uint64_t seed, struct error *error);

/* Makes every tensor of an opened model a parameter (copied to f32). */
bool decoder_train_all(struct decoder *decoder, struct error *error);

/* Adds fresh LoRA terms (A uniform as Kaiming with a = sqrt(5), B zero, as PEFT) to the targets of every layer, and a
 * trainable score head of `labels` rows (kept if the model holds one of that shape, else normal with deviation
 * initializer_range). */
bool decoder_add_lora(struct decoder *decoder, const struct lora_settings *settings, int64_t labels, uint64_t seed,
                      struct error *error);

/* Gives the model a score head of `labels` rows: the one it has if that fits, else a fresh one (normal, deviation
 * initializer_range). Call it before decoder_train_all; decoder_add_lora calls it itself. */
bool decoder_set_labels(struct decoder *decoder, int64_t labels, uint64_t seed, struct error *error);

/* Writes DIR/model.safetensors from the parameters of a fully trained model (Hugging Face names), stored as dtype. */
bool decoder_write(const struct decoder *decoder, const char *directory, enum dtype dtype, struct error *error);

/* Writes DIR/adapter_config.json and adapter_model.safetensors (PEFT). */
bool decoder_write_adapter(const struct decoder *decoder, const char *directory, const struct lora_settings *settings,
                           const char *base, struct error *error);

void decoder_close(struct decoder *decoder);

/* A packed batch: sequences end to end. */
struct batch {
    int64_t T, N;
    const int32_t *tokens;  /* [T] */
    const int32_t *offsets; /* [N+1] rising, offsets[0] 0, offsets[N] T; no sequence is empty */
};

/* The working memory of one forward (and, if `train`, backward) of up to T tokens in N sequences; made once, used for
 * many batches. */
struct decoder_run;

/* Bytes that decoder_run_open will take: for --plan and for refusing at once. */
bool decoder_run_size(const struct decoder *decoder, int64_t T, int64_t N, bool train, size_t *bytes,
                      struct error *error);
bool decoder_run_open(struct decoder_run **run, const struct decoder *decoder, int64_t T, int64_t N, bool train,
                      struct error *error);
void decoder_run_close(struct decoder_run *run);

/* Checks a batch that came from outside: ids in the vocabulary, no empty sequence, none longer than the model's
 * positions, fits the run. */
bool batch_check(const struct decoder *decoder, const struct decoder_run *run, const struct batch *batch,
                 struct error *error);

/* logits [T, V] of every token. Inference only. */
void decoder_logits(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch, float *logits);

/* logits [N, labels] pooled at the last token of each sequence. In a run opened with `train` the activations are kept
 * for the backward; `dropout_seed` then drives LoRA dropout (0: none). */
void decoder_classify_forward(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch,
                              uint64_t dropout_seed, float *logits);

/* Adds to the gradients of all parameters, from d_logits [N, labels], for the batch of the last forward. */
void decoder_classify_backward(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch,
                               const float *d_logits);

#endif
