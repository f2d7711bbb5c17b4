/* casemix export: a run or a model with adapters as a Hugging Face directory of its own. */
#include "model/export.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/commands.h"
#include "model/classifier.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ADAPTERS = 16 };

static void print_help(void) {
    puts("usage: casemix export --model DIR --out DIR [OPTIONS]\n\n"
         "Writes a model that stands alone: adapters are merged into the weights (in f32, rounded once), and\n"
         "config.json, model.safetensors and the tokenizer's files go to a directory that Hugging Face\n"
         "libraries and casemix open.\n\n"
         "  --model DIR       a run of `casemix train`, or a Hugging Face directory\n"
         "  --adapter DIR     a PEFT adapter to merge; may be repeated, their terms are summed\n"
         "  --out DIR         new or empty\n"
         "  --dtype TYPE      f32, bf16 or f16 [f32 if something is merged, else as stored]\n"
         "  --shard-size MB   the largest file, in millions of bytes [5000]\n\n"
         "  casemix export --model run --out merged\n"
         "  casemix export --model Qwen2.5-0.5B --adapter sft --adapter grpo --out merged --dtype bf16");
}

struct options {
    const char *model, *out, *dtype;
    const char *adapters[ADAPTERS];
    size_t adapter_count;
    int64_t shard_megabytes;
    bool help;
};

static bool read_options(int argc, char **argv, struct options *options, struct error *error) {
    enum { MODEL = 1, ADAPTER, OUT, DTYPE, SHARD, HELP };
    static const struct option names[] = {
        {"model", 1, 0, MODEL}, {"adapter", 1, 0, ADAPTER},  {"out", 1, 0, OUT}, {"dtype", 1, 0, DTYPE},
        {"help", 0, 0, HELP},   {"shard-size", 1, 0, SHARD}, {0, 0, 0, 0}};
    optind = 0;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (option) {
        case MODEL:
            options->model = optarg;
            break;
        case ADAPTER:
            if (options->adapter_count == ADAPTERS) return error_usage(error, "more than %d --adapter", ADAPTERS);
            options->adapters[options->adapter_count++] = optarg;
            break;
        case OUT:
            options->out = optarg;
            break;
        case DTYPE:
            options->dtype = optarg;
            break;
        case SHARD:
            if (!parse_int64(optarg, &options->shard_megabytes) || options->shard_megabytes < 1 ||
                options->shard_megabytes > 1 << 20)
                return error_usage(error, "--shard-size takes 1 to 1048576, not \"%s\"", optarg);
            break;
        case HELP:
            options->help = true;
            return true;
        default:
            error_usage(error, "export: unknown option or missing value: %s", argv[optind - 1]);
            return error_hint(error, "casemix export --help");
        }
    }
    if (optind < argc) return error_usage(error, "export takes options only");
    if (options->model == NULL || options->out == NULL)
        return error_usage(error, "export needs --model DIR and --out DIR");
    return true;
}

/* What is exported, and what the result says about itself. */
struct source {
    struct decoder decoder;
    bool is_run;
    struct run_card card;
    struct json *config; /* of the model or of the run's base */
    const char **names;  /* [labels], or NULL */
    char (*codes)[8];    /* the names of a run's labels */
    bool merges;
};

static bool open_base(struct source *source, const char *base, struct error *error) {
    char path[4096];
    if (!path_join(path, sizeof path, base, "config.json")) return error_set(error, "%s: path too long", base);
    return decoder_open(&source->decoder, base, error) && json_load(&source->config, path, (size_t)64 << 20, error);
}

/* A run is its base and its adapter, or a full model. */
static bool open_run(struct source *source, const char *directory, struct error *error) {
    char base[4096];
    if (!run_card_load(&source->card, directory, error)) return false;
    if (source->card.base[0] == '\0') return open_base(source, directory, error);
    if (!run_card_base(&source->card, directory, base, sizeof base, error)) return false;
    source->merges = true;
    return (open_base(source, base, error) || error_context(error, "base model of %s", directory)) &&
           decoder_load_adapter(&source->decoder, "run", directory, false, error);
}

