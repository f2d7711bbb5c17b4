/* The three families behind one table of functions each. A run is passed on as what it is: network_run is a name for
 * the three types of working memory. */
#include "model/network.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include <stdint.h>
#include <string.h>

static struct network_shape decoder_shape(const void *model) {
    const struct model_config *config = &((const struct decoder *)model)->config;
    return (struct network_shape){config->V, config->positions, config->labels, config->C};
}

static struct parameters *decoder_parameters(void *model) {
    return &((struct decoder *)model)->parameters;
}

static bool decoder_size(const void *model, int64_t T, int64_t N, bool train, size_t *bytes, struct error *error) {
    return decoder_run_size(model, T, N, train, bytes, error);
}

static bool decoder_open_run(struct network_run **run, const void *model, int64_t T, int64_t N, bool train,
                             struct error *error) {
    struct decoder_run *own;
    if (!decoder_run_open(&own, model, T, N, train, error)) return false;
    *run = (struct network_run *)own;
    return true;
}

static bool decoder_plan_run(struct run_plan *plan, const void *model, size_t budget, struct error *error) {
    return decoder_run_plan(plan, model, budget, error);
}

static bool decoder_open_planned(struct network_run **run, const void *model, const struct run_plan *plan,
                                 struct error *error) {
    struct decoder_run *own;
    if (!decoder_run_open_planned(&own, model, plan, error)) return false;
    *run = (struct network_run *)own;
    return true;
}

static void decoder_close_run(struct network_run *run) {
    decoder_run_close((struct decoder_run *)run);
}

static bool decoder_check_batch(const void *model, const struct network_run *run, const struct batch *batch,
                                struct error *error) {
    return batch_check(model, (const struct decoder_run *)run, batch, error);
}

static void decoder_forward(const void *model, struct network_run *run, const struct batch *batch,
                            uint64_t dropout_seed, float *logits) {
    decoder_classify_forward(model, (struct decoder_run *)run, batch, dropout_seed, logits);
}

static void decoder_backward(const void *model, struct network_run *run, const struct batch *batch,
                             const float *d_logits) {
    decoder_classify_backward(model, (struct decoder_run *)run, batch, d_logits);
}

static bool decoder_save(const void *model, const char *directory, enum dtype dtype, struct error *error) {
    return decoder_write(model, directory, dtype, error);
}

static bool decoder_write_config(const void *model, const char *directory, const char *dtype,
                                 const char *const *label_names, struct error *error) {
    return model_config_write(&((const struct decoder *)model)->config, directory, dtype, label_names, error);
}

static const float *decoder_gradient(const struct network_run *run) {
    return decoder_input_gradient((const struct decoder_run *)run);
}

static void decoder_embed_tokens(const void *model, const int32_t *tokens, int64_t T, float *out) {
    decoder_embed(model, tokens, T, out);
}

struct network network_of_decoder(struct decoder *decoder) {
    static const struct network_functions functions = {
        decoder_shape,        decoder_parameters,   decoder_size,        decoder_open_run,     decoder_plan_run,
        decoder_open_planned, decoder_close_run,    decoder_check_batch, decoder_forward,      decoder_backward,
        decoder_save,         decoder_write_config, decoder_gradient,    decoder_embed_tokens,
    };
    return (struct network){NETWORK_DECODER, &functions, decoder};
}

/* For families that keep all their activations: they fit, or the run is refused. */
static bool fits(const struct run_plan *plan, size_t budget, struct error *error) {
    return budget == 0 || plan->bytes <= budget ||
           error_set(error, "a batch of %lld tokens needs %zu MiB of activations, %zu MiB are left", (long long)plan->T,
                     plan->bytes >> 20, budget >> 20);
}

static struct network_shape encoder_shape(const void *model) {
    const struct encoder_config *config = &((const struct encoder *)model)->config;
    return (struct network_shape){config->V, config->positions, config->labels, config->C};
}

static struct parameters *encoder_parameters(void *model) {
    return &((struct encoder *)model)->parameters;
}

static bool encoder_size(const void *model, int64_t T, int64_t N, bool train, size_t *bytes, struct error *error) {
    return encoder_run_size(model, T, N, train, bytes, error);
}

static bool encoder_open_run(struct network_run **run, const void *model, int64_t T, int64_t N, bool train,
                             struct error *error) {
    struct encoder_run *own;
    if (!encoder_run_open(&own, model, T, N, train, error)) return false;
    *run = (struct network_run *)own;
    return true;
}

static bool encoder_plan_run(struct run_plan *plan, const void *model, size_t budget, struct error *error) {
    return encoder_run_size(model, plan->T, plan->N, plan->train, &plan->bytes, error) && fits(plan, budget, error);
}

