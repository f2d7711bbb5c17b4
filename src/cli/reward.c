/* casemix reward: the rewards of DRG-Sapphire on lines of completions. */
#include "drg/reward.h"
#include "base/error.h"
#include "base/json.h"
#include "base/text.h"
#include "cli/commands.h"
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static void print_help(void) {
    puts("usage: casemix reward --kind dense|balanced|strict [--compat] [--grouper v34|v43] [FILE]\n\n"
         "Scores written answers by DRG-Sapphire's rules. Reads JSON lines {\"completion\": …, \"gold\":\n"
         "TITLE} from FILE or standard input and prints {\"format\": x, \"accuracy\": y} for each.\n\n"
         "  format     0 for <think>…</think><answer>TITLE</answer> and nothing else, -2 for anything else\n"
         "  accuracy   0 without the format; otherwise by the first answer:\n"
         "                                      dense   balanced   strict\n"
         "               the DRG itself           2        2         2\n"
         "               its base only            1.5      1         0\n"
         "               its severity only        0.5      1         0\n"
         "               neither                 -0.5     -0.5       0\n"
         "               no title                -1.5     -1.5      -1.5\n\n"
         "  --compat       compares by substrings as the published code does, its errors included\n"
         "  --grouper G    whose titles [v34]\n\n"
         "  casemix reward --kind dense < completions.jsonl");
}

struct reward_options {
    enum reward_kind kind;
    enum grouper grouper;
    bool compat;
};

static bool score_line(void *context, uint64_t line, const json_node *root, struct error *error) {
    const struct reward_options *options = context;
    const char *completion, *gold;
    struct reward reward;
    (void)line;
    if (!json_get_string(root, "completion", true, &completion, error) ||
        !json_get_string(root, "gold", true, &gold, error) ||
        !reward_score(&reward, options->kind, options->compat, catalog_get(options->grouper), completion,
                      strlen(completion), gold, strlen(gold), error))
        return false;
    if (printf("{\"format\": %g, \"accuracy\": %g}\n", reward.format, reward.accuracy) < 0)
        return error_system(error, "standard output");
    return true;
}

bool command_reward(int argc, char **argv, struct error *error) {
    enum { KIND = 1, COMPAT, GROUPER, HELP };
    static const struct option names[] = {
        {"kind", 1, 0, KIND}, {"compat", 0, 0, COMPAT}, {"grouper", 1, 0, GROUPER}, {"help", 0, 0, HELP}, {0, 0, 0, 0}};
    struct reward_options options = {.grouper = GROUPER_V34};
    bool chosen = false;
    optind = 0;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (option) {
        case KIND:
            if (!reward_kind_parse(optarg, &options.kind, error)) return false;
            chosen = true;
            break;
        case COMPAT:
            options.compat = true;
            break;
        case GROUPER:
            if (!grouper_parse(optarg, &options.grouper, error)) return false;
            break;
        case HELP:
            print_help();
            return true;
        default:
            error_usage(error, "reward: unknown option or missing value: %s", argv[optind - 1]);
            return error_hint(error, "casemix reward --help");
        }
    }
    if (!chosen || argc - optind > 1) {
        error_usage(error, chosen ? "reward takes one file, or standard input" : "reward needs --kind");
        return error_hint(error, "casemix reward --kind dense < completions.jsonl");
    }
    return json_lines(optind < argc ? argv[optind] : "-", score_line, &options, error);
}
