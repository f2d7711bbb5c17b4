/* casemix predict: notes in, ranked DRGs out, as a table, JSON lines or CSV. */
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/threads.h"
#include "cli/answer_options.h"
#include "cli/commands.h"
#include "cli/evidence_print.h"
#include "cli/note_files.h"
#include "cli/predict_fhir.h"
#include "cli/prediction_table.h"
#include "cli/ranks.h"
#include "cli/shipped_models.h"
#include "drg/note.h"
#include "model/ensemble.h"
#include "model/ranking.h"
#include "tensor/kernels.h"
#include "train/cluster.h"
#include <getopt.h>
#include <stdio.h>
#include <string.h>

/* Notes that go through the model together. */
enum { BLOCK = 64 };

enum output { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_CSV, OUTPUT_FHIR };

static void print_help(void) {
    puts("usage: casemix predict [--model RUN]… [--top-k 5] [--json|--csv] [FILE…|-]\n\n"
         "Codes discharge summaries. The hospital course is what is read; the whole note where there is\n"
         "none, or where the run was trained on whole notes.\n\n"
         "  FILE               .csv[.gz]: a column of notes; .jsonl[.gz]: objects with \"text\"; anything\n"
         "                     else: one note; - : standard input\n"
         "  --model RUN        a run directory, or the name of a shipped one [tiny-classifier]; several are\n"
         "                     averaged\n"
         "  --decode HOW       direct, or product: P(base) * P(severity) over the DRGs that exist, as a\n"
         "                     two-label run always does [direct]\n"
         "  --top-k K          DRGs a note [5]\n"
         "  --json             one record a note: id, predictions, section (bytes of the note), tokens,\n"
         "                     truncated; of one two-label run also base and severity by themselves and\n"
         "                     the DRG by DRG-LLaMA's rule\n"
         "  --evidence [HOW]   the words that carry the first DRG, with scores (docs/evidence.md): gradients,\n"
         "                     occlusion, or attention (CAML) [gradients]\n"
         "  --evidence-for DRG the same for another DRG\n"
         "  --csv              rows id, rank, drg, title, p, weight, gmlos, mdc, severity\n"
         "  --hl7              the files are HL7 v2 messages MDM^T02 (docs/interoperability.md)\n"
         "  --fhir             they are FHIR R4: a DocumentReference, a Composition or a Bundle of them.\n"
         "                     A Bundle of each goes out, one a line: ClaimResponse, Device, Provenance\n"
         "  --format F         text, csv, jsonl, hl7 or fhir instead of what the name says\n"
         "  --text-column C    of a CSV [text]\n"
         "  --id-column C      of a CSV [note_id, hadm_id or id; else the row number]\n"
         "  --compute TYPE     auto, f32, bf16 (large products round to it), int8 (weights in eight bits)\n"
         "                     [auto]\n"
         "  --int8-cache DIR   keeps the eight-bit weights there for the next start\n"
         "  --threads N        [all processors]\n\n"
         "A run that writes (sft, grpo) and a Hugging Face directory have options of their own:\n"
         "`casemix predict --model RUN --help`.\n\n"
         "  casemix predict examples/notes/*.txt\n"
         "  casemix predict --evidence note.txt\n"
         "  casemix predict --csv notes.csv > coded.csv\n"
         "  mpirun -n 4 casemix predict …       the same on four ranks (docs/cluster.md)\n"
         "  cat note.txt | casemix predict --json -");
}

struct predict_options {
    const char *models[ENSEMBLE_LIMIT];
    size_t model_count;
    enum decoding decoding;
    struct evidence_options evidence;
    const char *text_column, *id_column, *int8_cache;
    enum compute_type compute;
    enum output output;
    enum input input;
    size_t top_k;
    bool help;
};

