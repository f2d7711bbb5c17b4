/* config.json as the published models have it: shapes, rope settings and parameter counts, and what the several
 * versions of transformers write for the same model. */
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "folder.h"
#include "model/config.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static struct model_config published(const char *name) {
    struct model_config config = {0};
    struct text text = {0};
    struct error error = {0};
    char path[256];
    snprintf(path, sizeof path, "tests/configs/%s.json", name);
    if (!file_read(&text, path, 1 << 20, &error) ||
        !model_config_parse(&config, path, text.data, text.length, &error)) {
        fail_msg("%s", error.message);
    }
    text_free(&text);
    return config;
}

/* Embedding, layers (two norms, seven projections and their biases), final norm, and a head of its own if not tied. */
static int64_t parameters_of(const struct model_config *c) {
    const int64_t queries = c->H * c->D, keys = c->K * c->D;
    const int64_t biases =
        (c->qkv_bias ? queries + 2 * keys : 0) + (c->o_bias ? c->C : 0) + (c->mlp_bias ? 2 * c->F + c->C : 0);
    const int64_t layer = 2 * c->C + 2 * c->C * queries + 2 * c->C * keys + 3 * c->C * c->F + biases;
    return c->V * c->C * (c->tied ? 1 : 2) + c->L * layer + c->C;
}

/* Counts: the "total parameters" of each model's safetensors files as its page on the Hugging Face hub shows them. */
static void published_models_have_their_published_parameter_counts(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int64_t parameters, positions;
        double rope_theta;
    } models[] = {
        {"huggyllama-7b", 6738415616, 2048, 1e4},
        {"llama-2-7b", 6738415616, 4096, 1e4},
        {"llama-2-13b", 13015864320, 4096, 1e4},
        {"llama-2-70b", 68976648192, 4096, 1e4},
        {"llama-3-8b", 8030261248, 8192, 5e5},
        {"llama-3.1-8b", 8030261248, 131072, 5e5},
        {"llama-3.1-70b-instruct", 70553706496, 131072, 5e5},
        {"llama-3.2-1b", 1235814400, 131072, 5e5},
        {"llama-3.2-3b", 3212749824, 131072, 5e5},
        {"qwen2.5-0.5b", 494032768, 32768, 1e6},
        {"qwen2.5-1.5b", 1543714304, 131072, 1e6},
        {"qwen2.5-3b", 3085938688, 32768, 1e6},
        {"qwen2.5-7b", 7615616512, 131072, 1e6},
        {"qwen2.5-14b", 14770033664, 131072, 1e6},
        {"qwen2.5-32b", 32763876352, 131072, 1e6},
        {"qwen2.5-72b", 72706203648, 131072, 1e6},
        {"mistral-7b-v0.1", 7241732096, 4096, 1e4},
        {"mistral-7b-v0.3", 7248023552, 32768, 1e6},
    };
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        const struct model_config config = published(models[i].name);
        if (parameters_of(&config) != models[i].parameters)
            fail_msg("%s has %lld parameters, published are %lld", models[i].name, (long long)parameters_of(&config),
                     (long long)models[i].parameters);
        if (config.positions != models[i].positions) fail_msg("%s: positions", models[i].name);
        if (fabs(config.rope_theta - models[i].rope_theta) > 0) fail_msg("%s: rope_theta", models[i].name);
        assert_false(config.classifier);
    }
}

static void shapes_heads_and_ids_are_those_of_the_files(void **state) {
    (void)state;
    const struct model_config small = published("llama-3.2-1b"), large = published("llama-3.1-70b-instruct"),
                              qwen = published("qwen2.5-0.5b"), old = published("huggyllama-7b");
    assert_int_equal(small.D, 64);
    assert_int_equal(small.K, 8);
    assert_true(small.tied && small.rope_scaling == ROPE_LLAMA3);
    assert_true(fabs(small.rope_factor - 32) < 1e-12 && small.rope_original == 8192);
    assert_int_equal(large.D, 128);
    assert_int_equal(large.eos_id, 128001);
    assert_int_equal(large.pad_id, -1);
    assert_true(qwen.qkv_bias && !qwen.o_bias && !qwen.mlp_bias);
    assert_int_equal(old.K, 32);
    assert_int_equal(old.pad_id, 0);
    assert_string_equal(architecture_name(&qwen), "Qwen2ForCausalLM");
}

