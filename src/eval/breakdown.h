/* Where a model is right and where not: by MDC, by how often training saw the DRG, by severity, medical or surgical;
 * DRG by DRG; and which base DRGs it takes for which. */
#ifndef CASEMIX_EVAL_BREAKDOWN_H
#define CASEMIX_EVAL_BREAKDOWN_H

#include "base/memory.h"
#include "eval/outcome.h"
#include "eval/resample.h"

enum group_kind { GROUP_MDC, GROUP_FREQUENCY, GROUP_SEVERITY, GROUP_TYPE, GROUP_KINDS };
const char *group_kind_name(enum group_kind kind); /* "mdc", "training_stays", "severity", "type" */

/* Stays whose true DRG shares a property. Shares are of the group's stays; intervals by patient. */
struct group {
    enum group_kind kind;
    char name[64]; /* "04 Respiratory", "10-29", "MCC", "surgical" */
    size_t stays;
    struct interval acc1;                 /* the DRG itself */
    double acc5, acc10, base, severity;   /* true DRG among the first 5, 10; base right; severity right */
    double weight_true, weight_predicted; /* mean relative weights */
};

/* One DRG of the data. */
struct drg_score {
    const struct drg *drg;
    size_t stays, predicted, right; /* stays that have it, stays predicted as it, both */
    const struct drg *mistaken;     /* what its stays are most often taken for when wrong; NULL: never wrong */
    size_t mistaken_stays;
    double f1; /* 2 right / (stays + predicted) */
};

/* Stays of one base taken for another. */
struct confusion {
    int truth, predicted; /* base numbers of the catalog */
    size_t stays;
    double share; /* of the stays of the true base */
};

enum { MATRIX_BASES = 30 };

struct breakdown {
    struct group *groups; /* by kind, then in the kind's own order; groups without stays are left out */
    size_t group_count;
    struct drg_score *drgs; /* rising code */
    size_t drg_count;
    struct confusion *confusions; /* all, falling stays */
    size_t confusion_count;
    int bases[MATRIX_BASES]; /* the commonest true bases, falling stays */
    size_t base_count;
    size_t matrix[MATRIX_BASES][MATRIX_BASES + 1]; /* true base, predicted base; last column: any other */
    struct arena arena;
};

/* training: [1000] stays of each DRG in the training data, NULL when not known (then without GROUP_FREQUENCY). */
bool breakdown_open(struct breakdown *breakdown, const struct outcome *outcomes, size_t N,
                    const struct patients *patients, const struct resamples *resamples, const uint32_t *training,
                    struct error *error);
void breakdown_close(struct breakdown *breakdown);

/* The title that the DRGs of a base share: the first one's without its severity ("HEART FAILURE AND SHOCK"), and their
 * codes ("291-293") or the one code. */
void base_title(const struct catalog *catalog, int base, char *title, size_t capacity);
void base_codes(const struct catalog *catalog, int base, char codes[16]);

#endif
