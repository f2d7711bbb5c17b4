/* casemix eval: a model, and baselines beside it, scored on a dataset. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/threads.h"
#include "cli/answer_options.h"
#include "cli/commands.h"
#include "cli/evidence_print.h"
#include "cli/ranks.h"
#include "eval/assessment.h"
#include "eval/baseline.h"
#include "eval/deletion.h"
#include "eval/two_label.h"
#include "model/ensemble.h"
#include "train/cluster.h"
#include <getopt.h>
#include <stdio.h>
#include <string.h>

/* Stays that go through a model together. */
enum { BLOCK = 256, DRG_CODES = 1000 };

static void print_help(void) {
    puts("usage: casemix eval --model RUN… --data F.jsonl [--calibrate DEV.jsonl] [--train TRAIN.jsonl]\n"
         "                    [--out DIR] [--json]\n"
         "       casemix eval [--model RUN] --baseline TRAIN.jsonl --dev DEV.jsonl --data F.jsonl …\n\n"
         "Scores a model on stays it has not seen: the metrics of DRG-LLaMA (as `casemix metrics`), base and\n"
         "severity, case-mix index, calibration, risk against coverage, kinds of errors, and where they are\n"
         "made. Every figure has a 95 % bootstrap interval by patient (subject_id); docs/evaluation.md\n"
         "defines them.\n\n"
         "  --data F.jsonl     stays with \"text\" and \"drg\", as `casemix synth` writes them\n"
         "  --model RUN        a run directory; given several times, the probabilities are averaged\n"
         "  --decode HOW       direct, or product: P(base) * P(severity) over the DRGs that exist, as a\n"
         "                     two-label run always does [direct]\n"
         "  --calibrate DEV    fits the temperature of the probabilities on these stays, keeps it in\n"
         "                     RUN/casemix.json (`predict` uses it from then on), and chooses the thresholds\n"
         "                     of acceptance on them\n"
         "  --train TRAIN      the stays that the model was trained on, for accuracy by how often it saw a\n"
         "                     DRG\n"
         "  --baseline TRAIN   trains bag-of-words baselines on these stays (naive Bayes and logistic\n"
         "                     regression on words and word pairs) and scores them too\n"
         "  --dev DEV          stays on which the baselines are tuned\n"
         "  --deletion [HOW]   tests the evidence that `predict --evidence HOW` gives (gradients, occlusion,\n"
         "                     attention): how much further the prediction falls without its words than\n"
         "                     without as many random ones [gradients]\n"
         "  --deletion-stays N stays of that test, evenly spaced [500]\n"
         "  --resamples B      of the bootstrap [1000]\n"
         "  --seed S           of the bootstrap [1]\n"
         "  --out DIR          writes DIR/evaluation.json, DIR/metrics.jsonl and, for the model,\n"
         "                     DIR/predictions.jsonl and DIR/confusion.tsv; `casemix report` reads them\n"
         "  --json             prints evaluation.json instead of tables\n"
         "  --compute TYPE     auto, f32, bf16 (large products round to it), int8 (weights in eight bits)\n"
         "                     [auto]\n"
         "  --int8-cache DIR   keeps the eight-bit weights there for the next start\n"
         "  --threads N        [all processors]\n\n"
         "A stay whose DRG a model does not know counts as wrong. A run that writes (sft, grpo) has options\n"
         "of its own: `casemix eval --model RUN --help`.\n\n"
         "  casemix eval --model models/tiny-classifier --data unseen/test.jsonl\n"
         "  mpirun -n 4 casemix eval …          the same on four ranks (docs/cluster.md)\n"
         "  casemix eval --model run --calibrate cohort/dev.jsonl --train cohort/train.jsonl \\\n"
         "               --data cohort/test.jsonl --out run/evaluation");
}

struct eval_options {
    const char *models[ENSEMBLE_LIMIT];
    size_t model_count;
    enum decoding decoding;
    const char *data, *baseline, *dev, *calibrate, *train, *out, *int8_cache;
    enum compute_type compute;
    struct evidence_options deletion;
    int64_t resamples, seed, deletion_stays;
    bool json, help;
};

