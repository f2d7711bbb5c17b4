/* The run directory: what stands in it from the start, the best model so far, and the log. */
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/memory.h"
#include "model/classifier.h"
#include "train/trainable.h"
#include "train/training.h"
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool run_path(const struct training *training, char *path, size_t capacity, const char *name,
                     struct error *error) {
    return path_join(path, capacity, training->settings->out, name) ||
           error_set(error, "%s: path too long", training->settings->out);
}

/* The card of an adapter names its base by absolute path, and by the hash of its config.json. */
static bool fill_base(const struct training *training, struct run_card *card, struct error *error) {
    char config[4096], real[PATH_MAX];
    if (training->settings->recipe->lora == NULL) return true;
    if (realpath(training->base, real) == NULL) return error_system(error, "%s", training->base);
    if (strlen(real) >= sizeof card->base) return error_set(error, "%s: path too long", real);
    strcpy(card->base, real);
    return (path_join(config, sizeof config, real, "config.json") || error_set(error, "%s: path too long", real)) &&
           sha256_file(config, card->base_hash, error);
}

static bool write_card(const struct training *training, struct error *error) {
    struct run_card card = {.grouper = training->labels.grouper, .max_tokens = training->train->max_tokens};
    if (!training->method->causal) card.labels = training->labels;
    snprintf(card.task, sizeof card.task, "%s", training->method->task);
    snprintf(card.recipe, sizeof card.recipe, "%s", training->settings->recipe_name);
    return fill_base(training, &card, error) && run_card_write(&card, training->settings->out, error);
}

static bool write_config(const struct training *training, struct error *error) {
    const size_t count = training->labels.count;
    if (training->settings->recipe->lora != NULL) return true; /* the base has its own */
    char(*names)[8] = memory_alloc(count, sizeof *names);
    const char **pointers = memory_alloc(count, sizeof *pointers);
    bool done = (names != NULL && pointers != NULL) || memory_error(error, count * 16, "the names of the labels");
    for (size_t i = 0; done && i < count; i++) {
        snprintf(names[i], sizeof names[i], "%03d", training->labels.codes[i] % 1000);
        pointers[i] = names[i];
    }
    const char *dtype = training->train->save_dtype == DTYPE_F32    ? "float32"
                        : training->train->save_dtype == DTYPE_BF16 ? "bfloat16"
                                                                    : "float16";
    done = done && training->network.call->write_config(training->network.model, training->settings->out, dtype,
                                                        pointers, error);
    memory_free(names);
    memory_free(pointers);
    return done;
}

bool training_prepare_directory(const struct training *training, struct error *error) {
    const struct train_settings *settings = training->settings;
    char path[4096];
    if (settings->resume) {
        if (!run_path(training, path, sizeof path, "checkpoint.bin", error)) return false;
        if (path_exists(path)) return true;
        error_set(error, "%s: no checkpoint to resume from", settings->out);
        return error_hint(error, "start the run without --resume");
    }
    if (!directory_is_empty(settings->out)) {
        error_set(error, "%s: the directory is not empty", settings->out);
        return error_hint(error, "name another --out, or go on with that run by --resume");
    }
    return directory_create(settings->out, error) && run_path(training, path, sizeof path, "recipe.yaml", error) &&
           file_write(path, settings->recipe_text->data, settings->recipe_text->length, error) &&
           trainable_write_reader(training, error) &&
           (training->method->prepare == NULL || training->method->prepare(training, error)) &&
           write_config(training, error) && write_card(training, error);
}

bool training_save_model(const struct training *training, struct error *error) {
    const struct train_settings *settings = training->settings;
    if (settings->recipe->lora == NULL)
        return training->network.call->write(training->network.model, settings->out, training->train->save_dtype,
                                             error);
    return decoder_write_adapter(&training->decoder, settings->out, training->base, error);
}

bool training_log(const struct training *training, const char *line, struct error *error) {
    char path[4096];
    if (!run_path(training, path, sizeof path, "log.jsonl", error)) return false;
    FILE *file = fopen(path, "a");
    if (file == NULL) return error_system(error, "%s", path);
    const bool written = fprintf(file, "%s\n", line) > 0;
    return (fclose(file) == 0 && written) || error_system(error, "%s: write failed", path);
}

/* Lines kept while the log is cut. */
struct cut {
    struct text kept;
    int64_t step;
};

static bool keep_line(void *context, uint64_t line, const json_node *root, struct error *error) {
    struct cut *cut = context;
    (void)line;
    (void)error;
    int64_t step;
    if (!json_integer(json_member(root, "step"), &step) || step > cut->step) return true;
    text_add_char(&cut->kept, '{');
    for (const json_node *member = json_first(root); member != NULL; member = json_next(member)) {
        text_printf(&cut->kept, "%s\"%s\": ", member == json_first(root) ? "" : ", ", json_name(member));
        text_add_json_double(&cut->kept, json_number(member));
    }
    text_add(&cut->kept, "}\n");
    return true;
}

bool training_cut_log(const struct training *training, int64_t step, struct error *error) {
    char path[4096];
    struct cut cut = {.step = step};
    if (!run_path(training, path, sizeof path, "log.jsonl", error)) return false;
    if (!path_exists(path)) return true;
    /* A last line that a crash cut short is no JSON: what stands before it is kept. */
    struct error ignored = {0};
    json_lines(path, keep_line, &cut, &ignored);
    const bool done = text_ok(&cut.kept, error) &&
                      file_write(path, cut.kept.data == NULL ? "" : cut.kept.data, cut.kept.length, error);
    text_free(&cut.kept);
    return done;
}
