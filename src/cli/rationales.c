/* casemix rationales: why stays have their DRG, for fine-tuning: from their codes, as a model explains it, or the
 * titles of a grouper. */
#include "cli/rationales.h"
#include "base/error.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/text.h"
#include "base/threads.h"
#include "cli/commands.h"
#include "data/stay_codes.h"
#include "data/synth_rationale.h"
#include "drg/knowledge_rows.h"
#include <getopt.h>
#include <stdio.h>
#include <string.h>

static void print_help(void) {
    puts("usage: casemix rationales --data FILE --codes DIR --out FILE [OPTIONS]\n"
         "       casemix rationales --data FILE --model DIR --out FILE [OPTIONS]\n"
         "       casemix rationales --titles --grouper v34|v43 --out FILE\n\n"
         "Writes why each stay has its DRG, a line {\"note_id\", \"drg\", \"title\", \"rationale\"} a stay, for\n"
         "fine-tuning a model that reasons (sft: rationales: FILE). Lines are appended: a run that was\n"
         "stopped goes on where it stopped, and stays that have a rationale are passed over.\n\n"
         "  --data FILE       the stays, as train.jsonl of `casemix prepare` and `casemix synth`\n"
         "  --out FILE        [standard output]\n"
         "  --limit N         at most so many stays [all]\n"
         "  --seed S          [1]\n"
         "  --differential    weigh other DRGs too: of a model three candidates, from codes those of the base\n"
         "  --grouper G       v34 or v43 [what labels.tsv beside FILE says, else v34; with --titles v43]\n\n"
         "From codes (v43): truthful sentences about principal condition, procedures, and what counts as CC\n"
         "or MCC. Stays whose codes do not give their DRG's severity are left out and counted.\n"
         "  --codes DIR       diagnoses_icd.csv.gz and procedures_icd.csv.gz, ICD-10\n"
         "  --knowledge DIR   tables of codes and words [data/synth]\n\n"
         "From a model, which is shown the DRG and explains it as if it did not know it:\n"
         "  --model DIR       a Hugging Face directory or a run; --adapter DIR over it\n"
         "  --prompt FILE     what is asked [data/prompts/rationale.txt, rationale-differential.txt]\n"
         "  --reject          drop rationales that name another DRG in the end, or none; they are tried\n"
         "                    again when the command is run again with another --seed\n"
         "  --temperature X  --top-p X  [0.7 0.95]\n"
         "  --max-tokens N    of a rationale [512]\n"
         "  --batch N         rationales under way at once [16]\n"
         "  --compute TYPE    auto, f32, bf16, int8 [auto]; --int8-cache DIR keeps the int8 form\n"
         "  --threads N       [all processors]\n\n"
         "  --titles          knowledge rows: all titles of the grouper, and those of each MDC, as lines\n"
         "                    {\"note_id\", \"group\", \"rationale\", \"answer\"}\n\n"
         "  casemix rationales --data cohort/train.jsonl --codes cohort --out rationales.jsonl\n"
         "  casemix rationales --data mimic/train.jsonl --model Qwen2.5-7B-Instruct --out r.jsonl");
}

/* Rationales of stays whose codes are known. */
struct explaining {
    const struct rationales_options *options;
    const struct dataset *dataset;
    struct rationale_log *log;
    struct stay_codes codes;
    struct knowledge knowledge;
    struct rationale_words words;
    size_t written, unknown, unexplained;
};

static bool explain_stay(struct explaining *explaining, size_t i, struct text *out, struct error *error) {
    const struct stay *stay = &explaining->dataset->stays[i];
    const struct rationales_options *options = explaining->options;
    struct synthetic_stay found;
    text_clear(out);
    if (!stay_codes_find(&explaining->codes, &explaining->knowledge, explaining->dataset, i, &found)) {
        explaining->unknown++;
        return true;
    }
    /* The words are drawn by the note, not by its place in the file. */
    const uint64_t seed = hash_bytes(stay->note_id, strlen(stay->note_id), (uint64_t)options->seed);
    if (!rationale_write(out, &explaining->words, &explaining->knowledge, &found, stay->text, stay->text_length,
                         options->differential, seed)) {
        explaining->unexplained++;
        return true;
    }
    explaining->written++;
    const struct rationale rationale = {
        .note_id = stay->note_id, .drg = stay->drg, .title = found.profile->drg->title, .text = out->data};
    return text_ok(out, error) && rationale_log_add(explaining->log, &rationale, error);
}

static bool explain_all(struct explaining *explaining, struct error *error) {
    const struct rationales_options *options = explaining->options;
    const struct dataset *dataset = explaining->dataset;
    struct text out = {0};
    struct progress progress;
    bool done = true;
    progress_start(&progress, "explaining", "stays", dataset->count);
    for (size_t i = 0; done && i < dataset->count; i++) {
        if (options->limit > 0 && (int64_t)explaining->written == options->limit) break;
        if (!rationale_log_has(explaining->log, dataset->stays[i].note_id))
            done = explain_stay(explaining, i, &out, error);
        progress_update(&progress, i + 1);
    }
    progress_finish(&progress);
    text_free(&out);
    return done;
}