/* What is printed and written. */
struct report {
    const struct eval_options *options;
    const struct dataset *data;
    struct text table;     /* a line for each thing scored */
    struct text lines;     /* metrics.jsonl */
    struct text object;    /* the model's part of evaluation.json, without its closing brace; "" without a model */
    struct text details;   /* the model's part for people */
    struct text baselines; /* JSON objects, separated by commas */
    struct text leads;     /* how far the model is ahead of each baseline */
    uint8_t *hits;         /* [stays] of the model; NULL without one */
};

static void add_row(struct text *table, const char *name, const struct metrics *m, const struct interval *intervals) {
    text_printf(table, "%-20s %6.1f %% %6.1f %% %6.1f %%  %8.3f  %8.3f  %9.4f  %9.4f\n", name, 100 * m->acc1,
                100 * m->acc5, 100 * m->acc10, m->f1_macro, m->f1_micro, m->auc_macro, m->auc_micro);
    for (int bound = 0; bound < 2; bound++) {
        double values[METRICS];
        for (size_t k = 0; k < METRICS; k++) values[k] = bound == 0 ? intervals[k].low : intervals[k].high;
        text_printf(table, "  %-18s %6.1f %% %6.1f %% %6.1f %%  %8.3f  %8.3f  %9.4f  %9.4f\n",
                    bound == 0 ? "95 %: from" : "to", 100 * values[ACC1], 100 * values[ACC5], 100 * values[ACC10],
                    values[F1_MACRO], values[F1_MICRO], values[AUC_MACRO], values[AUC_MICRO]);
    }
}

static void report_add(struct report *report, const char *name, const struct evaluation *evaluation,
                       const struct metrics *metrics, const struct interval *intervals) {
    add_row(&report->table, name, metrics, intervals);
    text_add(&report->lines, "{\"name\": ");
    text_add_json(&report->lines, name, strlen(name));
    text_add(&report->lines, ", ");
    metrics_add_intervals_json(&report->lines, metrics, intervals);
    text_printf(&report->lines, ", \"unknown\": %zu}\n", evaluation->unknown_stays);
    if (evaluation->unknown_stays == 0) return;
    log_warning("%s: %zu of %zu stays have a DRG that it does not know; they count as wrong", name,
                evaluation->unknown_stays, evaluation->N);
}

/* This rank's blocks are scored by it; the rows of the others are zero until they are added up. */
static bool is_own(size_t first) {
    return first / BLOCK % (size_t)cluster_ranks() == (size_t)cluster_rank();
}

/* Runs the stays through the models, a block at a time, shared out among the ranks; all have all scores in the end.
 * outputs [N, width] of a lone two-label run, or NULL. */
static bool score_blocks(struct evaluation *evaluation, const struct ensemble *ensemble, const char *label,
                         double *outputs, struct error *error) {
    const size_t labels = ensemble->labels.count, width = outputs == NULL ? 0 : ensemble_width(ensemble);
    float *logits = memory_alloc(BLOCK, labels * sizeof *logits);
    float *narrow = width == 0 ? NULL : memory_alloc(BLOCK, width * sizeof *narrow);
    double *wide = memory_alloc(BLOCK, labels * sizeof *wide);
    bool done = (logits != NULL && wide != NULL && (width == 0 || narrow != NULL)) ||
                memory_error(error, BLOCK * labels * sizeof *wide, "the logits of a block");
    struct progress progress;
    progress_start(&progress, label, "stays", evaluation->N);
    for (size_t first = 0; done && first < evaluation->N; first += BLOCK) {
        struct note notes[BLOCK];
        const size_t count = evaluation->N - first < BLOCK ? evaluation->N - first : BLOCK;
        if (!is_own(first)) {
            memset(evaluation->logits + first * evaluation->C, 0, count * evaluation->C * sizeof *evaluation->logits);
            if (width > 0) memset(outputs + first * width, 0, count * width * sizeof *outputs);
            continue;
        }
        for (size_t i = 0; i < count; i++) {
            const struct stay *stay = &evaluation->dataset->stays[first + i];
            notes[i] = (struct note){stay->text, stay->text_length};
        }
        done = ensemble_logits(ensemble, notes, count, logits, narrow, NULL, NULL, error);
        for (size_t i = 0; done && i < count * labels; i++) wide[i] = (double)logits[i];
        for (size_t i = 0; done && i < count * width; i++) outputs[first * width + i] = (double)narrow[i];
        done = done && evaluation_put(evaluation, first, count, wide, error);
        progress_update(&progress, first + count);
    }
    progress_finish(&progress);
    memory_free(wide);
    memory_free(narrow);
    memory_free(logits);
    if (!cluster_agree(done, error)) return false;
    cluster_sum_doubles(evaluation->logits, (int64_t)(evaluation->N * evaluation->C));
    cluster_sum_doubles(outputs, (int64_t)(evaluation->N * width));
    return true;
}

