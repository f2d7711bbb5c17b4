/* Setting a run up: data, tokenizer, model, memory. */
#include "train/training.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"
#include "model/names.h"
#include "model/quantise.h"
#include "train/model_identity.h"
#include "train/trainable.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool data_path(char *path, size_t capacity, const char *directory, const char *name, struct error *error) {
    return path_join(path, capacity, directory, name) || error_set(error, "%s: path too long", directory);
}

static bool open_data(struct training *training, struct error *error) {
    char path[4096];
    const char *directory = training->settings->data;
    const int64_t limit = training->train->max_tokens;
    return data_path(path, sizeof path, directory, "labels.tsv", error) &&
           labels_load(&training->labels, path, error) &&
           data_path(path, sizeof path, directory, "train.jsonl", error) &&
           encoded_load(&training->data, path, &training->reader, &training->labels, limit, error) &&
           data_path(path, sizeof path, directory, "dev.jsonl", error) &&
           encoded_load(&training->dev, path, &training->reader, &training->labels, limit, error);
}

static struct model_config config_of_recipe(const struct training *training) {
    const struct recipe_model *m = training->settings->recipe->model;
    const bool qwen2 = strcmp(m->architecture, "qwen2") == 0;
    return (struct model_config){.architecture = qwen2 ? ARCHITECTURE_QWEN2 : ARCHITECTURE_LLAMA,
                                 .classifier = true,
                                 .V = (int64_t)tokenizer_vocabulary(training->tokenizer),
                                 .C = m->width,
                                 .L = m->layers,
                                 .H = m->heads,
                                 .K = m->kv_heads,
                                 .D = m->head_size,
                                 .F = m->ffn_width,
                                 .labels = training->objective.outputs,
                                 .positions = m->positions,
                                 .norm_eps = (float)m->norm_eps,
                                 .rope_theta = m->rope_theta,
                                 .tied = true,
                                 .qkv_bias = qwen2,
                                 .bos_id = -1,
                                 .eos_id = tokenizer_token_id(training->tokenizer, "<|endoftext|>"),
                                 .pad_id = tokenizer_token_id(training->tokenizer, "<|endoftext|>"),
                                 .initializer_range = 0.02f};
}

static bool read_lora(struct training *training, struct error *error) {
    const struct recipe_lora *lora = training->settings->recipe->lora;
    training->lora = (struct lora_settings){
        .rank = lora->rank, .alpha = lora->alpha, .dropout = lora->dropout, .rank_stable = lora->rank_stable};
    for (unsigned i = 0; i < lora->targets_count; i++) {
        int kind = 0;
        while (kind < PROJECTIONS && strcmp(projection_short_name((enum projection_kind)kind), lora->targets[i]) != 0)
            kind++;
        if (kind == PROJECTIONS) return error_set(error, "lora.targets: there is no module \"%s\"", lora->targets[i]);
        training->lora.targets[kind] = true;
    }
    return true;
}

static bool open_model(struct training *training, struct error *error) {
    const struct train_settings *settings = training->settings;
    const uint64_t seed = (uint64_t)settings->recipe->seed;
    const int64_t outputs = training->objective.outputs;
    if (settings->compute == COMPUTE_INT8 && settings->recipe->lora == NULL) {
        error_set(error, "--compute int8 quantises frozen weights, and this recipe trains them all");
        return error_hint(error, "a recipe with a section \"lora\" leaves them frozen");
    }
    if (training->family != NETWORK_DECODER) return trainable_open_model(training, error);
    training->network = network_of_decoder(&training->decoder);
    if (settings->recipe->model != NULL) {
        const struct model_config config = config_of_recipe(training);
        return decoder_create(&training->decoder, &config, seed, error);
    }
    if (settings->model == NULL) {
        error_set(error, "the recipe has no section \"model\", so it needs a model to start from");
        return error_hint(error, "name a Hugging Face directory with --model DIR");
    }
    if (!decoder_open(&training->decoder, settings->model, error)) return false;
    if ((int64_t)tokenizer_vocabulary(training->tokenizer) > training->decoder.config.V) {
        return error_set(error, "the tokenizer has ids up to %zu, the model a vocabulary of %lld",
                         tokenizer_vocabulary(training->tokenizer) - 1, (long long)training->decoder.config.V);
    }
    if (settings->recipe->lora != NULL) {
        const struct quantise_settings quantise = {.cache = settings->int8_cache};
        return read_lora(training, error) &&
               decoder_add_lora(&training->decoder, &training->lora, outputs, seed, error) &&
               (settings->compute != COMPUTE_INT8 || decoder_quantise(&training->decoder, &quantise, NULL, error));
    }
    return decoder_set_labels(&training->decoder, outputs, seed, error) && decoder_train_all(&training->decoder, error);
}

static struct parameters *trained(const struct training *training) {
    return training->network.call->parameters(training->network.model);
}

