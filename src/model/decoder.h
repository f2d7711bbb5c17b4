/* The decoder of LLaMA and Qwen2: weights, packed forward, hand-written backward.
 *
 * Per layer: x += o(attention(rope(q), rope(k), v)) of RMSNorm(x); x += down(silu(gate) * up) of RMSNorm(x); last a
 * final RMSNorm. The head is lm_head (see lm_loss.h for its loss) or score (one row per sequence, pooled at its last
 * token). Only the rows that a head reads go through the last layer's queries, o and MLP. LoRA terms (Hu et al. 2021)
 * hang on any projection.
 *
 * T tokens, C width, H query heads, K key/value heads, D head size, F feed-forward width, V vocabulary, R LoRA rank, L
 * layers, N sequences, Q rows that go through a head. */
#ifndef CASEMIX_MODEL_DECODER_H
#define CASEMIX_MODEL_DECODER_H

#include "base/memory.h"
#include "model/config.h"
#include "model/parameters.h"
#include "tensor/dtype.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct decoder_adapter;
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
    struct parameters parameters;     /* what is trained; empty when nothing is */
    struct safetensors *checkpoint;   /* owns mapped weights; NULL for a model made from scratch */
    struct quantised *quantised;      /* owns int8 weights (model/quantise.h); NULL if there are none */
    struct arena owned;               /* layers, and what was widened to f32 */
    double lora_dropout;              /* on the input of every A, in training */
    struct decoder_adapter *adapters; /* all that were opened, the newest first; those in use hang on the projections */
    float *summed;                    /* the terms of several adapters in use at once */
    struct projection own_head;       /* head, kind and labels without any adapter; valid once there is one */
    bool own_classifier;
    int64_t own_labels;
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

/* Opens a PEFT adapter (adapter_config.json, adapter_model.safetensors: LoRA terms and, if it holds one, a score head)
 * under the name "default" and puts it to use. With `train`, its tensors become parameters. */
bool decoder_open_adapter(struct decoder *decoder, const char *directory, bool train, struct error *error);

/* Opens one more adapter under a name of its own; it is not used before decoder_use_adapters. Open all adapters before
 * the first run: a run has room for those it has seen. */
bool decoder_load_adapter(struct decoder *decoder, const char *name, const char *directory, bool train,
                          struct error *error);

/* From now on the model is its base plus the adapters of these names; count 0: the base alone, as a reference model is
 * wanted. At most one of them may bring a head. Between the forward and the backward of a run the adapters stay. */
bool decoder_use_adapters(struct decoder *decoder, const char *const *names, size_t count, struct error *error);

void decoder_close_adapters(struct decoder *decoder); /* decoder_close does it */

/* A model of this configuration with random weights: normal with deviation initializer_range (o and down divided by
 * sqrt(2 L)), norms 1, biases 0; every tensor is a parameter. */
bool decoder_create(struct decoder *decoder, const struct model_config *config, uint64_t seed, struct error *error);

/* Makes every tensor of an opened model a parameter (copied to f32). */
bool decoder_train_all(struct decoder *decoder, struct error *error);

/* Adds fresh LoRA terms (A uniform as Kaiming with a = sqrt(5), B zero, as PEFT) to the targets of every layer, as the
 * adapter "default", and a trainable score head of `labels` rows (kept if the model holds one of that shape, else
 * normal with deviation initializer_range); labels 0: none. */
bool decoder_add_lora(struct decoder *decoder, const struct lora_settings *settings, int64_t labels, uint64_t seed,
                      struct error *error);

/* Gives the model a score head of `labels` rows: the one it has if that fits, else a fresh one (normal, deviation
 * initializer_range). Call it before decoder_train_all; decoder_add_lora calls it itself. */
bool decoder_set_labels(struct decoder *decoder, int64_t labels, uint64_t seed, struct error *error);

/* Makes an opened classifier a model that writes: its score head is dropped, and the head is the embedding. Without
 * tied embeddings that is an error. Nothing happens to a model that writes already. Call it before decoder_train_all
 * and decoder_add_lora. */
bool decoder_set_causal(struct decoder *decoder, struct error *error);

/* Writes DIR/model.safetensors from the parameters of a fully trained model (Hugging Face names), stored as dtype. */
bool decoder_write(const struct decoder *decoder, const char *directory, enum dtype dtype, struct error *error);

/* Writes the adapter that is being trained: DIR/adapter_config.json and adapter_model.safetensors (PEFT). */
bool decoder_write_adapter(const struct decoder *decoder, const char *directory, const char *base, struct error *error);