/* The dev stays of --calibrate as the model sees them. */
struct dev_stays {
    struct dataset data;
    struct evaluation evaluation;
    struct outcome *outcomes;
};

static void dev_close(struct dev_stays *dev) {
    memory_free(dev->outcomes);
    evaluation_close(&dev->evaluation);
    dataset_free(&dev->data);
}

/* A run by itself, whose own logits are scored: its temperature is fitted and kept. Of what is averaged or summed, each
 * run's temperature is in its probabilities already. */
static bool scores_logits(const struct ensemble *ensemble) {
    return ensemble->count == 1 && (ensemble->decoding == DECODE_DIRECT || ensemble_width(ensemble) > 0);
}

static bool keep_temperature(struct ensemble *ensemble, const char *directory, double temperature,
                             struct error *error) {
    struct run_card *card = &ensemble->members[0].card;
    if (!scores_logits(ensemble)) {
        log_info("temperature %.4f; it belongs to no run, so it is not kept", temperature);
        return true;
    }
    card->temperature = temperature;
    const bool kept = !cluster_is_first() || run_card_write(card, directory, error);
    card->temperature = 0;
    if (kept) log_info("temperature %.4f, kept in %s/casemix.json", temperature, directory);
    return kept;
}

/* Fits the temperature, keeps it in the run card, and fills the outcomes that the thresholds are chosen on. */
static bool calibrate(struct dev_stays *dev, struct ensemble *ensemble, const struct eval_options *options,
                      double *temperature, struct error *error) {
    if (!dataset_load(&dev->data, options->calibrate, error)) return false;
    if (!evaluation_open(&dev->evaluation, &dev->data, &ensemble->labels, error) ||
        !score_blocks(&dev->evaluation, ensemble, "scoring dev", NULL, error) ||
        !temperature_fit(&dev->evaluation, temperature, error))
        return error_context(error, "%s", options->calibrate);
    dev->outcomes = memory_alloc(dev->data.count, sizeof *dev->outcomes);
    if (dev->outcomes == NULL) return memory_error(error, dev->data.count * sizeof *dev->outcomes, "the dev stays");
    return outcomes_fill(dev->outcomes, &dev->evaluation, ensemble->catalog, *temperature, error) &&
           keep_temperature(ensemble, options->models[0], *temperature, error);
}

static bool count_training(const char *path, uint32_t *training, struct error *error) {
    struct dataset data = {0};
    const bool done = dataset_load(&data, path, error);
    for (size_t i = 0; done && i < data.count; i++) training[data.stays[i].drg]++;
    dataset_free(&data);
    return done;
}

static bool assess(struct report *report, const struct evaluation *evaluation, const struct ensemble *ensemble,
                   const struct dev_stays *dev, double temperature, struct error *error) {
    uint32_t training[DRG_CODES] = {0};
    const struct eval_options *options = report->options;
    struct assessment assessment;
    if (options->train != NULL && !count_training(options->train, training, error)) return false;
    const struct assessment_settings settings = {.catalog = ensemble->catalog,
                                                 .temperature = temperature,
                                                 .training = options->train != NULL ? training : NULL,
                                                 .dev = dev->outcomes,
                                                 .dev_count = dev->data.count,
                                                 .resamples = (size_t)options->resamples,
                                                 .seed = (uint64_t)options->seed};
    if (!assessment_open(&assessment, evaluation, &settings, error)) return false;
    report_add(report, "model", evaluation, &assessment.metrics, assessment.metric_intervals);
    assessment_add_json(&report->object, &assessment, "model");
    assessment_add_text(&report->details, &assessment);
    const bool done = options->out == NULL || (evaluation_write(evaluation, temperature, options->out, error) &&
                                               assessment_write_confusions(&assessment, options->out, error));
    assessment_close(&assessment);
    return done;
}

