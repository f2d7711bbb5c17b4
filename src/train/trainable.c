/* Opening what a recipe trains, and what its texts are read by. */
#include "train/trainable.h"
#include "base/error.h"
#include "base/file.h"
#include <string.h>

static bool join(char *path, size_t capacity, const char *directory, const char *name, struct error *error) {
    return path_join(path, capacity, directory, name) || error_set(error, "%s: path too long", directory);
}

static bool count_words(struct word_counts *counts, const struct dataset *dataset, struct error *error) {
    for (size_t i = 0; i < dataset->count; i++) {
        if (word_counts_add(counts, dataset->stays[i].text, dataset->stays[i].text_length, error)) continue;
        return error_context(error, "stay %zu", i + 1);
    }
    return true;
}

static int64_t minimum_count(const struct training *training) {
    const struct recipe *recipe = training->settings->recipe;
    return training->family == NETWORK_CAML ? recipe->caml->minimum_count : recipe->linear->minimum_count;
}

static bool learn_words(struct training *training, struct error *error) {
    const struct train_settings *settings = training->settings;
    struct dataset dataset = {0};
    struct word_counts *counts = NULL;
    char path[4096];
    if (settings->model != NULL || settings->tokenizer != NULL) {
        error_usage(error, "%s is not for method %s", settings->model != NULL ? "--model" : "--tokenizer",
                    training->family == NETWORK_CAML ? "caml" : "linear");
        return error_hint(error, "the model is made from scratch, and its words are learned from the training texts");
    }
    bool done = join(path, sizeof path, settings->data, "train.jsonl", error) && dataset_load(&dataset, path, error) &&
                word_counts_open(&counts, error);
    done = done && ((count_words(counts, &dataset, error) &&
                     words_learn(&training->words, counts, minimum_count(training), error)) ||
                    error_context(error, "%s", path));
    word_counts_close(counts);
    dataset_free(&dataset);
    if (done) training->reader = text_reader_of_words(training->words);
    training->reader.window = recipe_window(training->train);
    return done;
}

/* By the method, or, of two labels, by the recipe's section or the model that is opened. */
static bool find_family(struct training *training, struct error *error) {
    const struct train_settings *settings = training->settings;
    const struct recipe *recipe = settings->recipe;
    training->family = NETWORK_DECODER;
    if (recipe->method == METHOD_BERT || recipe->bert != NULL) training->family = NETWORK_BERT;
    if (recipe->method == METHOD_CAML || recipe->caml != NULL) training->family = NETWORK_CAML;
    if (recipe->method == METHOD_LINEAR || recipe->linear != NULL) training->family = NETWORK_LINEAR;
    if (recipe->method != METHOD_TWO_LABEL || training->family != NETWORK_DECODER || recipe->model != NULL ||
        settings->model == NULL)
        return true;
    if (!network_family_of(&training->family, settings->model, error)) return false;
    if (training->family == NETWORK_CAML || training->family == NETWORK_LINEAR) {
        error_set(error, "%s: such a model is made from scratch, never opened", settings->model);
        return error_hint(error, "a section \"caml\" or \"linear\" says of what size");
    }
    return training->family == NETWORK_DECODER || recipe->lora == NULL ||
           error_set(error, "%s: \"lora\" is there for decoders, and this model is a BERT", settings->model);
}

bool trainable_open_reader(struct training *training, struct error *error) {
    const struct train_settings *settings = training->settings;
    if (!find_family(training, error)) return false;
    if (training->family == NETWORK_CAML || training->family == NETWORK_LINEAR) return learn_words(training, error);
    training->tokenizer_directory = settings->tokenizer != NULL ? settings->tokenizer : settings->model;
    if (training->tokenizer_directory == NULL) {
        error_set(error, "a model from scratch needs a tokenizer");
        return error_hint(error, "learn one with a recipe of method tokenizer, and name it with --tokenizer DIR");
    }
    if (!tokenizer_open(&training->tokenizer, training->tokenizer_directory, error)) return false;
    const bool done = training->family == NETWORK_BERT
                          ? text_reader_of_bert(&training->reader, training->tokenizer, error)
                          : text_reader_of_decoder(&training->reader, training->tokenizer, error);
    training->reader.window = recipe_window(training->train);
    return done;
}