static bool explain(const struct rationales_options *options, const struct dataset *dataset, struct rationale_log *log,
                    struct error *error) {
    char directory[4096];
    struct explaining explaining = {.options = options, .dataset = dataset, .log = log};
    if (options->grouper != GROUPER_V43) {
        error_set(error, "%s: codes explain the DRGs of v43, and these are %s's", options->data,
                  grouper_name(options->grouper));
        return error_hint(error, "`casemix prepare --grouper v43` makes a dataset of v43");
    }
    bool done = knowledge_find(options->knowledge, directory, sizeof directory, error) &&
                stay_codes_load(&explaining.codes, dataset, options->codes, error) &&
                knowledge_load(&explaining.knowledge, directory, &explaining.codes.wishes, error) &&
                rationale_words_load(&explaining.words, directory, error) && explain_all(&explaining, error);
    if (done && explaining.unknown > 0)
        log_warning("%zu stays left out: no codes, or some that are not ICD-10 or in no table of casemix",
                    explaining.unknown);
    if (done && explaining.unexplained > 0)
        log_warning("%zu stays left out: their codes do not give the severity of their DRG", explaining.unexplained);
    if (done) log_info("%zu rationales", explaining.written);
    rationale_words_free(&explaining.words);
    knowledge_free(&explaining.knowledge);
    stay_codes_free(&explaining.codes);
    return done;
}

static bool write_titles(const struct rationales_options *options, struct rationale_log *log, struct error *error) {
    const struct catalog *catalog = catalog_get(options->grouper);
    struct text answer = {0};
    bool done = true;
    for (size_t i = 0; done && i < knowledge_rows_count(catalog); i++) {
        text_clear(&answer);
        const struct knowledge_row row = knowledge_row_write(catalog, i, &answer);
        const struct rationale rationale = {
            .note_id = row.id, .text = knowledge_reasoning, .group = row.group, .answer = answer.data};
        done = text_ok(&answer, error) && (rationale_log_has(log, row.id) || rationale_log_add(log, &rationale, error));
    }
    text_free(&answer);
    return done;
}

/* The grouper that labels.tsv beside the data names; the options' own where there is none. */
static bool find_grouper(struct rationales_options *options, struct error *error) {
    char path[4200];
    struct labels labels = {0};
    const char *slash = strrchr(options->data, '/');
    const int directory = slash == NULL ? 0 : (int)(slash - options->data) + 1;
    if (options->grouper_given) return true;
    if (snprintf(path, sizeof path, "%.*slabels.tsv", directory, options->data) >= (int)sizeof path)
        return error_set(error, "%.200s: path too long", options->data);
    if (!path_exists(path)) return true;
    if (!labels_load(&labels, path, error)) return false;
    options->grouper = labels.grouper;
    labels_free(&labels);
    return true;
}

static bool run(struct rationales_options *options, struct error *error) {
    struct dataset dataset = {0};
    struct rationale_log *log = NULL;
    bool done = options->titles || (find_grouper(options, error) && dataset_load(&dataset, options->data, error));
    done = done && rationale_log_open(&log, options->out, error);
    if (done && rationale_log_found(log) > 0)
        log_info("%zu rationales stand in %s already", rationale_log_found(log), options->out);
    if (done && options->titles)
        done = write_titles(options, log, error);
    else if (done)
        done = options->codes != NULL ? explain(options, &dataset, log, error)
                                      : rationales_ask(options, &dataset, log, error);
    rationale_log_close(log);
    dataset_free(&dataset);
    return done;
}

static bool check_options(struct rationales_options *options, int argc, char **argv, struct error *error) {
    const char *problem = NULL;
    if (optind < argc) return error_usage(error, "rationales takes no argument \"%s\"", argv[optind]);
    if (options->titles) {
        if (options->data != NULL || options->codes != NULL || options->model != NULL)
            problem = "--titles stands alone with --grouper and --out";
        if (!options->grouper_given) options->grouper = GROUPER_V43;
    } else if (options->data == NULL) {
        problem = "rationales needs --data FILE";
    } else if ((options->codes == NULL) == (options->model == NULL)) {
        problem = "rationales needs --codes DIR or --model DIR, one of them";
    } else if (options->model == NULL && (options->adapter != NULL || options->prompt != NULL || options->reject)) {
        problem = "--adapter, --prompt and --reject go with --model";
    }
    if (problem == NULL) return sampling_check(&options->sampling, error);
    error_usage(error, "%s", problem);
    return error_hint(error, "casemix rationales --help");
}

