/* casemix synth: a synthetic cohort in MIMIC-IV's file format, and as a dataset ready for training. */
#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "base/threads.h"
#include "cli/commands.h"
#include "data/synth_claims.h"
#include "data/synth_knowledge.h"
#include "data/synth_write.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_help(void) {
    puts("usage: casemix synth --stays N --seed S --out DIR [OPTIONS]\n"
         "       casemix synth --claims FILE --out DIR [OPTIONS]\n"
         "       casemix synth --describe\n\n"
         "Writes synthetic hospital stays: discharge summaries with their MS-DRG (v43). No patient stands\n"
         "behind them.\n\n"
         "  --stays N        how many stays\n"
         "  --seed S         same seed and options, same bytes [1]\n"
         "  --out DIR        discharge.csv.gz, drgcodes.csv.gz, diagnoses_icd.csv.gz, procedures_icd.csv.gz,\n"
         "                   patients.csv.gz, admissions.csv.gz (MIMIC-IV's columns), train.jsonl,\n"
         "                   dev.jsonl, test.jsonl, labels.tsv, synth.json\n"
         "  --claims FILE    write notes for given claims, keeping their codes and DRG: tab separated,\n"
         "                   columns claim_id, pdx, sdx, px, drg; all of them or the first --stays N. Claims\n"
         "                   with a code that no table knows are left out and counted; claims.tsv tells\n"
         "                   which claim became which stay\n"
         "  --temper X       DRGs drawn by (claims)^X: 1 as in claims, 0 all alike [1]\n"
         "  --words N        mean length of the hospital course; single ones lie between 60 and 900 [150]\n"
         "  --misspell X     share of the longer words that are misspelt [0.003]\n"
         "  --no-short-forms no author shortens usual words (w/, s/p, h/o)\n"
         "  --tell WHAT      what the hospital course tells, to find where the signal is; the stays stay the\n"
         "                   same: all [default]; no-principal: neither the principal condition nor its\n"
         "                   findings and procedures; background: nor the conditions that go with it;\n"
         "                   principal-only: nothing but the principal condition\n"
         "  --apr            drgcodes also has rows of drg_type APR with severity and mortality. They only\n"
         "                   imitate the format, to test that readers skip them: APR-DRG is proprietary,\n"
         "                   code and description are casemix's own\n"
         "  --split A/B/C    shares of the patients for train, dev and test [80/10/10]\n"
         "  --threads N      [all processors]\n"
         "  --force          overwrite a directory that is not empty\n"
         "  --knowledge DIR  tables to draw from [data/synth]\n"
         "  --describe       print what the tables hold\n\n"
         "  casemix synth --stays 50000 --seed 1 --out cohort\n"
         "  casemix synth --stays 2000 --seed 99 --split 0/0/100 --out unseen");
}

static void describe(const struct knowledge *knowledge) {
    const struct knowledge_counts counts = knowledge_count(knowledge);
    const struct {
        const char *name;
        size_t count;
    } lines[] = {{"DRGs (v43)", counts.drgs},
                 {"principal diagnosis pairs", counts.pairs},
                 {"diagnoses", counts.diagnoses},
                 {"  of these MCC", counts.mcc},
                 {"  of these CC", counts.cc},
                 {"  called by their title, reworded", counts.reworded},
                 {"conditions with own wordings", counts.conditions},
                 {"  with three or more", counts.conditions_three},
                 {"  wordings", counts.wordings},
                 {"  findings and treatments", counts.clauses},
                 {"procedures with own wordings", counts.procedures},
                 {"  with three or more", counts.procedures_three},
                 {"  wordings", counts.procedure_wordings},
                 {"complaints, labs, drugs, exams, images", counts.findings},
                 {"sentences", counts.sentences},
                 {"wordings in all", counts.wordings + counts.procedure_wordings}};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) printf("%-40s %6zu\n", lines[i].name, lines[i].count);
}

static bool read_integer(const char *option, const char *value, int64_t low, int64_t high, int64_t *out,
                         struct error *error) {
    return (parse_int64(value, out) && *out >= low && *out <= high) ||
           error_usage(error, "--%s takes a whole number from %lld to %lld, not \"%s\"", option, (long long)low,
                       (long long)high, value);
}

static bool read_split(const char *value, double *split, struct error *error) {
    char behind;
    if (sscanf(value, "%lf/%lf/%lf%c", &split[0], &split[1], &split[2], &behind) == 3 && split[0] >= 0 &&
        split[1] >= 0 && split[2] >= 0)
        return true;
    return error_usage(error, "--split takes three shares such as 80/10/10, not \"%s\"", value);
}

static bool read_tell(const char *value, enum tell *tell, struct error *error) {
    for (int i = 0; i < TELLS; i++) {
        if (strcmp(value, tell_names[i]) != 0) continue;
        *tell = (enum tell)i;
        return true;
    }
    return error_usage(error, "--tell takes all, no-principal, background or principal-only, not \"%s\"", value);
}

struct synth_options {
    struct synth_settings settings;
    const char *knowledge, *claims;
    bool describe, help;
};

