/* casemix train: a model or a tokenizer from a recipe. */
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/text.h"
#include "base/threads.h"
#include "cli/commands.h"
#include "train/cluster.h"
#include "train/recipe.h"
#include "train/seeds.h"
#include "train/train_classify.h"
#include "train/train_dpo.h"
#include "train/train_grpo.h"
#include "train/train_sft.h"
#include "train/train_tokenizer.h"
#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum { OVERRIDES = 64 };

static void print_help(void) {
    puts("usage: casemix train RECIPE --data DIR --out RUN [OPTIONS]\n\n"
         "Trains what the recipe says (recipes/*.yaml). Classifiers of notes: methods classify and\n"
         "two_label (a decoder, BERT, CAML or linear), bert, caml, linear. Models that write: lm (plain\n"
         "text), sft (prompts with completions, or stays with rationales), dpo (pairs), grpo (sampled\n"
         "answers and rewards). A BPE vocabulary: tokenizer.\n"
         "\n"
         "  --data DIR        train.jsonl and dev.jsonl, for classifiers labels.tsv too, as `casemix synth`\n"
         "                    writes them\n"
         "  --out RUN         the run directory: the best model on dev, its recipe, log.jsonl,\n"
         "                    checkpoint.bin\n"
         "  --model DIR       Hugging Face directory to start from (a recipe without a model section needs\n"
         "                    it)\n"
         "  --tokenizer DIR   tokenizer.json to use [the model's]\n"
         "  --set KEY=VALUE   overrides a key of the recipe; may be repeated\n"
         "  --seeds LIST      trains a run for each seed (1,2,3 or 1-5), one after another, in RUN/seed-N;\n"
         "                    what they come to on dev, with mean and deviation, in RUN/seeds.json\n"
         "  --resume          goes on from the run's last checkpoint, to the same bytes as an uninterrupted\n"
         "                    run; a run that was ended before its first checkpoint begins anew, and of\n"
         "                    --seeds those that are missing begin\n"
         "  --plan            prints parameters, memory and steps, and stops\n"
         "  --memory MIB      resident memory the run may take [what is free]; layers whose activations do\n"
         "                    not fit are computed twice, to the same bits\n"
         "  --stop-after N    stops after N steps in all, as an interrupt would\n"
         "  --compute TYPE    auto, f32, bf16 (large products round to it) or int8 (LoRA over weights in\n"
         "                    eight bits) [auto]\n"
         "  --int8-cache DIR  keeps the eight-bit weights there for the next start\n"
         "  --threads N       [all processors]\n\n"
         "  casemix train recipes/tiny-tokenizer.yaml --data cohort --out tokenizer\n"
         "  casemix train recipes/tiny-classifier.yaml --data cohort --tokenizer tokenizer --out run\n"
         "  casemix train recipes/tiny-classifier.yaml --data cohort --tokenizer tokenizer --out run2 \\\n"
         "      --set train.learning_rate=5e-4 --seeds 1-3\n"
         "  mpirun -n 4 casemix train …         the same on four ranks (built with MPI=1; docs/cluster.md)\n\n"
         "An interrupt, SIGTERM or SIGUSR1 stops a run between two steps with a checkpoint.");
}

struct train_options {
    struct train_settings settings;
    const char *recipe;
    const char *overrides[OVERRIDES + 1]; /* the last place is for a seed */
    size_t override_count;
    struct seed_list seeds; /* count 0: the recipe's */
    bool help;
};

static bool read_number(const char *option, const char *value, int64_t high, int64_t *out, struct error *error) {
    return (parse_int64(value, out) && *out >= 1 && *out <= high) ||
           error_usage(error, "--%s takes a whole number from 1, not \"%s\"", option, value);
}

static bool read_option(int option, struct train_options *options, char **argv, struct error *error);

enum {
    DATA = 1,
    OUT,
    MODEL,
    TOKENIZER,
    SET,
    SEEDS,
    RESUME,
    PLAN,
    STOP_AFTER,
    MEMORY,
    COMPUTE,
    INT8_CACHE,
    THREADS,
    HELP
};

static bool read_options(int argc, char **argv, struct train_options *options, struct error *error) {
    static const struct option names[] = {
        {"data", 1, 0, DATA},           {"out", 1, 0, OUT},         {"model", 1, 0, MODEL},
        {"tokenizer", 1, 0, TOKENIZER}, {"set", 1, 0, SET},         {"seeds", 1, 0, SEEDS},
        {"resume", 0, 0, RESUME},       {"plan", 0, 0, PLAN},       {"stop-after", 1, 0, STOP_AFTER},
        {"memory", 1, 0, MEMORY},       {"compute", 1, 0, COMPUTE}, {"int8-cache", 1, 0, INT8_CACHE},
        {"threads", 1, 0, THREADS},     {"help", 0, 0, HELP},       {0, 0, 0, 0}};
    optind = 0;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (!read_option(option, options, argv, error)) return false;
        if (options->help) return true;
    }
    if (optind + 1 != argc) {
        error_usage(error, optind == argc ? "train needs a recipe" : "train takes one recipe");
        return error_hint(error, "casemix train recipes/tiny-classifier.yaml --data DIR --out RUN");
    }
    options->recipe = argv[optind];
    if (options->settings.data == NULL || options->settings.out == NULL)
        return error_usage(error, "train needs --data DIR and --out RUN");
    return true;
}

