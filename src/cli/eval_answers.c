/* casemix eval with a model that writes: several answers to every stay, and DRG-Sapphire's figures of them. */
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/answer_options.h"
#include "data/dataset.h"
#include "eval/samples.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void print_help(void) {
    puts("usage: casemix eval --model RUN --data F.jsonl [--samples 8] [--out DIR] [--json]\n\n"
         "With a run that writes (sft, grpo) or a Hugging Face directory of a causal model: draws answers to\n"
         "every stay and gives Pass@1, Pass@N and Maj@N for DRG, base and severity, format failures, kinds of\n"
         "errors and length, with 95 % bootstrap intervals by patient. docs/evaluation.md defines them.\n\n"
         "  --data F.jsonl     stays with \"text\" and \"drg\"\n"
         "  --model DIR        the run or the directory\n"
         "  --samples N        answers to each stay [8]\n"
         "  --answer-trie      answers are kept to titles that exist\n"
         "  --limit N          the first N stays only\n"
         "  --resamples B      of the bootstrap [1000]\n"
         "  --out DIR          writes DIR/samples.jsonl, which `casemix metrics samples` and GRPO's\n"
         "                     curriculum read, and DIR/samples.json, the figures\n"
         "  --json             prints the figures as one JSON object\n" ANSWER_OPTION_HELP "\n"
         "  casemix eval --model run --data cohort/test.jsonl --samples 8 --out run/evaluation");
}

struct eval_options {
    struct answer_options answers;
    const char *data, *out;
    int64_t resamples, limit;
    bool trie, json, help;
};

/* Answers as they come. */
struct sampling_run {
    const struct eval_options *options;
    const struct answerer *answerer;
    const struct dataset *dataset;
    struct file_writer *writer;
    struct text line;
    struct progress progress;
    size_t cut, unfinished;
    uint64_t tokens;
};

static bool take_answers(void *context, const struct question *question, struct error *error) {
    struct sampling_run *run = context;
    const struct stay *stay = &run->dataset->stays[question->tag];
    const char *title = catalog_find(run->answerer->catalog, stay->drg)->title;
    struct text *line = &run->line;
    text_clear(line);
    text_add(line, "{\"note_id\": ");
    text_add_json(line, stay->note_id, strlen(stay->note_id));
    text_add(line, ", \"subject_id\": ");
    text_add_json(line, stay->subject_id, strlen(stay->subject_id));
    text_printf(line, ", \"drg\": %d, \"gold\": ", stay->drg);
    text_add_json(line, title, strlen(title));
    text_add(line, ", \"completions\": [");
    for (size_t s = 0; s < question->samples; s++) {
        const struct answer *answer = &question->answers[s];
        if (s > 0) text_add(line, ", ");
        text_add_json(line, answer->text.data == NULL ? "" : answer->text.data, answer->text.length);
        run->unfinished += answer->end == GENERATION_LENGTH;
        run->tokens += answer->ids.count;
    }
    text_add(line, "], \"tokens\": [");
    for (size_t s = 0; s < question->samples; s++)
        text_printf(line, "%s%zu", s == 0 ? "" : ", ", question->answers[s].ids.count);
    text_add(line, "]}\n");
    run->cut += question->cut;
    progress_update(&run->progress, question->tag + 1);
    return text_ok(line, error) && file_writer_write(run->writer, line->data, line->length, error);
}

