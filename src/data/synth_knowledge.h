/* The knowledge behind the synthetic cohort: which codes a DRG's stays carry, which of them count, and what they are
 * called. From data/synth/. */
#ifndef CASEMIX_DATA_SYNTH_KNOWLEDGE_H
#define CASEMIX_DATA_SYNTH_KNOWLEDGE_H

#include "base/csv.h"
#include "base/hash.h"
#include "base/memory.h"
#include "drg/catalog.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

enum cc_level { LEVEL_NONE, LEVEL_CC, LEVEL_MCC };
enum condition_kind { KIND_ACTIVE, KIND_CHRONIC, KIND_HISTORY, KIND_SILENT };

/* A list of phrases. */
struct phrases {
    const char **items;
    size_t count;
};

/* What goes with a condition outside of the hospital course. */
enum finding_kind { FINDING_SYMPTOM, FINDING_LAB, FINDING_MED, FINDING_EXAM, FINDING_IMAGING, FINDINGS };

struct diagnosis {
    const char *code;
    enum cc_level level;
    int group;                /* CC exclusion group; 0: none */
    enum condition_kind kind; /* how it stands in a note; silent: external causes and such, written to the codes only */
    struct phrases wordings, clauses;
    struct phrases findings[FINDINGS];
};

struct procedure {
    const char *code;
    struct phrases wordings;
};

enum { PROCEDURE_LIMIT = 4 };

/* Things of one DRG and how common they are. */
struct code_list {
    int32_t *index; /* into diagnoses, or into pairs */
    double *weight;
    double *cumulative; /* of the weights */
    size_t count;
};

/* A principal diagnosis with the procedures that claims have beside it. */
struct principal_pair {
    int32_t principal;
    int32_t procedures[PROCEDURE_LIMIT];
    size_t procedure_count;
};

/* The pairs that lead to one base DRG: `index` points into knowledge->pairs. All DRGs of a base share them. */
struct drg_profile {
    const struct drg *drg;
    double claims;
    struct code_list pairs, secondary;
};

enum template_slot {
    SLOT_OPENING,
    SLOT_OPENING_LATE,
    SLOT_OPENING_SYMPTOM,
    SLOT_OPENING_SYMPTOM_LATE,
    SLOT_OPENING_PLANNED,
    SLOT_ED,
    SLOT_PRINCIPAL_LATE,
    SLOT_CLAUSE,
    SLOT_CARE,
    SLOT_FILLER,
    SLOT_PROCEDURE,
    SLOT_PROCEDURE_MINOR,
    SLOT_PROCEDURE_PROBLEM,
    SLOT_PROCEDURE_PAST,
    SLOT_ACTIVE,
    SLOT_ACTIVE_BARE,
    SLOT_CHRONIC,
    SLOT_NEGATED,
    SLOT_HISTORICAL,
    SLOT_FAMILY,
    SLOT_PROBLEM_PRINCIPAL,
    SLOT_PROBLEM_ACTIVE,
    SLOT_PROBLEM_CHRONIC,
    SLOT_PROBLEM_NEGATED,
    SLOT_HEADING_ACUTE,
    SLOT_HEADING_CHRONIC,
    SLOT_HEADING_TRANSITION,
    SLOT_HOUSEKEEPING,
    SLOT_TRANSITION,
    SLOT_COPY,
    SLOT_END,
    SLOT_HISTORY_NONE,
    SLOT_GENERIC,
    SLOTS
};

/* A secondary diagnosis that does not count beside a principal one, or in a base DRG. The other one is -1. */
struct uncounted {
    int32_t secondary, principal, base;
};

/* The files of data/synth. */
enum {
    TABLE_DRGS,
    TABLE_PRINCIPALS,
    TABLE_SECONDARIES,
    TABLE_DIAGNOSES,
    TABLE_EXCLUSIONS,
    TABLE_EXTRA,
    TABLE_PROCEDURES,
    TABLE_CONDITIONS,
    TABLE_FINDINGS,
    TABLE_TEMPLATES,
    TABLE_ABBREVIATIONS,
    TABLES
};

struct knowledge {
    struct drg_profile *profiles; /* [profile_count] rising code */
    size_t profile_count;
    struct diagnosis *diagnoses;
    size_t diagnosis_count;
    struct procedure *procedures;
    size_t procedure_count;
    struct principal_pair *pairs;
    size_t pair_count;
    struct code_list serious; /* CCs and MCCs of all DRGs by how common they are: for what is ruled out, and for DRGs
                                 whose own list lacks one */
    struct phrases templates[SLOTS];
    size_t conditions, wordings; /* own phrasings, for --describe */
    uint8_t *excluded;           /* [groups, principals] 1: the principal diagnosis switches the group off */
    size_t groups, principals;   /* rows and columns of excluded */
    struct hash diagnosis_ids, procedure_ids;
    struct uncounted *uncounted; /* [uncounted_count] sorted */
    size_t uncounted_count, uncounted_capacity;
    struct hash abbreviations; /* words in lower case: index into short_forms */
    const char **short_forms;
    size_t abbreviation_count;
    struct tsv tables[TABLES];
    struct arena arena;
};

/* Loads the tables of a directory. A wording that holds a DRG title is refused: it would give the label away. */
bool knowledge_load(struct knowledge *knowledge, const char *directory, struct error *error);
void knowledge_free(struct knowledge *knowledge);

/* What a secondary diagnosis counts for beside this principal diagnosis in this base DRG: its level, or none where an
 * exclusion says so. */
enum cc_level knowledge_level(const struct knowledge *knowledge, int32_t secondary, int32_t principal, int base);

/* The directory to use: `given` if not NULL, else data/synth under the current directory or beside the program. */
bool knowledge_find(const char *given, char *directory, size_t capacity, struct error *error);

/* Reads drgs, principals, secondaries and both tables of exclusions, once diagnoses and procedures are known. Part of
 * knowledge_load. */
bool knowledge_read_profiles(struct knowledge *knowledge, struct error *error);

/* The DRG title that stands in the text as whole words, any case; NULL if none does. */
const char *knowledge_leak(const char *text, size_t length);

#endif
