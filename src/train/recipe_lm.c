/* Sections of recipes for models that write. */
#include "train/recipe_lm.h"
#include "base/error.h"
#include "train/recipe_lm_schema.h"

static const cyaml_strval_t losses[] = {{"completion", LOSS_ON_COMPLETION}, {"all", LOSS_ON_ALL}};

enum { PATH = 1024 };

const cyaml_schema_field_t recipe_sft_fields[] = {
    CYAML_FIELD_ENUM("loss_on", CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT, struct recipe_sft, loss_on, losses,
                     CYAML_ARRAY_LEN(losses)),
    CYAML_FIELD_STRING_PTR("prompt", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct recipe_sft, prompt, 1, PATH),
    CYAML_FIELD_STRING_PTR("rationales", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct recipe_sft, rationales, 1,
                           PATH),
    CYAML_FIELD_BOOL("knowledge", CYAML_FLAG_OPTIONAL, struct recipe_sft, knowledge),
    CYAML_FIELD_END,
};

const cyaml_schema_field_t recipe_dpo_fields[] = {
    CYAML_FIELD_FLOAT("beta", CYAML_FLAG_DEFAULT, struct recipe_dpo, beta),
    CYAML_FIELD_STRING_PTR("prompt", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct recipe_dpo, prompt, 1, PATH),
    CYAML_FIELD_END,
};

bool recipe_check_sft(const struct recipe_sft *sft, struct error *error) {
    return !sft->knowledge || sft->rationales != NULL ||
           error_set(error, "sft.knowledge is true, but sft.rationales names no file that holds knowledge rows");
}

bool recipe_check_dpo(const struct recipe_dpo *dpo, struct error *error) {
    return (dpo->beta >= 1e-6 && dpo->beta <= 1e3) ||
           error_set(error, "dpo.beta is %g, expected 1e-06 to 1000", dpo->beta);
}
