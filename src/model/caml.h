/* CAML (Mullenbach et al. 2018): words are embedded and convolved, each label attends to the text by itself.
 *
 * h_p = tanh(bias + sum_j W_j x_(p + j - K/2)), zeros outside the text, p = 0 … T + 2 (K/2) - K: an even kernel gives
 * one position more than there are tokens. Label c weighs the positions by a softmax of U_c . h_p, and its logit is
 * final_c . (sum over p of weight h_p) + bias_c. A text sees nothing of its neighbours in the packed batch.
 *
 * T tokens, E embedding size, F filter maps, K kernel size, V vocabulary, N texts, C labels. */
#ifndef CASEMIX_MODEL_CAML_H
#define CASEMIX_MODEL_CAML_H

#include "model/decoder.h"
#include "model/parameters.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

struct caml_config {
    int64_t V;      /* vocab_size */
    int64_t E;      /* embed_size */
    int64_t F;      /* num_filter_maps */
    int64_t K;      /* kernel_size */
    int64_t labels; /* num_labels */
    double dropout; /* on the embeddings, in training */
};

/* A tensor of the model: its value, and its gradient of the same shape. */
struct caml_tensor {
    float *value, *gradient;
};

struct caml {
    struct caml_config config;
    struct caml_tensor embed;        /* [V, E]; row 0, the padding, is zero and stays so */
    struct caml_tensor conv_weight;  /* [F, E, K] */
    struct caml_tensor conv_bias;    /* [F] */
    struct caml_tensor attention;    /* U [C, F] */
    struct caml_tensor final_weight; /* [C, F] */
    struct caml_tensor final_bias;   /* [C] */
    struct parameters parameters;    /* all of them, trained or not */
};

/* Opens DIR/config.json and model.safetensors, widened to f32. Release with caml_close. */
bool caml_open(struct caml *caml, const char *directory, struct error *error);

/* A model with random weights: embeddings normal with deviation 1, convolution, attention and output uniform after
 * Glorot and Bengio (2010), biases 0. */
bool caml_create(struct caml *caml, const struct caml_config *config, uint64_t seed, struct error *error);

/* Writes DIR/model.safetensors; DIR/config.json, id2label from label_names [labels] (NULL: LABEL_0 …). */
bool caml_write(const struct caml *caml, const char *directory, enum dtype dtype, struct error *error);
bool caml_config_write(const struct caml_config *config, const char *directory, const char *dtype,
                       const char *const *label_names, struct error *error);
bool caml_config_parse(struct caml_config *config, const char *name, const char *json, uint64_t length,
                       struct error *error);

void caml_close(struct caml *caml);

/* The working memory of one forward (and, if `train`, backward) of up to T tokens in N texts. */
struct caml_run;

bool caml_run_size(const struct caml *caml, int64_t T, int64_t N, bool train, size_t *bytes, struct error *error);
bool caml_run_open(struct caml_run **run, const struct caml *caml, int64_t T, int64_t N, bool train,
                   struct error *error);
/* The same for the gradient of the inputs alone: the backward leaves the gradients of the model's tensors as they are,
 * so that several runs may share a model. */
bool caml_run_open_inputs(struct caml_run **run, const struct caml *caml, int64_t T, int64_t N, struct error *error);
void caml_run_close(struct caml_run *run);

/* Checks a batch that came from outside: ids in the vocabulary, no empty text, fits the run. */
bool caml_check(const struct caml *caml, const struct caml_run *run, const struct batch *batch, struct error *error);

/* logits [N, labels]. In a run opened with `train`, `dropout_seed` drives dropout (0: none). */
void caml_classify_forward(const struct caml *caml, struct caml_run *run, const struct batch *batch,
                           uint64_t dropout_seed, float *logits);

/* What label c attended to in text n of the last forward: weights [*positions], until the next backward. */
const float *caml_attention(const struct caml_run *run, int64_t n, int64_t c, int64_t *positions);

/* Adds to the gradients of all tensors, from d_logits [N, labels], for the batch of the last forward. */
void caml_classify_backward(const struct caml *caml, struct caml_run *run, const struct batch *batch,
                            const float *d_logits);

/* The gradient [T, E] of the embeddings after a backward; it stands in the run until the next one. */
const float *caml_input_gradient(const struct caml_run *run);

/* The embeddings [T, E] of tokens. */
void caml_embed(const struct caml *caml, const int32_t *tokens, int64_t T, float *out);

#endif