/* Notes gathered for the next block, and what is needed to print them. */
struct block {
    const struct predict_options *options;
    const struct ensemble *ensemble;
    struct text text; /* of all notes of the block, end to end */
    struct text ids;  /* their names, each with a NUL */
    struct {
        size_t note, note_length, id;
        struct span section;
        bool whole;
    } items[BLOCK];
    size_t count;
    float *logits;                     /* [BLOCK, labels] */
    float *outputs;                    /* [BLOCK, width] of a lone two-label run; else NULL */
    struct evidence_printer *evidence; /* NULL: none is wanted */
    struct ranked *ranked;             /* [top_k] */
    struct table_row *rows;            /* [top_k] */
    struct text out;                   /* of this rank's block of the round */
    int number;                        /* of the block in the round, in which each rank has one */
    bool lost;                         /* the other ranks cannot be met any more */
    bool printed;                      /* something stands on standard output */
    struct progress progress;
    uint64_t done;
};

/* What the two heads say by themselves. */
static void add_two_labels(struct block *block, size_t i) {
    const struct classifier *classifier = &block->ensemble->members[0];
    const struct two_label_answer answer =
        classifier_rule(classifier, block->outputs + i * classifier_width(classifier));
    text_printf(&block->out, ", \"two_label\": {\"base\": %d, \"base_p\": ", answer.base);
    text_add_json_double(&block->out, answer.base_p);
    text_printf(&block->out, ", \"severity\": %d, \"severity_p\": ", answer.severity);
    text_add_json_double(&block->out, answer.severity_p);
    text_printf(&block->out, ", \"rule\": %d}", answer.drg->code);
}

static void add_json_note(struct block *block, size_t i, int32_t tokens, bool truncated) {
    struct text *out = &block->out;
    text_add(out, "{\"id\": ");
    text_add_json(out, block->ids.data + block->items[i].id, strlen(block->ids.data + block->items[i].id));
    text_add(out, ", \"predictions\": [");
    for (size_t k = 0; k < block->options->top_k; k++) {
        const struct drg *drg = block->rows[k].drg;
        text_printf(out, "%s{\"drg\": %d, \"title\": ", k == 0 ? "" : ", ", drg->code);
        text_add_json(out, drg->title, strlen(drg->title));
        text_add(out, ", \"p\": ");
        text_add_json_float(out, (float)block->rows[k].p);
        text_printf(out, ", \"weight\": %.4f, \"gmlos\": %.1f, \"mdc\": \"%s\", \"severity\": \"%s\"}", drg->weight,
                    drg->gmlos, drg->mdc, severity_name(drg->severity));
    }
    text_add_char(out, ']');
    if (block->outputs != NULL) add_two_labels(block, i);
    evidence_printer_add_json(block->evidence, out);
    text_printf(out, ", \"section\": {\"start\": %zu, \"end\": %zu}, \"tokens\": %d, \"truncated\": %s}\n",
                block->items[i].section.start, block->items[i].section.end, tokens, truncated ? "true" : "false");
}

static void add_csv_note(struct block *block, size_t i) {
    struct text *out = &block->out;
    const char *id = block->ids.data + block->items[i].id;
    if (!block->printed) text_add(out, "id,rank,drg,title,p,weight,gmlos,mdc,severity\n");
    for (size_t k = 0; k < block->options->top_k; k++) {
        const struct drg *drg = block->rows[k].drg;
        text_add_csv(out, id, strlen(id));
        text_printf(out, ",%zu,%d,", k + 1, drg->code);
        text_add_csv(out, drg->title, strlen(drg->title));
        text_printf(out, ",%.6f,%.4f,%.1f,%s,%s\n", block->rows[k].p, drg->weight, drg->gmlos, drg->mdc,
                    severity_name(drg->severity));
    }
}

