/* Marked clauses for people: see evidence_print.h. */
#include "cli/evidence_print.h"
#include "base/error.h"
#include "base/memory.h"
#include "cli/prediction_table.h"
#include "tokenizer/characters.h"
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Where the words of a clause begin; and what stands for the begin and end of a marked stretch while a line is made:
 * control characters, of which none comes from a note. */
enum { INDENT = 21, MARK_BEGINS = 1, MARK_ENDS = 2 };

#define LIT "\033[1;30;43m"
#define FAINT "\033[2m"
#define FOR "\033[32m"
#define AGAINST "\033[31m"
#define PLAIN "\033[0m"

struct evidence_printer {
    const struct classifier *classifier;
    struct evidence_finder *finder;
    struct evidence evidence; /* of the last note */
    int32_t label;            /* -1: of the first of the ranking */
    bool colour;
};

bool evidence_options_method(struct evidence_options *options, const char *argument, int argc, char **argv,
                             struct error *error) {
    struct error none = {0};
    options->wanted = true;
    if (argument != NULL) return evidence_method_parse(argument, &options->method, error);
    if (optind < argc && evidence_method_parse(argv[optind], &options->method, &none)) optind++;
    return true;
}

bool evidence_options_drg(struct evidence_options *options, const char *argument, struct error *error) {
    int64_t number;
    options->wanted = true;
    if (!parse_int64(argument, &number) || number < 1 || number > 999)
        return error_usage(error, "--evidence-for takes a DRG from 1 to 999, not \"%s\"", argument);
    options->drg = (int)number;
    return true;
}

bool evidence_printer_open(struct evidence_printer **out, const struct evidence_options *options,
                           const struct classifier *classifier, struct error *error) {
    *out = NULL;
    if (!options->wanted) return true;
    const int label = options->drg == 0 ? -1 : labels_find(&classifier->card.labels, options->drg);
    if (options->drg != 0 && label < 0)
        return error_set(error, "--evidence-for: DRG %03d is none of the %zu that the model knows", options->drg,
                         classifier->card.labels.count);
    struct evidence_printer *printer = memory_zero(1, sizeof *printer);
    if (printer == NULL) return memory_error(error, sizeof *printer, "evidence");
    printer->classifier = classifier;
    printer->label = label;
    printer->colour = isatty(STDOUT_FILENO) && getenv("NO_COLOR") == NULL;
    if (!evidence_finder_open(&printer->finder, classifier, options->method, error)) {
        memory_free(printer);
        return false;
    }
    *out = printer;
    return true;
}

void evidence_printer_close(struct evidence_printer *printer) {
    if (printer == NULL) return;
    evidence_finder_close(printer->finder);
    memory_free(printer);
}

bool evidence_printer_find(struct evidence_printer *printer, const char *note, struct span section, int drg,
                           struct error *error) {
    if (printer == NULL) return true;
    const int32_t label = printer->label >= 0 ? printer->label : labels_find(&printer->classifier->card.labels, drg);
    return evidence_find(printer->finder, note, section, label, &printer->evidence, error);
}

static int drg_of(const struct evidence_printer *printer) {
    return printer->classifier->card.labels.codes[printer->evidence.label];
}

void evidence_printer_add_json(const struct evidence_printer *printer, struct text *out) {
    if (printer == NULL) return;
    text_add(out, ", ");
    evidence_add_json(out, &printer->evidence, drg_of(printer));
}

/* Where a line of a clause stands. */
struct line {
    struct text *out;
    size_t column;
    bool colour, begun, lit; /* a word stands on it; a marked stretch is open */
};

/* What begins or ends a marked stretch. */
static void switch_mark(struct line *line, bool lit) {
    text_add(line->out, line->colour ? lit ? LIT : PLAIN : lit ? "[" : "]");
    line->column += !line->colour;
    line->lit = lit;
}

