/* Options about written answers: see answer_options.h. */
#include "cli/answer_options.h"
#include "base/error.h"
#include "base/text.h"
#include "base/threads.h"
#include <string.h>

bool answers_are_wanted(int argc, char **argv) {
    static const char name[] = "--model", joined[] = "--model=";
    for (int i = 1; i < argc; i++) {
        const char *directory = NULL;
        if (strcmp(argv[i], "--") == 0) return false;
        if (strcmp(argv[i], name) == 0 && i + 1 < argc) directory = argv[i + 1];
        if (strncmp(argv[i], joined, sizeof joined - 1) == 0) directory = argv[i] + sizeof joined - 1;
        if (directory != NULL) return answerer_fits(directory);
    }
    return false;
}

static bool read_whole(const char *option, const char *value, int64_t low, int64_t high, int64_t *out,
                       struct error *error) {
    return (parse_int64(value, out) && *out >= low && *out <= high) ||
           error_usage(error, "--%s takes a whole number from %lld to %lld, not \"%s\"", option, (long long)low,
                       (long long)high, value);
}

bool answer_option(int option, const char *value, struct answer_options *options, struct error *error) {
    int64_t threads;
    switch (option) {
    case ANSWER_MODEL:
        options->model = value;
        return true;
    case ANSWER_ADAPTER:
        options->adapter = value;
        return true;
    case ANSWER_PROMPT:
        options->prompt = value;
        return true;
    case ANSWER_INT8_CACHE:
        options->int8_cache = value;
        return true;
    case ANSWER_SAMPLES:
        return read_whole("samples", value, 1, 64, &options->samples, error);
    case ANSWER_MAX_TOKENS:
        return read_whole("max-tokens", value, 1, 1 << 20, &options->max_tokens, error);
    case ANSWER_SEED:
        return read_whole("seed", value, 0, INT64_MAX, &options->seed, error);
    case ANSWER_BATCH:
        return read_whole("batch", value, 1, 1024, &options->batch, error);
    case ANSWER_TEMPERATURE:
        options->temperature_given = true;
        return parse_double(value, &options->sampling.temperature) ||
               error_usage(error, "--temperature takes a number, not \"%s\"", value);
    case ANSWER_TOP_P:
        return parse_double(value, &options->sampling.top_p) ||
               error_usage(error, "--top-p takes a number, not \"%s\"", value);
    case ANSWER_GROUPER:
        options->grouper_given = true;
        return grouper_parse(value, &options->grouper, error);
    case ANSWER_COMPUTE:
        return compute_parse(value, &options->compute, error);
    default:
        if (!read_whole("threads", value, 1, 1024, &threads, error)) return false;
        threads_set((int)threads);
        return true;
    }
}

bool answer_options_open(struct answer_options *options, bool titles, struct answerer *answerer, struct error *error) {
    enum { MOST = 1024 };
    const struct answerer_settings settings = {.model = options->model,
                                               .adapter = options->adapter,
                                               .prompt = options->prompt,
                                               .otherwise = "answer",
                                               .grouper = options->grouper_given ? &options->grouper : NULL,
                                               .titles = titles,
                                               .compute = options->compute,
                                               .int8_cache = options->int8_cache};
    if (!options->temperature_given && options->samples == 1) options->sampling.temperature = 0;
    if (!sampling_check(&options->sampling, error) || !answerer_open(answerer, &settings, error)) return false;
    if (options->max_tokens == 0) options->max_tokens = answerer->window / 2 < MOST ? answerer->window / 2 : MOST;
    return true;
}
