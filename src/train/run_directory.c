/* The run directory: what stands in it from the start, the best model so far, and the log. */
#include "train/run_directory.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/memory.h"
#include "model/classifier.h"
#include "train/cluster.h"
#include "train/trainable.h"
#include "train/training.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

bool run_path(const char *run, char *path, size_t capacity, const char *name, struct error *error) {
    return path_join(path, capacity, run, name) || error_set(error, "%s: path too long", run);
}

/* Removes the NAME.partial-PID of processes that were killed while they wrote. The directory is locked. */
static void remove_partial_files(const char *run) {
    DIR *directory = opendir(run);
    char path[4096];
    for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
        if (strstr(entry->d_name, ".partial-") != NULL && path_join(path, sizeof path, run, entry->d_name))
            unlink(path);
    }
    if (directory != NULL) closedir(directory);
}

static bool lock(struct run_directory *directory, struct error *error) {
    directory->descriptor = open(directory->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory->descriptor < 0) return error_system(error, "%s", directory->path);
    /* Some network file systems lock no directories: there the user must see to it. */
    if (flock(directory->descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return true;
    error_set(error, "%s: another process is training into it", directory->path);
    return error_hint(error, "wait for it or stop it; it leaves a checkpoint on SIGTERM");
}

/* Whether RUN/recipe.yaml is this recipe. */
static bool has_recipe(const char *path, const struct text *recipe) {
    struct text there = {0};
    struct error ignored = {0};
    const bool same = path_exists(path) && file_read(&there, path, (size_t)1 << 20, &ignored) &&
                      there.length == recipe->length && memcmp(there.data, recipe->data, there.length) == 0;
    text_free(&there);
    return same;
}

/* What --resume finds in a directory that is there. */
static bool find_run(struct run_directory *directory, const struct text *recipe, const char *recipe_path,
                     struct error *error) {
    char checkpoint[4096];
    if (!run_path(directory->path, checkpoint, sizeof checkpoint, "checkpoint.bin", error)) return false;
    directory->goes_on = path_exists(checkpoint);
    if (directory->goes_on || directory_is_empty(directory->path) || has_recipe(recipe_path, recipe)) return true;
    error_set(error, "%s: no checkpoint to resume from, and no run of this recipe", directory->path);
    return error_hint(error, "start the run without --resume, in a directory of its own");
}

bool run_directory_open(struct run_directory *directory, const char *path, const struct text *recipe, bool resume,
                        struct error *error) {
    char recipe_path[4096];
    *directory = (struct run_directory){.path = path, .descriptor = -1};
    if (!cluster_is_first()) return true;
    if (!run_path(path, recipe_path, sizeof recipe_path, "recipe.yaml", error)) return false;
    if (resume && !path_is_directory(path)) {
        error_set(error, "%s: no checkpoint to resume from", path);
        return error_hint(error, "start the run without --resume");
    }
    if (!directory_create(path, error) || !lock(directory, error)) return false;
    if (!resume && !directory_is_empty(path)) {
        error_set(error, "%s: the directory is not empty", path);
        return error_hint(error, "name another --out, or go on with that run by --resume");
    }
    if (resume) remove_partial_files(path);
    if (resume && !find_run(directory, recipe, recipe_path, error)) return false;
    return directory->goes_on || file_write(recipe_path, recipe->data, recipe->length, error);
}

void run_directory_close(struct run_directory *directory) {
    if (directory->descriptor >= 0) close(directory->descriptor);
    directory->descriptor = -1;
}

bool run_log(const char *run, const char *line, struct error *error) {
    char path[4096];
    if (!run_path(run, path, sizeof path, "log.jsonl", error)) return false;
    FILE *file = fopen(path, "a");
    if (file == NULL) return error_system(error, "%s", path);
    const bool written = fprintf(file, "%s\n", line) > 0;
    return (fclose(file) == 0 && written) || error_system(error, "%s: write failed", path);
}

/* Whether a line of the log is JSON, and of a step up to `step`. */
static bool line_is_kept(const char *line, size_t length, int64_t step) {
    struct json *document;
    int64_t own;
    if (!json_parse(&document, "log.jsonl", line, length, NULL)) return false;
    const bool kept = json_integer(json_member(json_root(document), "step"), &own) && own <= step;
    json_free(document);
    return kept;
}

bool run_cut_log(const char *run, int64_t step, struct error *error) {
    char path[4096];
    struct text log = {0}, kept = {0};
    if (!run_path(run, path, sizeof path, "log.jsonl", error)) return false;
    if (!path_exists(path)) return true;
    bool done = file_read(&log, path, 0, error);
    for (size_t at = 0; done && at < log.length;) {
        const char *line = log.data + at, *feed = memchr(line, '\n', log.length - at);
        if (feed == NULL) break; /* a crash cut it short */
        const size_t length = (size_t)(feed - line) + 1;
        if (line_is_kept(line, length - 1, step)) text_append(&kept, line, length);
        at += length;
    }
    done = done && text_ok(&kept, error) && file_write(path, kept.data == NULL ? "" : kept.data, kept.length, error);
    text_free(&log);
    text_free(&kept);
    return done;
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

/* A two-label model can name every DRG of its grouper, seen in training or not. */
static bool all_drgs(struct labels *labels, const struct catalog *catalog, struct error *error) {
    *labels = (struct labels){.grouper = catalog->grouper, .count = catalog->count};
    labels->codes = memory_alloc(catalog->count, sizeof *labels->codes);
    if (labels->codes == NULL) return memory_error(error, catalog->count * sizeof *labels->codes, "the labels");
    for (size_t i = 0; i < catalog->count; i++) labels->codes[i] = catalog->drgs[i].code;
    return true;
}

static bool write_card(const struct training *training, struct error *error) {
    const bool two_label = training->objective.part_count > 1;
    struct run_card card = {.grouper = training->labels.grouper,
                            .max_tokens = training->train->max_tokens,
                            .window = recipe_window(training->train),
                            .whole_note = training->train->whole_note,
                            .bases = two_label ? training->objective.parts[0].columns.count : 0};
    struct labels all = {0};
    if (two_label && !all_drgs(&all, training->objective.catalog, error)) return false;
    if (!training->method->causal) card.labels = two_label ? all : training->labels;
    snprintf(card.task, sizeof card.task, "%s", two_label ? "two_label" : training->method->task);
    snprintf(card.recipe, sizeof card.recipe, "%s", training->settings->recipe_name);
    const bool done = fill_base(training, &card, error) && run_card_write(&card, training->settings->out, error);
    labels_free(&all);
    return done;
}

/* What config.json calls a score: the DRG's code, or base and severity by their numbers. */
static void name_output(char name[16], const struct training *training, int64_t output) {
    const struct objective *objective = &training->objective;
    const int64_t bases = objective->parts[0].columns.count;
    if (objective->part_count == 1)
        snprintf(name, 16, "%03d", training->labels.codes[output] % 1000);
    else
        snprintf(name, 16, "%s %d", output < bases ? "base" : "severity",
                 (int)(output < bases ? output : output - bases) % 1000);
}

static bool write_config(const struct training *training, struct error *error) {
    const size_t count = (size_t)training->objective.outputs;
    if (training->settings->recipe->lora != NULL) return true; /* the base has its own */
    char(*names)[16] = memory_alloc(count + 1, sizeof *names);
    const char **pointers = memory_alloc(count + 1, sizeof *pointers);
    bool done = (names != NULL && pointers != NULL) || memory_error(error, count * 16, "the names of the labels");
    for (size_t i = 0; done && i < count; i++) {
        name_output(names[i], training, (int64_t)i);
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

bool training_write_files(const struct training *training, struct error *error) {
    return trainable_write_reader(training, error) &&
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