static bool read_whole(const char *option, const char *value, int64_t low, int64_t high, int64_t *out,
                       struct error *error) {
    return (parse_int64(value, out) && *out >= low && *out <= high) ||
           error_usage(error, "--%s takes a whole number from %lld to %lld, not \"%s\"", option, (long long)low,
                       (long long)high, value);
}

enum option_name {
    DATA = 1,
    OUT,
    CODES,
    KNOWLEDGE,
    MODEL,
    ADAPTER,
    PROMPT,
    TITLES,
    DIFFERENTIAL,
    REJECT,
    GROUPER,
    LIMIT,
    SEED,
    TEMPERATURE,
    TOP_P,
    MAX_TOKENS,
    BATCH,
    COMPUTE,
    INT8_CACHE,
    THREADS,
    HELP
};

static bool read_number(enum option_name option, const char *value, struct rationales_options *options,
                        struct error *error) {
    int64_t threads;
    switch (option) {
    case LIMIT:
        return read_whole("limit", value, 1, INT64_MAX, &options->limit, error);
    case SEED:
        return read_whole("seed", value, 0, INT64_MAX, &options->seed, error);
    case MAX_TOKENS:
        return read_whole("max-tokens", value, 1, 1 << 20, &options->max_tokens, error);
    case BATCH:
        return read_whole("batch", value, 1, 1024, &options->batch, error);
    case TEMPERATURE:
        return parse_double(value, &options->sampling.temperature) ||
               error_usage(error, "--temperature takes a number, not \"%s\"", value);
    case TOP_P:
        return parse_double(value, &options->sampling.top_p) ||
               error_usage(error, "--top-p takes a number, not \"%s\"", value);
    default:
        if (!read_whole("threads", value, 1, 1024, &threads, error)) return false;
        threads_set((int)threads);
        return true;
    }
}

static bool read_option(enum option_name option, const char *value, struct rationales_options *options,
                        struct error *error) {
    const char **const strings[] = {
        [DATA] = &options->data,           [OUT] = &options->out,     [CODES] = &options->codes,
        [KNOWLEDGE] = &options->knowledge, [MODEL] = &options->model, [ADAPTER] = &options->adapter,
        [PROMPT] = &options->prompt};
    if (option <= PROMPT) {
        *strings[option] = value;
        return true;
    }
    switch (option) {
    case TITLES:
        options->titles = true;
        return true;
    case DIFFERENTIAL:
        options->differential = true;
        return true;
    case REJECT:
        options->reject = true;
        return true;
    case HELP:
        options->help = true;
        return true;
    case GROUPER:
        options->grouper_given = true;
        return grouper_parse(value, &options->grouper, error);
    case COMPUTE:
        return compute_parse(value, &options->compute, error);
    case INT8_CACHE:
        options->int8_cache = value;
        return true;
    default:
        return read_number(option, value, options, error);
    }
}

static bool read_options(int argc, char **argv, struct rationales_options *options, struct error *error) {
    static const struct option names[] = {{"data", 1, 0, DATA},
                                          {"out", 1, 0, OUT},
                                          {"codes", 1, 0, CODES},
                                          {"knowledge", 1, 0, KNOWLEDGE},
                                          {"model", 1, 0, MODEL},
                                          {"adapter", 1, 0, ADAPTER},
                                          {"prompt", 1, 0, PROMPT},
                                          {"titles", 0, 0, TITLES},
                                          {"differential", 0, 0, DIFFERENTIAL},
                                          {"reject", 0, 0, REJECT},
                                          {"grouper", 1, 0, GROUPER},
                                          {"limit", 1, 0, LIMIT},
                                          {"seed", 1, 0, SEED},
                                          {"temperature", 1, 0, TEMPERATURE},
                                          {"top-p", 1, 0, TOP_P},
                                          {"max-tokens", 1, 0, MAX_TOKENS},
                                          {"batch", 1, 0, BATCH},
                                          {"compute", 1, 0, COMPUTE},
                                          {"int8-cache", 1, 0, INT8_CACHE},
                                          {"threads", 1, 0, THREADS},
                                          {"help", 0, 0, HELP},
                                          {0, 0, 0, 0}};
    optind = 0;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (option == '?') {
            error_usage(error, "rationales: unknown option or missing value: %s", argv[optind - 1]);
            return error_hint(error, "casemix rationales --help");
        }
        if (!read_option((enum option_name)option, optarg, options, error)) return false;
        if (options->help) return true;
    }
    return check_options(options, argc, argv, error);
}

bool command_rationales(int argc, char **argv, struct error *error) {
    struct rationales_options options = {.out = "-",
                                         .sampling = {.temperature = 0.7, .top_p = 0.95, .repetition_penalty = 1},
                                         .max_tokens = 512,
                                         .batch = 16,
                                         .seed = 1,
                                         .grouper = GROUPER_V34};
    if (!read_options(argc, argv, &options, error)) return false;
    if (!options.help) return run(&options, error);
    print_help();
    return true;
}
