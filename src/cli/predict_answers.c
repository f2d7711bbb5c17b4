/* casemix predict with a model that writes: its reasoning, and behind it the exact probability of every DRG's title. */
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/answer_options.h"
#include "cli/note_files.h"
#include "cli/prediction_table.h"
#include "drg/completion.h"
#include "drg/note.h"
#include "drg/reward.h"
#include "generate/answer_ranking.h"
#include "model/ranking.h"
#include <stdio.h>
#include <string.h>

enum output { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_CSV };

static void print_help(void) {
    puts("usage: casemix predict --model RUN [--samples N] [--top-k 5] [--json|--csv] [FILE…|-]\n\n"
         "With a run that writes (sft, grpo) or a Hugging Face directory of a causal model: the model reasons\n"
         "about the note, and behind its reasoning every title of the grouper gets its exact probability.\n\n"
         "  FILE               as without a model that writes: casemix predict --help\n"
         "  --model DIR        the run or the directory\n"
         "  --samples N        draws N reasonings: probabilities are their mean, votes how many of the\n"
         "                     written answers name the DRG [1: the likeliest reasoning]\n"
         "  --top-k K          DRGs a note [5]\n"
         "  --json             one record a note: id, predictions (drg, title, p, votes, …), answers\n"
         "                     (reasoning, drg, end), title_p, section, tokens, truncated\n"
         "  --csv              rows id, rank, drg, title, p, votes, weight, gmlos, mdc, severity\n"
         "  --format F         text, csv, jsonl, hl7 or fhir instead of what the name says\n"
         "  --text-column C  --id-column C   of a CSV\n" ANSWER_OPTION_HELP "\n"
         "  casemix predict --model models/tiny-sapphire note.txt\n"
         "  casemix predict --model run --samples 8 --json notes.jsonl");
}

struct predict_options {
    struct answer_options answers;
    struct note_reader reader;
    enum output output;
    size_t top_k;
    bool help;
};

/* A note that has been asked about; it comes back by its place in this ring. */
enum { RING = 256 };
struct place {
    struct span section;
    bool whole;
};

struct coding {
    const struct predict_options *options;
    const struct answerer *answerer;
    struct answer_ranker *ranker;
    struct asking *asking;
    struct place places[RING];
    size_t asked;
    double *p;              /* [titles] */
    float *ranks;           /* [titles] p for the ranking */
    int32_t *votes;         /* [titles] */
    struct ranked *ranked;  /* [top_k] */
    struct table_row *rows; /* [top_k] */
    struct text out;
    bool printed;
    struct progress progress;
};

static void add_json_answers(struct text *out, const struct coding *coding, const struct question *question) {
    text_add(out, "], \"answers\": [");
    for (size_t s = 0; s < question->samples; s++) {
        const struct answer *answer = &question->answers[s];
        const char *text = answer->text.data == NULL ? "" : answer->text.data;
        size_t length;
        const char *reasoning = completion_reasoning(text, answer->text.length, &length);
        const struct drg *drg = completion_has_format(text, answer->text.length, true)
                                    ? completion_drg(coding->answerer->catalog, text, answer->text.length)
                                    : NULL;
        text_printf(out, "%s{\"reasoning\": ", s == 0 ? "" : ", ");
        text_add_json(out, reasoning, length);
        if (drg == NULL)
            text_add(out, ", \"drg\": null");
        else
            text_printf(out, ", \"drg\": %d", drg->code);
        text_printf(out, ", \"tokens\": %zu, \"end\": \"%s\"}", answer->ids.count, generation_end_name(answer->end));
    }
}

static void add_json(struct coding *coding, const struct question *question, double mass) {
    struct text *out = &coding->out;
    const struct place *place = &coding->places[question->tag % RING];
    text_add(out, "{\"id\": ");
    text_add_json(out, question->name, strlen(question->name));
    text_add(out, ", \"predictions\": [");
    for (size_t k = 0; k < coding->options->top_k; k++) {
        const struct drg *drg = coding->rows[k].drg;
        text_printf(out, "%s{\"drg\": %d, \"title\": ", k == 0 ? "" : ", ", drg->code);
        text_add_json(out, drg->title, strlen(drg->title));
        text_add(out, ", \"p\": ");
        text_add_json_float(out, (float)coding->rows[k].p);
        text_printf(out, ", \"votes\": %d, \"weight\": %.4f, \"gmlos\": %.1f, \"mdc\": \"%s\", \"severity\": \"%s\"}",
                    coding->votes[coding->ranked[k].label], drg->weight, drg->gmlos, drg->mdc,
                    severity_name(drg->severity));
    }
    add_json_answers(out, coding, question);
    text_add(out, "], \"title_p\": ");
    text_add_json_float(out, (float)mass);
    text_printf(out, ", \"section\": {\"start\": %zu, \"end\": %zu}, \"tokens\": %zu, \"truncated\": %s}\n",
                place->section.start, place->section.end, question->prompt.count, question->cut ? "true" : "false");
}

