/* casemix report: a run and its evaluation as one HTML page. */
#include "eval/report.h"
#include "base/error.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/evidence_print.h"
#include <getopt.h>
#include <stdio.h>

static void print_help(void) {
    puts("usage: casemix report RUN \\\n"
         "      --out report.html [--evaluation DIR] [--flow F.json] \\\n"
         "      [--examples F.jsonl [--evidence [HOW]]]\n\n"
         "Writes one self-contained page about a run: the cohort, training curves, metrics with intervals,\n"
         "reliability, risk against coverage, where it is right, confusions, the worst DRGs, recipe and\n"
         "versions. The page loads nothing from anywhere, and no note is in it unless --examples is given.\n\n"
         "  --out F           the page\n"
         "  --evaluation DIR  what `casemix eval --out DIR` wrote [RUN/evaluation]\n"
         "  --flow F          flow.json of the cohort [RUN/flow.json, or the one beside the data that was\n"
         "                    scored]\n"
         "  --examples F      the stays that were scored: shows the beginning of six notes, so only for\n"
         "                    synthetic notes or readers who may see them\n"
         "  --evidence [HOW]  marks in them the words that carry the first prediction and those that speak\n"
         "                    for the true DRG, found with the run's model by gradients, occlusion or\n"
         "                    attention (CAML) [gradients]\n\n"
         "  casemix eval --model run --calibrate cohort/dev.jsonl --data cohort/test.jsonl \\\n"
         "      --out run/evaluation\n"
         "  casemix report run --out report.html");
}

bool command_report(int argc, char **argv, struct error *error) {
    enum { OUT = 1, EVALUATION, FLOW, EXAMPLES, EVIDENCE, HELP };
    static const struct option names[] = {{"out", 1, 0, OUT},
                                          {"evaluation", 1, 0, EVALUATION},
                                          {"flow", 1, 0, FLOW},
                                          {"examples", 1, 0, EXAMPLES},
                                          {"evidence", 2, 0, EVIDENCE},
                                          {"help", 0, 0, HELP},
                                          {0, 0, 0, 0}};
    struct report_settings settings = {.version = CASEMIX_VERSION};
    struct evidence_options evidence = {0};
    optind = 0;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (option) {
        case OUT:
            settings.out = optarg;
            break;
        case EVALUATION:
            settings.evaluation = optarg;
            break;
        case FLOW:
            settings.flow = optarg;
            break;
        case EXAMPLES:
            settings.examples = optarg;
            break;
        case EVIDENCE:
            if (!evidence_options_method(&evidence, optarg, argc, argv, error)) return false;
            break;
        case HELP:
            print_help();
            return true;
        default:
            error_usage(error, "report: unknown option or missing value: %s", argv[optind - 1]);
            return error_hint(error, "casemix report --help");
        }
    }
    if (argc - optind != 1 || settings.out == NULL) {
        error_usage(error, "report needs one run directory and --out");
        return error_hint(error, "casemix report models/tiny-classifier --out report.html");
    }
    if (evidence.wanted && settings.examples == NULL)
        return error_usage(error, "--evidence is marked in the notes of --examples F.jsonl: name them");
    settings.run = argv[optind];
    settings.evidence = evidence.wanted;
    settings.method = evidence.method;
    if (!report_write(&settings, error)) return false;
    log_info("%s written", settings.out);
    return true;
}
