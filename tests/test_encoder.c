/* BERT as a whole: gradients against finite differences, packing, checkpoints new and old, and what is refused. */
#include "base/error.h"
#include "base/rng.h"
#include "base/threads.h"
#include "folder.h"
#include "model/encoder.h"
#include "model/safetensors.h"
#include "tensor/kernels.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { TOKENS = 23, SEQUENCES = 4, LABELS = 5, CELLS = SEQUENCES * LABELS };

static const int32_t tokens[TOKENS] = {3, 9, 4, 7, 7, 12, 5, 1, 30, 22, 17, 8, 8, 3, 2, 19, 28, 11, 6, 25, 14, 13, 10};
static const int32_t types[TOKENS] = {0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1};
static const int32_t offsets[SEQUENCES + 1] = {0, 6, 7, 15, 23};
static const int32_t labels[SEQUENCES] = {1, 4, 0, 2};
static const struct batch batch = {.T = TOKENS, .N = SEQUENCES, .tokens = tokens, .offsets = offsets};

/* Heads of an odd size, two layers, so that one of them is whole and one pooled. */
static struct encoder_config small_config(void) {
    return (struct encoder_config){.V = 31,
                                   .C = 15,
                                   .L = 2,
                                   .H = 3,
                                   .D = 5,
                                   .F = 22,
                                   .positions = 12,
                                   .types = 2,
                                   .labels = LABELS,
                                   .pad_id = 0,
                                   .norm_eps = 1e-12f,
                                   .initializer_range = 0.3f,
                                   .hidden_dropout = 0.2,
                                   .attention_dropout = 0.25,
                                   .classifier_dropout = 0.15};
}

static void create(struct encoder *encoder) {
    const struct encoder_config config = small_config();
    struct error error = {0};
    assert_true(encoder_create(encoder, &config, 7, &error));
    /* Zero biases would hide their share: give every parameter some noise. */
    struct rng rng;
    rng_seed(&rng, 11);
    for (int64_t i = 0; i < encoder->parameters.total; i++)
        encoder->parameters.values[i] += 0.1f * (float)rng_normal(&rng);
}

static double loss_of(const struct encoder *encoder, struct encoder_run *run, const int32_t *kinds, uint64_t seed,
                      float *d_logits) {
    float logits[CELLS], losses[SEQUENCES];
    encoder_classify_forward(encoder, run, &batch, kinds, seed, logits);
    cross_entropy(losses, d_logits, logits, labels, SEQUENCES, LABELS, 1.0f / SEQUENCES);
    double loss = 0;
    for (int n = 0; n < SEQUENCES; n++) loss += (double)losses[n] / SEQUENCES;
    return loss;
}

/* As in test_decoder.c: central differences in f32 with step 2^-7 are good to 1e-4 of a gradient of order 1. */
static void check_gradients(const int32_t *kinds, uint64_t seed) {
    struct encoder encoder;
    struct encoder_run *run;
    struct error error = {0};
    float d_logits[CELLS];
    const int threads = threads_count();
    create(&encoder);
    assert_true(encoder_run_open(&run, &encoder, TOKENS, SEQUENCES, true, &error));
    loss_of(&encoder, run, kinds, seed, d_logits);
    encoder_classify_backward(&encoder, run, &batch, kinds, d_logits);
    threads_set(1); /* ten thousand forwards of a few tokens: threads would wait for each other */
    for (size_t p = 0; p < encoder.parameters.count; p++) {
        const struct parameter *item = &encoder.parameters.items[p];
        float *value = parameter_value(&encoder.parameters, p);
        const float *gradient = parameter_gradient(&encoder.parameters, p), h = 0x1p-7f;
        double difference = 0, norm = 0;
        const int64_t count = item->rows * item->cols;
        for (int64_t i = 0; i < count; i++) {
            const float kept = value[i];
            value[i] = kept + h;
            const double above = loss_of(&encoder, run, kinds, seed, NULL);
            value[i] = kept - h;
            const double numeric = (above - loss_of(&encoder, run, kinds, seed, NULL)) / (2.0 * (double)h);
            value[i] = kept;
            difference += (numeric - (double)gradient[i]) * (numeric - (double)gradient[i]);
            norm += numeric * numeric;
        }
        if (sqrt(difference) > 0.01 * sqrt(norm) + 1e-4 * sqrt((double)count))
            fail_msg("%s: gradient off by %.3e, norm %.3e", item->name, sqrt(difference), sqrt(norm));
    }
    threads_set(threads);
    encoder_run_close(run);
    encoder_close(&encoder);
}