#define SIZES                                                                                  \
    "\"vocab_size\":100,\"hidden_size\":64,\"num_hidden_layers\":4,\"num_attention_heads\":4," \
    "\"num_key_value_heads\":2,\"intermediate_size\":96,\"max_position_embeddings\":1000"

static bool parse(struct model_config *config, const char *architecture, const char *more, struct error *error) {
    char json[4096];
    snprintf(json, sizeof json, "{\"architectures\":[\"%s\"]," SIZES "%s}", architecture, more);
    return model_config_parse(config, "config.json", json, strlen(json), error);
}

static struct model_config taken(const char *architecture, const char *more) {
    struct model_config config = {0};
    struct error error = {0};
    if (!parse(&config, architecture, more, &error)) fail_msg("%s", error.message);
    return config;
}

static void refused(const char *architecture, const char *more, const char *message) {
    struct model_config config;
    struct error error = {0};
    if (parse(&config, architecture, more, &error)) fail_msg("%s was taken", more);
    assert_string_equal(error.message, message);
}

static void old_and_new_files_of_one_model_give_the_same_frequencies(void **state) {
    (void)state;
    static const char *const ways[] = {
        ",\"rope_theta\":500000.0,\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,"
        "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":64}",
        ",\"rope_theta\":500000.0,\"rope_scaling\":{\"type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,"
        "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":64}",
        ",\"rope_parameters\":{\"rope_theta\":500000.0,\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,"
        "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":64}",
        ",\"rope_theta\":500000.0,\"rope_scaling\":null,\"rope_parameters\":{\"rope_type\":\"llama3\",\"factor\":8.0,"
        "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,\"original_max_position_embeddings\":64}"};
    double first[8], other[8];
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        const struct model_config config = taken("LlamaForCausalLM", ways[i]);
        model_config_frequencies(&config, i == 0 ? first : other);
        if (i > 0) assert_memory_equal(first, other, sizeof first);
    }
    const struct model_config linear =
        taken("LlamaForCausalLM", ",\"rope_scaling\":{\"type\":\"linear\",\"factor\":4.0}");
    const struct model_config plain = taken("LlamaForCausalLM", ",\"rope_parameters\":{\"rope_theta\":10000.0}");
    model_config_frequencies(&linear, first);
    model_config_frequencies(&plain, other);
    for (int i = 0; i < 8; i++) assert_true(fabs(4 * first[i] - other[i]) <= 1e-12 * other[i]);
}

static void a_sliding_window_in_use_limits_the_positions(void **state) {
    (void)state;
    const char *window = ",\"sliding_window\":128";
    assert_int_equal(taken("MistralForCausalLM", window).positions, 128);
    assert_int_equal(taken("MistralForCausalLM", ",\"sliding_window\":null").positions, 1000);
    assert_int_equal(taken("MistralForCausalLM", "").positions, 1000); /* 4096 when absent */
    assert_int_equal(taken("LlamaForCausalLM", window).positions, 1000);
    assert_int_equal(taken("Qwen2ForCausalLM", window).positions, 1000);
    const char *switched = ",\"sliding_window\":128,\"use_sliding_window\":true,\"max_window_layers\":2";
    assert_int_equal(taken("Qwen2ForCausalLM", switched).positions, 128);
    const char *beyond = ",\"sliding_window\":128,\"use_sliding_window\":true,\"max_window_layers\":4";
    assert_int_equal(taken("Qwen2ForCausalLM", beyond).positions, 1000);
    const char *listed = ",\"sliding_window\":128,\"layer_types\":[\"full_attention\",\"sliding_attention\"]";
    assert_int_equal(taken("Qwen2ForCausalLM", listed).positions, 128);
    const char *full = ",\"sliding_window\":128,\"use_sliding_window\":true,\"layer_types\":[\"full_attention\"]";
    assert_int_equal(taken("Qwen2ForCausalLM", full).positions, 1000);
    refused("Qwen2ForCausalLM", ",\"layer_types\":[\"linear_attention\"]",
            "config.json: layer_types: \"linear_attention\" is not supported");
}

