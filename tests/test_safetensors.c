/* Checkpoint formats: what is written reads back, and damaged or hostile files are refused in one line. */
#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/text.h"
#include "folder.h"
#include "model/adapter.h"
#include "model/classifier.h"
#include "model/safetensors.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

/* A file from a header, filled up with blanks to a multiple of 8, and a number of zero bytes of data. */
static const char *write_file(const char *name, const char *header, size_t data) {
    struct text bytes = {0};
    const size_t length = (strlen(header) + 7) / 8 * 8;
    for (int i = 0; i < 8; i++) text_add_char(&bytes, (char)(length >> (8 * i) & 255));
    text_printf(&bytes, "%-*s", (int)length, header);
    for (size_t i = 0; i < data; i++) text_add_char(&bytes, '\0');
    const char *path = folder_write(name, bytes.data, bytes.length);
    text_free(&bytes);
    return path;
}

static void refuse(const char *path, const char *part) {
    struct safetensors *set;
    struct error error = {0};
    if (safetensors_open(&set, path, &error)) {
        safetensors_close(set);
        fail_msg("%s was opened", path);
    }
    if (strstr(error.message, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", error.message, part);
}

static void tensors_read_back_in_every_storage_type(void **state) {
    (void)state;
    const float values[6] = {1, -2.5f, 0.25f, 1024, -0.0078125f, 3};
    struct error error = {0};
    for (int dtype = DTYPE_F32; dtype <= DTYPE_BF16; dtype++) {
        const struct tensor_to_write tensors[] = {{"b.weight", (enum dtype)dtype, 2, {2, 3}, values},
                                                  {"a.bias", (enum dtype)dtype, 1, {3}, values + 3}};
        const char *const metadata[] = {"format", "pt"};
        struct safetensors *set;
        struct matrix matrix;
        float back[6];
        assert_true(safetensors_write(folder_path("m.safetensors"), tensors, 2, metadata, 1, &error));
        assert_true(safetensors_open(&set, folder_path("m.safetensors"), &error));
        assert_int_equal(safetensors_count(set), 2);
        assert_string_equal(safetensors_at(set, 0)->name, "a.bias");
        assert_true(safetensors_matrix(set, "b.weight", 2, 3, &matrix, &error));
        matrix_widen(back, &matrix, 0, 6);
        assert_memory_equal(back, values, sizeof values);
        assert_true(safetensors_matrix(set, "a.bias", 1, 3, &matrix, &error));
        safetensors_close(set);
    }
}

static void hostile_headers_are_refused(void **state) {
    (void)state;
    static const unsigned char huge[] = {0, 0, 0, 0, 0, 0, 0, 0x10, '{', '}'}; /* 2^60 */
    refuse(folder_write("tiny", "abc", 3), "too few");
    refuse(folder_write("huge", huge, sizeof huge), "claims 1152921504606846976 bytes");
    refuse(write_file("list", "[]", 0), "not a JSON object");
    refuse(write_file("broken", "{\"a\":", 0), "not valid JSON");
    refuse(write_file("dtype", "{\"a\":{\"dtype\":\"F7\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4), "dtype");
    refuse(write_file("behind", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4),
           "outside the file");
    refuse(write_file("size", "{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8),
           "asks for 12 bytes");
    refuse(write_file("negative", "{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,8]}}", 8), "no size");
    refuse(write_file("overflow",
                      "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296,4294967296],\"data_offsets\":[0,0]}}",
                      0),
           "too many elements");
    refuse(write_file("dims", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1],\"data_offsets\":[0,4]}}", 4),
           "dimensions");
    refuse(write_file("hole", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8), "hole");
    refuse(write_file("over",
                      "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F32\","
                      "\"shape\":[1],\"data_offsets\":[4,8]}}",
                      8),
           "overlap");
    refuse(write_file("rest", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 8), "belong to none");
    refuse(write_file("twice",
                      "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\","
                      "\"shape\":[1],\"data_offsets\":[4,8]}}",
                      8),
           "twice");
    refuse(write_file("metadata", "{\"__metadata__\":{\"a\":1}}", 0), "no string");
    refuse(folder_path("absent"), "absent");
    mkdir(folder_path("empty"), 0755);
    refuse(folder_path("empty"), "neither model.safetensors");
}

static void a_wrong_shape_and_a_nan_are_named(void **state) {
    (void)state;
    const float values[6] = {1, 2, 3, 4, NAN, 6};
    const struct tensor_to_write tensor = {"model.layers.3.mlp.up_proj.weight", DTYPE_F32, 2, {2, 3}, values};
    struct error error = {0};
    struct safetensors *set;
    struct matrix matrix;
    assert_true(safetensors_write(folder_path("model.safetensors"), &tensor, 1, NULL, 0, &error));
    assert_true(safetensors_open(&set, folder_path("model.safetensors"), &error));
    assert_false(safetensors_matrix(set, "model.layers.3.mlp.up_proj.weight", 2, 4, &matrix, &error));
    assert_string_equal(
        error.message,
        "model.safetensors: tensor model.layers.3.mlp.up_proj.weight has shape [2, 3], config.json says [2, 4]");
    assert_false(safetensors_matrix(set, "model.layers.3.mlp.up_proj.weight", 2, 3, &matrix, &error));
    assert_non_null(strstr(error.message, "element 4"));
    assert_false(safetensors_matrix(set, "absent", 2, 3, &matrix, &error));
    safetensors_close(set);
}

static void shards_are_joined_and_their_names_checked(void **state) {
    (void)state;
    const float value = 1;
    const struct tensor_to_write a = {"a", DTYPE_F32, 1, {1}, &value}, b = {"b", DTYPE_F32, 1, {1}, &value};
    struct error error = {0};
    struct safetensors *set;
    mkdir(folder_path("shards"), 0755);
    assert_true(safetensors_write(folder_path("shards/one.safetensors"), &a, 1, NULL, 0, &error));
    assert_true(safetensors_write(folder_path("shards/two.safetensors"), &b, 1, NULL, 0, &error));
    const char *index = "shards/model.safetensors.index.json";
    folder_write_text(index, "{\"weight_map\":{\"a\":\"one.safetensors\",\"b\":\"two.safetensors\"}}");
    assert_true(safetensors_open(&set, folder_path("shards"), &error));
    assert_non_null(safetensors_find(set, "b"));
    safetensors_close(set);
    folder_write_text(index, "{\"weight_map\":{\"a\":\"../one.safetensors\"}}");
    refuse(folder_path("shards"), "no plain file name");
    folder_write_text(index, "{\"weight_map\":{\"a\":\"two.safetensors\",\"b\":\"one.safetensors\"}}");
    refuse(folder_path("shards"), "is not in");
    folder_write_text(index, "{\"weight_map\":{}}");
    refuse(folder_path("shards"), "empty");
}

static void damaged_files_never_crash(void **state) {
    (void)state;
    const float values[64] = {0};
    const struct tensor_to_write tensors[] = {{"one", DTYPE_F32, 2, {4, 8}, values},
                                              {"two", DTYPE_BF16, 1, {64}, values}};
    struct error error = {0};
    struct text whole = {0};
    struct rng rng;
    rng_seed(&rng, 9);
    assert_true(safetensors_write(folder_path("seed"), tensors, 2, NULL, 0, &error));
    assert_true(file_read(&whole, folder_path("seed"), 0, &error));
    for (int round = 0; round < 3000; round++) {
        struct text mutant = {0};
        struct safetensors *set;
        text_append(&mutant, whole.data, round % 5 == 0 ? rng_below(&rng, whole.length) : whole.length);
        for (int i = 0; i < 3 && mutant.length > 0; i++) {
            mutant.data[rng_below(&rng, mutant.length < 200 ? mutant.length : 200)] =
                round % 2 == 0 ? (char)rng_below(&rng, 256) : "0123456789[]{},:\"-"[rng_below(&rng, 18)];
        }
        folder_write("mutant", mutant.data == NULL ? "" : mutant.data, mutant.length);
        if (safetensors_open(&set, folder_path("mutant"), &error)) {
            struct matrix matrix;
            safetensors_matrix(set, "one", 4, 8, &matrix, &error);
            safetensors_close(set);
        }
        text_free(&mutant);
    }
    text_free(&whole);
}

static const char good_config[] =
    "{\"architectures\":[\"LlamaForCausalLM\"],\"vocab_size\":100,\"hidden_size\":64,\"num_hidden_layers\":2,"
    "\"num_attention_heads\":4,\"intermediate_size\":96%s}";

static void refuse_config(const char *more, const char *part) {
    char json[2048];
    struct model_config config;
    struct error error = {0};
    snprintf(json, sizeof json, good_config, more);
    if (model_config_parse(&config, "config.json", json, strlen(json), &error)) fail_msg("%s was taken", more);
    if (strstr(error.message, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", error.message, part);
}

static void configurations_have_their_defaults_and_refuse_by_name(void **state) {
    (void)state;
    char json[2048];
    struct model_config config;
    struct error error = {0};
    snprintf(json, sizeof json, good_config, "");
    assert_true(model_config_parse(&config, "config.json", json, strlen(json), &error));
    assert_int_equal(config.K, 4);
    assert_int_equal(config.D, 16);
    assert_false(config.qkv_bias || config.tied || config.classifier);
    refuse_config(",\"num_key_value_heads\":3", "multiple");
    refuse_config(",\"head_dim\":1000", "head_dim");
    refuse_config(",\"hidden_act\":\"gelu\"", "gelu");
    refuse_config(",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4}", "yarn");
    refuse_config(",\"rope_scaling\":{\"type\":\"linear\",\"factor\":0.5}", "factor");
    refuse_config(",\"quantization_config\":{}", "quantization_config");
    refuse_config(",\"rms_norm_eps\":-1", "rms_norm_eps");
    refuse_config(",\"max_position_embeddings\":1e30", "max_position_embeddings");
    const char *other = "{\"architectures\":[\"GPT2LMHeadModel\"]}";
    assert_false(model_config_parse(&config, "config.json", other, strlen(other), &error));
    assert_non_null(strstr(error.message, "GPT2LMHeadModel"));
}

static void a_written_configuration_reads_back(void **state) {
    (void)state;
    struct model_config made = {.architecture = ARCHITECTURE_LLAMA,
                                .classifier = true,
                                .V = 50,
                                .C = 32,
                                .L = 3,
                                .H = 4,
                                .K = 2,
                                .D = 10,
                                .F = 40,
                                .labels = 7,
                                .positions = 77,
                                .norm_eps = 1e-5f,
                                .rope_theta = 5e5,
                                .rope_scaling = ROPE_LLAMA3,
                                .rope_factor = 8,
                                .rope_low = 1,
                                .rope_high = 4,
                                .rope_original = 64,
                                .tied = true,
                                .bos_id = 1,
                                .eos_id = 2,
                                .pad_id = -1,
                                .initializer_range = 0.02f};
    struct model_config read;
    struct error error = {0};
    mkdir(folder_path("config"), 0755);
    assert_true(model_config_write(&made, folder_path("config"), "float32", NULL, &error));
    if (!model_config_load(&read, folder_path("config"), &error)) fail_msg("%s", error.message);
    assert_int_equal(read.labels, 7);
    assert_int_equal(read.D, 10);
    assert_int_equal(read.rope_original, 64);
    assert_true(read.classifier && read.tied && read.rope_scaling == ROPE_LLAMA3 && read.pad_id == -1 &&
                read.eos_id == 2);
}

static void refuse_adapter(const char *json, const char *part) {
    struct adapter_config config;
    struct error error = {0};
    mkdir(folder_path("adapter"), 0755);
    folder_write_text("adapter/adapter_config.json", json);
    if (adapter_config_load(&config, folder_path("adapter"), &error)) fail_msg("%s was taken", json);
    if (strstr(error.message, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", error.message, part);
}

static void adapters_that_would_be_computed_wrongly_are_refused(void **state) {
    (void)state;
    refuse_adapter("{\"peft_type\":\"IA3\"}", "IA3");
    refuse_adapter("{\"peft_type\":\"LORA\",\"r\":0,\"lora_alpha\":1}", "\"r\"");
    refuse_adapter("{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":1,\"use_dora\":true}", "use_dora");
    refuse_adapter("{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":1,\"target_modules\":[\"q_proj\"],"
                   "\"rank_pattern\":{\"q_proj\":0}}",
                   "rank_pattern");
    refuse_adapter("{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":1,\"exclude_modules\":[\"q_proj\"]}",
                   "exclude_modules");
    refuse_adapter("{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":1,\"target_modules\":[\"q_proj\"],"
                   "\"modules_to_save\":[\"embed_tokens\"]}",
                   "embed_tokens");
    refuse_adapter("{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":1,\"bias\":\"all\"}", "bias");
    refuse_adapter("{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":1,\"target_modules\":[\"embed_tokens\"]}",
                   "embed_tokens");
    refuse_adapter("{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":1,\"target_modules\":[]}", "target_modules");
}

static void a_run_card_reads_back(void **state) {
    (void)state;
    int codes[] = {1, 291, 871};
    struct run_card made = {.task = "classify",
                            .grouper = GROUPER_V43,
                            .max_tokens = 512,
                            .base = "../base",
                            .recipe = "r.yaml",
                            .labels = {GROUPER_V43, codes, 3}};
    struct run_card read;
    struct error error = {0};
    mkdir(folder_path("run"), 0755);
    assert_true(run_card_write(&made, folder_path("run"), &error));
    assert_true(run_card_load(&read, folder_path("run"), &error));
    assert_int_equal(read.labels.count, 3);
    assert_int_equal(read.labels.codes[1], 291);
    assert_string_equal(read.base, "../base");
    run_card_free(&read);
    folder_write_text("run/casemix.json",
                      "{\"format\":1,\"task\":\"classify\",\"grouper\":\"v43\",\"max_tokens\":5,\"drgs\":[5,4]}");
    assert_false(run_card_load(&read, folder_path("run"), &error));
    assert_non_null(strstr(error.message, "rising"));
    folder_write_text("run/casemix.json", "{\"format\":9}");
    assert_false(run_card_load(&read, folder_path("run"), &error));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_read_back_in_every_storage_type),
        cmocka_unit_test(hostile_headers_are_refused),
        cmocka_unit_test(a_wrong_shape_and_a_nan_are_named),
        cmocka_unit_test(shards_are_joined_and_their_names_checked),
        cmocka_unit_test(damaged_files_never_crash),
        cmocka_unit_test(configurations_have_their_defaults_and_refuse_by_name),
        cmocka_unit_test(a_written_configuration_reads_back),
        cmocka_unit_test(adapters_that_would_be_computed_wrongly_are_refused),
        cmocka_unit_test(a_run_card_reads_back),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
