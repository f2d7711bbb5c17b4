/* Checkpoints in the layouts that real ones have: whatever the layout, the logits are the same bits, and a weight that
 * is missing, left over or of another shape is named. */
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "folder.h"
#include "model/decoder.h"
#include "model/safetensors.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

enum { VOCABULARY = 23, TOKENS = 7, MOST = 64 };

/* The shape of the published models of each family, small. */
static struct model_config family(enum architecture architecture, bool tied) {
    return (struct model_config){.architecture = architecture,
                                 .V = VOCABULARY,
                                 .C = 16,
                                 .L = 2,
                                 .H = 4,
                                 .K = 2,
                                 .D = 6,
                                 .F = 20,
                                 .positions = 32,
                                 .norm_eps = 1e-5f,
                                 .rope_theta = 10000,
                                 .tied = tied,
                                 .qkv_bias = architecture == ARCHITECTURE_QWEN2,
                                 .bos_id = -1,
                                 .eos_id = -1,
                                 .pad_id = -1,
                                 .initializer_range = 0.2f};
}

/* A checkpoint to be written: the tensors of a fresh model, which a test then renames, drops or adds to. */
struct checkpoint {
    struct decoder model;
    struct tensor_to_write tensors[MOST];
    size_t count;
};

static void make(struct checkpoint *made, const struct model_config *config, enum dtype dtype) {
    struct error error = {0};
    *made = (struct checkpoint){0};
    if (!decoder_create(&made->model, config, 5, &error)) fail_msg("%s", error.message);
    struct parameters *set = &made->model.parameters;
    for (size_t i = 0; i < set->count; i++) {
        struct tensor_to_write *tensor = &made->tensors[made->count++];
        *tensor = (struct tensor_to_write){.name = set->items[i].name, .dtype = dtype, .data = parameter_value(set, i)};
        tensor->dims = set->items[i].vector ? 1 : 2;
        tensor->shape[0] = set->items[i].vector ? set->items[i].cols : set->items[i].rows;
        tensor->shape[1] = set->items[i].cols;
    }
}

static void empty_folder(const char *name) {
    char command[1024];
    snprintf(command, sizeof command, "rm -rf '%s'", folder_path(name));
    assert_int_equal(system(command), 0);
    assert_int_equal(mkdir(folder_path(name), 0755), 0);
}

static void write_whole(const struct checkpoint *made, const char *name) {
    struct error error = {0};
    char file[64];
    empty_folder(name);
    snprintf(file, sizeof file, "%s/model.safetensors", name);
    assert_true(model_config_write(&made->model.config, folder_path(name), "float32", NULL, &error));
    assert_true(safetensors_write(folder_path(file), made->tensors, made->count, NULL, 0, &error));
}

static void logits_of(const char *name, float logits[TOKENS * VOCABULARY]) {
    static const int32_t tokens[TOKENS] = {3, 9, 22, 1, 0, 14, 5}, offsets[3] = {0, 4, TOKENS};
    const struct batch batch = {.T = TOKENS, .N = 2, .tokens = tokens, .offsets = offsets};
    struct decoder decoder;
    struct decoder_run *run = NULL;
    struct error error = {0};
    if (!decoder_open(&decoder, folder_path(name), &error) ||
        !decoder_run_open(&run, &decoder, TOKENS, 2, false, &error)) {
        fail_msg("%s: %s", name, error.message);
    }
    decoder_logits(&decoder, run, &batch, logits);
    decoder_run_close(run);
    decoder_close(&decoder);
}

static void expect_same(const char *name, const float expected[TOKENS * VOCABULARY]) {
    float logits[TOKENS * VOCABULARY];
    logits_of(name, logits);
    assert_memory_equal(logits, expected, sizeof logits);
}

static void expect_refused(const char *name, const char *message) {
    struct decoder decoder;
    struct error error = {0};
    if (decoder_open(&decoder, folder_path(name), &error)) {
        decoder_close(&decoder);
        fail_msg("%s was opened", name);
    }
    assert_string_equal(error.message, message);
}

static void names_without_the_model_prefix_are_found(void **state) {
    (void)state;
    const struct model_config config = family(ARCHITECTURE_MISTRAL, false);
    float expected[TOKENS * VOCABULARY];
    struct checkpoint made;
    make(&made, &config, DTYPE_F32);
    write_whole(&made, "prefixed");
    logits_of("prefixed", expected);
    for (size_t i = 0; i < made.count; i++) {
        if (strncmp(made.tensors[i].name, "model.", 6) == 0) made.tensors[i].name += 6;
    }
    write_whole(&made, "bare");
    expect_same("bare", expected);
    decoder_close(&made.model);
}

/* Tensors dealt out over three shards, with the index that transformers writes. */
static void write_shards(const struct checkpoint *made, const char *name) {
    struct error error = {0};
    struct text index = {0};
    empty_folder(name);
    assert_true(model_config_write(&made->model.config, folder_path(name), "float32", NULL, &error));
    text_add(&index, "{\"metadata\":{\"total_size\":1},\"weight_map\":{");
    for (int shard = 0; shard < 3; shard++) {
        struct tensor_to_write part[MOST];
        size_t count = 0;
        char file[128];
        for (size_t i = (size_t)shard; i < made->count; i += 3) {
            text_printf(&index, "%s\"%s\":\"model-0000%d-of-00003.safetensors\"", i == 0 ? "" : ",",
                        made->tensors[i].name, shard + 1);
            part[count++] = made->tensors[i];
        }
        snprintf(file, sizeof file, "%s/model-0000%d-of-00003.safetensors", name, shard + 1);
        assert_true(safetensors_write(folder_path(file), part, count, NULL, 0, &error));
    }
    text_add(&index, "}}");
    char file[128];
    snprintf(file, sizeof file, "%s/model.safetensors.index.json", name);
    folder_write(file, index.data, index.length);
    text_free(&index);
}