static int64_t longest(const struct encoded *encoded) {
    int64_t most = 1;
    for (size_t i = 0; i < encoded->count; i++) {
        const int64_t length = encoded->starts[i + 1] - encoded->starts[i];
        if (length > most) most = length;
    }
    return most;
}

static bool plan_steps(struct training *training, struct error *error) {
    const struct recipe_train *t = training->train;
    const int64_t count = (int64_t)training->data.count;
    training->steps_per_epoch = (count + t->batch_size - 1) / t->batch_size;
    const double steps = t->epochs * (double)training->steps_per_epoch;
    if (steps > 1e12) return error_set(error, "%g steps are too many", steps);
    training->steps = steps < 1 ? 1 : (int64_t)(steps + 0.5);
    training->schedule = (struct schedule){t->schedule, t->learning_rate, t->min_learning_rate_ratio,
                                           (int64_t)(t->warmup_share * (double)training->steps), training->steps};
    const int64_t most =
        longest(&training->data) > longest(&training->dev) ? longest(&training->data) : longest(&training->dev);
    const int64_t positions = training->network.call->shape(training->network.model).positions;
    if (most > positions) {
        error_set(error, "a text has %lld tokens, the model %lld positions", (long long)most, (long long)positions);
        return error_hint(error, "set train.max_tokens to at most that");
    }
    training->micro_tokens = t->micro_batch_tokens > most ? t->micro_batch_tokens : most;
    training->micro_sequences = training->micro_tokens < t->batch_size ? training->micro_tokens : t->batch_size;
    return true;
}

static bool open_buffers(struct training *training, struct error *error) {
    const int64_t T = training->micro_tokens, N = training->micro_sequences,
                  labels = training->network.call->shape(training->network.model).labels;
    training->tokens = memory_alloc((size_t)T, sizeof *training->tokens);
    training->offsets = memory_alloc((size_t)N + 1, sizeof *training->offsets);
    training->micro_labels = memory_alloc((size_t)N, sizeof *training->micro_labels);
    training->logits = memory_alloc((size_t)N, (size_t)labels * sizeof(float));
    training->losses = memory_alloc((size_t)N, sizeof(float));
    training->order = memory_alloc(training->data.count, sizeof *training->order);
    if (training->tokens == NULL || training->offsets == NULL || training->micro_labels == NULL ||
        training->logits == NULL || training->losses == NULL || training->order == NULL) {
        return memory_error(error, (size_t)N * (size_t)labels * sizeof(float), "a micro-batch");
    }
    const struct network *network = &training->network;
    return network->call->run_open_planned(&training->run, network->model, &training->plan, error);
}

/* Of everything that a resumed run must find unchanged; the trained tensors themselves stand in the checkpoint. */
static bool take_fingerprint(struct training *training, struct error *error) {
    const struct train_settings *settings = training->settings;
    const struct text *recipe = settings->recipe_text;
    uint64_t parts[] = {training->data.fingerprint, training->dev.fingerprint, 0,
                        settings->compute >= COMPUTE_BF16 ? (uint64_t)settings->compute : 0};
    if (settings->model != NULL && !model_identity(&parts[2], settings->model, error)) return false;
    training->fingerprint = hash_bytes(recipe->data, recipe->length, hash_bytes(parts, sizeof parts, 0));
    return true;
}

bool training_open(struct training *training, const struct train_settings *settings, struct error *error) {
    const struct recipe_train *t = settings->recipe->train;
    *training = (struct training){.settings = settings, .train = t, .order_epoch = -1};
    if (!trainable_open_reader(training, error) || !open_data(training, error) ||
        !objective_open(&training->objective, settings->recipe, &training->labels, training->data.labels,
                        training->data.count, error) ||
        !open_model(training, error) || !plan_steps(training, error))
        return false;
    if (!training_plan_memory(training, error)) return false;
    if (settings->plan) return true;
    training->optimizer = (struct adamw){.beta1 = t->beta1,
                                         .beta2 = t->beta2,
                                         .epsilon = t->epsilon,
                                         .weight_decay = t->weight_decay,
                                         .max_norm = t->max_grad_norm};
    return take_fingerprint(training, error) && adamw_open(&training->optimizer, trained(training), error) &&
           open_buffers(training, error);
}

void training_close(struct training *training) {
    if (training->run != NULL) training->network.call->run_close(training->run);
    adamw_close(&training->optimizer);
    decoder_close(&training->decoder);
    encoded_free(&training->data);
    encoded_free(&training->dev);
    labels_free(&training->labels);
    objective_close(&training->objective);
    trainable_close(training);
    memory_free(training->tokens);
    memory_free(training->offsets);
    memory_free(training->micro_labels);
    memory_free(training->logits);
    memory_free(training->losses);
    memory_free(training->order);
    *training = (struct training){0};
}
