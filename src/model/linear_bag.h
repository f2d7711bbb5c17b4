/* The linear bag of words: softmax regression on a text's words and pairs of neighbouring words.
 *
 * A feature is a word id (0 … V-1) or a pair's hash (V … V+B-1). One that occurs n times in a text has the value
 * (1 + log n) idf, and the values of a text are scaled to length 1; logits are value . weight + bias. The idf of a
 * feature is log((1 + texts) / (1 + texts that hold it)) + 1 over the training texts: a stored constant, not trained.
 *
 * T tokens, N texts, V words, B buckets of pairs, C labels. */
#ifndef CASEMIX_MODEL_LINEAR_BAG_H
#define CASEMIX_MODEL_LINEAR_BAG_H

#include "model/decoder.h"
#include "model/parameters.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

struct linear_bag_config {
    int64_t V;       /* vocab_size */
    int64_t buckets; /* pair_buckets; 0: words alone */
    int64_t labels;  /* num_labels */
};

struct linear_bag {
    struct linear_bag_config config;
    float *weight, *d_weight;     /* [V + B, C] */
    float *bias, *d_bias;         /* [C] */
    float *idf;                   /* [V + B] */
    struct parameters parameters; /* weight and bias */
};

/* Opens DIR/config.json and model.safetensors, widened to f32. Release with linear_bag_close. */
bool linear_bag_open(struct linear_bag *bag, const char *directory, struct error *error);

/* Weights and biases 0, idf 1. */
bool linear_bag_create(struct linear_bag *bag, const struct linear_bag_config *config, struct error *error);

/* Takes idf from training texts: text i is tokens[starts[i]] … tokens[starts[i + 1] - 1], ids below V. */
bool linear_bag_weigh(struct linear_bag *bag, const int32_t *tokens, const int64_t *starts, size_t count,
                      struct error *error);

/* Writes DIR/model.safetensors; DIR/config.json, id2label from label_names [labels] (NULL: LABEL_0 …). */
bool linear_bag_write(const struct linear_bag *bag, const char *directory, enum dtype dtype, struct error *error);
bool linear_bag_config_write(const struct linear_bag_config *config, const char *directory, const char *dtype,
                             const char *const *label_names, struct error *error);
bool linear_bag_config_parse(struct linear_bag_config *config, const char *name, const char *json, uint64_t length,
                             struct error *error);

void linear_bag_close(struct linear_bag *bag);

/* The working memory of one forward (and backward) of up to T tokens in N texts. */
struct linear_bag_run;

bool linear_bag_run_size(const struct linear_bag *bag, int64_t T, int64_t N, size_t *bytes, struct error *error);
bool linear_bag_run_open(struct linear_bag_run **run, const struct linear_bag *bag, int64_t T, int64_t N,
                         struct error *error);
void linear_bag_run_close(struct linear_bag_run *run);

/* Checks a batch that came from outside: ids in the vocabulary, no empty text, fits the run. */
bool linear_bag_check(const struct linear_bag *bag, const struct linear_bag_run *run, const struct batch *batch,
                      struct error *error);

/* logits [N, labels]; the same bits for any number of threads and whatever texts are in the batch. */
void linear_bag_forward(const struct linear_bag *bag, struct linear_bag_run *run, const struct batch *batch,
                        float *logits);

/* Adds to the gradients of weight and bias, from d_logits [N, labels], for the batch of the last forward. */
void linear_bag_backward(const struct linear_bag *bag, struct linear_bag_run *run, const struct batch *batch,
                         const float *d_logits);

/* How much each token of text n gives a label's logit beyond its bias, added to shares [length of the text]: a
 * feature's value times its weight in equal parts to its occurrences, a pair's to both words. Of the batch of the last
 * forward. */
void linear_bag_attribute(const struct linear_bag *bag, struct linear_bag_run *run, const struct batch *batch,
                          int64_t n, int64_t label, float *shares);

/* The features of one text, sorted, each once with how often it occurs. `features`
 * and `counts` hold 2 * length; gives how many there are. */
int64_t linear_bag_features(const struct linear_bag_config *config, const int32_t *tokens, int64_t length,
                            int32_t *features, float *counts);

#endif
