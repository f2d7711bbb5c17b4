/* Every path that opens a file of the user's, with each of its allocations failing in turn: an error that speaks of
 * memory, no crash, and (under the sanitizers) nothing leaked. */
#include "base/csv.h"
#include "base/error.h"
#include "base/memory.h"
#include "data/dataset.h"
#include "folder.h"
#include "model/decoder.h"
#include "model/safetensors.h"
#include "tokenizer/bpe_trainer.h"
#include "tokenizer/tokenizer.h"
#include "train/recipe.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* Opens, looks at what it got, and closes; true when all of it was there. */
typedef bool opening(struct error *error);

/* `least`: allocations that the opening is known to make at the least, so that a test that injects nothing fails. */
static void expect_errors(opening *open, int64_t least) {
    int64_t allowed = 0;
    for (bool opened = false; !opened; allowed++) {
        struct error error = {0};
        memory_fail_after(allowed);
        opened = open(&error);
        memory_fail_after(-1);
        if (!opened && strstr(error.message, "memory") == NULL)
            fail_msg("allocation %lld failed, the error says \"%s\"", (long long)allowed, error.message);
        assert_true(allowed < 100000);
    }
    assert_true(allowed > least);
}

static const struct model_config small = {.architecture = ARCHITECTURE_LLAMA,
                                          .V = 8,
                                          .C = 4,
                                          .L = 2,
                                          .H = 2,
                                          .K = 1,
                                          .D = 2,
                                          .F = 4,
                                          .positions = 16,
                                          .norm_eps = 1e-5f,
                                          .rope_theta = 10000,
                                          .bos_id = -1,
                                          .eos_id = -1,
                                          .pad_id = -1,
                                          .initializer_range = 0.02f};
static const struct lora_settings lora = {.rank = 2, .alpha = 4, .targets = {[PROJECTION_Q] = true}};

static void write_model(void) {
    struct decoder decoder;
    struct error error = {0};
    mkdir(folder_path("model"), 0755);
    mkdir(folder_path("adapter"), 0755);
    assert_true(decoder_create(&decoder, &small, 1, &error));
    assert_true(model_config_write(&small, folder_path("model"), "bfloat16", NULL, &error));
    assert_true(decoder_write(&decoder, folder_path("model"), DTYPE_BF16, &error));
    decoder_close(&decoder);
    assert_true(decoder_open(&decoder, folder_path("model"), &error));
    assert_true(decoder_add_lora(&decoder, &lora, 3, 1, &error));
    assert_true(decoder_write_adapter(&decoder, folder_path("adapter"), "model", &error));
    decoder_close(&decoder);
}

static bool open_decoder(struct error *error) {
    struct decoder decoder;
    if (!decoder_open(&decoder, folder_path("model"), error)) return false;
    const bool whole = decoder.final_norm.weight.data != NULL && decoder.head.weight.data != NULL;
    decoder_close(&decoder);
    return whole;
}

static bool open_adapter(bool train, struct error *error) {
    struct decoder decoder;
    if (!decoder_open(&decoder, folder_path("model"), error)) return false;
    const bool whole = decoder_open_adapter(&decoder, folder_path("adapter"), train, error);
    if (whole) assert_int_equal(decoder.config.labels, 3);
    decoder_close(&decoder);
    return whole;
}

static bool open_frozen_adapter(struct error *error) {
    return open_adapter(false, error);
}

static bool open_trained_adapter(struct error *error) {
    return open_adapter(true, error);
}

static void models_and_adapters(void **state) {
    (void)state;
    write_model();
    expect_errors(open_decoder, 50);
    expect_errors(open_frozen_adapter, 80);
    expect_errors(open_trained_adapter, 80);
}

static bool open_shards(struct error *error) {
    struct safetensors *set;
    struct matrix matrix;
    if (!safetensors_open(&set, folder_path("shards"), error)) return false;
    const bool whole = safetensors_count(set) == 2 && safetensors_matrix(set, "b", 1, 2, &matrix, error);
    safetensors_close(set);
    return whole;
}

