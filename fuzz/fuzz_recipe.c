/* Recipes: as they are, and with an override of a key that may or may not be there. */
#include "base/error.h"
#include "base/text.h"
#include "input.h"
#include "train/recipe.h"
#include <stdlib.h>

static void load(const char *path, const char *const *overrides, size_t count) {
    struct recipe *recipe;
    struct text text = {0};
    struct error error;
    if (recipe_load(&recipe, &text, path, overrides, count, &error)) {
        if (recipe->method == METHOD_TOKENIZER ? recipe->tokenizer == NULL : recipe->train == NULL) abort();
        recipe_free(recipe);
    }
    text_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    static const char *const overrides[] = {"train.learning_rate=3e-4", "seed=7"};
    const char *path = input_file(bytes, length);
    load(path, NULL, 0);
    load(path, overrides, 2);
    return 0;
}
