/* The MS-DRG catalogs: v34 (FY2017, the papers and MIMIC-IV) and v43 (FY2026, what is billed now).
 *
 * Source: data/ms-drg-v34.tsv and data/ms-drg-v43.tsv, from CMS tables; the tables are compiled into the program, so
 * that it runs from any folder. A base DRG together with a severity identifies the DRG. */
#ifndef CASEMIX_DRG_CATALOG_H
#define CASEMIX_DRG_CATALOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

enum grouper { GROUPER_V34, GROUPER_V43 };

enum drg_type { DRG_MEDICAL, DRG_SURGICAL, DRG_UNGROUPABLE };

enum drg_severity { SEVERITY_MCC, SEVERITY_CC, SEVERITY_NONE, SEVERITY_WITHOUT_MCC, SEVERITY_CC_MCC, SEVERITY_ANY };

struct drg {
    int code;        /* 1..999 */
    const char *mdc; /* "01".."25", "PRE", "ALL" or "-" */
    enum drg_type type;
    int base; /* integer id of the base DRG, order of first appearance */
    enum drg_severity severity;
    const char *title;
    double weight;      /* relative weight; 0 for 998 and 999 */
    double gmlos;       /* geometric mean length of stay, days */
    int paper_severity; /* v34 only (else -1): 0 without CC/MCC, 1 CC or CC/MCC, 2 MCC, 3 without MCC, 4 not applicable
                         */
};

struct catalog {
    enum grouper grouper;
    const struct drg *drgs; /* [count], rising code */
    size_t count, bases;
};

/* The catalog of a grouper, parsed on first use and kept for the life of the process; safe to call from any thread
 * after the first call. */
const struct catalog *catalog_get(enum grouper grouper);

/* The DRG with this code; NULL if there is none. */
const struct drg *catalog_find(const struct catalog *catalog, int code);

/* The severity that a two-label model is asked for, in the paper's numbering, of either grouper: 0 without CC/MCC, 1 CC
 * or CC/MCC, 2 MCC, 3 without MCC, 4 not applicable. With its base it identifies a DRG; on v34 it is paper_severity. */
enum { TWO_LABEL_SEVERITIES = 5 };
int two_label_severity(const struct drg *drg);

/* (base, predicted two-label severity 0..4) to a DRG by DRG-LLaMA's rule (map_rule, papers' Supplemental Method 2): if
 * the base has one severity it is taken; a valid prediction stands; otherwise the nearest lower option. NULL if base is
 * out of range. */
const struct drg *catalog_resolve(const struct catalog *catalog, int base, int severity);

/* The composed probability of every DRG: p[i] of drgs[i] is base[its base] * severity[its two-label severity], divided
 * by the sum over all DRGs, so that pairs which no DRG has get nothing. base [bases], severity [5], p [count]. */
void catalog_compose(const struct catalog *catalog, const double *base, const double *severity, double *p);

/* The DRG with exactly this title (upper case, no blanks around it); NULL if there is none. */
const struct drg *catalog_find_title(const struct catalog *catalog, const char *title, size_t length);

/* The class by which severities are called equal: on v34 the paper's (CC and CC/MCC are one), on v43 the catalog's own.
 * 0 to 5. */
int severity_class(const struct drg *drg);

bool grouper_parse(const char *name, enum grouper *grouper, struct error *error); /* "v34", "v43" */
const char *grouper_name(enum grouper grouper);
const char *severity_name(enum drg_severity severity); /* "MCC", "CC", "none", "without MCC", "CC/MCC", "any" */
const char *type_name(enum drg_type type);             /* "medical", "surgical", "ungroupable" */

/* "470", "0470"? no: 1 to 3 digits, 1..999, else an error with a remedy. Existence is not checked. */
bool drg_parse(const char *string, int *code, struct error *error);

#endif
