/* Setting a run up: data, tokenizer, model, memory. */
#include "train/training.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "model/names.h"
#include "model/quantise.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool data_path(char *path, size_t capacity, const char *directory, const char *name, struct error *error) {
    return path_join(path, capacity, directory, name) || error_set(error, "%s: path too long", directory);
}

static bool open_tokenizer(struct training *training, struct error *error) {
    const struct train_settings *settings = training->settings;
    training->tokenizer_directory = settings->tokenizer != NULL ? settings->tokenizer : settings->model;
    if (training->tokenizer_directory == NULL) {
        error_set(error, "a model from scratch needs a tokenizer");
        return error_hint(error, "learn one with a recipe of method tokenizer, and name it with --tokenizer DIR");
    }
    return tokenizer_open(&training->tokenizer, training->tokenizer_directory, error);
}

static bool open_data(struct training *training, struct error *error) {
    char path[4096];
    const char *directory = training->settings->data;
    const int64_t limit = training->train->max_tokens;
    return data_path(path, sizeof path, directory, "labels.tsv", error) &&
           labels_load(&training->labels, path, error) &&
           data_path(path, sizeof path, directory, "train.jsonl", error) &&
           encoded_load(&training->data, path, training->tokenizer, &training->labels, limit, error) &&
           data_path(path, sizeof path, directory, "dev.jsonl", error) &&
           encoded_load(&training->dev, path, training->tokenizer, &training->labels, limit, error);
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
                                 .labels = (int64_t)training->labels.count,
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
    const int64_t labels = (int64_t)training->labels.count;
    if (settings->compute == COMPUTE_INT8 && settings->recipe->lora == NULL) {
        error_set(error, "--compute int8 quantises frozen weights, and this recipe trains them all");
        return error_hint(error, "a recipe with a section \"lora\" leaves them frozen");
    }
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
               decoder_add_lora(&training->decoder, &training->lora, labels, seed, error) &&
               (settings->compute != COMPUTE_INT8 || decoder_quantise(&training->decoder, &quantise, NULL, error));
    }
    return decoder_set_labels(&training->decoder, labels, seed, error) && decoder_train_all(&training->decoder, error);
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
    if (most > training->decoder.config.positions) {
        error_set(error, "a text has %lld tokens, the model %lld positions", (long long)most,
                  (long long)training->decoder.config.positions);
        return error_hint(error, "set train.max_tokens to at most that");
    }
    training->micro_tokens = t->micro_batch_tokens > most ? t->micro_batch_tokens : most;
    training->micro_sequences = training->micro_tokens < t->batch_size ? training->micro_tokens : t->batch_size;
    return true;
}

static bool open_buffers(struct training *training, struct error *error) {
    const int64_t T = training->micro_tokens, N = training->micro_sequences, labels = training->decoder.config.labels;
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
    return decoder_run_open(&training->run, &training->decoder, T, N, true, error) &&
           decoder_run_open(&training->dev_run, &training->decoder, T, N, false, error);
}

bool training_open(struct training *training, const struct train_settings *settings, struct error *error) {
    const struct recipe_train *t = settings->recipe->train;
    *training = (struct training){.settings = settings, .train = t, .order_epoch = -1, .started = time_now()};
    training->state = (struct progress_state){.best_step = -1, .best_loss = (double)INFINITY};
    if (!open_tokenizer(training, error) || !open_data(training, error) || !open_model(training, error) ||
        !plan_steps(training, error))
        return false;
    if (!training_check_memory(training, error)) return false;
    if (settings->plan) return true;
    training->optimizer = (struct adamw){.beta1 = t->beta1,
                                         .beta2 = t->beta2,
                                         .epsilon = t->epsilon,
                                         .weight_decay = t->weight_decay,
                                         .max_norm = t->max_grad_norm};
    const struct text *recipe = settings->recipe_text;
    training->fingerprint = hash_bytes(recipe->data, recipe->length, training->data.fingerprint) ^
                            training->dev.fingerprint ^ (uint64_t)training->decoder.parameters.total ^
                            (settings->compute >= COMPUTE_BF16 ? (uint64_t)settings->compute << 48 : 0);
    return adamw_open(&training->optimizer, &training->decoder.parameters, error) && open_buffers(training, error);
}

