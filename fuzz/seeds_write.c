/* Seeds for the fuzzers, made by the project's own writers: seeds_write FOLDER fills FOLDER/TARGET/ for the targets
 * whose files are binary or long. Seeds that a person can read stand in fuzz/seeds/. */
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "model/adapter.h"
#include "model/safetensors.h"
#include "small_model.h"
#include "tokenizer/bpe_trainer.h"
#include <stdio.h>
#include <stdlib.h>

static struct error error;

static void require(bool done) {
    if (done) return;
    fprintf(stderr, "seeds_write: %s\n", error.message);
    exit(1);
}

/* FOLDER/TARGET, made if it is not there. */
static const char *folder_of(const char *folder, const char *target) {
    static char path[1024];
    require(path_join(path, sizeof path, folder, target) && directory_create(path, &error));
    return path;
}

static void make_safetensors(const char *folder) {
    const float values[6] = {1, -2, 0.5f, 4, 0, 3};
    const char *const metadata[] = {"format", "pt"};
    char path[1200];
    for (int dtype = DTYPE_F32; dtype <= DTYPE_BF16; dtype++) {
        const struct tensor_to_write tensors[] = {{"model.norm.weight", (enum dtype)dtype, 1, {3}, values},
                                                  {"score.weight", DTYPE_F16, 2, {2, 3}, values}};
        snprintf(path, sizeof path, "%s/%s", folder_of(folder, "safetensors"), dtype_name((enum dtype)dtype));
        require(safetensors_write(path, tensors, 2, metadata, 1, &error));
    }
}

static void make_tokenizer(const char *folder) {
    static const char text[] =
        "the patient was admitted with chest pain and was treated; the pain was better the next day";
    const char *const special[] = {"<|endoftext|>"};
    const struct bpe_settings settings = {.vocabulary = 270, .special = special, .special_count = 1};
    struct bpe_trainer *trainer;
    require(bpe_trainer_open(&trainer, &settings, &error));
    require(bpe_trainer_add(trainer, text, sizeof text - 1, &error));
    require(bpe_trainer_write(trainer, folder_of(folder, "tokenizer"), &error));
    bpe_trainer_close(trainer);
}

/* An adapter as fuzz_adapter.c takes it: configuration, NUL, tensors. */
static void make_adapter(const char *folder) {
    const struct lora_settings settings = {
        .rank = 2, .alpha = 4, .targets = {[PROJECTION_Q] = true, [PROJECTION_V] = true}};
    const char *target = folder_of(folder, "adapter");
    char path[1200], config[1200], tensors[1200];
    struct decoder decoder;
    struct text seed = {0};
    require(small_model_write(folder) && decoder_open(&decoder, folder, &error));
    require(decoder_add_lora(&decoder, &settings, 2, 1, &error));
    require(decoder_write_adapter(&decoder, folder, "base", &error));
    decoder_close(&decoder);
    require(path_join(config, sizeof config, folder, "adapter_config.json") &&
            path_join(tensors, sizeof tensors, folder, "adapter_model.safetensors") &&
            path_join(path, sizeof path, target, "lora"));
    require(file_read(&seed, config, 0, &error));
    text_append(&seed, "", 1);
    require(file_read(&seed, tensors, 0, &error) && text_ok(&seed, &error));
    require(file_write(path, seed.data, seed.length, &error));
    text_free(&seed);
}

int main(int count, char **arguments) {
    if (count != 2) {
        fprintf(stderr, "usage: seeds_write FOLDER\n");
        return 2;
    }
    make_safetensors(arguments[1]);
    make_tokenizer(arguments[1]);
    make_adapter(arguments[1]);
    return 0;
}