static struct scores scores_of(const struct evaluation *evaluation) {
    return (struct scores){evaluation->logits, evaluation->targets, (int64_t)evaluation->N, (int64_t)evaluation->C,
                           (int64_t)evaluation->C};
}

static bool keep_hits(struct report *report, const struct evaluation *evaluation, struct error *error) {
    const struct scores scores = scores_of(evaluation);
    report->hits = memory_alloc(evaluation->N, 1);
    return (report->hits != NULL || memory_error(error, evaluation->N, "the metrics")) &&
           metric_hits(&scores, report->hits, error);
}

/* The heads of a lone two-label run by themselves; nothing for any other. */
static bool assess_heads(struct report *report, const struct ensemble *ensemble, const double *outputs,
                         struct error *error) {
    struct two_label_assessment heads;
    if (outputs == NULL) return true;
    if (!two_label_assess(&heads, report->data, ensemble->catalog, outputs, (size_t)report->options->resamples,
                          (uint64_t)report->options->seed, error))
        return false;
    two_label_add_json(&report->object, &heads);
    two_label_add_text(&report->details, &heads);
    return true;
}

static void update_deletion(void *context, size_t done) {
    progress_update(context, done);
}

/* Whether the words carry the prediction; p at the temperature, as `predict` has it. */
static bool assess_evidence(struct report *report, struct classifier *classifier, double temperature,
                            struct error *error) {
    const struct eval_options *options = report->options;
    const size_t stays = (size_t)options->deletion_stays, count = report->data->count;
    struct deletion_assessment assessment;
    struct progress progress;
    if (!options->deletion.wanted) return true;
    const struct deletion_settings settings = {.method = options->deletion.method,
                                               .stays = stays,
                                               .resamples = (size_t)options->resamples,
                                               .seed = (uint64_t)options->seed,
                                               .progress = update_deletion,
                                               .context = &progress};
    classifier->card.temperature = temperature;
    progress_start(&progress, "deleting words", "stays", stays < count ? stays : count);
    const bool done = deletion_assess(&assessment, classifier, report->data, &settings, error);
    progress_finish(&progress);
    if (!done) return false;
    deletion_add_json(&report->object, &assessment);
    deletion_add_text(&report->details, &assessment);
    return true;
}

static bool open_outputs(double **outputs, const struct ensemble *ensemble, size_t stays, struct error *error) {
    const size_t width = ensemble_width(ensemble);
    *outputs = width == 0 ? NULL : memory_alloc(stays, width * sizeof **outputs);
    return width == 0 || *outputs != NULL || memory_error(error, stays * width * sizeof **outputs, "the scores");
}

static bool eval_model(struct report *report, struct error *error) {
    const struct eval_options *options = report->options;
    struct ensemble ensemble;
    struct evaluation evaluation = {0};
    struct dev_stays dev = {0};
    double *outputs = NULL, temperature = 1;
    if (!ranks_open_ensemble(&ensemble, options->models, options->model_count, options->decoding, options->compute,
                             options->int8_cache, error))
        return false;
    if (scores_logits(&ensemble)) {
        /* Metrics are of the logits as the model gives them; the temperature comes in afterwards. */
        struct run_card *card = &ensemble.members[0].card;
        if (card->temperature > 0) temperature = card->temperature;
        card->temperature = 0;
    }
    bool done = (options->calibrate == NULL || calibrate(&dev, &ensemble, options, &temperature, error)) &&
                evaluation_open(&evaluation, report->data, &ensemble.labels, error) &&
                open_outputs(&outputs, &ensemble, report->data->count, error) &&
                score_blocks(&evaluation, &ensemble, "scoring", outputs, error);
    if (done && cluster_is_first())
        done = keep_hits(report, &evaluation, error) &&
               assess(report, &evaluation, &ensemble, &dev, temperature, error) &&
               assess_heads(report, &ensemble, outputs, error) &&
               assess_evidence(report, &ensemble.members[0], temperature, error);
    memory_free(outputs);
    dev_close(&dev);
    evaluation_close(&evaluation);
    ensemble_close(&ensemble);
    return done;
}