void training_close(struct training *training) {
    decoder_run_close(training->run);
    decoder_run_close(training->dev_run);
    adamw_close(&training->optimizer);
    decoder_close(&training->decoder);
    encoded_free(&training->data);
    encoded_free(&training->dev);
    labels_free(&training->labels);
    tokenizer_close(training->tokenizer);
    memory_free(training->tokens);
    memory_free(training->offsets);
    memory_free(training->micro_labels);
    memory_free(training->logits);
    memory_free(training->losses);
    memory_free(training->order);
    *training = (struct training){0};
}

/* Bytes that the run will hold, by what for. */
struct need {
    size_t trained, moments, activations, dev_activations, data;
};

static struct need training_need(const struct training *training) {
    const size_t total = (size_t)training->decoder.parameters.total * sizeof(float);
    struct need need = {.trained = 2 * total, .moments = 2 * total};
    need.data = (size_t)(training->data.starts[training->data.count] + training->dev.starts[training->dev.count]) *
                sizeof(int32_t);
    decoder_run_size(&training->decoder, training->micro_tokens, training->micro_sequences, true, &need.activations,
                     NULL);
    decoder_run_size(&training->decoder, training->micro_tokens, training->micro_sequences, false,
                     &need.dev_activations, NULL);
    return need;
}

static size_t need_total(const struct need *need) {
    return need->trained + need->moments + need->activations + need->dev_activations + need->data;
}

/* Memory that can be had without swapping: MemAvailable of /proc/meminfo; 0 if that cannot be read. */
static size_t available_memory(void) {
    FILE *file = fopen("/proc/meminfo", "r");
    char line[256];
    size_t kilobytes = 0;
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (sscanf(line, "MemAvailable: %zu kB", &kilobytes) == 1) break;
    }
    if (file != NULL) fclose(file);
    return kilobytes * 1024;
}

bool training_check_memory(const struct training *training, struct error *error) {
    const struct need need = training_need(training);
    const size_t available = available_memory(),
                 left = need_total(&need) - need.trained - need.data; /* those two are held already */
    if (available == 0 || left <= available) return true;
    error_set(error, "the run needs %zu MiB more, %zu MiB are free", left >> 20, available >> 20);
    return error_hint(error, "lower train.micro_batch_tokens, or train with lora; --plan shows what takes how much");
}

void training_print_plan(const struct training *training) {
    const struct need need = training_need(training);
    const double mib = 1 << 20;
    printf("trained parameters      %12lld in %zu tensors\n", (long long)training->decoder.parameters.total,
           training->decoder.parameters.count);
    printf("training stays          %12zu (%zu cut to %lld tokens)\n", training->data.count, training->data.truncated,
           (long long)training->train->max_tokens);
    printf("tokens an epoch         %12lld\n", (long long)training->data.starts[training->data.count]);
    printf("steps                   %12lld of %lld stays, in micro-batches of up to %lld tokens\n",
           (long long)training->steps, (long long)training->train->batch_size, (long long)training->micro_tokens);
    printf("values and gradients    %12.1f MiB\n", (double)need.trained / mib);
    printf("optimizer moments       %12.1f MiB\n", (double)need.moments / mib);
    printf("activations, training   %12.1f MiB\n", (double)need.activations / mib);
    printf("activations, dev        %12.1f MiB\n", (double)need.dev_activations / mib);
    printf("data                    %12.1f MiB\n", (double)need.data / mib);
    printf("in all                  %12.1f MiB of %.1f free\n", (double)need_total(&need) / mib,
           (double)available_memory() / mib);
}
