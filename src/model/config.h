/* config.json of a Hugging Face model directory: the shape of a decoder. */
#ifndef CASEMIX_MODEL_CONFIG_H
#define CASEMIX_MODEL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

struct error;
struct text;

enum architecture { ARCHITECTURE_LLAMA, ARCHITECTURE_QWEN2, ARCHITECTURE_MISTRAL };

enum rope_scaling { ROPE_PLAIN, ROPE_LINEAR, ROPE_LLAMA3 };

struct model_config {
    enum architecture architecture;
    bool classifier;   /* …ForSequenceClassification: a score head, no lm_head */
    int64_t V;         /* vocab_size */
    int64_t C;         /* hidden_size */
    int64_t L;         /* num_hidden_layers */
    int64_t H;         /* num_attention_heads */
    int64_t K;         /* num_key_value_heads */
    int64_t D;         /* head_dim, or C / H */
    int64_t F;         /* intermediate_size */
    int64_t labels;    /* classes of the score head: size of id2label, or num_labels; 0 if none is stated */
    int64_t positions; /* max_position_embeddings; the sliding window where one is in use and narrower: up to there
                          windowed attention is full attention */
    float norm_eps;
    double rope_theta;
    enum rope_scaling rope_scaling;
    double rope_factor, rope_low, rope_high; /* factor, low_freq_factor, high_freq_factor */
    int64_t rope_original;                   /* original_max_position_embeddings */
    bool tied;                               /* lm_head is the embedding */
    bool qkv_bias, o_bias, mlp_bias;
    int32_t bos_id, eos_id, pad_id; /* -1 when absent; the first one when a list */
    float initializer_range;
};

/* Reads DIR/config.json, of transformers 4 (rope_theta, rope_scaling) or 5 (rope_parameters). Unknown architectures and
 * fields whose meaning is not supported (another activation, other rope types, quantised weights) are refused in one
 * line that names them; so are sizes that are zero, negative, over 2^31 or do not divide. */
bool model_config_load(struct model_config *config, const char *directory, struct error *error);
bool model_config_parse(struct model_config *config, const char *name, const char *json, uint64_t length,
                        struct error *error);

/* Writes DIR/config.json as transformers would read it; id2label from `label_names` [config->labels] (NULL: LABEL_0 …).
 */
bool model_config_write(const struct model_config *config, const char *directory, const char *dtype,
                        const char *const *label_names, struct error *error);

/* Appends the members id2label and label2id of a config.json; names [labels], NULL: LABEL_0 … */
void config_add_labels(struct text *text, int64_t labels, const char *const *names);

/* The D/2 inverse frequencies of the rotary embedding, scaled as the configuration says (llama3: the rule of
 * Llama 3.1). */
void model_config_frequencies(const struct model_config *config, double *inverse_frequency);

const char *architecture_name(const struct model_config *config); /* "Qwen2ForSequenceClassification", … */

#endif