/* How far the model's acc@1 is ahead of a baseline's, on the same resamples. */
static bool measure_lead(const struct evaluation *evaluation, const uint8_t *model_hits,
                         const struct patients *patients, const struct resamples *resamples, struct interval *lead,
                         struct error *error) {
    const struct scores scores = scores_of(evaluation);
    uint8_t *hits = memory_alloc(evaluation->N, 1);
    const bool done = (hits != NULL || memory_error(error, evaluation->N, "the metrics")) &&
                      metric_hits(&scores, hits, error) &&
                      paired_difference(model_hits, hits, patients, resamples, lead, error);
    memory_free(hits);
    return done;
}

/* The paper's metrics of rows that have been put, with intervals, and the model's lead where there is a model. */
static bool score_with_intervals(const struct evaluation *evaluation, const struct report *report,
                                 struct metrics *metrics, struct interval *intervals, struct interval *lead,
                                 struct error *error) {
    const struct eval_options *options = report->options;
    const struct scores scores = scores_of(evaluation);
    const size_t B = (size_t)options->resamples;
    struct patients patients = {0};
    struct resamples resamples = {0};
    double *replicates = memory_alloc(METRICS * B, sizeof *replicates);
    const bool done =
        (replicates != NULL || memory_error(error, METRICS * B * sizeof *replicates, "the intervals")) &&
        patients_open(&patients, evaluation->dataset, error) &&
        resamples_open(&resamples, patients.count, B, (uint64_t)options->seed, error) &&
        evaluation_score(evaluation, metrics, error) &&
        metric_replicates(&scores, patients.of, &resamples, replicates, error) &&
        (report->hits == NULL || measure_lead(evaluation, report->hits, &patients, &resamples, lead, error));
    if (done) metric_intervals(metrics, replicates, B, intervals);
    resamples_close(&resamples);
    patients_close(&patients);
    memory_free(replicates);
    return done;
}

/* The object of metrics.jsonl that begins at `before`, with the model's lead in it. */
static void add_baseline(struct report *report, const char *name, size_t before, const struct interval *lead) {
    struct text *out = &report->baselines;
    const size_t closing = 2; /* brace and line feed */
    if (report->lines.length <= before + closing) return;
    if (out->length > 0) text_add(out, ",\n  ");
    text_append(out, report->lines.data + before, report->lines.length - before - closing);
    if (report->hits != NULL) {
        text_add(out, ", \"model_lead_acc1\": ");
        text_add_json_double(out, lead->value);
        text_add(out, ", \"model_lead_acc1_interval\": [");
        text_add_json_double(out, lead->low);
        text_add(out, ", ");
        text_add_json_double(out, lead->high);
        text_add_char(out, ']');
        text_printf(&report->leads, "\nmodel minus %s, acc@1, paired: %.1f points (%.1f to %.1f)", name,
                    100 * lead->value, 100 * lead->low, 100 * lead->high);
    }
    text_add_char(out, '}');
}

