/* Evidence beside the predictions of `casemix predict`: found note by note, printed as JSON or as marked clauses. */
#ifndef CASEMIX_CLI_EVIDENCE_PRINT_H
#define CASEMIX_CLI_EVIDENCE_PRINT_H

#include "base/text.h"
#include "eval/evidence.h"
#include "model/classifier.h"
#include <stdbool.h>

/* What the command line asks for. */
struct evidence_options {
    bool wanted;
    enum evidence_method method;
    int drg; /* 0: the first of the ranking */
};

/* The arguments of --evidence [METHOD] (NULL: none) and --evidence-for DRG. The method may follow as a word of its own,
 * argv[optind], which is then taken. */
bool evidence_options_method(struct evidence_options *options, const char *argument, int argc, char **argv,
                             struct error *error);
bool evidence_options_drg(struct evidence_options *options, const char *argument, struct error *error);

struct evidence_printer;

/* *printer is NULL where no evidence is wanted; the functions below then do nothing. A DRG that the model does not know
 * is an error. */
bool evidence_printer_open(struct evidence_printer **printer, const struct evidence_options *options,
                           const struct classifier *classifier, struct error *error);
void evidence_printer_close(struct evidence_printer *printer);

/* Finds the evidence of one note, for the two below; `drg` is the first of the ranking. */
bool evidence_printer_find(struct evidence_printer *printer, const char *note, struct span section, int drg,
                           struct error *error);

/* Appends ", " and the members of evidence_add_json. */
void evidence_printer_add_json(const struct evidence_printer *printer, struct text *out);

/* Appends the clauses of the note with their scores, the words that carry the DRG marked: by colour on a terminal (but
 * not where NO_COLOR is set), else by brackets. */
void evidence_printer_add_text(const struct evidence_printer *printer, const char *note, struct text *out);

#endif
