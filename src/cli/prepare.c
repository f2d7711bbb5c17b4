/* casemix prepare: MIMIC-IV's discharge summaries and DRGs to a dataset for training. */
#include "data/prepare.h"
#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "base/threads.h"
#include "cli/commands.h"
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static void print_help(void) {
    puts("usage: casemix prepare --notes FILE --drgcodes FILE --out DIR [OPTIONS]\n\n"
         "Reads MIMIC-IV's discharge.csv[.gz] and drgcodes.csv[.gz] and writes a dataset: the text that models\n"
         "read, and the MS-DRG of the stay, brought to one version of the grouper by its description.\n\n"
         "  --notes FILE      note/discharge.csv[.gz]\n"
         "  --drgcodes FILE   hosp/drgcodes.csv[.gz]\n"
         "  --out DIR         train.jsonl, dev.jsonl, test.jsonl, labels.tsv, descriptions.tsv, flow.json\n"
         "  --protocol P      patient: sections found as meant, split by patient, a stay with two DRGs left\n"
         "                    out [default]; drg-llama: the cohort of DRG-LLaMA and DRG-Sapphire, quirks\n"
         "                    included, train and test only\n"
         "  --title-map FILE  a published table raw_description,DRG_34_description in place of casemix's own\n"
         "                    wordings\n"
         "  --grouper V       v34, as in the papers [default], or v43 (FY2026)\n"
         "  --text T          hospital-course [default], full, or sections:NAME,NAME… (protocol patient)\n"
         "  --split A/B/C     shares of train, dev and test [80/10/10] (protocol patient)\n"
         "  --seed S          of the split by patient [42]\n"
         "  --subset NAMES    DRG-Sapphire's parts of train, in files of their own: cold_start, drg_small,\n"
         "                    rare, sft_50_50, grpo_50_50, sft_75_25, grpo_75_25, sft_90_10, grpo_90_10,\n"
         "                    sft_95_5, grpo_95_5, or all\n"
         "  --audit           also DIR/audit: the fate of every note, description and row, in the form of the\n"
         "                    published code's tables\n"
         "  --force           overwrite a directory that is not empty\n"
         "  --threads N       [all processors]\n\n"
         "  casemix prepare --notes discharge.csv.gz --drgcodes drgcodes.csv.gz --out mimic\n"
         "  casemix prepare --notes discharge.csv.gz --drgcodes drgcodes.csv.gz --out paper \\\n"
         "      --protocol drg-llama --title-map DRG34_Mapping.csv --subset all");
}

static bool read_split(const char *value, double *split, struct error *error) {
    char behind;
    if (sscanf(value, "%lf/%lf/%lf%c", &split[0], &split[1], &split[2], &behind) == 3 && split[0] > 0 &&
        split[1] >= 0 && split[2] >= 0 && split[0] + split[1] + split[2] < 1e9)
        return true;
    return error_usage(error, "--split takes three shares such as 80/10/10, the first above 0, not \"%s\"", value);
}

static bool read_text_part(const char *value, struct prepare_settings *settings, struct error *error) {
    static const char sections[] = "sections:";
    if (strcmp(value, "hospital-course") == 0) {
        settings->part = PART_HOSPITAL_COURSE;
    } else if (strcmp(value, "full") == 0) {
        settings->part = PART_FULL;
    } else if (strncmp(value, sections, sizeof sections - 1) == 0) {
        settings->part = PART_SECTIONS;
        return section_set_parse(&settings->sections, value + sizeof sections - 1, error);
    } else {
        return error_usage(error, "--text takes hospital-course, full or sections:NAME,NAME…, not \"%s\"", value);
    }
    return true;
}

static bool read_protocol(const char *value, enum prepare_protocol *protocol, struct error *error) {
    *protocol = strcmp(value, "drg-llama") == 0 ? PROTOCOL_DRG_LLAMA : PROTOCOL_PATIENT;
    return *protocol == PROTOCOL_DRG_LLAMA || strcmp(value, "patient") == 0 ||
           error_usage(error, "--protocol takes patient or drg-llama, not \"%s\"", value);
}