static bool encoder_open_planned(struct network_run **run, const void *model, const struct run_plan *plan,
                                 struct error *error) {
    return encoder_open_run(run, model, plan->T, plan->N, plan->train, error);
}

static void encoder_close_run(struct network_run *run) {
    encoder_run_close((struct encoder_run *)run);
}

static bool encoder_check_batch(const void *model, const struct network_run *run, const struct batch *batch,
                                struct error *error) {
    return encoder_check(model, (const struct encoder_run *)run, batch, NULL, error);
}

static void encoder_forward(const void *model, struct network_run *run, const struct batch *batch,
                            uint64_t dropout_seed, float *logits) {
    encoder_classify_forward(model, (struct encoder_run *)run, batch, NULL, dropout_seed, logits);
}

static void encoder_backward(const void *model, struct network_run *run, const struct batch *batch,
                             const float *d_logits) {
    encoder_classify_backward(model, (struct encoder_run *)run, batch, NULL, d_logits);
}

static bool encoder_save(const void *model, const char *directory, enum dtype dtype, struct error *error) {
    return encoder_write(model, directory, dtype, error);
}

static bool encoder_write_config(const void *model, const char *directory, const char *dtype,
                                 const char *const *label_names, struct error *error) {
    return encoder_config_write(&((const struct encoder *)model)->config, directory, dtype, label_names, error);
}

static const float *encoder_gradient(const struct network_run *run) {
    return encoder_input_gradient((const struct encoder_run *)run);
}

static void encoder_embed_tokens(const void *model, const int32_t *tokens, int64_t T, float *out) {
    encoder_embed(model, tokens, T, out);
}

struct network network_of_encoder(struct encoder *encoder) {
    static const struct network_functions functions = {
        encoder_shape,        encoder_parameters,   encoder_size,        encoder_open_run,     encoder_plan_run,
        encoder_open_planned, encoder_close_run,    encoder_check_batch, encoder_forward,      encoder_backward,
        encoder_save,         encoder_write_config, encoder_gradient,    encoder_embed_tokens,
    };
    return (struct network){NETWORK_BERT, &functions, encoder};
}

static struct network_shape caml_shape(const void *model) {
    const struct caml_config *config = &((const struct caml *)model)->config;
    return (struct network_shape){config->V, INT32_MAX, config->labels, config->E};
}

static struct parameters *caml_parameters(void *model) {
    return &((struct caml *)model)->parameters;
}

static bool caml_size(const void *model, int64_t T, int64_t N, bool train, size_t *bytes, struct error *error) {
    return caml_run_size(model, T, N, train, bytes, error);
}

static bool caml_open_run(struct network_run **run, const void *model, int64_t T, int64_t N, bool train,
                          struct error *error) {
    struct caml_run *own;
    if (!caml_run_open(&own, model, T, N, train, error)) return false;
    *run = (struct network_run *)own;
    return true;
}

static bool caml_plan_run(struct run_plan *plan, const void *model, size_t budget, struct error *error) {
    return caml_run_size(model, plan->T, plan->N, plan->train, &plan->bytes, error) && fits(plan, budget, error);
}

static bool caml_open_planned(struct network_run **run, const void *model, const struct run_plan *plan,
                              struct error *error) {
    if (!plan->inputs) return caml_open_run(run, model, plan->T, plan->N, plan->train, error);
    struct caml_run *own;
    if (!caml_run_open_inputs(&own, model, plan->T, plan->N, error)) return false;
    *run = (struct network_run *)own;
    return true;
}

static void caml_close_run(struct network_run *run) {
    caml_run_close((struct caml_run *)run);
}

static bool caml_check_batch(const void *model, const struct network_run *run, const struct batch *batch,
                             struct error *error) {
    return caml_check(model, (const struct caml_run *)run, batch, error);
}

static void caml_forward(const void *model, struct network_run *run, const struct batch *batch, uint64_t dropout_seed,
                         float *logits) {
    caml_classify_forward(model, (struct caml_run *)run, batch, dropout_seed, logits);
}

static void caml_backward(const void *model, struct network_run *run, const struct batch *batch,
                          const float *d_logits) {
    caml_classify_backward(model, (struct caml_run *)run, batch, d_logits);
}

static bool caml_save(const void *model, const char *directory, enum dtype dtype, struct error *error) {
    return caml_write(model, directory, dtype, error);
}

static bool caml_write_config(const void *model, const char *directory, const char *dtype,
                              const char *const *label_names, struct error *error) {
    return caml_config_write(&((const struct caml *)model)->config, directory, dtype, label_names, error);
}

static const float *caml_gradient(const struct network_run *run) {
    return caml_input_gradient((const struct caml_run *)run);
}

