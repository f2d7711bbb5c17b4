/* Adapters of PEFT: which modules a configuration means, several adapters on one base, what is written read back, and
 * merging. */
#include "base/error.h"
#include "base/file.h"
#include "base/rng.h"
#include "command.h"
#include "folder.h"
#include "model/adapter.h"
#include "model/decoder.h"
#include "model/export.h"
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

enum { TOKENS = 11, VOCABULARY = 29, LABELS = 4, LAYERS = 3 };

static const int32_t tokens[TOKENS] = {3, 9, 4, 7, 7, 12, 5, 1, 28, 22, 17};
static const int32_t offsets[] = {0, 6, TOKENS};
static const struct batch batch = {.T = TOKENS, .N = 2, .tokens = tokens, .offsets = offsets};

/* DIR/base: a causal Llama stored as bf16 or f32, with weights of a size that trained ones have. */
static void write_base(const char *name, enum dtype dtype) {
    const struct model_config config = {.architecture = ARCHITECTURE_LLAMA,
                                        .V = VOCABULARY,
                                        .C = 16,
                                        .L = LAYERS,
                                        .H = 4,
                                        .K = 2,
                                        .D = 4,
                                        .F = 24,
                                        .positions = 64,
                                        .norm_eps = 1e-6f,
                                        .rope_theta = 10000,
                                        .bos_id = -1,
                                        .eos_id = -1,
                                        .pad_id = -1,
                                        .initializer_range = 0.3f};
    struct decoder decoder;
    struct error error = {0};
    mkdir(folder_path(name), 0755);
    assert_true(decoder_create(&decoder, &config, 7, &error));
    assert_true(
        model_config_write(&config, folder_path(name), dtype == DTYPE_F32 ? "float32" : "bfloat16", NULL, &error));
    assert_true(decoder_write(&decoder, folder_path(name), dtype, &error));
    decoder_close(&decoder);
}

/* An adapter that does something, made and written by casemix: labels 0 for none. */
static void write_adapter(const char *base, const char *name, const struct lora_settings *settings, int64_t labels,
                          uint64_t seed) {
    struct decoder decoder;
    struct error error = {0};
    struct rng rng;
    rng_seed(&rng, seed);
    assert_true(decoder_open(&decoder, folder_path(base), &error));
    assert_true(decoder_add_lora(&decoder, settings, labels, seed, &error));
    for (int64_t i = 0; i < decoder.parameters.total; i++)
        decoder.parameters.values[i] += 0.2f * (float)rng_normal(&rng);
    mkdir(folder_path(name), 0755);
    if (!decoder_write_adapter(&decoder, folder_path(name), "../base", &error)) fail_msg("%s", error.message);
    decoder_close(&decoder);
}

static void logits_of(const struct decoder *decoder, float *logits) {
    struct decoder_run *run;
    struct error error = {0};
    assert_true(decoder_run_open(&run, decoder, TOKENS, 2, false, &error));
    if (decoder->config.classifier)
        decoder_classify_forward(decoder, run, &batch, 0, logits);
    else
        decoder_logits(decoder, run, &batch, logits);
    decoder_run_close(run);
}

static double relative_difference(const float *a, const float *b, int count) {
    double difference = 0, norm = 0;
    for (int i = 0; i < count; i++) {
        difference += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
        norm += (double)b[i] * (double)b[i];
    }
    return sqrt(difference / norm);
}

static const struct lora_settings everything = {
    .rank = 3, .alpha = 6, .targets = {true, true, true, true, true, true, true}};
static const struct lora_settings some = {
    .rank = 2, .alpha = 4, .rank_stable = true, .targets = {[PROJECTION_Q] = true, [PROJECTION_V] = true}};

static void parse(const char *members, struct adapter_config *config) {
    char json[2048];
    struct error error = {0};
    snprintf(json, sizeof json, "{\"peft_type\": \"LORA\", \"r\": 8, \"lora_alpha\": 16, %s}", members);
    mkdir(folder_path("parsed"), 0755);
    folder_write_text("parsed/adapter_config.json", json);
    if (!adapter_config_load(config, folder_path("parsed"), &error)) fail_msg("%s", error.message);
}

/* Ranks of q, k, v, o, gate, up, down of a layer, as digits. */
static const char *ranks_of(const struct adapter_config *config, int64_t layer) {
    static char digits[PROJECTIONS + 1];
    struct error error = {0};
    for (int kind = 0; kind < PROJECTIONS; kind++) {
        int64_t rank;
        double alpha;
        if (!adapter_config_term(config, layer, (enum projection_kind)kind, &rank, &alpha, &error))
            fail_msg("%s", error.message);
        digits[kind] = (char)('0' + rank);
    }
    return digits;
}