static bool read_number(const char *option, const char *value, int64_t low, int64_t high, int64_t *number,
                        struct error *error) {
    return (parse_int64(value, number) && *number >= low && *number <= high) ||
           error_usage(error, "--%s takes a whole number from %lld to %lld, not \"%s\"", option, (long long)low,
                       (long long)high, value);
}

enum option_name {
    NOTES = 1,
    DRGCODES,
    OUT,
    PROTOCOL,
    TITLE_MAP,
    GROUPER,
    TEXT,
    SPLIT,
    SEED,
    SUBSET,
    AUDIT,
    FORCE,
    THREADS,
    HELP
};

static bool read_option(enum option_name option, const char *value, struct prepare_settings *settings,
                        struct error *error) {
    int64_t number;
    switch (option) {
    case NOTES:
        settings->notes = value;
        return true;
    case DRGCODES:
        settings->drgcodes = value;
        return true;
    case OUT:
        settings->out = value;
        return true;
    case PROTOCOL:
        return read_protocol(value, &settings->protocol, error);
    case TITLE_MAP:
        settings->title_map = value;
        return true;
    case GROUPER:
        return grouper_parse(value, &settings->grouper, error);
    case TEXT:
        return read_text_part(value, settings, error);
    case SPLIT:
        return read_split(value, settings->shares, error);
    case SEED:
        if (!read_number("seed", value, 0, INT64_MAX, &number, error)) return false;
        settings->seed = (uint64_t)number;
        return true;
    case SUBSET:
        return subset_set_parse(&settings->subsets, value, error);
    case AUDIT:
        settings->audit = true;
        return true;
    case FORCE:
        settings->force = true;
        return true;
    case THREADS:
        if (!read_number("threads", value, 1, 1024, &number, error)) return false;
        threads_set((int)number);
        return true;
    case HELP:
        break;
    }
    return true;
}

/* Options that only the other protocol has would be dropped in silence. */
static bool check_options(const struct prepare_settings *settings, bool splits, struct error *error) {
    if (settings->notes == NULL || settings->drgcodes == NULL || settings->out == NULL) {
        error_usage(error, "prepare needs --notes FILE, --drgcodes FILE and --out DIR");
        return error_hint(error, "casemix prepare --help");
    }
    if (settings->protocol == PROTOCOL_PATIENT) return true;
    if (splits || settings->part != PART_HOSPITAL_COURSE)
        return error_usage(error, "--text, --split and --seed belong to --protocol patient; drg-llama is fixed");
    return true;
}

bool command_prepare(int argc, char **argv, struct error *error) {
    static const struct option names[] = {
        {"notes", 1, 0, NOTES},       {"drgcodes", 1, 0, DRGCODES},   {"out", 1, 0, OUT},
        {"protocol", 1, 0, PROTOCOL}, {"title-map", 1, 0, TITLE_MAP}, {"grouper", 1, 0, GROUPER},
        {"text", 1, 0, TEXT},         {"split", 1, 0, SPLIT},         {"seed", 1, 0, SEED},
        {"subset", 1, 0, SUBSET},     {"audit", 0, 0, AUDIT},         {"force", 0, 0, FORCE},
        {"threads", 1, 0, THREADS},   {"help", 0, 0, HELP},           {0, 0, 0, 0}};
    struct prepare_settings settings = {
        .grouper = GROUPER_V34, .part = PART_HOSPITAL_COURSE, .shares = {80, 10, 10}, .seed = 42};
    bool splits = false;
    optind = 0;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (option == '?') {
            error_usage(error, "prepare: unknown option or missing value: %s", argv[optind - 1]);
            return error_hint(error, "casemix prepare --help");
        }
        if (option == HELP) {
            print_help();
            return true;
        }
        splits = splits || option == SPLIT || option == SEED;
        if (!read_option((enum option_name)option, optarg, &settings, error)) return false;
    }
    if (optind < argc) return error_usage(error, "prepare takes no argument \"%s\"", argv[optind]);
    if (!check_options(&settings, splits, error)) return false;
    struct text report = {0};
    const bool done = prepare_run(&settings, &report, error);
    if (done) {
        fwrite(report.data, 1, report.length, stdout);
        log_info("dataset in %s", settings.out);
    }
    text_free(&report);
    return done;
}