static bool read_options(int argc, char **argv, struct synth_options *options, struct error *error) {
    enum {
        STAYS = 1,
        SEED,
        OUT,
        CLAIMS,
        TEMPER,
        WORDS,
        MISSPELL,
        PLAIN,
        TELL,
        APR,
        SPLIT,
        THREADS,
        FORCE,
        KNOWLEDGE,
        DESCRIBE,
        HELP
    };
    static const struct option names[] = {{"stays", 1, 0, STAYS},
                                          {"seed", 1, 0, SEED},
                                          {"out", 1, 0, OUT},
                                          {"claims", 1, 0, CLAIMS},
                                          {"no-short-forms", 0, 0, PLAIN},
                                          {"tell", 1, 0, TELL},
                                          {"apr", 0, 0, APR},
                                          {"temper", 1, 0, TEMPER},
                                          {"words", 1, 0, WORDS},
                                          {"misspell", 1, 0, MISSPELL},
                                          {"split", 1, 0, SPLIT},
                                          {"threads", 1, 0, THREADS},
                                          {"force", 0, 0, FORCE},
                                          {"knowledge", 1, 0, KNOWLEDGE},
                                          {"describe", 0, 0, DESCRIBE},
                                          {"help", 0, 0, HELP},
                                          {0, 0, 0, 0}};
    struct synth_settings *settings = &options->settings;
    int64_t number;
    optind = 0;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (option) {
        case STAYS:
            if (!read_integer("stays", optarg, 1, 100000000, &settings->stays, error)) return false;
            break;
        case SEED:
            if (!read_integer("seed", optarg, 0, INT64_MAX, &number, error)) return false;
            settings->seed = (uint64_t)number;
            break;
        case OUT:
            settings->out = optarg;
            break;
        case TEMPER:
            if (!parse_double(optarg, &settings->temper))
                return error_usage(error, "--temper takes a number, not \"%s\"", optarg);
            break;
        case WORDS:
            if (!read_integer("words", optarg, 40, 1000, &number, error)) return false;
            settings->style.words = (int)number;
            break;
        case MISSPELL:
            if (!parse_double(optarg, &settings->style.misspells) ||
                !(settings->style.misspells >= 0 && settings->style.misspells <= 0.3)) {
                return error_usage(error, "--misspell takes a share from 0 to 0.3, not \"%s\"", optarg);
            }
            break;
        case CLAIMS:
            options->claims = optarg;
            break;
        case PLAIN:
            settings->style.abbreviates = 0;
            break;
        case TELL:
            if (!read_tell(optarg, &settings->style.tell, error)) return false;
            break;
        case APR:
            settings->apr = true;
            break;
        case SPLIT:
            if (!read_split(optarg, settings->split, error)) return false;
            break;
        case THREADS:
            if (!read_integer("threads", optarg, 1, 1024, &number, error)) return false;
            threads_set((int)number);
            break;
        case FORCE:
            settings->force = true;
            break;
        case KNOWLEDGE:
            options->knowledge = optarg;
            break;
        case DESCRIBE:
            options->describe = true;
            break;
        case HELP:
            options->help = true;
            return true;
        default:
            error_usage(error, "synth: unknown option or missing value: %s", argv[optind - 1]);
            return error_hint(error, "casemix synth --help");
        }
    }
    if (optind < argc) return error_usage(error, "synth takes no argument \"%s\"", argv[optind]);
    if (options->describe) return true;
    if ((settings->stays == 0 && options->claims == NULL) || settings->out == NULL) {
        error_usage(error, "synth needs --stays N (or --claims FILE) and --out DIR");
        return error_hint(error, "casemix synth --stays 1000 --seed 1 --out cohort");
    }
    return true;
}

static bool run(const struct synth_options *options, struct error *error) {
    char directory[4096];
    struct knowledge knowledge;
    struct claims claims = {.rows = 0};
    struct synth_settings settings = options->settings;
    const bool given = options->claims != NULL && !options->describe;
    if (!knowledge_find(options->knowledge, directory, sizeof directory, error)) return false;
    if (given && !claims_load(&claims, options->claims, (size_t)settings.stays, error)) return false;
    if (!knowledge_load(&knowledge, directory, given ? &claims.wishes : NULL, error)) {
        claims_free(&claims);
        return false;
    }
    bool done = true;
    if (options->describe) {
        describe(&knowledge);
    } else {
        done = !given || claims_resolve(&claims, options->claims, &knowledge, error);
        if (given) settings.claims = &claims;
        done = done && synth_write(&knowledge, &settings, error);
    }
    if (done && claims.skipped > 0)
        log_warning("%zu of %zu claims left out: they have a code that no table of casemix knows", claims.skipped,
                    claims.rows);
    if (done && !options->describe)
        log_info("%lld synthetic stays in %s", given ? (long long)claims.count : (long long)settings.stays,
                 settings.out);
    knowledge_free(&knowledge);
    claims_free(&claims);
    return done;
}

bool command_synth(int argc, char **argv, struct error *error) {
    struct synth_options options = {.settings = {.seed = 1,
                                                 .temper = 1,
                                                 .style = {.words = 150, .misspells = 0.003, .abbreviates = 1},
                                                 .split = {80, 10, 10}}};
    if (!read_options(argc, argv, &options, error)) return false;
    if (!options.help) return run(&options, error);
    print_help();
    return true;
}
