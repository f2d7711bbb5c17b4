/* The program: finds the command, runs it, and turns an error into one line, a hint and an exit status
 * (0 done, 1 failed, 2 wrong usage). */
#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "base/threads.h"
#include "cli/commands.h"
#include "cli/shipped_models.h"
#include "train/cluster.h"
#include <signal.h>
#include <stdio.h>
#include <string.h>

#ifdef CASEMIX_MPI
#define CASEMIX_BUILD " (MPI)"
#else
#define CASEMIX_BUILD ""
#endif

struct command {
    const char *name, *summary;
    bool (*run)(int argc, char **argv, struct error *error);
    bool on_ranks; /* shares its work out among the ranks of an MPI job */
};

static const struct command commands[] = {
    {"predict", "code notes: ranked DRGs with probability, weight and stay", command_predict, true},
    {"serve", "the workbench: a page for coders and an API", command_serve, false},
    {"key", "API keys of the server", command_key, false},
    {"audit", "check or print the server's audit trail", command_audit, false},
    {"drg", "look up the MS-DRG catalog (v34, v43)", command_drg, false},
    {"eval", "score a model on a dataset", command_eval, true},
    {"metrics", "the papers' metrics from logits and labels", command_metrics, false},
    {"report", "a run and its evaluation as one HTML page", command_report, false},
    {"rationales", "why stays have their DRG: from codes, or as a model explains it", command_rationales, false},
    {"reward", "DRG-Sapphire's rewards on written answers", command_reward, false},
    {"generate", "a causal model goes on from a prompt, or answers in a conversation", command_generate, false},
    {"train", "train a model or a tokenizer from a recipe", command_train, true},
    {"prepare", "MIMIC-IV's notes and DRGs to a dataset for training", command_prepare, false},
    {"export", "write a model with its adapters merged", command_export, false},
    {"synth", "write a synthetic cohort in MIMIC-IV's file format", command_synth, false},
    {"tokenize", "text to token ids and back", command_tokenize, false},
    {"bench", "measure this machine and casemix on it", command_bench, false},
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
        puts("casemix " CASEMIX_VERSION CASEMIX_BUILD);
        return true;
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(name, commands[i].name) != 0) continue;
        shipped_models_resolve(argc - 1, argv + 1);
        if (cluster_ranks() == 1 || commands[i].on_ranks) return commands[i].run(argc - 1, argv + 1, error);
        return error_usage(error, "%s does not share its work out: start it without mpirun", name);
    }
    return unknown_command(name, error);
}

/* One rank speaks for all where all know of the error, or read the same command line. */
static void print_error(const struct error *error) {
    if (!cluster_is_first() && (cluster_error_is_shared() || error->usage)) return;
    if (cluster_is_first())
        fprintf(stderr, "casemix: %s\n", error->message);
    else
        fprintf(stderr, "casemix: rank %d: %s\n", cluster_rank(), error->message);
    if (error->hint[0] != '\0') fprintf(stderr, "  %s\n", error->hint);
}

int main(int argc, char **argv) {
    threads_spin_briefly(argv);
    /* Writing to a closed pipe then fails like any other write, and `casemix … | head` ends without a message. */
    signal(SIGPIPE, SIG_DFL);
    struct error error = {0};
    bool done = cluster_start(&error);
    log_quiet(!cluster_is_first());
    done = done && run(argc, argv, &error);
    if (done && (fflush(stdout) != 0 || ferror(stdout))) done = error_system(&error, "standard output");
    if (!done) print_error(&error);
    cluster_finish(done || error.usage);
    if (done) return 0;
    return error.usage ? 2 : 1;
}
