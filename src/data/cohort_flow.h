/* How a cohort came about: rows after each step and why the others went, like the flow diagram of a STROBE report. */
#ifndef CASEMIX_DATA_COHORT_FLOW_H
#define CASEMIX_DATA_COHORT_FLOW_H

#include "base/text.h"
#include <stdbool.h>
#include <stdint.h>

/* The state after a step. What went on the way: rows of the step before minus `rows`, plus `added`. */
struct flow_step {
    const char *name; /* member of flow.json: "after_duplicates" */
    const char *what; /* what is left: "texts not seen before" */
    const char *why;  /* why the others went; NULL when nothing can go */
    uint64_t rows, added;
    const char *why_added;
};

enum { FLOW_STEPS = 12, FLOW_COUNTS = 48 };

/* A figure beside the steps. */
struct flow_count {
    char name[40];
    uint64_t value;
};

struct cohort_flow {
    const char *protocol, *grouper;
    struct flow_step steps[FLOW_STEPS];
    int step_count;
    struct flow_count counts[FLOW_COUNTS];
    int count_count;
};

void flow_add_step(struct cohort_flow *flow, struct flow_step step);
void flow_add_count(struct cohort_flow *flow, const char *name, uint64_t value);

/* {"protocol":…, "grouper":…, one member a step and a count, "steps":[{"step":…, "rows":…, "dropped":…, "why":…}…]} */
void flow_add_json(struct text *out, const struct cohort_flow *flow);

/* The steps as a diagram for people, at most 100 columns. */
void flow_draw(struct text *out, const struct cohort_flow *flow);

/* "12,345" */
void add_thousands(struct text *out, uint64_t value);

#endif