static bool make_bert(struct training *training, struct error *error) {
    const struct recipe_bert *b = training->settings->recipe->bert;
    const struct encoder_config config = {.V = (int64_t)text_reader_vocabulary(&training->reader),
                                          .C = b->width,
                                          .L = b->layers,
                                          .H = b->heads,
                                          .D = b->width / b->heads,
                                          .F = b->ffn_width,
                                          .positions = b->positions,
                                          .types = 1, /* a note is one text */
                                          .labels = training->objective.outputs,
                                          .pad_id = tokenizer_token_id(training->tokenizer, "[PAD]"),
                                          .norm_eps = (float)b->norm_eps,
                                          .initializer_range = 0.02f,
                                          .hidden_dropout = b->dropout,
                                          .attention_dropout = b->dropout,
                                          .classifier_dropout = b->dropout};
    return encoder_create(&training->encoder, &config, (uint64_t)training->settings->recipe->seed, error);
}

static bool open_bert(struct training *training, struct error *error) {
    const struct train_settings *settings = training->settings;
    const uint64_t seed = (uint64_t)settings->recipe->seed;
    if (settings->model == NULL) {
        error_set(error, "the recipe has no section \"bert\", so it needs a model to start from");
        return error_hint(error, "name a Hugging Face directory, such as Bio_ClinicalBERT's, with --model DIR");
    }
    return encoder_open(&training->encoder, settings->model, seed, error) &&
           encoder_set_labels(&training->encoder, training->objective.outputs, seed, error) &&
           encoder_train_all(&training->encoder, error);
}

/* Its feature weights are those of the training texts as they are read. */
static bool make_linear(struct training *training, struct error *error) {
    const struct linear_bag_config config = {.V = (int64_t)text_reader_vocabulary(&training->reader),
                                             .buckets = training->settings->recipe->linear->pair_buckets,
                                             .labels = training->objective.outputs};
    const struct encoded *data = &training->data;
    training->network = network_of_linear_bag(&training->linear_bag);
    return linear_bag_create(&training->linear_bag, &config, error) &&
           linear_bag_weigh(&training->linear_bag, data->tokens, data->starts, data->count, error);
}

bool trainable_open_model(struct training *training, struct error *error) {
    const struct recipe *recipe = training->settings->recipe;
    if (training->family == NETWORK_CAML) {
        const struct recipe_caml *c = recipe->caml;
        const struct caml_config config = {.V = (int64_t)text_reader_vocabulary(&training->reader),
                                           .E = c->embed_size,
                                           .F = c->filter_maps,
                                           .K = c->kernel_size,
                                           .labels = training->objective.outputs,
                                           .dropout = c->dropout};
        training->network = network_of_caml(&training->caml);
        return caml_create(&training->caml, &config, (uint64_t)recipe->seed, error);
    }
    if (training->family == NETWORK_LINEAR) return make_linear(training, error);
    training->network = network_of_encoder(&training->encoder);
    if (!(recipe->bert != NULL ? make_bert(training, error) : open_bert(training, error))) return false;
    const int64_t ids = (int64_t)text_reader_vocabulary(&training->reader);
    return ids <= training->encoder.config.V ||
           error_set(error, "the tokenizer has ids up to %lld, the model a vocabulary of %lld", (long long)ids - 1,
                     (long long)training->encoder.config.V);
}

static bool copy_file(const struct training *training, const char *name, struct error *error) {
    char from[4096], to[4096];
    struct text text = {0};
    if (!join(from, sizeof from, training->tokenizer_directory, name, error)) return false;
    if (!path_exists(from)) return true;
    const bool done = file_read(&text, from, 0, error) && join(to, sizeof to, training->settings->out, name, error) &&
                      file_write(to, text.data == NULL ? "" : text.data, text.length, error);
    text_free(&text);
    return done;
}

bool trainable_write_reader(const struct training *training, struct error *error) {
    static const char *const files[] = {"tokenizer.json", "vocab.txt", "tokenizer.model", "tokenizer_config.json",
                                        "chat_template.jinja"};
    char path[4096];
    if (training->words != NULL) {
        return join(path, sizeof path, training->settings->out, "words.txt", error) &&
               words_write(training->words, path, error);
    }
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        if (!copy_file(training, files[i], error)) return false;
    }
    return true;
}

void trainable_close(struct training *training) {
    encoder_close(&training->encoder);
    caml_close(&training->caml);
    linear_bag_close(&training->linear_bag);
    words_close(training->words);
    tokenizer_close(training->tokenizer);
}