static bool add_note(struct block *block, size_t i, int32_t tokens, bool truncated, struct error *error) {
    const struct ensemble *ensemble = block->ensemble;
    const size_t labels = ensemble->labels.count, k = block->options->top_k;
    float *p = block->logits + i * labels;
    softmax_rows(p, p, 1, (int64_t)labels);
    ranking_top(p, labels, block->ranked, k);
    for (size_t r = 0; r < k; r++) {
        const int code = ensemble->labels.codes[block->ranked[r].label];
        block->rows[r] = (struct table_row){catalog_find(ensemble->catalog, code), (double)block->ranked[r].p};
    }
    const char *note = block->text.data + block->items[i].note;
    if (!evidence_printer_find(block->evidence, note, block->items[i].section, block->rows[0].drg->code, error))
        return error_context(error, "%s", block->ids.data + block->items[i].id);
    if (block->options->output == OUTPUT_JSON) {
        add_json_note(block, i, tokens, truncated);
    } else if (block->options->output == OUTPUT_CSV) {
        add_csv_note(block, i);
    } else {
        if (block->printed) text_add_char(&block->out, '\n');
        table_add_note(&block->out, block->ids.data + block->items[i].id, tokens, truncated, block->items[i].whole,
                       block->rows, k);
        evidence_printer_add_text(block->evidence, note, &block->out);
    }
    block->printed = true;
    return true;
}

/* Prints the blocks of a round, one of each rank, in their order. `ending`: no round follows. */
static bool write_round(struct block *block, bool ending, struct error *error) {
    const int64_t place = (int64_t)block->done * 2 + ending;
    struct text all = {0};
    if (cluster_error_is_shared()) return false; /* all have left */
    if (!cluster_agree(text_ok(&block->out, error), error)) return false;
    const bool same = cluster_max(place) == place || error_set(error, "this rank reads fewer notes than others");
    if (!cluster_agree(same, error)) return false;
    bool done = cluster_gather_text(&block->out, &all, error);
    block->lost = !done;
    if (done && all.length > 0 && fwrite(all.data, 1, all.length, stdout) != all.length)
        done = error_system(error, "standard output");
    text_free(&all);
    text_clear(&block->out);
    block->number = 0;
    progress_update(&block->progress, block->done);
    return done;
}

/* Runs the gathered notes through the model. */
static bool code_block(struct block *block, struct error *error) {
    struct note notes[BLOCK];
    int32_t tokens[BLOCK];
    bool truncated[BLOCK];
    for (size_t i = 0; i < block->count; i++) {
        const struct span section = block->items[i].section;
        notes[i] = (struct note){block->text.data + block->items[i].note + section.start, section.end - section.start};
    }
    if (!ensemble_logits(block->ensemble, notes, block->count, block->logits, block->outputs, tokens, truncated, error))
        return false;
    for (size_t i = 0; i < block->count; i++) {
        if (!add_note(block, i, tokens[i], truncated[i], error)) return false;
    }
    return true;
}

/* The gathered notes are coded by the rank whose turn it is, and printed when all have had theirs. */
static bool flush_block(struct block *block, struct error *error) {
    if (block->count == 0) return true;
    if (block->number == cluster_rank() && !code_block(block, error)) return false;
    block->printed = true;
    block->number++;
    block->done += block->count;
    block->count = 0;
    text_clear(&block->text);
    text_clear(&block->ids);
    return block->number < cluster_ranks() || write_round(block, false, error);
}

static bool flush_all(struct block *block, struct error *error) {
    return flush_block(block, error) && write_round(block, true, error);
}

/* Takes one note; `id` names it. A note that cannot be read ends the run, after those before it have been printed. */
static bool take_note(struct block *block, const char *id, const char *note, size_t length, struct error *error) {
    if (!note_check(id, note, length, error)) {
        struct error earlier = {0};
        if (!flush_all(block, &earlier)) *error = earlier;
        return false;
    }
    const size_t i = block->count;
    block->items[i].note = block->text.length;
    block->items[i].note_length = length;
    block->items[i].id = block->ids.length;
    block->items[i].whole = !classifier_section(&block->ensemble->members[0], note, length, &block->items[i].section);
    text_append(&block->text, note, length);
    text_append(&block->ids, id, strlen(id) + 1);
    if (!text_ok(&block->text, error) || !text_ok(&block->ids, error)) return false;
    block->count++;
    /* Evidence takes longer than the prediction: it is shown note by note. */
    return (block->count < BLOCK && block->evidence == NULL) || flush_block(block, error);
}