static void every_gradient_agrees_with_finite_differences(void **state) {
    (void)state;
    check_gradients(types, 0);
    check_gradients(NULL, 0);
}

static void every_gradient_agrees_with_finite_differences_under_dropout(void **state) {
    (void)state;
    check_gradients(types, 42);
}

static void each_dropout_changes_the_loss_and_none_is_left_in_inference(void **state) {
    (void)state;
    struct encoder encoder;
    struct error error = {0};
    create(&encoder);
    double *const rates[] = {&encoder.config.hidden_dropout, &encoder.config.attention_dropout,
                             &encoder.config.classifier_dropout};
    for (int which = 0; which < 3; which++) {
        for (int i = 0; i < 3; i++) *rates[i] = i == which ? 0.5 : 0;
        struct encoder_run *run, *inference;
        assert_true(encoder_run_open(&run, &encoder, TOKENS, SEQUENCES, true, &error));
        assert_true(encoder_run_open(&inference, &encoder, TOKENS, SEQUENCES, false, &error));
        const double without = loss_of(&encoder, run, NULL, 0, NULL), with = loss_of(&encoder, run, NULL, 9, NULL);
        if (fabs(with - without) < 1e-4) fail_msg("dropout %d moves the loss from %g to %g", which, without, with);
        assert_true(fabs(loss_of(&encoder, inference, NULL, 9, NULL) - without) <= 0);
        encoder_run_close(run);
        encoder_run_close(inference);
    }
    encoder_close(&encoder);
}

static void logits_of(const struct encoder *encoder, const struct batch *these, const int32_t *kinds, float *logits) {
    struct error error = {0};
    struct encoder_run *run;
    assert_true(encoder_run_open(&run, encoder, these->T, these->N, false, &error));
    if (!encoder_check(encoder, run, these, kinds, &error)) fail_msg("%s", error.message);
    encoder_classify_forward(encoder, run, these, kinds, 0, logits);
    encoder_run_close(run);
}

static void assert_close(const float *a, const float *b, int64_t count, double tolerance) {
    for (int64_t i = 0; i < count; i++) {
        if (!(fabs((double)a[i] - (double)b[i]) <= tolerance))
            fail_msg("element %lld: %g and %g", (long long)i, (double)a[i], (double)b[i]);
    }
}

static void packed_texts_get_the_logits_they_get_alone(void **state) {
    (void)state;
    struct encoder encoder;
    float together[CELLS], alone[LABELS];
    create(&encoder);
    logits_of(&encoder, &batch, types, together);
    for (int n = 0; n < SEQUENCES; n++) {
        const int32_t ends[2] = {0, offsets[n + 1] - offsets[n]};
        const struct batch single = {.T = ends[1], .N = 1, .tokens = tokens + offsets[n], .offsets = ends};
        logits_of(&encoder, &single, types + offsets[n], alone);
        assert_close(alone, together + n * LABELS, LABELS, 2e-5);
    }
    encoder_close(&encoder);
}

static void training_and_inference_give_the_same_logits(void **state) {
    (void)state;
    struct encoder encoder;
    struct encoder_run *run;
    struct error error = {0};
    float trained[CELLS], inferred[CELLS];
    create(&encoder);
    assert_true(encoder_run_open(&run, &encoder, TOKENS, SEQUENCES, true, &error));
    encoder_classify_forward(&encoder, run, &batch, types, 0, trained);
    encoder_run_close(run);
    logits_of(&encoder, &batch, types, inferred);
    assert_memory_equal(trained, inferred, sizeof trained);
    encoder_close(&encoder);
}

