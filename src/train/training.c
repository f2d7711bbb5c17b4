/* Setting a run up: data, tokenizer, model, memory. */
#include "train/training.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"
#include "model/adapter.h"
#include "model/classifier.h"
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

static int64_t longest(const struct encoded *encoded) {
    int64_t most = 1;
    for (size_t i = 0; i < encoded->count; i++) {
        const int64_t length = encoded->starts[i + 1] - encoded->starts[i];
        if (length > most) most = length;
    }
    return most;
}

static struct training_load load_of(const struct encoded *data, const struct encoded *dev) {
    const int64_t most = longest(data) > longest(dev) ? longest(data) : longest(dev);
    const size_t tokens = (size_t)(data->starts[data->count] + dev->starts[dev->count]);
    return (struct training_load){.unit = "stays",
                                  .count = (int64_t)data->count,
                                  .cut = (int64_t)data->truncated,
                                  .tokens = data->starts[data->count],
                                  .longest = most,
                                  .positions = most,
                                  .sequences = 1,
                                  .bytes = tokens * sizeof(int32_t),
                                  .fingerprint = data->fingerprint ^ dev->fingerprint};
}

bool stays_open_data(struct training *training, struct error *error) {
    char path[4096];
    const char *directory = training->settings->data;
    const int64_t limit = training->train->max_tokens;
    if (!data_path(path, sizeof path, directory, "labels.tsv", error) || !labels_load(&training->labels, path, error) ||
        !data_path(path, sizeof path, directory, "train.jsonl", error) ||
        !encoded_load(&training->data, path, &training->reader, &training->labels, limit, error) ||
        !data_path(path, sizeof path, directory, "dev.jsonl", error) ||
        !encoded_load(&training->dev, path, &training->reader, &training->labels, limit, error) ||
        !objective_open(&training->objective, training->settings->recipe, &training->labels, training->data.labels,
                        training->data.count, error))
        return false;
    training->load = load_of(&training->data, &training->dev);
    return true;
}