/* note_files.h knows nothing of blocks. */
static bool take(void *context, const char *id, const char *note, size_t length, struct error *error) {
    return take_note(context, id, note, length, error);
}

static bool flush(void *context, struct error *error) {
    return flush_all(context, error);
}

static bool read_file(struct block *block, const char *path, struct error *error) {
    const struct predict_options *options = block->options;
    const struct note_reader reader = {options->input, options->text_column, options->id_column, take, flush, block};
    return note_file_read(&reader, path, error);
}

static bool run(const struct predict_options *options, const struct ensemble *ensemble, char **paths, int count,
                struct error *error) {
    const size_t labels = ensemble->labels.count, width = ensemble_width(ensemble);
    struct block *block = memory_zero(1, sizeof *block);
    if (block == NULL) return memory_error(error, sizeof *block, "a block of notes");
    block->options = options;
    block->ensemble = ensemble;
    block->logits = memory_alloc(BLOCK, labels * sizeof(float));
    block->ranked = memory_alloc(options->top_k, sizeof *block->ranked);
    block->rows = memory_alloc(options->top_k, sizeof *block->rows);
    if (width > 0) block->outputs = memory_alloc(BLOCK, width * sizeof(float));
    bool done = (block->logits != NULL && block->ranked != NULL && block->rows != NULL &&
                 (width == 0 || block->outputs != NULL)) ||
                memory_error(error, BLOCK * labels * sizeof(float), "a block");
    done = done && evidence_printer_open(&block->evidence, &options->evidence, &ensemble->members[0], error);
    progress_start(&block->progress, "coding", "notes", 0);
    for (int i = 0; done && i < count; i++) done = read_file(block, paths[i], error);
    done = done && flush_all(block, error);
    if (!block->lost) done = ranks_end(done, error);
    progress_finish(&block->progress);
    evidence_printer_close(block->evidence);
    text_free(&block->text);
    text_free(&block->ids);
    text_free(&block->out);
    memory_free(block->logits);
    memory_free(block->outputs);
    memory_free(block->ranked);
    memory_free(block->rows);
    memory_free(block);
    return done;
}

static bool read_options(int argc, char **argv, struct predict_options *options, struct error *error) {
    enum {
        MODEL = 1,
        DECODE,
        TOP_K,
        EVIDENCE,
        EVIDENCE_FOR,
        JSON,
        CSV,
        HL7,
        FHIR,
        FORMAT,
        TEXT_COLUMN,
        ID_COLUMN,
        COMPUTE,
        INT8_CACHE,
        THREADS,
        HELP
    };
    static const struct option names[] = {{"model", 1, 0, MODEL},
                                          {"decode", 1, 0, DECODE},
                                          {"top-k", 1, 0, TOP_K},
                                          {"evidence", 2, 0, EVIDENCE},
                                          {"evidence-for", 1, 0, EVIDENCE_FOR},
                                          {"json", 0, 0, JSON},
                                          {"csv", 0, 0, CSV},
                                          {"hl7", 0, 0, HL7},
                                          {"fhir", 0, 0, FHIR},
                                          {"format", 1, 0, FORMAT},
                                          {"text-column", 1, 0, TEXT_COLUMN},
                                          {"id-column", 1, 0, ID_COLUMN},
                                          {"compute", 1, 0, COMPUTE},
                                          {"int8-cache", 1, 0, INT8_CACHE},
                                          {"threads", 1, 0, THREADS},
                                          {"help", 0, 0, HELP},
                                          {0, 0, 0, 0}};
    int64_t number;
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
        case TOP_K:
            if (!parse_int64(optarg, &number) || number < 1 || number > 1000)
                return error_usage(error, "--top-k takes a whole number from 1, not \"%s\"", optarg);
            options->top_k = (size_t)number;
            break;
        case EVIDENCE:
            if (!evidence_options_method(&options->evidence, optarg, argc, argv, error)) return false;
            break;
        case EVIDENCE_FOR:
            if (!evidence_options_drg(&options->evidence, optarg, error)) return false;
            break;
        case JSON:
            options->output = OUTPUT_JSON;
            break;
        case CSV:
            options->output = OUTPUT_CSV;
            break;
        case HL7:
            options->input = INPUT_HL7;
            break;
        case FHIR:
            options->output = OUTPUT_FHIR;
            break;
        case FORMAT:
            if (!input_parse(optarg, &options->input))
                return error_usage(error, "--format takes text, csv, jsonl, hl7 or fhir, not \"%s\"", optarg);
            break;
        case TEXT_COLUMN:
            options->text_column = optarg;
            break;
        case ID_COLUMN:
            options->id_column = optarg;
            break;
        case COMPUTE:
            if (!compute_parse(optarg, &options->compute, error)) return false;
            break;
        case INT8_CACHE:
            options->int8_cache = optarg;
            break;
        case THREADS:
            if (!parse_int64(optarg, &number) || number < 1 || number > 1024)
                return error_usage(error, "--threads takes 1 to 1024, not \"%s\"", optarg);
            threads_set((int)number);
            break;
        case HELP:
            options->help = true;
            return true;
        default:
            error_usage(error, "predict: unknown option or missing value: %s", argv[optind - 1]);
            return error_hint(error, "casemix predict --help");
        }
    }
    return true;
}