static void labels_are_counted_as_transformers_counts_them(void **state) {
    (void)state;
    assert_int_equal(taken("LlamaForSequenceClassification", "").labels, 2);
    assert_int_equal(taken("LlamaForSequenceClassification", ",\"num_labels\":5").labels, 5);
    const char *both = ",\"num_labels\":5,\"id2label\":{\"0\":\"a\",\"1\":\"b\",\"2\":\"c\"}";
    assert_int_equal(taken("Qwen2ForSequenceClassification", both).labels, 3);
    assert_true(taken("MistralForSequenceClassification", both).classifier);
}

static void fields_that_change_no_result_are_taken(void **state) {
    (void)state;
    const struct model_config config =
        taken("LlamaForCausalLM", ",\"pretraining_tp\":2,\"torch_dtype\":\"float16\",\"dtype\":\"bfloat16\","
                                  "\"pad_token_id\":null,\"eos_token_id\":[7,8],\"head_dim\":null,"
                                  "\"rope_scaling\":null,\"use_cache\":true,\"attention_bias\":true,\"mlp_bias\":true");
    assert_int_equal(config.eos_id, 7);
    assert_int_equal(config.D, 16);
    assert_true(config.qkv_bias && config.o_bias && config.mlp_bias);
    assert_false(taken("MistralForCausalLM", ",\"attention_bias\":true").qkv_bias);
}

static void what_is_not_computed_is_refused_by_name(void **state) {
    (void)state;
    refused("Qwen3ForCausalLM", "", "config.json: architecture \"Qwen3ForCausalLM\" is not supported");
    refused("LlamaForCausalLM", ",\"rope_scaling\":{\"rope_type\":\"yarn\",\"factor\":4.0}",
            "config.json: rope_scaling: type \"yarn\" is not supported");
    refused("LlamaForCausalLM", ",\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"default\"}}",
            "config.json: rope_parameters: parameters of their own for \"full_attention\" are not supported");
    refused("LlamaForCausalLM", ",\"rope_scaling\":{\"factor\":4.0}",
            "config.json: \"rope_scaling\" names no \"rope_type\"");
    refused("LlamaForCausalLM", ",\"rms_norm_eps\":1e-85", "config.json: rms_norm_eps 1e-85 is not between 0 and 1");
    refused("LlamaForCausalLM", ",\"partial_rotary_factor\":0.5",
            "config.json: partial_rotary_factor 0.5 is not supported, only 1 is");
    refused("LlamaForCausalLM", ",\"rope_parameters\":{\"rope_theta\":0}",
            "config.json: rope_theta 0 is not 1 or more");
}

static void a_mistral_configuration_is_written_as_one(void **state) {
    (void)state;
    struct model_config made = published("mistral-7b-v0.1"), read;
    struct error error = {0};
    mkdir(folder_path("mistral"), 0755);
    assert_true(model_config_write(&made, folder_path("mistral"), "bfloat16", NULL, &error));
    if (!model_config_load(&read, folder_path("mistral"), &error)) fail_msg("%s", error.message);
    assert_string_equal(architecture_name(&read), "MistralForCausalLM");
    assert_int_equal(read.positions, 4096);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_models_have_their_published_parameter_counts),
        cmocka_unit_test(shapes_heads_and_ids_are_those_of_the_files),
        cmocka_unit_test(old_and_new_files_of_one_model_give_the_same_frequencies),
        cmocka_unit_test(a_sliding_window_in_use_limits_the_positions),
        cmocka_unit_test(labels_are_counted_as_transformers_counts_them),
        cmocka_unit_test(fields_that_change_no_result_are_taken),
        cmocka_unit_test(what_is_not_computed_is_refused_by_name),
        cmocka_unit_test(a_mistral_configuration_is_written_as_one),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