static void shards_give_the_logits_of_one_file(void **state) {
    (void)state;
    for (enum architecture kind = ARCHITECTURE_LLAMA; kind <= ARCHITECTURE_MISTRAL; kind++) {
        const struct model_config config = family(kind, kind == ARCHITECTURE_QWEN2);
        float expected[TOKENS * VOCABULARY];
        struct checkpoint made;
        make(&made, &config, DTYPE_BF16);
        write_whole(&made, "whole");
        logits_of("whole", expected);
        write_shards(&made, "shards");
        expect_same("shards", expected);
        decoder_close(&made.model);
        assert_int_equal(unlink(folder_path("shards/model-00002-of-00003.safetensors")), 0);
        struct decoder decoder;
        struct error error = {0};
        assert_false(decoder_open(&decoder, folder_path("shards"), &error));
        assert_non_null(strstr(error.message, "model-00002-of-00003.safetensors"));
    }
}

/* The header of a file made `more` bytes longer by blanks, so that no tensor behind it is aligned. */
static void lengthen_header(const char *file, size_t more) {
    struct text old = {0}, new = {0};
    struct error error = {0};
    assert_true(file_read(&old, folder_path(file), 0, &error));
    size_t length = 0;
    for (int i = 0; i < 8; i++) length |= (size_t)(unsigned char)old.data[i] << (8 * i);
    for (int i = 0; i < 8; i++) text_add_char(&new, (char)((length + more) >> (8 * i) & 255));
    text_append(&new, old.data + 8, length);
    for (size_t i = 0; i < more; i++) text_add_char(&new, ' ');
    text_append(&new, old.data + 8 + length, old.length - 8 - length);
    folder_write(file, new.data, new.length);
    text_free(&old);
    text_free(&new);
}

static void a_header_of_any_length_gives_the_same_logits(void **state) {
    (void)state;
    const struct model_config config = family(ARCHITECTURE_LLAMA, false);
    for (int dtype = DTYPE_F32; dtype <= DTYPE_BF16; dtype++) {
        float expected[TOKENS * VOCABULARY];
        struct checkpoint made;
        make(&made, &config, (enum dtype)dtype);
        for (size_t more = 0; more < 4; more++) {
            write_whole(&made, "header");
            lengthen_header("header/model.safetensors", more);
            if (more == 0)
                logits_of("header", expected);
            else
                expect_same("header", expected);
        }
        decoder_close(&made.model);
    }
}

static void add(struct checkpoint *made, const char *name, int64_t rows, int64_t cols, const float *data) {
    made->tensors[made->count++] =
        (struct tensor_to_write){name, DTYPE_F32, rows == 0 ? 1 : 2, {rows == 0 ? cols : rows, cols}, data};
}

static void tensors_that_no_result_depends_on_are_passed_over(void **state) {
    (void)state;
    static const float noise[VOCABULARY * 16] = {7};
    const struct model_config config = family(ARCHITECTURE_LLAMA, true);
    float expected[TOKENS * VOCABULARY];
    struct checkpoint made;
    make(&made, &config, DTYPE_F32);
    write_whole(&made, "plain");
    logits_of("plain", expected);
    add(&made, "model.layers.0.self_attn.rotary_emb.inv_freq", 0, 3, noise);
    add(&made, "lm_head.weight", VOCABULARY, 16, noise);
    add(&made, "score.weight", 2, 16, noise);
    write_whole(&made, "spare");
    expect_same("spare", expected);
    decoder_close(&made.model);
}

static void a_weight_left_over_missing_or_misshapen_is_named(void **state) {
    (void)state;
    static const float noise[64] = {7};
    const struct model_config config = family(ARCHITECTURE_LLAMA, false);
    struct checkpoint made;
    make(&made, &config, DTYPE_F32);
    add(&made, "model.layers.1.self_attn.q_proj.bias", 0, 24, noise);
    write_whole(&made, "left");
    expect_refused("left", "model.safetensors: tensor model.layers.1.self_attn.q_proj.bias has no place in a "
                           "LlamaForCausalLM as config.json describes it");
    made.count -= 2; /* the bias and lm_head */
    write_whole(&made, "missing");
    expect_refused("missing", "model.safetensors: tensor lm_head.weight is missing");
    decoder_close(&made.model);
    make(&made, &config, DTYPE_F32);
    made.model.config.V = VOCABULARY + 1;
    write_whole(&made, "rows");
    expect_refused("rows",
                   "model.safetensors: tensor model.embed_tokens.weight has shape [23, 16], config.json says [24, 16]");
    decoder_close(&made.model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_without_the_model_prefix_are_found),
        cmocka_unit_test(shards_give_the_logits_of_one_file),
        cmocka_unit_test(a_header_of_any_length_gives_the_same_logits),
        cmocka_unit_test(tensors_that_no_result_depends_on_are_passed_over),
        cmocka_unit_test(a_weight_left_over_missing_or_misshapen_is_named),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
