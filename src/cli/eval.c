/* casemix eval: a model, and baselines beside it, scored on a dataset. */
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/threads.h"
#include "cli/commands.h"
#include "eval/baseline.h"
#include "eval/evaluation.h"
#include "model/classifier.h"
#include <getopt.h>
#include <stdio.h>
#include <string.h>

/* Stays that go through a model together. */
enum { BLOCK = 256 };

static void print_help(void) {
    puts("usage: casemix eval --model RUN --data F.jsonl [--out DIR] [--json]\n"
         "       casemix eval [--model RUN] --baseline TRAIN.jsonl --dev DEV.jsonl --data F.jsonl [--json]\n\n"
         "Scores a model on stays it has not seen, with the metrics of DRG-LLaMA (as `casemix metrics`).\n\n"
         "  --data F.jsonl     stays with \"text\" and \"drg\", as `casemix synth` writes them\n"
         "  --model RUN        a run directory\n"
         "  --baseline TRAIN   trains bag-of-words baselines on these stays (naive Bayes and logistic regression on\n"
         "                     words and word pairs) and scores them too\n"
         "  --dev DEV          stays on which the baselines are tuned\n"
         "  --out DIR          writes DIR/metrics.jsonl and, for the model, DIR/predictions.jsonl\n"
         "  --json             one JSON object a line for each of them instead of a table\n"
         "  --compute TYPE     auto, f32, bf16 (large products round to it), int8 (weights in eight bits) [auto]\n"
         "  --int8-cache DIR   keeps the eight-bit weights there for the next start\n"
         "  --threads N        [all processors]\n\n"
         "A stay whose DRG a model does not know counts as wrong.\n\n"
         "  casemix eval --model models/tiny-classifier --data unseen/test.jsonl\n"
         "  casemix eval --model run --baseline cohort/train.jsonl --dev cohort/dev.jsonl --data cohort/test.jsonl");
}

struct eval_options {
    const char *model, *data, *baseline, *dev, *out, *int8_cache;
    enum compute_type compute;
    bool json, help;
};

/* What is printed and written: a line for each thing scored. */
struct report {
    const struct eval_options *options;
    const struct dataset *data;
    struct text table, json;
};

static void report_add(struct report *report, const char *name, const struct evaluation *evaluation,
                       const struct metrics *m) {
    text_printf(&report->table, "%-20s %6.1f %% %6.1f %% %6.1f %%  %8.3f  %8.3f  %9.4f  %9.4f\n", name, 100 * m->acc1,
                100 * m->acc5, 100 * m->acc10, m->f1_macro, m->f1_micro, m->auc_macro, m->auc_micro);
    text_add(&report->json, "{\"name\": ");
    text_add_json(&report->json, name, strlen(name));
    text_add(&report->json, ", ");
    metrics_add_json(&report->json, m, "");
    text_printf(&report->json, ", \"unknown\": %zu}\n", evaluation->unknown_stays);
    if (evaluation->unknown_stays == 0) return;
    log_warning("%s: %zu of %zu stays have a DRG that it does not know; they count as wrong", name,
                evaluation->unknown_stays, evaluation->N);
}

/* Runs the stays through the classifier, a block at a time. */
static bool score_blocks(struct evaluation *evaluation, const struct classifier *classifier, struct error *error) {
    const size_t labels = classifier->card.labels.count;
    float *logits = memory_alloc(BLOCK, labels * sizeof *logits);
    double *wide = memory_alloc(BLOCK, labels * sizeof *wide);
    bool done =
        (logits != NULL && wide != NULL) || memory_error(error, BLOCK * labels * sizeof *wide, "the logits of a block");
    struct progress progress;
    progress_start(&progress, "scoring", "stays", evaluation->N);
    for (size_t first = 0; done && first < evaluation->N; first += BLOCK) {
        struct note notes[BLOCK];
        const size_t count = evaluation->N - first < BLOCK ? evaluation->N - first : BLOCK;
        for (size_t i = 0; i < count; i++) {
            const struct stay *stay = &evaluation->dataset->stays[first + i];
            notes[i] = (struct note){stay->text, stay->text_length};
        }
        done = classifier_logits(classifier, notes, count, 0, logits, NULL, NULL, NULL, NULL, error);
        for (size_t i = 0; done && i < count * labels; i++) wide[i] = (double)logits[i];
        done = done && evaluation_put(evaluation, first, count, wide, error);
        progress_update(&progress, first + count);
    }
    progress_finish(&progress);
    memory_free(wide);
    memory_free(logits);
    return done;
}

static bool eval_model(struct report *report, struct error *error) {
    struct classifier classifier;
    struct evaluation evaluation;
    struct metrics metrics;
    if (!classifier_open(&classifier, report->options->model, error)) return false;
    bool done = classifier_compute(&classifier, report->options->compute, report->options->int8_cache, error) &&
                evaluation_open(&evaluation, report->data, &classifier.card.labels, error);
    if (done) {
        done = score_blocks(&evaluation, &classifier, error) && evaluation_score(&evaluation, &metrics, error);
        if (done) report_add(report, "model", &evaluation, &metrics);
        if (done && report->options->out != NULL) done = evaluation_write(&evaluation, report->options->out, error);
        evaluation_close(&evaluation);
    }
    classifier_close(&classifier);
    return done;
}