static void check_ranks(const char *members, const char *in_layer_0, const char *in_layer_2) {
    struct adapter_config config;
    struct error error = {0};
    parse(members, &config);
    for (int round = 0; round < 2; round++) { /* as read, and as written and read again */
        assert_string_equal(ranks_of(&config, 0), in_layer_0);
        assert_string_equal(ranks_of(&config, 2), in_layer_2);
        assert_true(adapter_config_write(&config, folder_path("parsed"), false, &error));
        adapter_config_free(&config);
        assert_true(adapter_config_load(&config, folder_path("parsed"), &error));
    }
    adapter_config_free(&config);
}

static void targets_are_found_as_peft_finds_them(void **state) {
    (void)state;
    check_ranks("\"target_modules\": [\"q_proj\", \"up_proj\"]", "8000080", "8000080");
    check_ranks("\"target_modules\": [\"layers.2.self_attn.k_proj\", \"mlp.down_proj\"]", "0000008", "0800008");
    check_ranks("\"target_modules\": \"all-linear\"", "8888888", "8888888");
    check_ranks("\"target_modules\": \"model\\\\.layers\\\\.[12]\\\\..*(q|v)_proj\"", "0000000", "8080000");
    check_ranks("\"target_modules\": \"q_proj\"", "0000000", "0000000"); /* the whole name must match */
    check_ranks("\"target_modules\": [\"q_proj\"], \"layers_to_transform\": [1, 2]", "0000000", "8000000");
    check_ranks("\"target_modules\": [\"q_proj\"], \"layers_to_transform\": 0", "8000000", "0000000");
    check_ranks("\"target_modules\": \"all-linear\", \"rank_pattern\": {\"q_proj\": 2, \"layers.2.*down_proj\": 4}",
                "2888888", "2888884");
}

static void alphas_follow_their_pattern_and_bad_expressions_are_named(void **state) {
    (void)state;
    struct adapter_config config;
    struct error error = {0};
    int64_t rank;
    double alpha;
    parse("\"target_modules\": [\"q_proj\", \"v_proj\"], \"alpha_pattern\": {\"v_proj\": 5}", &config);
    assert_true(adapter_config_term(&config, 0, PROJECTION_Q, &rank, &alpha, &error) && alpha == 16.0);
    assert_true(adapter_config_term(&config, 0, PROJECTION_V, &rank, &alpha, &error) && alpha == 5.0);
    adapter_config_free(&config);
    parse("\"target_modules\": \"(q_proj\"", &config);
    assert_false(adapter_config_term(&config, 0, PROJECTION_Q, &rank, &alpha, &error));
    assert_non_null(strstr(error.message, "(q_proj"));
    adapter_config_free(&config);
    parse("\"target_modules\": \"(.*a?)*(.*a?)*(.*a?)*[xz]\"", &config);
    assert_false(adapter_config_term(&config, 0, PROJECTION_Q, &rank, &alpha, &error));
    assert_non_null(strstr(error.message, "too far"));
    adapter_config_free(&config);
}

/* The adapter's tensors stored as bf16: the configuration stays. */
static void store_as_bf16(const char *from, const char *to) {
    char command[1400];
    struct safetensors *file;
    struct error error = {0};
    static struct tensor_to_write stored[256];
    const size_t length = (size_t)snprintf(command, sizeof command, "cp -r '%s' ", folder_path(from));
    snprintf(command + length, sizeof command - length, "'%s'", folder_path(to));
    assert_int_equal(system(command), 0);
    char path[1024];
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder_path(from));
    assert_true(safetensors_open(&file, path, &error));
    const size_t count = safetensors_count(file);
    for (size_t i = 0; i < count; i++) {
        const struct stored_tensor *tensor = safetensors_at(file, i);
        stored[i] =
            (struct tensor_to_write){.name = tensor->name, .dtype = DTYPE_BF16, .dims = 2, .data = tensor->data};
        memcpy(stored[i].shape, tensor->shape, sizeof stored[i].shape);
    }
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", folder_path(to));
    assert_true(safetensors_write(path, stored, count, NULL, 0, &error));
    safetensors_close(file);
}