static void add_csv(struct coding *coding, const struct question *question) {
    struct text *out = &coding->out;
    if (!coding->printed) text_add(out, "id,rank,drg,title,p,votes,weight,gmlos,mdc,severity\n");
    for (size_t k = 0; k < coding->options->top_k; k++) {
        const struct drg *drg = coding->rows[k].drg;
        text_add_csv(out, question->name, strlen(question->name));
        text_printf(out, ",%zu,%d,", k + 1, drg->code);
        text_add_csv(out, drg->title, strlen(drg->title));
        text_printf(out, ",%.6f,%d,%.4f,%.1f,%s,%s\n", coding->rows[k].p, coding->votes[coding->ranked[k].label],
                    drg->weight, drg->gmlos, drg->mdc, severity_name(drg->severity));
    }
}

/* The table of the other models, then the first reasoning and, of several, the votes. */
static void add_table(struct coding *coding, const struct question *question) {
    struct text *out = &coding->out;
    const struct answer *answer = &question->answers[0];
    size_t length;
    const char *text = answer->text.data == NULL ? "" : answer->text.data;
    const char *reasoning = completion_reasoning(text, answer->text.length, &length);
    if (coding->printed) text_add_char(out, '\n');
    table_add_note(out, question->name, (int)question->prompt.count, question->cut,
                   coding->places[question->tag % RING].whole, coding->rows, coding->options->top_k);
    for (size_t k = 0; question->samples > 1 && k < coding->options->top_k; k++) {
        const int32_t votes = coding->votes[coding->ranked[k].label];
        if (votes > 0)
            text_printf(out, "  %d of %zu answers: %d\n", votes, question->samples, coding->rows[k].drg->code);
    }
    table_add_words(out, question->samples > 1 ? "one of the reasonings" : "reasoning", reasoning, length);
}

static bool take_answers(void *context, const struct question *question, struct error *error) {
    struct coding *coding = context;
    const struct catalog *catalog = coding->answerer->catalog;
    const size_t top_k = coding->options->top_k;
    double mass;
    if (!answer_ranker_rank(coding->ranker, question, coding->p, coding->votes, &mass, error))
        return error_context(error, "%s", question->name);
    for (size_t t = 0; t < catalog->count; t++) coding->ranks[t] = (float)coding->p[t];
    ranking_top(coding->ranks, catalog->count, coding->ranked, top_k);
    for (size_t k = 0; k < top_k; k++) {
        const int label = coding->ranked[k].label;
        coding->rows[k] = (struct table_row){&catalog->drgs[label], coding->p[label]};
    }
    if (coding->options->output == OUTPUT_JSON)
        add_json(coding, question, mass);
    else if (coding->options->output == OUTPUT_CSV)
        add_csv(coding, question);
    else
        add_table(coding, question);
    coding->printed = true;
    if (!text_ok(&coding->out, error)) return false;
    if (fwrite(coding->out.data, 1, coding->out.length, stdout) != coding->out.length || fflush(stdout) != 0)
        return error_system(error, "standard output");
    text_clear(&coding->out);
    progress_update(&coding->progress, question->tag + 1);
    return true;
}

static bool take_note(void *context, const char *id, const char *note, size_t length, struct error *error) {
    struct coding *coding = context;
    if (!note_check(id, note, length, error)) {
        struct error earlier = {0};
        asking_finish(coding->asking, &earlier);
        return false;
    }
    struct place *place = &coding->places[coding->asked % RING];
    place->whole = !note_hospital_course(note, length, &place->section);
    const struct prompt_values values = {.note = note + place->section.start,
                                         .note_length = place->section.end - place->section.start};
    return asking_put(coding->asking, id, coding->asked++, &values, error);
}

static bool flush(void *context, struct error *error) {
    struct coding *coding = context;
    return asking_finish(coding->asking, error);
}