static void a_last_token_moves_the_first_ones_answer(void **state) {
    (void)state;
    struct encoder encoder;
    int32_t changed[TOKENS];
    float before[CELLS], after[CELLS];
    create(&encoder);
    logits_of(&encoder, &batch, NULL, before);
    memcpy(changed, tokens, sizeof changed);
    changed[5] = 20; /* the last of the first text */
    logits_of(&encoder, &(struct batch){.T = TOKENS, .N = SEQUENCES, .tokens = changed, .offsets = offsets}, NULL,
              after);
    assert_true(fabsf(before[0] - after[0]) > 1e-4f);
    assert_memory_equal(before + LABELS, after + LABELS, 3 * LABELS * sizeof(float));
    encoder_close(&encoder);
}

static void gradient_of(struct encoder *encoder, float *gradient) {
    struct encoder_run *run;
    struct error error = {0};
    float d_logits[CELLS];
    assert_true(encoder_run_open(&run, encoder, TOKENS, SEQUENCES, true, &error));
    memset(encoder->parameters.gradients, 0, (size_t)encoder->parameters.total * sizeof(float));
    loss_of(encoder, run, types, 5, d_logits);
    encoder_classify_backward(encoder, run, &batch, types, d_logits);
    memcpy(gradient, encoder->parameters.gradients, (size_t)encoder->parameters.total * sizeof(float));
    encoder_run_close(run);
}

static void one_thread_count_gives_the_same_bits_and_another_nearly_the_same(void **state) {
    (void)state;
    struct encoder encoder;
    const int before = threads_count();
    create(&encoder);
    const size_t total = (size_t)encoder.parameters.total;
    float *first = malloc(total * sizeof *first), *again = malloc(total * sizeof *again),
          *single = malloc(total * sizeof *single);
    threads_set(2);
    gradient_of(&encoder, first);
    gradient_of(&encoder, again);
    threads_set(1);
    gradient_of(&encoder, single);
    threads_set(before);
    assert_memory_equal(first, again, total * sizeof *first);
    assert_close(first, single, (int64_t)total, 1e-5);
    free(first), free(again), free(single);
    encoder_close(&encoder);
}

static void gradients_of_two_batches_add_up(void **state) {
    (void)state;
    struct encoder encoder;
    struct encoder_run *run;
    struct error error = {0};
    float d_logits[CELLS];
    create(&encoder);
    const size_t total = (size_t)encoder.parameters.total;
    float *once = malloc(total * sizeof *once);
    gradient_of(&encoder, once);
    assert_true(encoder_run_open(&run, &encoder, TOKENS, SEQUENCES, true, &error));
    loss_of(&encoder, run, types, 5, d_logits);
    encoder_classify_backward(&encoder, run, &batch, types, d_logits);
    for (size_t i = 0; i < total; i++) once[i] *= 2;
    assert_close(encoder.parameters.gradients, once, (int64_t)total, 1e-5);
    free(once);
    encoder_run_close(run);
    encoder_close(&encoder);
}

/* The configuration as transformers would write it, with an architecture and further members of one's choice. */
static void write_config(const char *architecture, const char *more) {
    char json[1024];
    snprintf(json, sizeof json,
             "{%s%s%s\"vocab_size\": 31, \"hidden_size\": 15, \"num_hidden_layers\": 2, \"num_attention_heads\": 3, "
             "\"intermediate_size\": 22, \"max_position_embeddings\": 12, \"type_vocab_size\": 2%s}",
             architecture[0] == '\0' ? "" : "\"architectures\": [\"", architecture,
             architecture[0] == '\0' ? "" : "\"], ", more);
    folder_write_text("config.json", json);
}

/* The small model's tensors, each under the name that `rename` gives it; NULL leaves one out. */
typedef const char *rename_function(const char *name, char *renamed, size_t capacity);