static bool open_source(struct source *source, const struct options *options, struct error *error) {
    char path[4096], names[ADAPTERS][24];
    const char *used[ADAPTERS + 1];
    size_t count = 0;
    source->is_run = path_join(path, sizeof path, options->model, "casemix.json") && path_exists(path);
    if (!(source->is_run ? open_run(source, options->model, error) : open_base(source, options->model, error)))
        return false;
    if (source->merges) used[count++] = "run";
    for (size_t i = 0; i < options->adapter_count; i++) {
        snprintf(names[i], sizeof names[i], "%zu", i);
        if (!decoder_load_adapter(&source->decoder, names[i], options->adapters[i], false, error)) return false;
        used[count++] = names[i];
        source->merges = true;
    }
    return decoder_use_adapters(&source->decoder, used, count, error);
}

/* The names of the labels: DRGs of a run, else those of config.json where there are as many. */
static bool name_labels(struct source *source, struct error *error) {
    const size_t labels = (size_t)source->decoder.config.labels;
    const json_node *listed = json_member(json_root(source->config), "id2label");
    const bool coded = source->is_run && source->card.labels.count == labels;
    if (!source->decoder.config.classifier || (!coded && json_count(listed) != labels)) return true;
    source->names = memory_zero(labels, sizeof *source->names);
    source->codes = memory_zero(labels, sizeof *source->codes);
    if (source->names == NULL || source->codes == NULL)
        return memory_error(error, labels * sizeof *source->codes, "the names of the labels");
    for (size_t i = 0; i < labels; i++) {
        char key[24];
        snprintf(key, sizeof key, "%zu", i);
        if (coded) snprintf(source->codes[i], sizeof source->codes[i], "%03d", source->card.labels.codes[i] % 1000);
        source->names[i] = coded ? source->codes[i] : json_string(json_member(listed, key));
        if (source->names[i] == NULL) return error_set(error, "config.json: id2label has no name for %zu", i);
    }
    return true;
}

static bool choose_dtype(const struct source *source, const char *name, enum dtype *dtype, struct error *error) {
    static const struct {
        const char *name;
        enum dtype dtype;
    } types[] = {{"f32", DTYPE_F32}, {"bf16", DTYPE_BF16}, {"f16", DTYPE_F16}};
    *dtype = source->merges ? DTYPE_F32 : source->decoder.embedding.dtype;
    if (name == NULL) return true;
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (strcmp(name, types[i].name) != 0) continue;
        *dtype = types[i].dtype;
        return true;
    }
    return error_usage(error, "--dtype takes f32, bf16 or f16, not \"%s\"", name);
}

static bool copy_file(const char *from_directory, const char *to_directory, const char *name, struct error *error) {
    char from[4096], to[4096];
    if (!path_join(from, sizeof from, from_directory, name) || !path_join(to, sizeof to, to_directory, name))
        return error_set(error, "%s: path too long", name);
    return !path_exists(from) || file_copy(from, to, error);
}

static bool copy_tokenizer(const char *from, const char *to, struct error *error) {
    static const char *const files[] = {"tokenizer.json",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "vocab.json",
                                        "merges.txt",
                                        "vocab.txt",
                                        "tokenizer.model",
                                        "added_tokens.json",
                                        "generation_config.json",
                                        "chat_template.jinja"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        if (!copy_file(from, to, files[i], error)) return false;
    }
    return true;
}

static bool make_directory(const char *path, struct error *error) {
    if (!directory_is_empty(path)) {
        error_set(error, "%s: the directory is not empty", path);
        return error_hint(error, "name another --out");
    }
    return directory_create(path, error);
}

static bool write_all(struct source *source, const struct options *options, struct error *error) {
    struct export_settings settings = {.shard_bytes = options->shard_megabytes * 1000000};
    if (!choose_dtype(source, options->dtype, &settings.dtype, error) || !name_labels(source, error)) return false;
    settings.label_names = source->names;
    if (!make_directory(options->out, error) || !copy_tokenizer(options->model, options->out, error)) return false;
    if (source->is_run) { /* the result is a run too, of a full model */
        source->card.base[0] = source->card.base_hash[0] = '\0';
        if (!run_card_write(&source->card, options->out, error)) return false;
    }
    return decoder_export(&source->decoder, options->out, &settings, error);
}

bool command_export(int argc, char **argv, struct error *error) {
    struct options options = {.shard_megabytes = 5000};
    struct source source = {0};
    if (!read_options(argc, argv, &options, error)) return false;
    if (options.help) {
        print_help();
        return true;
    }
    const bool done = open_source(&source, &options, error) && write_all(&source, &options, error);
    if (done) log_info("the model is in %s", options.out);
    decoder_close(&source.decoder);
    run_card_free(&source.card);
    json_free(source.config);
    memory_free(source.names);
    memory_free(source.codes);
    return done;
}
