/* The common ground of methods that train a model to write: see lm_training.h. */
#include "train/lm_training.h"
#include "base/error.h"
#include "base/file.h"

bool lm_open_prompt(struct lm_training *lm, const struct training *training, const char *name, struct error *error) {
    const char *model = training->settings->model;
    const bool opened = name != NULL || model == NULL ? prompt_open(&lm->prompt, name == NULL ? "answer" : name, error)
                                                      : prompt_open_run(&lm->prompt, model, "answer", error);
    return opened && prompt_encoder_open(&lm->encoder, &lm->prompt, training->tokenizer, training->tokenizer_directory,
                                         training->decoder.config.eos_id, error);
}

static bool load(struct examples *examples, struct example_file *file, const struct training *training,
                 const char *name, struct error *error) {
    char path[4096];
    return (path_join(path, sizeof path, training->settings->data, name) ||
            error_set(error, "%s: path too long", training->settings->data)) &&
           example_file_load(examples, file, path, error);
}

/* The grouper of the titles, for the card of the run: labels.tsv says it, where there is one. */
static bool read_grouper(struct training *training, struct error *error) {
    char path[4096];
    if (!path_join(path, sizeof path, training->settings->data, "labels.tsv"))
        return error_set(error, "%s: path too long", training->settings->data);
    return !path_exists(path) || labels_load(&training->labels, path, error);
}

static size_t bytes_of(const struct examples *examples) {
    return examples->token_capacity * sizeof *examples->tokens + examples->start_capacity * sizeof *examples->starts;
}

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

bool lm_open_examples(struct lm_training *lm, struct training *training, struct example_file *file,
                      struct error *error) {
    const struct prompt_encoder *knowledge = file->knowledge;
    const int32_t eos = training->decoder.config.eos_id;
    file->reader = (struct example_reader){
        .encoder = &lm->encoder, .end = eos >= 0 ? eos : lm->encoder.end, .max_tokens = training->train->max_tokens};
    if (!read_grouper(training, error) || !load(&lm->data, file, training, "train.jsonl", error)) return false;
    file->knowledge = NULL; /* what is known by heart says nothing on dev */
    const bool done = load(&lm->dev, file, training, "dev.jsonl", error);
    file->knowledge = knowledge;
    if (!done) return false;
    const struct examples *data = &lm->data, *dev = &lm->dev;
    training->load = (struct training_load){
        .count = (int64_t)data->count,
        .cut = (int64_t)data->cut,
        .dropped = (int64_t)data->dropped,
        .tokens = data->starts[data->count * (size_t)(1 + data->completions)],
        .longest = larger(examples_longest(data), examples_longest(dev)),
        .positions = larger(examples_positions(data), examples_positions(dev)),
        .bytes = bytes_of(data) + bytes_of(dev),
        .fingerprint = data->fingerprint ^ (dev->fingerprint << 1),
    };
    return true;
}

bool lm_prepare(const struct lm_training *lm, const struct training *training, struct error *error) {
    return prompt_write_run(&lm->prompt, training->settings->out, error);
}

void lm_close(struct lm_training *lm) {
    prompt_encoder_close(&lm->encoder);
    prompt_close(&lm->prompt);
    examples_free(&lm->data);
    examples_free(&lm->dev);
}