/* Bytes of the weights that are not trained, as stored: mapped from the checkpoint, or owned. */
size_t decoder_frozen_bytes(const struct decoder *decoder);

void decoder_close(struct decoder *decoder);

/* A packed batch: sequences end to end. A sequence may go on from another one, its parent (a prompt with many
 * completions): its tokens then also see the parent's, its positions count on from the parent's end, and the parent is
 * computed once. */
struct batch {
    int64_t T, N;
    const int32_t *tokens;  /* [T] */
    const int32_t *offsets; /* [N+1] rising, offsets[0] 0, offsets[N] T; no sequence is empty */
    const int32_t *parents; /* [N] an earlier sequence that has no parent itself, or -1; NULL: nobody has one */
    const int32_t *rows;    /* [Q] tokens whose hidden states decoder_hidden_forward gives: sequence by sequence, not
                               falling within one, repeats allowed (the end of a prompt, once for each completion);
                               NULL: all T */
    int64_t Q;
    const float
        *embedded; /* [T, C] taken instead of the tokens' embeddings (evidence moves along them); NULL: theirs */
};

/* The working memory of one forward (and, if `train`, backward) of up to T tokens in N sequences; made once, used for
 * many batches. */
struct decoder_run;

/* What a run has room for, and what that takes. */
struct run_plan {
    int64_t T, N;
    int64_t rows; /* hidden states wanted at most: batch.Q, N for a classifier, T for the logits of all tokens */
    bool train;
    bool inputs;        /* with train: the gradient goes down to the embeddings, whatever is trained or frozen */
    int64_t recomputed; /* layers, from the lowest trained one up, that keep only what enters them; the backward
                           computes the rest again, to the same bits */
    size_t bytes;
};

/* Fills in `recomputed`, the fewest layers with which a run of plan->T, N, rows, train fits into `budget` bytes (0: no
 * limit), and `bytes`. False if even recomputing all of them does not fit. */
bool decoder_run_plan(struct run_plan *plan, const struct decoder *decoder, size_t budget, struct error *error);
bool decoder_run_open_planned(struct decoder_run **run, const struct decoder *decoder, const struct run_plan *plan,
                              struct error *error);

/* The same with room for N rows (a classifier) or T, and nothing computed twice. */
bool decoder_run_size(const struct decoder *decoder, int64_t T, int64_t N, bool train, size_t *bytes,
                      struct error *error);
bool decoder_run_open(struct decoder_run **run, const struct decoder *decoder, int64_t T, int64_t N, bool train,
                      struct error *error);
void decoder_run_close(struct decoder_run *run);

/* Checks a batch that came from outside: ids in the vocabulary, no empty sequence, none that goes beyond the model's
 * positions, parents and rows in order, fits the run. */
bool batch_check(const struct decoder *decoder, const struct decoder_run *run, const struct batch *batch,
                 struct error *error);

/* The hidden states [Q, C] behind the final norm of the batch's rows; they stand in the run until the next forward.
 * What is not a row costs nothing behind the last layer's keys and values. In a run opened with `train` the activations
 * are kept for the backward; `dropout_seed` then drives LoRA dropout (0: none). */
const float *decoder_hidden_forward(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch,
                                    uint64_t dropout_seed);

/* Adds to the gradients of all parameters but the head's, from d_hidden [Q, C], for the batch of the last forward. */
void decoder_hidden_backward(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch,
                             const float *d_hidden);

/* logits [T, V] of every token. Inference only. */
void decoder_logits(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch, float *logits);

/* logits [N, labels] pooled at the last token of each sequence (batch->rows is not looked at); otherwise as
 * decoder_hidden_forward. */
void decoder_classify_forward(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch,
                              uint64_t dropout_seed, float *logits);

/* Adds to the gradients of all parameters, from d_logits [N, labels], for the batch of the last forward. */
void decoder_classify_backward(const struct decoder *decoder, struct decoder_run *run, const struct batch *batch,
                               const float *d_logits);

/* The gradient [T, C] of the embeddings' output after a backward in a run planned with `inputs`; it stands in the run
 * until the next forward. int8 weights pass it on as the f32 values that they stand for. */
const float *decoder_input_gradient(const struct decoder_run *run);

/* The embeddings [T, C] of tokens, as the first layer reads them. */
void decoder_embed(const struct decoder *decoder, const int32_t *tokens, int64_t T, float *out);

#endif