static void adapters_are_switched_summed_and_taken_off_by_name(void **state) {
    (void)state;
    enum { LOGITS = TOKENS * VOCABULARY };
    static float bare[LOGITS], one[LOGITS], two[LOGITS], both[LOGITS], again[LOGITS], stacked[LOGITS];
    struct error error = {0};
    struct decoder decoder, alone;
    write_base("base", DTYPE_F32);
    write_adapter("base", "one", &everything, 0, 1);
    write_adapter("base", "two", &some, 0, 2);
    assert_true(decoder_open(&decoder, folder_path("base"), &error));
    logits_of(&decoder, bare);
    assert_true(decoder_load_adapter(&decoder, "one", folder_path("one"), false, &error));
    assert_true(decoder_load_adapter(&decoder, "two", folder_path("two"), false, &error));
    logits_of(&decoder, again);
    assert_memory_equal(bare, again, sizeof bare);
    struct decoder_run *run; /* one run serves them all */
    assert_true(decoder_run_open(&run, &decoder, TOKENS, 2, false, &error));
    const struct {
        const char *names[2];
        size_t count;
        float *logits;
    } uses[] = {{{"one"}, 1, one}, {{"two"}, 1, two}, {{"one", "two"}, 2, both}, {{NULL}, 0, again}};
    for (size_t i = 0; i < 4; i++) {
        assert_true(decoder_use_adapters(&decoder, uses[i].names, uses[i].count, &error));
        decoder_logits(&decoder, run, &batch, uses[i].logits);
    }
    decoder_run_close(run);
    assert_memory_equal(bare, again, sizeof bare);
    assert_true(relative_difference(one, bare, LOGITS) > 0.05 && relative_difference(two, bare, LOGITS) > 0.01);
    assert_true(relative_difference(both, one, LOGITS) > 0.01);
    assert_true(decoder_open(&alone, folder_path("base"), &error));
    assert_true(decoder_open_adapter(&alone, folder_path("two"), false, &error));
    logits_of(&alone, again);
    assert_memory_equal(two, again, sizeof two);
    decoder_close(&alone);
    /* The sum, from a base into which the first is merged. */
    assert_true(decoder_use_adapters(&decoder, uses[0].names, 1, &error));
    const struct export_settings settings = {.dtype = DTYPE_F32, .shard_bytes = 1 << 30};
    mkdir(folder_path("one-merged"), 0755);
    assert_true(decoder_export(&decoder, folder_path("one-merged"), &settings, &error));
    assert_true(decoder_open(&alone, folder_path("one-merged"), &error));
    assert_true(decoder_open_adapter(&alone, folder_path("two"), false, &error));
    logits_of(&alone, stacked);
    assert_true(relative_difference(both, stacked, LOGITS) < 1e-5);
    decoder_close(&alone);
    static const char *const missing[] = {"three"};
    assert_false(decoder_use_adapters(&decoder, missing, 1, &error));
    assert_non_null(strstr(error.message, "three"));
    assert_false(decoder_load_adapter(&decoder, "one", folder_path("one"), false, &error));
    decoder_close(&decoder);
}

static void a_head_comes_and_goes_with_its_adapter_and_two_heads_have_no_sum(void **state) {
    (void)state;
    struct error error = {0};
    struct decoder decoder;
    float logits[TOKENS * VOCABULARY];
    write_adapter("base", "headed", &some, LABELS, 3);
    write_adapter("base", "headed-too", &some, LABELS, 4);
    assert_true(decoder_open(&decoder, folder_path("base"), &error));
    assert_true(decoder_open_adapter(&decoder, folder_path("headed"), false, &error));
    assert_true(decoder_load_adapter(&decoder, "other", folder_path("headed-too"), false, &error));
    assert_true(decoder.config.classifier && decoder.config.labels == LABELS);
    static const char *const both[] = {"default", "other"};
    assert_false(decoder_use_adapters(&decoder, both, 2, &error));
    assert_non_null(strstr(error.message, "head"));
    assert_true(decoder_use_adapters(&decoder, NULL, 0, &error));
    assert_false(decoder.config.classifier);
    logits_of(&decoder, logits);
    decoder_close(&decoder);
}

