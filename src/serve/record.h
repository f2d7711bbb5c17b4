/* What goes back for a coded note (design.md's predict record with the server's members), and a DRG as JSON. */
#ifndef CASEMIX_SERVE_RECORD_H
#define CASEMIX_SERVE_RECORD_H

#include "drg/catalog.h"
#include "drg/note.h"
#include "model/ranking.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct served;
struct text;

/* The members of a DRG, without braces: drg, title, weight, gmlos, mdc, mdc_name, type, severity, base. */
void record_add_drg(struct text *out, const struct drg *drg);

/* A coded note. */
struct record {
    const char *id;
    const struct served *served;
    const char *note_sha256;
    int64_t prediction; /* number in the audit trail */
    const struct ranked *top;
    size_t k;
    struct span section;
    int32_t tokens;
    bool truncated;
    int billed;                  /* 0: not known */
    const struct text *evidence; /* members with a comma before them; NULL: none was wanted */
};

const struct drg *record_drg(const struct record *record, size_t rank);

/* Weight of the first DRG less that of the billed one, and what a worklist sorts by: its size times the p of the first
 * where the two differ. Only with a billed DRG of the model's grouper. */
double record_weight_difference(const struct record *record);
double record_priority(const struct record *record);

/* The whole record but the closing brace, so that callers add more. */
void record_add_json(struct text *out, const struct record *record);

/* Rows of a CSV, one a DRG; the header is RECORD_CSV. */
#define RECORD_CSV "id,rank,drg,title,p,weight,gmlos,mdc,severity,billed,weight_difference,priority,prediction,error\n"
void record_add_csv(struct text *out, const struct record *record);

/* What the audit trail says of an answer: {"drgs":[[drg,p],…],"tokens":n,…}. */
void record_add_audit(struct text *out, const struct record *record);

#endif
