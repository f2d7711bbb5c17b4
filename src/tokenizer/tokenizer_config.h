/* tokenizer_config.json, as far as a vocab.txt or a tokenizer.model needs it: flags, the names of the special tokens,
 * and added_tokens_decoder. A config of NULL has nothing. */
#ifndef CASEMIX_TOKENIZER_TOKENIZER_CONFIG_H
#define CASEMIX_TOKENIZER_TOKENIZER_CONFIG_H

#include "tokenizer/tokenizer_parts.h"

/* A special token such as "cls_token": a string, or an object with its "content"; `otherwise` if it is absent. */
bool config_token(const struct json *config, const char *name, const char *otherwise, const char **content,
                  struct error *error);
bool config_flag(const struct json *config, const char *name, bool *value, struct error *error);

/* Raises *vocabulary so that the ids of added_tokens_decoder fit in. */
bool config_measure_added(const struct json *config, size_t *vocabulary, struct error *error);
bool config_read_added(struct tokenizer *tokenizer, const struct json *config, struct error *error);

#endif