static struct model_config config_of_recipe(const struct training *training) {
    const struct recipe_model *m = training->settings->recipe->model;
    const bool qwen2 = strcmp(m->architecture, "qwen2") == 0;
    return (struct model_config){.architecture = qwen2 ? ARCHITECTURE_QWEN2 : ARCHITECTURE_LLAMA,
                                 .classifier = !training->method->causal,
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

/* The directory of the weights: --model, or the base of the adapter run that --model is. */
static bool find_base(struct training *training, struct error *error) {
    const char *model = training->settings->model;
    char adapter[4096];
    struct run_card card;
    if (!data_path(adapter, sizeof adapter, model, "adapter_config.json", error)) return false;
    training->goes_on = training->method->causal && path_exists(adapter);
    if (!training->goes_on)
        return (size_t)snprintf(training->base, sizeof training->base, "%s", model) < sizeof training->base ||
               error_set(error, "%s: path too long", model);
    if (training->settings->recipe->lora == NULL) {
        error_set(error, "%s is an adapter, and the recipe trains all weights", model);
        return error_hint(error, "make a model of it with `casemix export --model %.200s --out DIR`", model);
    }
    if (!run_card_load(&card, model, error)) return false;
    const bool found = run_card_base(&card, model, training->base, sizeof training->base, error);
    run_card_free(&card);
    return found;
}

/* Whether an opened adapter is the one that the recipe describes. */
static bool same_lora(const struct training *training, struct error *error) {
    const struct adapter_config *opened = &training->decoder.adapters->config;
    const struct lora_settings *lora = &training->lora;
    for (int kind = 0; kind < PROJECTIONS; kind++) {
        int64_t rank;
        double alpha;
        if (!adapter_config_term(opened, 0, (enum projection_kind)kind, &rank, &alpha, error)) return false;
        if (rank == (lora->targets[kind] ? lora->rank : 0) && (rank == 0 || alpha == lora->alpha)) continue;
        error_set(error, "%s has rank %lld and alpha %g at %s, the recipe's section \"lora\" something else",
                  training->settings->model, (long long)rank, alpha, projection_short_name((enum projection_kind)kind));
        return error_hint(error, "an adapter is trained on with its own rank, alpha and targets");
    }
    return true;
}

/* Fresh terms, or those of the adapter run that --model is. */
static bool add_lora(struct training *training, int64_t labels, struct error *error) {
    struct decoder *decoder = &training->decoder;
    if (!training->goes_on)
        return decoder_add_lora(decoder, &training->lora, labels, (uint64_t)training->settings->recipe->seed, error);
    if (!decoder_open_adapter(decoder, training->settings->model, true, error) || !same_lora(training, error))
        return false;
    decoder->lora_dropout = decoder->adapters->config.dropout = training->lora.dropout;
    return true;
}

/* The weights to start from, as the method wants their head. */
static bool open_decoder(struct training *training, struct error *error) {
    const struct train_settings *settings = training->settings;
    const uint64_t seed = (uint64_t)settings->recipe->seed;
    const int64_t outputs = training->method->causal ? 0 : training->objective.outputs;
    if (!decoder_open(&training->decoder, training->base, error)) return false;
    if ((int64_t)tokenizer_vocabulary(training->tokenizer) > training->decoder.config.V) {
        return error_set(error, "the tokenizer has ids up to %zu, the model a vocabulary of %lld",
                         tokenizer_vocabulary(training->tokenizer) - 1, (long long)training->decoder.config.V);
    }
    if (training->method->causal && !decoder_set_causal(&training->decoder, error))
        return error_context(error, "%s", training->base);
    if (settings->recipe->lora != NULL) {
        const struct quantise_settings quantise = {.head = training->method->causal, .cache = settings->int8_cache};
        return read_lora(training, error) && add_lora(training, outputs, error) &&
               (settings->compute != COMPUTE_INT8 || decoder_quantise(&training->decoder, &quantise, NULL, error));
    }
    return (outputs == 0 || decoder_set_labels(&training->decoder, outputs, seed, error)) &&
           decoder_train_all(&training->decoder, error);
}

static bool open_model(struct training *training, struct error *error) {
    const struct train_settings *settings = training->settings;
    if (settings->compute == COMPUTE_INT8 && settings->recipe->lora == NULL) {
        error_set(error, "--compute int8 quantises frozen weights, and this recipe trains them all");
        return error_hint(error, "a recipe with a section \"lora\" leaves them frozen");
    }
    if (training->family != NETWORK_DECODER) return trainable_open_model(training, error);
    training->network = network_of_decoder(&training->decoder);
    if (settings->recipe->model != NULL) {
        const struct model_config config = config_of_recipe(training);
        return decoder_create(&training->decoder, &config, (uint64_t)settings->recipe->seed, error);
    }
    if (settings->model == NULL) {
        error_set(error, "the recipe has no section \"model\", so it needs a model to start from");
        return error_hint(error, "name a Hugging Face directory with --model DIR");
    }
    return find_base(training, error) && open_decoder(training, error);
}

static struct parameters *trained(const struct training *training) {
    return training->network.call->parameters(training->network.model);
}

static bool plan_steps(struct training *training, struct error *error) {
    const struct recipe_train *t = training->train;
    const struct training_load *load = &training->load;
    training->updates = load->updates > 0 ? load->updates : 1;
    training->steps_per_epoch = (load->count + t->batch_size - 1) / t->batch_size * training->updates;
    const double steps = t->epochs * (double)training->steps_per_epoch;
    if (steps > 1e12) return error_set(error, "%g steps are too many", steps);
    training->steps = steps < 1 ? 1 : (int64_t)(steps + 0.5);
    training->steps += (training->updates - training->steps % training->updates) % training->updates;
    training->schedule = (struct schedule){t->schedule, t->learning_rate, t->min_learning_rate_ratio,
                                           (int64_t)(t->warmup_share * (double)training->steps), training->steps};
    const int64_t positions = training->network.call->shape(training->network.model).positions;
    if (load->positions > positions) {
        error_set(error, "a text has %lld tokens, the model %lld positions", (long long)load->positions,
                  (long long)positions);
        return error_hint(error, "set train.max_tokens to at most that");
    }
    const int64_t sequences = load->sequences * t->batch_size;
    training->micro_tokens = t->micro_batch_tokens > load->longest ? t->micro_batch_tokens : load->longest;
    training->micro_sequences = training->micro_tokens < sequences ? training->micro_tokens : sequences;
    training->micro_rows = training->micro_sequences;
    training->buffer_bytes = training->method->plan_buffers(training);
    return true;
}

size_t stays_plan_buffers(struct training *training) {
    const size_t T = (size_t)training->micro_tokens, N = (size_t)training->micro_sequences;
    return N * (size_t)training->objective.outputs * sizeof(float) + (T + 3 * N) * sizeof(int32_t);
}

bool stays_open_buffers(struct training *training, struct error *error) {
    const int64_t T = training->micro_tokens, N = training->micro_sequences,
                  labels = training->network.call->shape(training->network.model).labels;
    training->tokens = memory_alloc((size_t)T, sizeof *training->tokens);
    training->offsets = memory_alloc((size_t)N + 1, sizeof *training->offsets);
    training->micro_labels = memory_alloc((size_t)N, sizeof *training->micro_labels);
    training->logits = memory_alloc((size_t)N, (size_t)labels * sizeof(float));
    training->losses = memory_alloc((size_t)N, sizeof(float));
    if (training->tokens == NULL || training->offsets == NULL || training->micro_labels == NULL ||
        training->logits == NULL || training->losses == NULL) {
        return memory_error(error, (size_t)N * (size_t)labels * sizeof(float), "a micro-batch");
    }
    const struct network *network = &training->network;
    return network->call->run_open_planned(&training->run, network->model, &training->plan, error);
}

/* Of everything that a resumed run must find unchanged; the trained tensors themselves stand in the checkpoint. */
static bool take_fingerprint(struct training *training, struct error *error) {
    const struct train_settings *settings = training->settings;
    const struct text *recipe = settings->recipe_text;
    uint64_t parts[] = {training->load.fingerprint, 0, 0,
                        settings->compute >= COMPUTE_BF16 ? (uint64_t)settings->compute : 0};
    if (settings->model != NULL && !model_identity(&parts[1], settings->model, error)) return false;
    if (training->goes_on && !model_identity(&parts[2], training->base, error)) return false;
    training->fingerprint = hash_bytes(recipe->data, recipe->length, hash_bytes(parts, sizeof parts, 0));
    return true;
}

/* A causal model is opened first: data want to know its end of text. A classifier's head has the labels of the data. */
static bool open_parts(struct training *training, struct error *error) {
    const struct training_method *method = training->method;
    if (!trainable_open_reader(training, error)) return false;
    if (method->causal) return open_model(training, error) && method->open_data(training, error);
    return method->open_data(training, error) && open_model(training, error);
}

bool training_open(struct training *training, const struct train_settings *settings,
                   const struct training_method *method, void *context, struct error *error) {
    const struct recipe_train *t = settings->recipe->train;
    *training =
        (struct training){.settings = settings, .train = t, .method = method, .context = context, .order_epoch = -1};
    if (!open_parts(training, error) || !plan_steps(training, error) || !training_plan_memory(training, error))
        return false;
    if (settings->plan) return true;
    training->optimizer = (struct adamw){.beta1 = t->beta1,
                                         .beta2 = t->beta2,
                                         .epsilon = t->epsilon,
                                         .weight_decay = t->weight_decay,
                                         .max_norm = t->max_grad_norm};
    training->order = memory_alloc((size_t)training->load.count, sizeof *training->order);
    if (training->order == NULL) return memory_error(error, (size_t)training->load.count * 4, "the order of an epoch");
    return take_fingerprint(training, error) && adamw_open(&training->optimizer, trained(training), error) &&
           method->open_buffers(training, error);
}

void stays_close(struct training *training) {
    encoded_free(&training->data);
    encoded_free(&training->dev);
    objective_close(&training->objective);
    memory_free(training->tokens);
    memory_free(training->offsets);
    memory_free(training->micro_labels);
    memory_free(training->logits);
    memory_free(training->losses);
}

void training_close(struct training *training) {
    training->method->close(training);
    if (training->run != NULL) training->network.call->run_close(training->run);
    adamw_close(&training->optimizer);
    decoder_close(&training->decoder);
    labels_free(&training->labels);
    trainable_close(training);
    memory_free(training->order);
    *training = (struct training){0};
}