static void write_weights(const struct encoder *encoder, rename_function *rename, enum dtype dtype) {
    enum { MOST = 64 };
    static char names[MOST][192];
    static const float position_ids[12] = {0};
    struct tensor_to_write list[MOST];
    struct error error = {0};
    size_t count = 0;
    for (size_t i = 0; i < encoder->parameters.count; i++) {
        const struct parameter *item = &encoder->parameters.items[i];
        const char *name = rename(item->name, names[count], sizeof names[count]);
        if (name == NULL) continue;
        list[count] =
            (struct tensor_to_write){.name = name,
                                     .dtype = dtype,
                                     .dims = item->vector ? 1 : 2,
                                     .shape = {item->vector ? item->cols : item->rows, item->vector ? 0 : item->cols},
                                     .data = parameter_value(&encoder->parameters, i)};
        count++;
    }
    list[count++] = (struct tensor_to_write){
        .name = "cls.predictions.bias", .dtype = dtype, .dims = 1, .shape = {12}, .data = position_ids};
    assert_true(safetensors_write(folder_path("model.safetensors"), list, count, NULL, 0, &error));
}

static const char *as_it_is(const char *name, char *renamed, size_t capacity) {
    snprintf(renamed, capacity, "%s", name);
    return renamed;
}

/* BertModel's names of 2018: no prefix, gamma and beta. */
static const char *as_of_old(const char *name, char *renamed, size_t capacity) {
    snprintf(renamed, capacity, "%s", strncmp(name, "bert.", 5) == 0 ? name + 5 : name);
    char *norm = strstr(renamed, "LayerNorm.");
    if (norm != NULL) strcpy(norm + 10, strcmp(norm + 10, "weight") == 0 ? "gamma" : "beta");
    return renamed;
}

static const char *without_head(const char *name, char *renamed, size_t capacity) {
    if (strstr(name, "pooler") != NULL || strncmp(name, "classifier", 10) == 0) return NULL;
    return as_it_is(name, renamed, capacity);
}

static const char *without_a_bias(const char *name, char *renamed, size_t capacity) {
    return strstr(name, "layer.1.output.dense.bias") != NULL ? NULL : as_it_is(name, renamed, capacity);
}

static void open_small(struct encoder *encoder) {
    struct error error = {0};
    if (!encoder_open(encoder, folder_path("."), 3, &error)) fail_msg("%s", error.message);
}

#define FIVE_LABELS ", \"id2label\": {\"0\": \"a\", \"1\": \"b\", \"2\": \"c\", \"3\": \"d\", \"4\": \"e\"}"

static void a_written_model_and_the_names_of_old_checkpoints_read_back_to_the_same_logits(void **state) {
    (void)state;
    struct encoder made, opened;
    struct error error = {0};
    float before[CELLS], after[CELLS];
    create(&made);
    logits_of(&made, &batch, types, before);
    assert_true(encoder_config_write(&made.config, folder_path("."), "float32", NULL, &error));
    assert_true(encoder_write(&made, folder_path("."), DTYPE_F32, &error));
    open_small(&opened);
    assert_true(opened.config.attention_dropout > 0.24 && opened.config.classifier_dropout < 0.16);
    logits_of(&opened, &batch, types, after);
    assert_memory_equal(before, after, sizeof before);
    encoder_close(&opened);
    write_config("BertForSequenceClassification", FIVE_LABELS);
    write_weights(&made, as_of_old, DTYPE_F32);
    open_small(&opened);
    logits_of(&opened, &batch, types, after);
    assert_memory_equal(before, after, sizeof before);
    encoder_close(&opened);
    encoder_close(&made);
}

static void bf16_weights_are_read_as_they_are_stored(void **state) {
    (void)state;
    struct encoder made, opened, widened;
    struct error error = {0};
    float before[CELLS], mapped[CELLS], trained[CELLS];
    create(&made);
    logits_of(&made, &batch, types, before);
    write_config("BertForSequenceClassification", FIVE_LABELS);
    write_weights(&made, as_it_is, DTYPE_BF16);
    open_small(&opened);
    open_small(&widened);
    assert_true(encoder_train_all(&widened, &error));
    logits_of(&opened, &batch, types, mapped);
    logits_of(&widened, &batch, types, trained);
    assert_close(mapped, trained, CELLS, 1e-5);
    assert_close(mapped, before, CELLS, 0.1);
    encoder_close(&made), encoder_close(&opened), encoder_close(&widened);
}