static bool eval_baseline(struct report *report, const struct baseline *baseline, enum baseline_kind kind,
                          const char *name, struct error *error) {
    struct evaluation evaluation;
    struct metrics metrics;
    struct interval intervals[METRICS], lead;
    const size_t cells = report->data->count * baseline->labels.count;
    if (!evaluation_open(&evaluation, report->data, &baseline->labels, error)) return false;
    double *logits = memory_alloc(cells, sizeof *logits);
    const bool done = (logits != NULL || memory_error(error, cells * sizeof *logits, "the logits")) &&
                      baseline_logits(baseline, kind, report->data->stays, report->data->count, logits, error) &&
                      evaluation_put(&evaluation, 0, report->data->count, logits, error) &&
                      score_with_intervals(&evaluation, report, &metrics, intervals, &lead, error);
    if (done) {
        const size_t before = report->lines.length;
        report_add(report, name, &evaluation, &metrics, intervals);
        add_baseline(report, name, before, &lead);
    }
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

/* "flow": what stands in flow.json beside the data, the cohort's rows after each step of its preparation. */
static bool add_flow(struct text *out, const char *data, struct error *error) {
    char path[4096];
    const char *slash = strrchr(data, '/');
    const int length = slash == NULL ? 1 : (int)(slash - data);
    struct text flow = {0};
    struct json *document;
    if ((size_t)snprintf(path, sizeof path, "%.*s/flow.json", length, slash == NULL ? "." : data) >= sizeof path ||
        !path_exists(path))
        return true;
    bool done = file_read(&flow, path, (size_t)1 << 20, error) &&
                json_parse(&document, path, flow.data == NULL ? "" : flow.data, flow.length, error);
    if (done) {
        json_free(document);
        text_add(out, ",\n\"flow\": ");
        text_append(out, flow.data, flow.length);
    }
    text_free(&flow);
    return done;
}

/* evaluation.json: the model's object with the names of the files and the baselines. */
static bool finish_object(struct report *report, struct error *error) {
    struct text *out = &report->object;
    const struct eval_options *options = report->options;
    const struct {
        const char *name, *value;
    } files[] = {{"data", options->data},
                 {"model", options->model_count > 0 ? options->models[0] : NULL},
                 {"calibrated_on", options->calibrate},
                 {"training_data", options->train}};
    if (out->length == 0) text_add(out, "{\"name\": null");
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        if (files[i].value == NULL) continue;
        text_printf(out, ",\n\"%s\": ", files[i].name);
        text_add_json(out, files[i].value, strlen(files[i].value));
    }
    for (size_t m = 0; m < options->model_count && options->model_count > 1; m++) {
        text_add(out, m == 0 ? ",\n\"models\": [" : ", ");
        text_add_json(out, options->models[m], strlen(options->models[m]));
        if (m + 1 == options->model_count) text_add_char(out, ']');
    }
    if (options->decoding == DECODE_PRODUCT) text_add(out, ",\n\"decode\": \"product\"");
    if (!add_flow(out, options->data, error)) return false;
    text_printf(out, ",\n\"baselines\": [%s]}\n", report->baselines.data == NULL ? "" : report->baselines.data);
    return true;
}

static bool write_text(const char *directory, const char *name, const struct text *text, struct error *error) {
    char path[4096];
    return (path_join(path, sizeof path, directory, name) || error_set(error, "%s: path too long", directory)) &&
           file_write(path, text->data, text->length, error);
}

static void print_tables(const struct report *report) {
    bool present[DRG_CODES] = {false};
    size_t distinct = 0;
    for (size_t i = 0; i < report->data->count; i++) {
        distinct += !present[report->data->stays[i].drg];
        present[report->data->stays[i].drg] = true;
    }
    printf("%s: %zu stays, %zu distinct DRGs; 95 %% intervals from %lld resamples of patients\n\n",
           report->options->data, report->data->count, distinct, (long long)report->options->resamples);
    printf("%-20s %8s %8s %8s  %8s  %8s  %9s  %9s\n", "", "acc@1", "acc@5", "acc@10", "macro-F1", "micro-F1",
           "macro-AUC", "micro-AUC");
    fputs(report->table.data, stdout);
    if (report->leads.data != NULL) puts(report->leads.data);
    if (report->details.data != NULL) fputs(report->details.data, stdout);
}

static bool finish(struct report *report, struct error *error) {
    const char *out = report->options->out;
    if (!finish_object(report, error) || !text_ok(&report->table, error) || !text_ok(&report->lines, error) ||
        !text_ok(&report->details, error) || !text_ok(&report->baselines, error) || !text_ok(&report->leads, error) ||
        !text_ok(&report->object, error))
        return false;
    if (out != NULL && (!write_text(out, "metrics.jsonl", &report->lines, error) ||
                        !write_text(out, "evaluation.json", &report->object, error)))
        return false;
    if (report->options->json)
        fputs(report->object.data, stdout);
    else
        print_tables(report);
    return true;
}

static bool evaluate(const struct eval_options *options, struct error *error) {
    struct dataset data = {0};
    struct report report = {.options = options, .data = &data};
    const bool first = cluster_is_first();
    bool done = dataset_load(&data, options->data, error) &&
                (options->out == NULL || !first || directory_create(options->out, error));
    if (done && options->model_count > 0) done = eval_model(&report, error);
    if (done && first && options->baseline != NULL) done = eval_baselines(&report, error);
    if (done && first) done = finish(&report, error);
    text_free(&report.table);
    text_free(&report.lines);
    text_free(&report.object);
    text_free(&report.details);
    text_free(&report.baselines);
    text_free(&report.leads);
    memory_free(report.hits);
    dataset_free(&data);
    return ranks_end(done, error);
}

