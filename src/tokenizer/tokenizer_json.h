/* The members of a tokenizer.json that surround the model; each fills its part of the tokenizer. */
#ifndef CASEMIX_TOKENIZER_TOKENIZER_JSON_H
#define CASEMIX_TOKENIZER_TOKENIZER_JSON_H

#include "base/json.h"
#include "tokenizer/tokenizer_parts.h"

/* "type" of a member, "(none)" if it has none. */
const char *json_type(const json_node *node);
/* Fills the error: MEMBER of type "…" is not supported. Always false. */
bool json_unsupported(const char *member, const json_node *node, struct error *error);

bool tokenizer_read_normalizer(struct tokenizer *tokenizer, const json_node *node, struct error *error);
/* Sets the model kind to MODEL_BYTE_BPE when ByteLevel is among the pre-tokenizers. */
bool tokenizer_read_pretokenizer(struct tokenizer *tokenizer, const json_node *node, struct error *error);
/* Needs the vocabulary. */
bool tokenizer_read_postprocessor(struct tokenizer *tokenizer, const json_node *node, struct error *error);
bool tokenizer_read_decoder(struct tokenizer *tokenizer, const json_node *node, struct error *error);

/* One entry of added_tokens (or, its id given, of tokenizer_config.json's added_tokens_decoder). */
bool tokenizer_read_added_token(struct tokenizer *tokenizer, const json_node *entry, int64_t id, struct error *error);

#endif
