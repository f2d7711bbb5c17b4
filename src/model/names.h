/* Names of tensors: of a decoder's projections in a Hugging Face checkpoint, and of LoRA factors in a PEFT adapter. */
#ifndef CASEMIX_MODEL_NAMES_H
#define CASEMIX_MODEL_NAMES_H

#include "model/decoder.h"
#include <stddef.h>
#include <stdint.h>

/* "self_attn.q_proj", …, "mlp.down_proj": a projection within its layer. */
const char *projection_name(enum projection_kind kind);

/* "q_proj", …: the last part, as adapter_config.json lists it. */
const char *projection_short_name(enum projection_kind kind);

/* "base_model.model.model.layers.3.self_attn.q_proj.lora_A.weight"; factor is 'A' or 'B'. */
void adapter_tensor_name(char *out, size_t capacity, int64_t layer, enum projection_kind kind, char factor);

/* A tensor that checkpoints carry and no result depends on: tables of rotary angles that older versions of transformers
 * saved, lm_head of a model that is tied or a classifier, score of a causal model. Other tensors that a model has no
 * place for mean that it is another model. */
bool tensor_is_spare(const char *name, const struct model_config *config);

/* The key under which PEFT stores the score head. */
#define ADAPTER_HEAD "base_model.model.score.weight"

#endif