static bool read_options(int argc, char **argv, struct eval_options *options, struct error *error) {
    enum {
        MODEL = 1,
        DECODE,
        DATA,
        BASELINE,
        DEV,
        CALIBRATE,
        TRAIN,
        OUT,
        RESAMPLES,
        SEED,
        JSON,
        COMPUTE,
        INT8_CACHE,
        THREADS,
        DELETION,
        DELETION_STAYS,
        HELP
    };
    static const struct option names[] = {{"model", 1, 0, MODEL},
                                          {"decode", 1, 0, DECODE},
                                          {"data", 1, 0, DATA},
                                          {"baseline", 1, 0, BASELINE},
                                          {"dev", 1, 0, DEV},
                                          {"calibrate", 1, 0, CALIBRATE},
                                          {"train", 1, 0, TRAIN},
                                          {"out", 1, 0, OUT},
                                          {"seed", 1, 0, SEED},
                                          {"json", 0, 0, JSON},
                                          {"help", 0, 0, HELP},
                                          {"resamples", 1, 0, RESAMPLES},
                                          {"compute", 1, 0, COMPUTE},
                                          {"int8-cache", 1, 0, INT8_CACHE},
                                          {"threads", 1, 0, THREADS},
                                          {"deletion", 2, 0, DELETION},
                                          {"deletion-stays", 1, 0, DELETION_STAYS},
                                          {0, 0, 0, 0}};
    int64_t threads;
    optind = 0;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (option) {
        case MODEL:
            if (options->model_count == ENSEMBLE_LIMIT)
                return error_usage(error, "more than %d models", ENSEMBLE_LIMIT);
            options->models[options->model_count++] = optarg;
            break;
        case DECODE:
            if (!decoding_parse(optarg, &options->decoding, error)) return false;
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
        case CALIBRATE:
            options->calibrate = optarg;
            break;
        case TRAIN:
            options->train = optarg;
            break;
        case OUT:
            options->out = optarg;
            break;
        case RESAMPLES:
            if (!parse_int64(optarg, &options->resamples) || options->resamples < 20 || options->resamples > 100000)
                return error_usage(error, "--resamples takes 20 to 100000, not \"%s\"", optarg);
            break;
        case SEED:
            if (!parse_int64(optarg, &options->seed) || options->seed < 0)
                return error_usage(error, "--seed takes a whole number from 0, not \"%s\"", optarg);
            break;
        case JSON:
            options->json = true;
            break;
        case DELETION:
            if (!evidence_options_method(&options->deletion, optarg, argc, argv, error)) return false;
            break;
        case DELETION_STAYS:
            if (!parse_int64(optarg, &options->deletion_stays) || options->deletion_stays < 1)
                return error_usage(error, "--deletion-stays takes a whole number from 1, not \"%s\"", optarg);
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
    } else if (options->model_count == 0 && options->baseline == NULL) {
        error_usage(error, "eval needs --model RUN, --baseline TRAIN.jsonl, or both");
    } else if ((options->baseline == NULL) != (options->dev == NULL)) {
        error_usage(error, "--baseline and --dev go together: the baselines are tuned on dev");
    } else if (options->model_count == 0 && (options->calibrate != NULL || options->train != NULL)) {
        error_usage(error, "--calibrate and --train are about a model: name it with --model RUN");
    } else if (options->deletion.wanted && (options->model_count != 1 || options->decoding != DECODE_DIRECT)) {
        error_usage(error, "--deletion tests the evidence of one model's own scores: one --model, no --decode");
    } else {
        return true;
    }
    return error_hint(error, "casemix eval --model models/tiny-classifier --data test.jsonl");
}

bool command_eval(int argc, char **argv, struct error *error) {
    struct eval_options options = {.resamples = 1000, .seed = 1, .deletion_stays = 500};
    if (answers_are_wanted(argc, argv)) return answers_have_one_rank(error) && eval_answers(argc, argv, error);
    if (!read_options(argc, argv, &options, error)) return false;
    if (options.help) {
        if (cluster_is_first()) print_help();
        return true;
    }
    return check_options(&options, error) && evaluate(&options, error);
}