static void a_checkpoint_without_pooler_and_classifier_gets_fresh_ones_from_the_seed(void **state) {
    (void)state;
    static const char *const architectures[] = {"BertModel", "BertForPreTraining", "BertForMaskedLM", ""};
    struct encoder made, opened, other;
    struct error error = {0};
    float first[CELLS], second[CELLS];
    create(&made);
    write_weights(&made, without_head, DTYPE_F32);
    for (size_t i = 0; i < sizeof architectures / sizeof architectures[0]; i++) {
        write_config(architectures[i], FIVE_LABELS);
        open_small(&opened);
        assert_int_equal(opened.config.labels, 0);
        assert_true(encoder_set_labels(&opened, LABELS, 3, &error) && encoder_train_all(&opened, &error));
        logits_of(&opened, &batch, NULL, first);
        open_small(&other);
        assert_true(encoder_set_labels(&other, LABELS, 3, &error));
        logits_of(&other, &batch, NULL, second);
        assert_close(first, second, CELLS, 1e-6);
        assert_true(fabsf(first[0] - first[1]) > 1e-6f);
        encoder_close(&opened), encoder_close(&other);
    }
    encoder_close(&made);
}

static void must_refuse(const char *part, const char *hint) {
    struct encoder encoder;
    struct error error = {0};
    if (encoder_open(&encoder, folder_path("."), 1, &error)) fail_msg("opened; expected \"%s\"", part);
    if (strstr(error.message, part) == NULL) fail_msg("\"%s\" does not say \"%s\"", error.message, part);
    if (strstr(error.hint, hint) == NULL) fail_msg("hint \"%s\" does not say \"%s\"", error.hint, hint);
}

static void pytorch_pickles_are_refused_with_the_remedy(void **state) {
    (void)state;
    unlink(folder_path("model.safetensors"));
    write_config("BertForMaskedLM", "");
    must_refuse("safetensors", "download");
    folder_write_text("pytorch_model.bin", "PK");
    must_refuse("pytorch_model.bin", "save_pretrained");
    unlink(folder_path("pytorch_model.bin"));
}

