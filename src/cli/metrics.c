/* casemix metrics: the papers' metrics from a file of logits and labels or of written answers, one JSON object out. */
#include "eval/metrics.h"
#include "base/error.h"
#include "base/text.h"
#include "base/threads.h"
#include "cli/commands.h"
#include "drg/catalog.h"
#include "eval/logits_file.h"
#include "eval/samples.h"
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static void print_help(void) {
    puts("usage: casemix metrics classify|two-label FILE [--grouper v34|v43] [--threads N]\n"
         "       casemix metrics samples FILE [--grouper v34|v43] [--threads N]\n\n"
         "Scores logits against labels as DRG-LLaMA's published code does, and prints one JSON object: acc1,\n"
         "acc5, acc10, f1_macro, f1_micro, auc_macro, auc_micro, labels (classes present), count (rows).\n"
         "two-label prints each twice, with _base and _cc behind the name, acc_drg by the paper's rule, and\n"
         "acc1, acc5 and acc10 with _composed behind the name: DRGs ranked by the product of base and\n"
         "severity probability.\n\n"
         "  FILE         a .safetensors file with logits [N, labels] and labels [N] (two-label: bases +\n"
         "               5 logits, labels [N, 2]), or JSON lines, plain or gzip, - for standard input:\n"
         "               {\"logits\":[0.1, 2.3, …], \"label\":1}, two-label: \"label\":[base, severity]\n"
         "  --threads N  [all processors]\n\n"
         "samples scores written answers as DRG-Sapphire does: Pass@1, Pass@n and Maj@n of DRG, base and\n"
         "severity, format_rate, kinds of errors and length, with 95 % bootstrap intervals, from JSON lines\n"
         "{\"gold\": TITLE, \"completions\": [n strings]}; \"subject_id\" is what intervals are resampled by.\n\n"
         "  casemix metrics classify test-logits.safetensors\n"
         "  casemix metrics two-label predictions.jsonl\n"
         "  casemix metrics samples completions.jsonl");
}

static bool print_classify(struct text *out, const struct logits_table *table, struct error *error) {
    struct metrics metrics;
    const struct scores scores = {table->logits, table->labels[0], table->N, table->C, table->C};
    if (!metrics_classify(&scores, &metrics, error)) return false;
    metrics_add_json(out, &metrics, "");
    return true;
}

static bool print_two_label(struct text *out, const struct logits_table *table, const struct catalog *catalog,
                            struct error *error) {
    struct two_label_metrics metrics;
    const int64_t width = (int64_t)catalog->bases + TWO_LABEL_SEVERITIES;
    if (table->C != width) {
        return error_set(error, "%lld logits a row, expected %lld: %zu base DRGs of %s and %d severities",
                         (long long)table->C, (long long)width, catalog->bases, grouper_name(catalog->grouper),
                         TWO_LABEL_SEVERITIES);
    }
    if (!metrics_two_label(catalog, table->logits, table->labels[0], table->labels[1], table->N, &metrics, error))
        return false;
    text_add(out, "\"acc_drg\": ");
    text_add_json_double(out, metrics.acc_drg);
    text_add(out, ", \"acc1_composed\": ");
    text_add_json_double(out, metrics.composed1);
    text_add(out, ", \"acc5_composed\": ");
    text_add_json_double(out, metrics.composed5);
    text_add(out, ", \"acc10_composed\": ");
    text_add_json_double(out, metrics.composed10);
    text_add(out, ", ");
    metrics_add_json(out, &metrics.base, "_base");
    text_add(out, ", ");
    metrics_add_json(out, &metrics.severity, "_cc");
    return true;
}

static bool print_metrics(const char *path, bool two_label, enum grouper grouper, struct error *error) {
    struct logits_table table;
    struct text out = {0};
    if (!logits_load(&table, path, two_label ? 2 : 1, error)) return false;
    bool done =
        two_label ? print_two_label(&out, &table, catalog_get(grouper), error) : print_classify(&out, &table, error);
    if (!done) error_context(error, "%s", path);
    done = done && text_ok(&out, error);
    if (done) printf("{%s}\n", out.data);
    text_free(&out);
    logits_free(&table);
    return done;
}

/* Resamples and seed as `casemix eval` has them when nothing is said. */
static bool print_samples(const char *path, enum grouper grouper, struct error *error) {
    enum { RESAMPLES = 1000, SEED = 1 };
    struct sample_scores scores;
    struct text out = {0};
    if (!samples_score(&scores, path, grouper, RESAMPLES, SEED, error)) return false;
    samples_add_json(&out, &scores);
    const bool done = text_ok(&out, error);
    if (done) fputs(out.data, stdout);
    text_free(&out);
    return done;
}

static bool wrong_usage(struct error *error, const char *message) {
    error_usage(error, "%s", message);
    return error_hint(error, "casemix metrics classify logits.jsonl");
}

bool command_metrics(int argc, char **argv, struct error *error) {
    enum { HELP = 1, GROUPER, THREADS };
    static const struct option names[] = {
        {"help", 0, 0, HELP}, {"grouper", 1, 0, GROUPER}, {"threads", 1, 0, THREADS}, {0, 0, 0, 0}};
    enum grouper grouper = GROUPER_V34;
    int64_t threads;
    optind = 0;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (option) {
        case HELP:
            print_help();
            return true;
        case GROUPER:
            if (!grouper_parse(optarg, &grouper, error)) return false;
            break;
        case THREADS:
            if (!parse_int64(optarg, &threads) || threads < 1 || threads > 1024)
                return wrong_usage(error, "--threads takes a number from 1 to 1024");
            threads_set((int)threads);
            break;
        default:
            error_usage(error, "metrics: unknown option or missing value: %s", argv[optind - 1]);
            return error_hint(error, "casemix metrics --help");
        }
    }
    if (argc - optind != 2)
        return wrong_usage(error, "metrics needs a kind, classify, two-label or samples, and one file");
    const char *kind = argv[optind];
    if (strcmp(kind, "samples") == 0) return print_samples(argv[optind + 1], grouper, error);
    if (strcmp(kind, "classify") != 0 && strcmp(kind, "two-label") != 0)
        return wrong_usage(error, "metrics: the kind is classify, two-label or samples");
    return print_metrics(argv[optind + 1], strcmp(kind, "two-label") == 0, grouper, error);
}
