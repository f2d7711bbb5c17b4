/* The notes that a report shows: the surest wrong predictions and the least sure right ones. */
#ifndef CASEMIX_EVAL_REPORT_EXAMPLES_H
#define CASEMIX_EVAL_REPORT_EXAMPLES_H

#include "base/text.h"
#include "eval/report.h"

/* Appends JSON objects, separated by commas: of each note "drg", "title", "right", its first "predictions", and its
 * beginning, "text"; where evidence is wanted instead "pieces", that beginning cut into [text, score for the first
 * prediction, score for the true DRG if that is another one the model knows], 0 where nothing is marked. `predictions`
 * is the predictions.jsonl of these very stays. */
bool report_examples_add(struct text *out, const struct report_settings *settings, const char *predictions,
                         struct error *error);

#endif