static bool eval_baseline(struct report *report, const struct baseline *baseline, enum baseline_kind kind,
                          const char *name, struct error *error) {
    struct evaluation evaluation;
    struct metrics metrics;
    const size_t cells = report->data->count * baseline->labels.count;
    if (!evaluation_open(&evaluation, report->data, &baseline->labels, error)) return false;
    double *logits = memory_alloc(cells, sizeof *logits);
    const bool done = (logits != NULL || memory_error(error, cells * sizeof *logits, "the logits")) &&
                      baseline_logits(baseline, kind, report->data->stays, report->data->count, logits, error) &&
                      evaluation_put(&evaluation, 0, report->data->count, logits, error) &&
                      evaluation_score(&evaluation, &metrics, error);
    if (done) report_add(report, name, &evaluation, &metrics);
    memory_free(logits);
    evaluation_close(&evaluation);
    return done;
}

static bool eval_baselines(struct report *report, struct error *error) {
    struct dataset train = {0}, dev = {0};
    struct baseline baseline = {0};
    const bool done = dataset_load(&train, report->options->baseline, error) &&
                      dataset_load(&dev, report->options->dev, error) &&
                      baseline_train(&baseline, &train, &dev, error) &&
                      eval_baseline(report, &baseline, BASELINE_NAIVE_BAYES, "naive Bayes", error) &&
                      eval_baseline(report, &baseline, BASELINE_REGRESSION, "logistic regression", error);
    baseline_close(&baseline);
    dataset_free(&train);
    dataset_free(&dev);
    return done;
}

static bool finish(struct report *report, struct error *error) {
    char path[4096];
    if (!text_ok(&report->table, error) || !text_ok(&report->json, error)) return false;
    if (report->options->out != NULL) {
        if (!path_join(path, sizeof path, report->options->out, "metrics.jsonl"))
            return error_set(error, "%s: path too long", report->options->out);
        if (!file_write(path, report->json.data, report->json.length, error)) return false;
    }
    if (report->options->json) {
        fputs(report->json.data, stdout);
        return true;
    }
    bool present[1000] = {false};
    size_t distinct = 0;
    for (size_t i = 0; i < report->data->count; i++) {
        distinct += !present[report->data->stays[i].drg];
        present[report->data->stays[i].drg] = true;
    }
    printf("%s: %zu stays, %zu distinct DRGs\n\n", report->options->data, report->data->count, distinct);
    printf("%-20s %8s %8s %8s  %8s  %8s  %9s  %9s\n", "", "acc@1", "acc@5", "acc@10", "macro-F1", "micro-F1",
           "macro-AUC", "micro-AUC");
    fputs(report->table.data, stdout);
    return true;
}

static bool evaluate(const struct eval_options *options, struct error *error) {
    struct dataset data = {0};
    struct report report = {.options = options, .data = &data};
    bool done =
        dataset_load(&data, options->data, error) && (options->out == NULL || directory_create(options->out, error));
    if (done && options->model != NULL) done = eval_model(&report, error);
    if (done && options->baseline != NULL) done = eval_baselines(&report, error);
    done = done && finish(&report, error);
    text_free(&report.table);
    text_free(&report.json);
    dataset_free(&data);
    return done;
}

static bool read_options(int argc, char **argv, struct eval_options *options, struct error *error) {
    enum { MODEL = 1, DATA, BASELINE, DEV, OUT, JSON, COMPUTE, INT8_CACHE, THREADS, HELP };
    static const struct option names[] = {{"model", 1, 0, MODEL},
                                          {"data", 1, 0, DATA},
                                          {"baseline", 1, 0, BASELINE},
                                          {"dev", 1, 0, DEV},
                                          {"out", 1, 0, OUT},
                                          {"json", 0, 0, JSON},
                                          {"compute", 1, 0, COMPUTE},
                                          {"int8-cache", 1, 0, INT8_CACHE},
                                          {"threads", 1, 0, THREADS},
                                          {"help", 0, 0, HELP},
                                          {0, 0, 0, 0}};
    int64_t threads;
    optind = 0;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (option) {
        case MODEL:
            options->model = optarg;
            break;
        case DATA:
            options->data = optarg;
            break;
        case BASELINE:
            options->baseline = optarg;
            break;
        case DEV:
            options->dev = optarg;
            break;
        case OUT:
            options->out = optarg;
            break;
        case JSON:
            options->json = true;
            break;
        case COMPUTE:
            if (!compute_parse(optarg, &options->compute, error)) return false;
            break;
        case INT8_CACHE:
            options->int8_cache = optarg;
            break;
        case THREADS:
            if (!parse_int64(optarg, &threads) || threads < 1 || threads > 1024)
                return error_usage(error, "--threads takes 1 to 1024, not \"%s\"", optarg);
            threads_set((int)threads);
            break;
        case HELP:
            options->help = true;
            return true;
        default:
            error_usage(error, "eval: unknown option or missing value: %s", argv[optind - 1]);
            return error_hint(error, "casemix eval --help");
        }
    }
    if (optind < argc) return error_usage(error, "eval takes no arguments, only options: %s", argv[optind]);
    return true;
}

static bool check_options(const struct eval_options *options, struct error *error) {
    if (options->data == NULL) {
        error_usage(error, "eval needs --data F.jsonl");
    } else if (options->model == NULL && options->baseline == NULL) {
        error_usage(error, "eval needs --model RUN, --baseline TRAIN.jsonl, or both");
    } else if ((options->baseline == NULL) != (options->dev == NULL)) {
        error_usage(error, "--baseline and --dev go together: the baselines are tuned on dev");
    } else {
        return true;
    }
    return error_hint(error, "casemix eval --model models/tiny-classifier --data test.jsonl");
}

bool command_eval(int argc, char **argv, struct error *error) {
    struct eval_options options = {0};
    if (!read_options(argc, argv, &options, error)) return false;
    if (options.help) {
        print_help();
        return true;
    }
    return check_options(&options, error) && evaluate(&options, error);
}
