/* Options that the commands share when the model writes its answers. */
#ifndef CASEMIX_CLI_ANSWER_OPTIONS_H
#define CASEMIX_CLI_ANSWER_OPTIONS_H

#include "generate/answerer.h"
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>

struct error;

struct answer_options {
    const char *model, *adapter, *prompt, *int8_cache;
    struct sampling sampling;
    int64_t samples, max_tokens, batch, seed;
    enum grouper grouper;
    enum compute_type compute;
    bool grouper_given, temperature_given;
};

/* getopt's values of the shared options; a command's own begin behind them. */
enum {
    ANSWER_MODEL = 1,
    ANSWER_ADAPTER,
    ANSWER_PROMPT,
    ANSWER_SAMPLES,
    ANSWER_MAX_TOKENS,
    ANSWER_TEMPERATURE,
    ANSWER_TOP_P,
    ANSWER_SEED,
    ANSWER_BATCH,
    ANSWER_GROUPER,
    ANSWER_COMPUTE,
    ANSWER_INT8_CACHE,
    ANSWER_THREADS,
    ANSWER_OPTIONS
};
#define ANSWER_OPTION_NAMES                                                                                    \
    {"model", 1, 0, ANSWER_MODEL}, {"adapter", 1, 0, ANSWER_ADAPTER}, {"prompt", 1, 0, ANSWER_PROMPT},         \
        {"samples", 1, 0, ANSWER_SAMPLES}, {"max-tokens", 1, 0, ANSWER_MAX_TOKENS},                            \
        {"temperature", 1, 0, ANSWER_TEMPERATURE}, {"top-p", 1, 0, ANSWER_TOP_P}, {"seed", 1, 0, ANSWER_SEED}, \
        {"batch", 1, 0, ANSWER_BATCH}, {"grouper", 1, 0, ANSWER_GROUPER}, {"compute", 1, 0, ANSWER_COMPUTE},   \
        {"int8-cache", 1, 0, ANSWER_INT8_CACHE}, {                                                             \
        "threads", 1, 0, ANSWER_THREADS                                                                        \
    }

/* Lines of the help page about them. */
#define ANSWER_OPTION_HELP                                                                          \
    "  --adapter DIR      a PEFT adapter over a Hugging Face directory\n"                           \
    "  --prompt P         answer, answer-differential, answer-short, or a file [what the run was\n" \
    "                     trained with, else answer]\n"                                             \
    "  --max-tokens N     of an answer [half the window, at most 1024]\n"                           \
    "  --temperature X  --top-p X   of drawn answers [0.6 0.95]\n"                                  \
    "  --seed S           same seed, same answers [1]\n"                                            \
    "  --batch N          answers under way at once [16]\n"                                         \
    "  --grouper G        v34 or v43 [the run's, else v34]\n"                                       \
    "  --compute TYPE     auto, f32, bf16, int8 [auto]; --int8-cache DIR keeps the int8 form\n"     \
    "  --threads N        [all processors]\n"

/* Before the options are read: whether the command line names a model that writes. */
bool answers_are_wanted(int argc, char **argv);

/* Takes one shared option. */
bool answer_option(int option, const char *value, struct answer_options *options, struct error *error);

/* Opens the model and settles what was left open: answers of one sample are the likeliest ones, more are drawn. */
bool answer_options_open(struct answer_options *options, bool titles, struct answerer *answerer, struct error *error);

/* The two commands with a model that writes. */
bool predict_answers(int argc, char **argv, struct error *error);
bool eval_answers(int argc, char **argv, struct error *error);

#endif