/* Evidence explains what one run scores, and has no column in a CSV. */
static bool check_evidence(const struct predict_options *options, struct error *error) {
    if (!options->evidence.wanted) return true;
    if (options->output == OUTPUT_FHIR) return error_usage(error, "evidence has no place in FHIR: take --json");
    if (options->output == OUTPUT_CSV) return error_usage(error, "evidence has no place in a CSV: take --json");
    if (options->model_count > 1) {
        error_usage(error, "evidence is that of one model, not of %zu that are averaged", options->model_count);
        return error_hint(error, "give one --model at a time");
    }
    return options->decoding == DECODE_DIRECT ||
           error_usage(error, "evidence explains the scores of the model itself: leave --decode out");
}

/* Standard input is rank 0's alone, files are read by all. */
static bool check_input(const struct predict_options *options, char **paths, int count, struct error *error) {
    if (cluster_ranks() > 1 && options->output == OUTPUT_FHIR) {
        error_usage(error, "documents of FHIR are coded by one rank");
        return error_hint(error, "start it without mpirun");
    }
    for (int i = 0; i < count && cluster_ranks() > 1; i++) {
        if (strcmp(paths[i], "-") != 0) continue;
        error_usage(error, "several ranks cannot share standard input");
        return error_hint(error, "put the notes into a file that all ranks can read");
    }
    return true;
}

bool command_predict(int argc, char **argv, struct error *error) {
    struct predict_options options = {.top_k = 5, .text_column = "text"};
    char *standard_input = "-";
    if (answers_are_wanted(argc, argv)) return answers_have_one_rank(error) && predict_answers(argc, argv, error);
    if (!read_options(argc, argv, &options, error)) return false;
    if (options.help) {
        if (cluster_is_first()) print_help();
        return true;
    }
    if (!check_evidence(&options, error)) return false;
    char **paths = optind < argc ? argv + optind : &standard_input;
    const int count = optind < argc ? argc - optind : 1;
    if (!check_input(&options, paths, count, error)) return false;
    if (options.model_count == 0) options.models[options.model_count++] = shipped_model_default();
    struct ensemble ensemble;
    if (!ranks_open_ensemble(&ensemble, options.models, options.model_count, options.decoding, options.compute,
                             options.int8_cache, error))
        return false;
    if (options.top_k > ensemble.labels.count) options.top_k = ensemble.labels.count;
    const bool done = options.output == OUTPUT_FHIR
                          ? predict_fhir(&ensemble, options.models, options.top_k, paths, count, error)
                          : run(&options, &ensemble, paths, count, error);
    ensemble_close(&ensemble);
    return done;
}