/* One stretch without white space, on the next line if this one is full. Colour pauses at the end of a line. */
static void add_stretch(struct line *line, const struct text *stretch) {
    size_t columns = 0;
    for (size_t i = 0, step; i < stretch->length; i += step) {
        const char byte = stretch->data[i];
        step = character_length(byte);
        columns += byte > MARK_ENDS || byte < 0 ? utf8_columns(stretch->data + i, step) : !line->colour;
    }
    if (line->begun && line->column + 1 + columns > TABLE_COLUMNS) {
        if (line->lit && line->colour) text_add(line->out, PLAIN);
        text_printf(line->out, "\n%*s", INDENT, "");
        line->column = INDENT;
        if (line->lit && line->colour) text_add(line->out, LIT);
    } else if (line->begun) {
        text_add_char(line->out, ' ');
        line->column++;
    }
    for (size_t i = 0; i < stretch->length; i++) {
        const char byte = stretch->data[i];
        if (byte == MARK_BEGINS || byte == MARK_ENDS) {
            switch_mark(line, byte == MARK_BEGINS);
        } else {
            text_add_char(line->out, byte);
        }
    }
    line->column += columns;
    line->begun = true;
}

/* Score and bar of a clause; the longest bar is that of the largest score. */
static void add_score(const struct evidence_printer *printer, float score, float largest, struct text *out) {
    const char *colour = score >= 0 ? FOR : AGAINST;
    const bool faint = fabsf(score) < 0.05f * largest;
    text_printf(out, "  %s%+8.3f ", printer->colour ? faint ? FAINT : colour : "", (double)score);
    table_add_bar(out, largest > 0 ? (double)(fabsf(score) / largest) : 0);
    text_printf(out, "%s  ", printer->colour ? PLAIN : "");
}

/* Whether a word is marked as the one before or behind it in its clause is. */
static bool joined(const struct evidence *evidence, size_t word, size_t other) {
    return other < evidence->word_count && evidence->words[other].marked && evidence->words[word].marked &&
           evidence->words[other].clause == evidence->words[word].clause;
}

/* The words of a clause from `word` on, with what stands around them; those marked one behind the other are one marked
 * stretch. What a terminal might obey is left out. */
static size_t add_clause(const struct evidence_printer *printer, const char *note, size_t word, float largest,
                         struct text *out) {
    const struct evidence *evidence = &printer->evidence;
    const struct evidence_part *clause = &evidence->clauses[evidence->words[word].clause];
    struct text stretch = {0};
    struct line line = {.out = out, .column = INDENT, .colour = printer->colour};
    add_score(printer, clause->score, largest, out);
    for (size_t at = clause->start, step; at < clause->end; at += step) {
        const int32_t code = character_read(note + at, clause->end - at, &step);
        if (character_is_space(code)) {
            if (stretch.length > 0) add_stretch(&line, &stretch);
            text_clear(&stretch);
            continue;
        }
        const bool here = word < evidence->word_count;
        const bool marked = here && evidence->words[word].marked;
        if (marked && at == evidence->words[word].start && !joined(evidence, word, word - 1))
            text_add_char(&stretch, MARK_BEGINS);
        if (!character_is_control(code)) text_append(&stretch, note + at, step);
        if (!here || at + step != evidence->words[word].end) continue;
        if (marked && !joined(evidence, word, word + 1)) text_add_char(&stretch, MARK_ENDS);
        word++;
    }
    if (stretch.length > 0) add_stretch(&line, &stretch);
    out->failed = out->failed || stretch.failed;
    text_free(&stretch);
    text_add_char(out, '\n');
    return word;
}

static const char *const explanations[] = {"integrated gradients", "leaving each word and clause out",
                                           "the model's own attention"};

void evidence_printer_add_text(const struct evidence_printer *printer, const char *note, struct text *out) {
    if (printer == NULL) return;
    const struct evidence *evidence = &printer->evidence;
    float largest = 0;
    for (size_t c = 0; c < evidence->clause_count; c++) largest = fmaxf(largest, fabsf(evidence->clauses[c].score));
    text_printf(out, "\n  evidence for %03d by %s; %smarked%s: a tenth of the words, the strongest\n", drg_of(printer),
                explanations[evidence->method], printer->colour ? LIT : "[", printer->colour ? PLAIN : "]");
    if (evidence->method == EVIDENCE_GRADIENTS)
        text_printf(out, "  logit %.2f, of an empty text %.2f; the scores of all tokens add up to %.2f\n",
                    evidence->logit, evidence->reference, evidence->sum);
    for (size_t word = 0; word < evidence->word_count;) word = add_clause(printer, note, word, largest, out);
}