static void safetensors_in_shards(void **state) {
    (void)state;
    static const char unaligned[] =
        "\x3b\0\0\0\0\0\0\0{\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}} "
        "         \0\0\0\0\0\0\0";
    const float value = 1;
    const struct tensor_to_write a = {"a", DTYPE_F32, 1, {1}, &value};
    struct error error = {0};
    mkdir(folder_path("shards"), 0755);
    assert_true(safetensors_write(folder_path("shards/one"), &a, 1, NULL, 0, &error));
    folder_write("shards/two", unaligned, 8 + 0x3b + 8);
    folder_write_text("shards/model.safetensors.index.json", "{\"weight_map\":{\"a\":\"one\",\"b\":\"two\"}}");
    if (!open_shards(&error)) fail_msg("%s", error.message);
    expect_errors(open_shards, 20);
}

static bool open_tokenizer(struct error *error) {
    struct tokenizer *tokenizer;
    struct token_list list = {0};
    if (!tokenizer_open(&tokenizer, folder_path("tokenizer"), error)) return false;
    const bool whole = tokenizer_encode(tokenizer, "pain <|end|> pain", 17, true, &list, error);
    if (whole) assert_int_equal(list.ids[2], tokenizer_token_id(tokenizer, "<|end|>"));
    token_list_free(&list);
    tokenizer_close(tokenizer);
    return whole;
}

static void a_tokenizer_and_its_encoding(void **state) {
    (void)state;
    static const char text[] = "pain pain pain pain ";
    const char *const special[] = {"<|end|>"};
    const struct bpe_settings settings = {.vocabulary = 262, .special = special, .special_count = 1};
    struct bpe_trainer *trainer;
    struct error error = {0};
    mkdir(folder_path("tokenizer"), 0755);
    assert_true(bpe_trainer_open(&trainer, &settings, &error));
    assert_true(bpe_trainer_add(trainer, text, sizeof text - 1, &error));
    assert_true(bpe_trainer_write(trainer, folder_path("tokenizer"), &error));
    bpe_trainer_close(trainer);
    expect_errors(open_tokenizer, 500);
}

static bool read_csv(struct error *error) {
    struct csv_reader *reader;
    size_t records = 0;
    bool more = true, read = csv_open(&reader, folder_path("t.csv"), error);
    if (!read) return false;
    for (; read && more; records += more) read = csv_next(reader, &more, error);
    csv_close(reader);
    if (read) assert_int_equal(records, 2);
    return read;
}

static bool load_dataset(struct error *error) {
    struct dataset dataset = {0};
    const bool read = dataset_load(&dataset, folder_path("t.jsonl"), error);
    if (read) assert_int_equal(dataset.count, 2);
    dataset_free(&dataset);
    return read;
}

static bool load_labels(struct error *error) {
    struct labels labels;
    if (!labels_load(&labels, folder_path("labels.tsv"), error)) return false;
    assert_int_equal(labels.count, 2);
    labels_free(&labels);
    return true;
}

static void cohorts_and_labels(void **state) {
    (void)state;
    folder_write_text("t.csv", "id,text\n1,\"one\"\n2,two\n");
    folder_write_text("t.jsonl",
                      "{\"text\":\"one\",\"drg\":470,\"note_id\":\"n\"}\n{\"text\":\"two\",\"hadm_id\":5}\n");
    folder_write_text("labels.tsv", "# grouper v43\nlabel\tdrg\n0\t1\n1\t470\n");
    expect_errors(read_csv, 5);
    expect_errors(load_dataset, 10);
    expect_errors(load_labels, 4);
}

static bool load_recipe(struct error *error) {
    const char *const overrides[] = {"train.learning_rate=3e-4", "seed=7"};
    struct recipe *recipe;
    struct text text = {0};
    const bool read = recipe_load(&recipe, &text, "recipes/tiny-classifier.yaml", overrides, 2, error);
    if (read) {
        assert_int_equal(recipe->seed, 7);
        recipe_free(recipe);
    }
    text_free(&text);
    return read;
}

static void recipes(void **state) {
    (void)state;
    expect_errors(load_recipe, 10);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_and_adapters),
        cmocka_unit_test(safetensors_in_shards),
        cmocka_unit_test(a_tokenizer_and_its_encoding),
        cmocka_unit_test(cohorts_and_labels),
        cmocka_unit_test(recipes),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