static bool ask_stays(struct sampling_run *run, size_t count, struct error *error) {
    const struct eval_options *options = run->options;
    const struct asking_settings settings = {.samples = options->answers.samples,
                                             .max_tokens = options->answers.max_tokens,
                                             .batch = options->answers.batch,
                                             .sampling = options->answers.sampling,
                                             .seed = (uint64_t)options->answers.seed << 32,
                                             .answer_trie = options->trie};
    struct asking *asking = NULL;
    bool done = asking_open(&asking, run->answerer, &settings, take_answers, run, error);
    progress_start(&run->progress, "answering", "stays", count);
    for (size_t i = 0; done && i < count; i++) {
        const struct stay *stay = &run->dataset->stays[i];
        const struct prompt_values values = {.note = stay->text, .note_length = stay->text_length};
        if (catalog_find(run->answerer->catalog, stay->drg) == NULL) {
            error_set(error, "%s: stay %zu has DRG %d, which %s does not know", options->data, i + 1, stay->drg,
                      grouper_name(run->answerer->catalog->grouper));
            done = error_hint(error, "--grouper chooses the grouper");
        }
        done = done && asking_put(asking, stay->note_id, i, &values, error);
    }
    done = done && asking_finish(asking, error);
    progress_finish(&run->progress);
    asking_close(asking);
    return done;
}

static void print_table(const struct eval_options *options, const struct sample_scores *scores,
                        const struct sampling_run *run) {
    static const char *const levels[] = {"DRG", "base DRG", "severity"};
    static const struct {
        enum sample_share share;
        const char *name;
    } shares[] = {{SHARE_FORMAT, "right format"},
                  {SHARE_UNUSABLE, "no usable answer"},
                  {SHARE_WRONG_BASE, "wrong base, right severity"},
                  {SHARE_WRONG_SEVERITY, "right base, wrong severity"},
                  {SHARE_WRONG_BOTH, "both wrong"},
                  {SHARE_SURGICAL_MEDICAL, "medical for surgical"},
                  {SHARE_MEDICAL_SURGICAL, "surgical for medical"}};
    const size_t answers = scores->cases * scores->completions;
    printf("%s: %zu stays, %zu answers each; 95 %% intervals from %lld resamples of patients\n\n", options->data,
           scores->cases, scores->completions, (long long)options->resamples);
    printf("%-10s  %22s  %22s  %22s\n", "", "Pass@1", "Pass@N", "Maj@N");
    for (int level = 0; level < LEVELS; level++) {
        const struct interval *columns[] = {&scores->pass1[level], &scores->pass_n[level], &scores->majority[level]};
        printf("%-10s", levels[level]);
        for (int c = 0; c < 3; c++)
            printf("  %5.1f %% [%5.1f, %5.1f]", 100 * columns[c]->value, 100 * columns[c]->low, 100 * columns[c]->high);
        putchar('\n');
    }
    puts("\nshare of the answers");
    for (size_t s = 0; s < sizeof shares / sizeof shares[0]; s++) {
        const struct interval *share = &scores->shares[shares[s].share];
        printf("  %-28s %5.1f %% [%5.1f, %5.1f]\n", shares[s].name, 100 * share->value, 100 * share->low,
               100 * share->high);
    }
    printf("\nlength: %.1f tokens, %.0f characters; %zu of %zu answers came to no end; %zu notes were cut\n",
           (double)run->tokens / (double)answers, scores->shares[SHARE_LENGTH].value, run->unfinished, answers,
           run->cut);
}

/* The figures, with what belongs to them. */
static bool report(const struct sampling_run *run, const char *samples, struct error *error) {
    const struct eval_options *options = run->options;
    struct sample_scores scores;
    struct text json = {0};
    char path[4200];
    if (!samples_score(&scores, samples, run->answerer->catalog->grouper, (size_t)options->resamples,
                       (uint64_t)options->answers.seed, error))
        return false;
    samples_add_json(&json, &scores);
    bool done = text_ok(&json, error);
    if (done && options->out != NULL)
        done = (path_join(path, sizeof path, options->out, "samples.json") ||
                error_set(error, "%.200s: path too long", options->out)) &&
               file_write(path, json.data, json.length, error);
    if (done && options->json) fputs(json.data, stdout);
    if (done && !options->json) print_table(options, &scores, run);
    text_free(&json);
    return done;
}