static bool open_coding(struct coding *coding, struct error *error) {
    const struct predict_options *options = coding->options;
    const size_t titles = coding->answerer->catalog->count;
    const struct asking_settings settings = {.samples = options->answers.samples,
                                             .max_tokens = options->answers.max_tokens,
                                             .batch = options->answers.batch,
                                             .reserve = answer_reserve(coding->answerer),
                                             .sampling = options->answers.sampling,
                                             .seed = (uint64_t)options->answers.seed << 32,
                                             .answer_trie = true};
    coding->p = memory_alloc(titles, sizeof *coding->p);
    coding->ranks = memory_alloc(titles, sizeof *coding->ranks);
    coding->votes = memory_alloc(titles, sizeof *coding->votes);
    coding->ranked = memory_alloc(options->top_k, sizeof *coding->ranked);
    coding->rows = memory_alloc(options->top_k, sizeof *coding->rows);
    return ((coding->p != NULL && coding->ranks != NULL && coding->votes != NULL && coding->ranked != NULL &&
             coding->rows != NULL) ||
            memory_error(error, titles * sizeof *coding->p, "the ranked list")) &&
           asking_open(&coding->asking, coding->answerer, &settings, take_answers, coding, error) &&
           answer_ranker_open(&coding->ranker, coding->answerer, settings.max_tokens + settings.reserve, error);
}

static void close_coding(struct coding *coding) {
    asking_close(coding->asking);
    answer_ranker_close(coding->ranker);
    text_free(&coding->out);
    memory_free(coding->p);
    memory_free(coding->ranks);
    memory_free(coding->votes);
    memory_free(coding->ranked);
    memory_free(coding->rows);
}

static bool code_files(struct predict_options *options, char **paths, int count, struct error *error) {
    struct answerer answerer;
    if (!answer_options_open(&options->answers, true, &answerer, error)) return false;
    if (options->top_k > answerer.catalog->count) options->top_k = answerer.catalog->count;
    struct coding coding = {.options = options, .answerer = &answerer};
    options->reader.take = take_note;
    options->reader.flush = flush;
    options->reader.context = &coding;
    bool done = open_coding(&coding, error);
    progress_start(&coding.progress, "coding", "notes", 0);
    for (int i = 0; done && i < count; i++) done = note_file_read(&options->reader, paths[i], error);
    done = done && asking_finish(coding.asking, error);
    progress_finish(&coding.progress);
    close_coding(&coding);
    answerer_close(&answerer);
    return done;
}

static bool read_options(int argc, char **argv, struct predict_options *options, struct error *error) {
    enum { TOP_K = ANSWER_OPTIONS, JSON, CSV, FORMAT, TEXT_COLUMN, ID_COLUMN, EVIDENCE, HELP };
    static const struct option names[] = {ANSWER_OPTION_NAMES,
                                          {"top-k", 1, 0, TOP_K},
                                          {"json", 0, 0, JSON},
                                          {"csv", 0, 0, CSV},
                                          {"format", 1, 0, FORMAT},
                                          {"text-column", 1, 0, TEXT_COLUMN},
                                          {"id-column", 1, 0, ID_COLUMN},
                                          {"evidence", 2, 0, EVIDENCE},
                                          {"evidence-for", 1, 0, EVIDENCE},
                                          {"help", 0, 0, HELP},
                                          {0, 0, 0, 0}};
    int64_t number;
    optind = 0;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        switch (option) {
        case TOP_K:
            if (!parse_int64(optarg, &number) || number < 1 || number > 1000)
                return error_usage(error, "--top-k takes a whole number from 1, not \"%s\"", optarg);
            options->top_k = (size_t)number;
            break;
        case JSON:
            options->output = OUTPUT_JSON;
            break;
        case CSV:
            options->output = OUTPUT_CSV;
            break;
        case FORMAT:
            if (!input_parse(optarg, &options->reader.input))
                return error_usage(error, "--format takes text, csv, jsonl, hl7 or fhir, not \"%s\"", optarg);
            break;
        case TEXT_COLUMN:
            options->reader.text_column = optarg;
            break;
        case ID_COLUMN:
            options->reader.id_column = optarg;
            break;
        case EVIDENCE:
            error_usage(error, "a model that writes gives no evidence: its reasoning says what it went by");
            return error_hint(error, "a run of method classify, two_label, bert or caml has evidence");
        case HELP:
            options->help = true;
            return true;
        case '?':
            error_usage(error, "predict: unknown option or missing value: %s", argv[optind - 1]);
            return error_hint(error, "casemix predict --model %.200s --help",
                              options->answers.model == NULL ? "RUN" : options->answers.model);
        default:
            if (!answer_option(option, optarg, &options->answers, error)) return false;
        }
    }
    return true;
}

bool predict_answers(int argc, char **argv, struct error *error) {
    struct predict_options options = {
        .answers = {.sampling = {.temperature = 0.6, .top_p = 0.95, .repetition_penalty = 1},
                    .samples = 1,
                    .batch = 16,
                    .seed = 1},
        .reader = {.text_column = "text"},
        .top_k = 5};
    char *standard_input = "-";
    if (!read_options(argc, argv, &options, error)) return false;
    if (options.help) {
        print_help();
        return true;
    }
    const bool files = optind < argc;
    return code_files(&options, files ? argv + optind : &standard_input, files ? argc - optind : 1, error);
}