static void adapters_stored_as_bf16_are_read(void **state) {
    (void)state;
    enum { LOGITS = TOKENS * VOCABULARY };
    static float exact[LOGITS], rounded[LOGITS];
    struct error error = {0};
    struct decoder decoder;
    store_as_bf16("one", "one-bf16");
    static const char *const names[] = {"exact", "rounded"};
    assert_true(decoder_open(&decoder, folder_path("base"), &error));
    assert_true(decoder_load_adapter(&decoder, "exact", folder_path("one"), false, &error));
    if (!decoder_load_adapter(&decoder, "rounded", folder_path("one-bf16"), false, &error))
        fail_msg("%s", error.message);
    assert_true(decoder_use_adapters(&decoder, names, 1, &error));
    logits_of(&decoder, exact);
    assert_true(decoder_use_adapters(&decoder, names + 1, 1, &error));
    logits_of(&decoder, rounded);
    const double difference = relative_difference(rounded, exact, LOGITS);
    assert_true(difference > 0 && difference < 0.02);
    decoder_close(&decoder);
}

/* Unmerged logits against those of the exported model. */
static double export_and_compare(const char *base, const char *out, const struct export_settings *settings) {
    float unmerged[2 * LABELS], merged[2 * LABELS];
    struct error error = {0};
    struct decoder decoder;
    mkdir(folder_path(out), 0755);
    assert_true(decoder_open(&decoder, folder_path(base), &error));
    assert_true(decoder_open_adapter(&decoder, folder_path("full"), false, &error));
    logits_of(&decoder, unmerged);
    if (!decoder_export(&decoder, folder_path(out), settings, &error)) fail_msg("%s", error.message);
    decoder_close(&decoder);
    if (!decoder_open(&decoder, folder_path(out), &error)) fail_msg("%s", error.message);
    assert_int_equal(decoder.config.labels, LABELS);
    logits_of(&decoder, merged);
    decoder_close(&decoder);
    return relative_difference(merged, unmerged, 2 * LABELS);
}

static void a_merged_model_gives_the_logits_of_model_and_adapter(void **state) {
    (void)state;
    write_base("base-bf16", DTYPE_BF16);
    write_adapter("base-bf16", "full", &everything, LABELS, 5);
    const struct export_settings whole = {.dtype = DTYPE_F32, .shard_bytes = 1 << 30},
                                 pieces = {.dtype = DTYPE_F32, .shard_bytes = 4000},
                                 rounded = {.dtype = DTYPE_BF16, .shard_bytes = 1 << 30};
    assert_true(export_and_compare("base", "merged", &whole) < 1e-4);
    assert_true(export_and_compare("base-bf16", "merged-from-bf16", &whole) < 1e-4);
    assert_true(export_and_compare("base-bf16", "merged-pieces", &pieces) < 1e-4);
    assert_true(path_exists(folder_path("merged-pieces/model.safetensors.index.json")));
    assert_false(path_exists(folder_path("merged-pieces/model.safetensors")));
    const double difference = export_and_compare("base-bf16", "merged-to-bf16", &rounded);
    assert_true(difference > 1e-5 && difference < 0.05);
}

static void export_writes_a_model_from_the_command_line(void **state) {
    (void)state;
    struct error error = {0};
    struct text model = {0}, command = {0}, again = {0};
    folder_write_text("base-bf16/tokenizer_config.json", "{}");
    text_printf(&command, "export --model '%s'", folder_path("base-bf16"));
    text_printf(&command, " --adapter '%s'", folder_path("full"));
    text_printf(&command, " --out '%s'", folder_path("from-command"));
    struct printed printed = {0};
    command_run(&printed, "%s", command.data);
    assert_int_equal(printed.status, 0);
    printed_free(&printed);
    assert_true(file_read(&model, folder_path("merged-from-bf16/model.safetensors"), 0, &error));
    assert_true(file_read(&again, folder_path("from-command/model.safetensors"), 0, &error));
    assert_int_equal(model.length, again.length);
    assert_memory_equal(model.data, again.data, model.length);
    assert_true(path_exists(folder_path("from-command/tokenizer_config.json")));
    command_refuses("not empty", "%s", command.data); /* what stands there is not touched */
    text_free(&model);
    text_free(&again);
    text_free(&command);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(targets_are_found_as_peft_finds_them),
        cmocka_unit_test(alphas_follow_their_pattern_and_bad_expressions_are_named),
        cmocka_unit_test(adapters_are_switched_summed_and_taken_off_by_name),
        cmocka_unit_test(a_head_comes_and_goes_with_its_adapter_and_two_heads_have_no_sum),
        cmocka_unit_test(adapters_stored_as_bf16_are_read),
        cmocka_unit_test(a_merged_model_gives_the_logits_of_model_and_adapter),
        cmocka_unit_test(export_writes_a_model_from_the_command_line),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
