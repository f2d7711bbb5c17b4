/* The program: finds the command, runs it, and turns an error into one line, a hint and an exit status
 * (0 done, 1 failed, 2 wrong usage). */
#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/commands.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

struct command {
    const char *name, *summary;
    bool (*run)(int argc, char **argv, struct error *error);
};

static const struct command commands[] = {
    {"predict", "code notes: ranked DRGs with probability, weight and stay", command_predict},
    {"drg", "look up the MS-DRG catalog (v34, v43)", command_drg},
    {"eval", "score a model on a dataset", command_eval},
    {"metrics", "the papers' metrics from logits and labels", command_metrics},
    {"report", "a run and its evaluation as one HTML page", command_report},
    {"rationales", "why stays have their DRG: from codes, or as a model explains it", command_rationales},
    {"reward", "DRG-Sapphire's rewards on written answers", command_reward},
    {"generate", "a causal model goes on from a prompt, or answers in a conversation", command_generate},
    {"train", "train a model or a tokenizer from a recipe", command_train},
    {"prepare", "MIMIC-IV's notes and DRGs to a dataset for training", command_prepare},
    {"export", "write a model with its adapters merged", command_export},
    {"synth", "write a synthetic cohort in MIMIC-IV's file format", command_synth},
    {"tokenize", "text to token ids and back", command_tokenize},
    {"bench", "measure this machine and casemix on it", command_bench},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void print_help(FILE *stream) {
    fputs("casemix reads a hospital discharge summary and gives its MS-DRG; it trains the models that do it.\n\n"
          "usage: casemix COMMAND [OPTIONS] …\n\n",
          stream);
    for (size_t i = 0; i < COMMANDS; i++) fprintf(stream, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fputs("\n`casemix COMMAND --help` explains a command, with examples.\n\n"
          "  casemix predict note.txt           the five likeliest DRGs of a note\n"
          "  casemix drg show 291               a DRG and the severities of its base\n",
          stream);
}

/* Distance that a mistyped command may have: characters to insert, delete or replace (Levenshtein). */
static size_t edit_distance(const char *a, const char *b) {
    size_t row[32], length = strlen(b);
    if (length >= sizeof row / sizeof row[0]) return SIZE_MAX;
    for (size_t j = 0; j <= length; j++) row[j] = j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= length; j++) {
            size_t above = row[j], best = diagonal + (a[i - 1] != b[j - 1]);
            if (above + 1 < best) best = above + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
            diagonal = above;
        }
    }
    return row[length];
}

static bool unknown_command(const char *name, struct error *error) {
    error_usage(error, "there is no command '%s'", name);
    for (size_t i = 0; i < COMMANDS; i++) {
        if (edit_distance(name, commands[i].name) <= 2)
            return error_hint(error, "did you mean `casemix %s`?", commands[i].name);
    }
    return error_hint(error, "`casemix --help` lists the commands");
}

static bool run(int argc, char **argv, struct error *error) {
    if (argc < 2) {
        print_help(stderr);
        return error_usage(error, "no command given");
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
        print_help(stdout);
        return true;
    }
    if (strcmp(name, "--version") == 0) {
        puts("casemix " CASEMIX_VERSION);
        return true;
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(name, commands[i].name) == 0) return commands[i].run(argc - 1, argv + 1, error);
    }
    return unknown_command(name, error);
}

int main(int argc, char **argv) {
    /* Writing to a closed pipe then fails like any other write, and `casemix … | head` ends without a message. */
    signal(SIGPIPE, SIG_DFL);
    struct error error = {0};
    bool done = run(argc, argv, &error);
    if (done && (fflush(stdout) != 0 || ferror(stdout))) done = error_system(&error, "standard output");
    if (done) return 0;
    fprintf(stderr, "casemix: %s\n", error.message);
    if (error.hint[0] != '\0') fprintf(stderr, "  %s\n", error.hint);
    return error.usage ? 2 : 1;
}