static bool read_option(int option, struct train_options *options, char **argv, struct error *error) {
    struct train_settings *settings = &options->settings;
    int64_t threads;
    switch (option) {
    case DATA:
        settings->data = optarg;
        return true;
    case OUT:
        settings->out = optarg;
        return true;
    case MODEL:
        settings->model = optarg;
        return true;
    case TOKENIZER:
        settings->tokenizer = optarg;
        return true;
    case SET:
        if (options->override_count == OVERRIDES) return error_usage(error, "more than %d --set", OVERRIDES);
        options->overrides[options->override_count++] = optarg;
        return true;
    case SEEDS:
        return seeds_parse(&options->seeds, optarg, error);
    case RESUME:
        settings->resume = true;
        return true;
    case PLAN:
        settings->plan = true;
        return true;
    case STOP_AFTER:
        return read_number("stop-after", optarg, INT64_MAX, &settings->stop_after, error);
    case COMPUTE:
        return compute_parse(optarg, &settings->compute, error);
    case INT8_CACHE:
        settings->int8_cache = optarg;
        return true;
    case MEMORY:
        if (!read_number("memory", optarg, (int64_t)1 << 40, &settings->memory, error)) return false;
        settings->memory <<= 20;
        return true;
    case THREADS:
        if (!read_number("threads", optarg, 1024, &threads, error)) return false;
        threads_set((int)threads);
        return true;
    case HELP:
        options->help = true;
        return true;
    default:
        error_usage(error, "train: unknown option or missing value: %s", argv[optind - 1]);
        return error_hint(error, "casemix train --help");
    }
}

/* Rank 0 measures the kernels first, so that the others find its measurement and do not disturb it. */
static void choose_kernels(enum compute_type type) {
    if (!cluster_is_first()) cluster_barrier();
    compute_start(type);
    if (cluster_is_first()) cluster_barrier();
}

static bool train_method(const struct train_settings *settings, struct error *error) {
    switch (settings->recipe->method) {
    case METHOD_LM:
    case METHOD_SFT:
        return train_sft(settings, error);
    case METHOD_DPO:
        return train_dpo(settings, error);
    case METHOD_GRPO:
        return train_grpo(settings, error);
    default:
        return train_classify(settings, error);
    }
}

/* One run of the recipe, with `settings` filled in but for the recipe. */
static bool train(const struct train_options *options, struct train_settings settings, size_t override_count,
                  struct error *error) {
    struct recipe *recipe = NULL;
    struct text text = {0};
    bool done = recipe_load(&recipe, &text, options->recipe, options->overrides, override_count, error);
    if (done && recipe->method == METHOD_TOKENIZER && options->seeds.count > 0) {
        done = error_usage(error, "--seeds is for recipes that train a model; a tokenizer takes no seed");
    } else if (done && recipe->method == METHOD_TOKENIZER) {
        done = !cluster_is_first() || train_tokenizer(recipe, settings.data, settings.out, error);
    } else if (done) {
        const char *slash = strrchr(options->recipe, '/');
        settings.recipe = recipe;
        settings.recipe_text = &text;
        settings.recipe_name = slash == NULL ? options->recipe : slash + 1;
        choose_kernels(settings.compute);
        done = train_method(&settings, error);
    }
    recipe_free(recipe);
    text_free(&text);
    return done;
}

static bool seeds_have_room(const struct train_settings *settings, struct error *error) {
    if (settings->resume || !cluster_is_first() || directory_is_empty(settings->out)) return true;
    error_set(error, "%s: the directory is not empty", settings->out);
    return error_hint(error, "name another --out, or go on with those runs by --resume");
}

static bool train_seeds(struct train_options *options, struct error *error) {
    const struct seed_list *list = &options->seeds;
    struct train_settings settings = options->settings;
    char directory[4096], seed[64];
    if (!cluster_agree(seeds_have_room(&settings, error), error)) return false;
    options->overrides[options->override_count] = seed;
    for (size_t i = 0; i < list->count; i++) {
        snprintf(seed, sizeof seed, "seed=%lld", (long long)list->seeds[i]);
        if (!seeds_directory(directory, sizeof directory, options->settings.out, list->seeds[i], error)) return false;
        settings.out = directory;
        settings.resume = options->settings.resume && path_is_directory(directory);
        if (!settings.plan) log_info("seed %lld (%zu of %zu)", (long long)list->seeds[i], i + 1, list->count);
        if (!train(options, settings, options->override_count + 1, error)) return false;
        if (!settings.plan) continue;
        if (cluster_is_first()) printf("runs                    %12zu, one after another\n", list->count);
        return true;
    }
    return cluster_agree(!cluster_is_first() || seeds_summarise(list, options->settings.out, error), error);
}

bool command_train(int argc, char **argv, struct error *error) {
    struct train_options options = {0};
    if (!read_options(argc, argv, &options, error)) return false;
    if (options.help) {
        if (cluster_is_first()) print_help();
        return true;
    }
    if (options.seeds.count > 0) return train_seeds(&options, error);
    return train(&options, options.settings, options.override_count, error);
}