/* The samples stand in --out, or for the time of the command in a temporary file. */
static bool samples_path(const struct eval_options *options, char *path, size_t capacity, struct error *error) {
    if (options->out != NULL)
        return directory_create(options->out, error) && (path_join(path, capacity, options->out, "samples.jsonl") ||
                                                         error_set(error, "%.200s: path too long", options->out));
    const char *folder = getenv("TMPDIR");
    return snprintf(path, capacity, "%.4000s/casemix-samples-%ld.jsonl", folder == NULL ? "/tmp" : folder,
                    (long)getpid()) < (int)capacity ||
           error_set(error, "TMPDIR: path too long");
}

static bool evaluate(struct eval_options *options, struct error *error) {
    struct answerer answerer;
    struct dataset dataset = {0};
    char path[4200];
    if (!answer_options_open(&options->answers, options->trie, &answerer, error)) return false;
    struct sampling_run run = {.options = options, .answerer = &answerer, .dataset = &dataset};
    bool done = dataset_load(&dataset, options->data, error) && samples_path(options, path, sizeof path, error) &&
                (dataset.count > 0 || error_set(error, "%s: no stays", options->data)) &&
                file_writer_open(&run.writer, path, error);
    const size_t limit = (size_t)options->limit, count = limit > 0 && limit < dataset.count ? limit : dataset.count;
    done = done && ask_stays(&run, count, error) && file_writer_commit(run.writer, error);
    file_writer_close(run.writer);
    if (done) {
        done = report(&run, path, error);
        if (options->out == NULL) remove(path);
    }
    text_free(&run.line);
    dataset_free(&dataset);
    answerer_close(&answerer);
    return done;
}

static bool read_options(int argc, char **argv, struct eval_options *options, struct error *error) {
    enum { DATA = ANSWER_OPTIONS, OUT, RESAMPLES, LIMIT, TRIE, JSON, HELP };
    static const struct option names[] = {ANSWER_OPTION_NAMES,
                                          {"data", 1, 0, DATA},
                                          {"out", 1, 0, OUT},
                                          {"resamples", 1, 0, RESAMPLES},
                                          {"limit", 1, 0, LIMIT},
                                          {"answer-trie", 0, 0, TRIE},
                                          {"json", 0, 0, JSON},
                                          {"help", 0, 0, HELP},
                                          {0, 0, 0, 0}};
    optind = 0;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (option) {
        case DATA:
            options->data = optarg;
            break;
        case OUT:
            options->out = optarg;
            break;
        case RESAMPLES:
            if (!parse_int64(optarg, &options->resamples) || options->resamples < 20 || options->resamples > 100000)
                return error_usage(error, "--resamples takes 20 to 100000, not \"%s\"", optarg);
            break;
        case LIMIT:
            if (!parse_int64(optarg, &options->limit) || options->limit < 1)
                return error_usage(error, "--limit takes a whole number from 1, not \"%s\"", optarg);
            break;
        case TRIE:
            options->trie = true;
            break;
        case JSON:
            options->json = true;
            break;
        case HELP:
            options->help = true;
            return true;
        case '?':
            error_usage(error, "eval of a model that writes: unknown option or missing value: %s", argv[optind - 1]);
            return error_hint(error, "casemix eval --model RUN --help");
        default:
            if (!answer_option(option, optarg, &options->answers, error)) return false;
        }
    }
    if (optind < argc) return error_usage(error, "eval takes no arguments, only options: %s", argv[optind]);
    if (options->data != NULL) return true;
    error_usage(error, "eval needs --data F.jsonl");
    return error_hint(error, "casemix eval --model RUN --data test.jsonl --samples 8");
}

bool eval_answers(int argc, char **argv, struct error *error) {
    struct eval_options options = {.answers = {.sampling = {.temperature = 0.6, .top_p = 0.95, .repetition_penalty = 1},
                                               .samples = 8,
                                               .batch = 32,
                                               .seed = 1},
                                   .resamples = 1000};
    if (!read_options(argc, argv, &options, error)) return false;
    if (!options.help) return evaluate(&options, error);
    print_help();
    return true;
}
