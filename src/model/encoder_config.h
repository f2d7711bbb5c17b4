/* config.json of a BERT directory: the shape of an encoder. */
#ifndef CASEMIX_MODEL_ENCODER_CONFIG_H
#define CASEMIX_MODEL_ENCODER_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

struct error;

struct encoder_config {
    int64_t V;         /* vocab_size */
    int64_t C;         /* hidden_size */
    int64_t L;         /* num_hidden_layers */
    int64_t H;         /* num_attention_heads */
    int64_t D;         /* C / H */
    int64_t F;         /* intermediate_size */
    int64_t positions; /* max_position_embeddings */
    int64_t types;     /* type_vocab_size */
    int64_t labels;    /* classes of the classifier; 0: the checkpoint has none */
    int32_t pad_id;    /* pad_token_id; -1: none */
    float norm_eps;
    float initializer_range;
    double hidden_dropout;     /* behind the embeddings, attention and feed-forward, in training */
    double attention_dropout;  /* of the attention's weights, in training */
    double classifier_dropout; /* in front of the classifier, in training */
};

/* Reads DIR/config.json of BertForSequenceClassification, BertModel, BertForPreTraining or BertForMaskedLM, or of an
 * old checkpoint that names no architecture but has a BERT's fields. What would change the result and is not computed
 * (another activation, relative positions, a decoder) is refused by name. */
bool encoder_config_load(struct encoder_config *config, const char *directory, struct error *error);
bool encoder_config_parse(struct encoder_config *config, const char *name, const char *json, uint64_t length,
                          struct error *error);

/* Writes DIR/config.json of BertForSequenceClassification; id2label from `label_names` [labels] (NULL: LABEL_0 …). */
bool encoder_config_write(const struct encoder_config *config, const char *directory, const char *dtype,
                          const char *const *label_names, struct error *error);

#endif