static void weights_that_do_not_fit_are_refused_by_name(void **state) {
    (void)state;
    struct encoder made;
    create(&made);
    write_config("BertForSequenceClassification", FIVE_LABELS);
    write_weights(&made, without_a_bias, DTYPE_F32);
    must_refuse("tensor bert.encoder.layer.1.output.dense.bias is missing", "config.json");
    write_weights(&made, as_it_is, DTYPE_F32);
    write_config("BertForSequenceClassification", ", \"num_labels\": 4");
    must_refuse("classifier.weight has shape [5, 15], config.json says [4, 15]", "");
    write_config("BertForSequenceClassification", ", \"num_labels\": 1000000");
    must_refuse("classifier.weight has shape", "");
    write_config("BertForSequenceClassification", FIVE_LABELS);
    parameter_value(&made.parameters, 3)[2] = NAN;
    write_weights(&made, as_it_is, DTYPE_F32);
    must_refuse("bert.embeddings.LayerNorm.weight holds a NaN or an infinity at element 2", "damaged");
    folder_write("model.safetensors", "\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10);
    must_refuse("model.safetensors", "");
    encoder_close(&made);
}

static void configurations_that_are_not_computed_are_refused_by_name(void **state) {
    (void)state;
    static const struct {
        const char *architecture, *more, *part;
    } wrong[] = {
        {"BertLMHeadModel", "", "architecture \"BertLMHeadModel\""},
        {"", ", \"model_type\": \"roberta\"", "model_type \"roberta\""},
        {"BertModel", ", \"hidden_act\": \"gelu_new\"", "gelu_new"},
        {"BertModel", ", \"position_embedding_type\": \"relative_key\"", "relative_key"},
        {"BertModel", ", \"is_decoder\": true", "is_decoder"},
        {"BertModel", ", \"add_cross_attention\": true", "add_cross_attention"},
        {"BertModel", ", \"layer_norm_eps\": 0", "layer_norm_eps"},
        {"BertModel", ", \"layer_norm_eps\": 1e-60", "layer_norm_eps"},
        {"BertModel", ", \"hidden_dropout_prob\": 1", "hidden_dropout_prob"},
        {"BertModel", ", \"attention_probs_dropout_prob\": -0.1", "attention_probs_dropout_prob"},
        {"BertForSequenceClassification", ", \"id2label\": {}", "id2label"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        write_config(wrong[i].architecture, wrong[i].more);
        must_refuse(wrong[i].part, "");
    }
    struct encoder_config config;
    struct error error = {0};
    static const char *const sizes[] = {
        "{\"vocab_size\": 31, \"hidden_size\": 15, \"num_hidden_layers\": 2, \"num_attention_heads\": 4, "
        "\"intermediate_size\": 22, \"max_position_embeddings\": 12}",
        "{\"vocab_size\": 31, \"hidden_size\": 1024, \"num_hidden_layers\": 2, \"num_attention_heads\": 1, "
        "\"intermediate_size\": 22, \"max_position_embeddings\": 12}",
        "{\"vocab_size\": 0, \"hidden_size\": 15, \"num_hidden_layers\": 2, \"num_attention_heads\": 3, "
        "\"intermediate_size\": 22, \"max_position_embeddings\": 12}",
        "{\"vocab_size\": 31, \"hidden_size\": 15, \"num_hidden_layers\": 0, \"num_attention_heads\": 3, "
        "\"intermediate_size\": 22, \"max_position_embeddings\": 12}",
        "[]",
    };
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        assert_false(encoder_config_parse(&config, "config.json", sizes[i], strlen(sizes[i]), &error));
}

static void batches_that_cannot_be_run_are_refused(void **state) {
    (void)state;
    struct encoder encoder;
    struct encoder_run *run;
    struct error error = {0};
    size_t bytes;
    create(&encoder);
    assert_false(encoder_run_size(&encoder, 0, 1, true, &bytes, &error));
    assert_false(encoder_run_size(&encoder, (int64_t)1 << 40, 1, true, &bytes, &error));
    assert_true(encoder_run_open(&run, &encoder, 40, 4, false, &error));
    const int32_t outside[] = {1, 31}, ends[] = {0, 2}, empty[] = {0, 0, 2}, far[] = {0, 13}, third[] = {0, 2};
    const int32_t many[13] = {0};
    const struct batch wrong[] = {{.T = 2, .N = 1, .tokens = outside, .offsets = ends},
                                  {.T = 2, .N = 2, .tokens = tokens, .offsets = empty},
                                  {.T = 13, .N = 1, .tokens = many, .offsets = far},
                                  {.T = 2, .N = 5, .tokens = tokens, .offsets = offsets}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_false(encoder_check(&encoder, run, &wrong[i], NULL, &error));
    assert_false(
        encoder_check(&encoder, run, &(struct batch){.T = 2, .N = 1, .tokens = many, .offsets = ends}, third, &error));
    assert_non_null(strstr(error.message, "token type 2"));
    encoder_run_close(run);
    encoder_close(&encoder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_gradient_agrees_with_finite_differences),
        cmocka_unit_test(every_gradient_agrees_with_finite_differences_under_dropout),
        cmocka_unit_test(each_dropout_changes_the_loss_and_none_is_left_in_inference),
        cmocka_unit_test(packed_texts_get_the_logits_they_get_alone),
        cmocka_unit_test(training_and_inference_give_the_same_logits),
        cmocka_unit_test(a_last_token_moves_the_first_ones_answer),
        cmocka_unit_test(one_thread_count_gives_the_same_bits_and_another_nearly_the_same),
        cmocka_unit_test(gradients_of_two_batches_add_up),
        cmocka_unit_test(a_written_model_and_the_names_of_old_checkpoints_read_back_to_the_same_logits),
        cmocka_unit_test(bf16_weights_are_read_as_they_are_stored),
        cmocka_unit_test(a_checkpoint_without_pooler_and_classifier_gets_fresh_ones_from_the_seed),
        cmocka_unit_test(pytorch_pickles_are_refused_with_the_remedy),
        cmocka_unit_test(weights_that_do_not_fit_are_refused_by_name),
        cmocka_unit_test(configurations_that_are_not_computed_are_refused_by_name),
        cmocka_unit_test(batches_that_cannot_be_run_are_refused),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
