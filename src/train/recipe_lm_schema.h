/* The fields of recipe_lm.h's and recipe_grpo.h's sections, for the schema of recipe.c. */
#ifndef CASEMIX_TRAIN_RECIPE_LM_SCHEMA_H
#define CASEMIX_TRAIN_RECIPE_LM_SCHEMA_H

#include <cyaml/cyaml.h>

extern const cyaml_schema_field_t recipe_sft_fields[];
extern const cyaml_schema_field_t recipe_dpo_fields[];
extern const cyaml_schema_field_t recipe_grpo_fields[];
extern const cyaml_schema_field_t recipe_reward_fields[];

#endif
