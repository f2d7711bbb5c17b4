/* One self-contained HTML page about a run: web/report/page.html (style, chart library and script inlined) with the
 * run's facts put in as JSON. The page loads nothing, and a policy in it forbids browsers to.
 *
 * Notes are private: their text gets in only where a file of examples is named. */
#ifndef CASEMIX_EVAL_REPORT_H
#define CASEMIX_EVAL_REPORT_H

#include "eval/evidence.h"
#include <stdbool.h>

struct error;

struct report_settings {
    const char *run;        /* run directory: casemix.json, and log.jsonl, recipe.yaml where there are */
    const char *evaluation; /* directory that `casemix eval --out` wrote; NULL: RUN/evaluation, if it is there */
    const char *flow;       /* flow.json of the cohort; NULL: what the evaluation found beside its data, if anything */
    const char *examples;   /* the dataset that was scored, to show notes of; NULL: no note is shown */
    bool evidence;          /* marks in them what speaks for the first prediction and for the true DRG… */
    enum evidence_method method; /* …found so, with the run's own model */
    const char *out, *version;
};

/* Writes settings->out. Missing parts are left out of the page; damaged ones are an error. */
bool report_write(const struct report_settings *settings, struct error *error);

#endif
