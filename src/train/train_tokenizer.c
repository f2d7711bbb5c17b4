/* Learning a tokenizer: see train_tokenizer.h. */
#include "train/train_tokenizer.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "data/dataset.h"
#include "tokenizer/bpe_trainer.h"

static bool count_words(struct bpe_trainer *trainer, const struct dataset *dataset, struct error *error) {
    struct progress progress;
    progress_start(&progress, "counting words", "notes", dataset->count);
    for (size_t i = 0; i < dataset->count; i++) {
        if (!bpe_trainer_add(trainer, dataset->stays[i].text, dataset->stays[i].text_length, error)) return false;
        progress_update(&progress, i + 1);
    }
    progress_finish(&progress);
    return true;
}

bool train_tokenizer(const struct recipe *recipe, const char *data, const char *out, struct error *error) {
    const struct recipe_tokenizer *t = recipe->tokenizer;
    const struct bpe_settings settings = {.vocabulary = (size_t)t->vocabulary,
                                          .minimum_count = (size_t)t->minimum_count,
                                          .special = (const char *const *)t->special,
                                          .special_count = t->special_count};
    char path[4096];
    if (!path_join(path, sizeof path, data, "train.jsonl")) return error_set(error, "%s: path too long", data);
    struct dataset dataset = {0};
    struct bpe_trainer *trainer = NULL;
    const bool done = dataset_load(&dataset, path, error) && bpe_trainer_open(&trainer, &settings, error) &&
                      count_words(trainer, &dataset, error) && bpe_trainer_write(trainer, out, error);
    bpe_trainer_close(trainer);
    dataset_free(&dataset);
    if (done) log_info("the tokenizer is in %s", out);
    return done;
}