static void caml_embed_tokens(const void *model, const int32_t *tokens, int64_t T, float *out) {
    caml_embed(model, tokens, T, out);
}

struct network network_of_caml(struct caml *caml) {
    static const struct network_functions functions = {
        caml_shape,        caml_parameters,   caml_size,        caml_open_run,     caml_plan_run,
        caml_open_planned, caml_close_run,    caml_check_batch, caml_forward,      caml_backward,
        caml_save,         caml_write_config, caml_gradient,    caml_embed_tokens,
    };
    return (struct network){NETWORK_CAML, &functions, caml};
}

static struct network_shape linear_bag_shape(const void *model) {
    const struct linear_bag_config *config = &((const struct linear_bag *)model)->config;
    return (struct network_shape){config->V, INT32_MAX, config->labels, 0};
}

static struct parameters *linear_bag_parameters(void *model) {
    return &((struct linear_bag *)model)->parameters;
}

static bool linear_bag_size(const void *model, int64_t T, int64_t N, bool train, size_t *bytes, struct error *error) {
    (void)train;
    return linear_bag_run_size(model, T, N, bytes, error);
}

static bool linear_bag_open_run(struct network_run **run, const void *model, int64_t T, int64_t N, bool train,
                                struct error *error) {
    struct linear_bag_run *own;
    (void)train;
    if (!linear_bag_run_open(&own, model, T, N, error)) return false;
    *run = (struct network_run *)own;
    return true;
}

static bool linear_bag_plan_run(struct run_plan *plan, const void *model, size_t budget, struct error *error) {
    return linear_bag_run_size(model, plan->T, plan->N, &plan->bytes, error) && fits(plan, budget, error);
}

static bool linear_bag_open_planned(struct network_run **run, const void *model, const struct run_plan *plan,
                                    struct error *error) {
    return linear_bag_open_run(run, model, plan->T, plan->N, plan->train, error);
}

static void linear_bag_close_run(struct network_run *run) {
    linear_bag_run_close((struct linear_bag_run *)run);
}

static bool linear_bag_check_batch(const void *model, const struct network_run *run, const struct batch *batch,
                                   struct error *error) {
    return linear_bag_check(model, (const struct linear_bag_run *)run, batch, error);
}

static void linear_bag_logits(const void *model, struct network_run *run, const struct batch *batch,
                              uint64_t dropout_seed, float *logits) {
    (void)dropout_seed;
    linear_bag_forward(model, (struct linear_bag_run *)run, batch, logits);
}

static void linear_bag_gradient(const void *model, struct network_run *run, const struct batch *batch,
                                const float *d_logits) {
    linear_bag_backward(model, (struct linear_bag_run *)run, batch, d_logits);
}

static bool linear_bag_save(const void *model, const char *directory, enum dtype dtype, struct error *error) {
    return linear_bag_write(model, directory, dtype, error);
}

static bool linear_bag_write_config(const void *model, const char *directory, const char *dtype,
                                    const char *const *label_names, struct error *error) {
    return linear_bag_config_write(&((const struct linear_bag *)model)->config, directory, dtype, label_names, error);
}

struct network network_of_linear_bag(struct linear_bag *bag) {
    static const struct network_functions functions = {
        linear_bag_shape,
        linear_bag_parameters,
        linear_bag_size,
        linear_bag_open_run,
        linear_bag_plan_run,
        linear_bag_open_planned,
        linear_bag_close_run,
        linear_bag_check_batch,
        linear_bag_logits,
        linear_bag_gradient,
        linear_bag_save,
        linear_bag_write_config,
        NULL, /* words have no embeddings: evidence_path.c does without */
        NULL,
    };
    return (struct network){NETWORK_LINEAR, &functions, bag};
}

bool network_family_of(enum network_family *family, const char *directory, struct error *error) {
    char path[4096];
    struct json *document;
    if (!path_join(path, sizeof path, directory, "config.json"))
        return error_set(error, "%s: path too long", directory);
    if (!json_load(&document, path, (size_t)16 << 20, error)) return false;
    const json_node *root = json_root(document);
    const char *name = json_string(json_first(json_member(root, "architectures"))),
               *type = json_string(json_member(root, "model_type"));
    const bool old_bert =
        name == NULL && (type == NULL ? json_member(root, "type_vocab_size") != NULL : strcmp(type, "bert") == 0);
    *family = NETWORK_DECODER;
    if (old_bert || (name != NULL && strncmp(name, "Bert", 4) == 0))
        *family = NETWORK_BERT;
    else if (name != NULL && strcmp(name, "ConvAttnPool") == 0)
        *family = NETWORK_CAML;
    else if (name != NULL && strcmp(name, "LinearBagOfWords") == 0)
        *family = NETWORK_LINEAR;
    json_free(document);
    return true;
}
