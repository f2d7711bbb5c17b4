/* The knowledge behind the synthetic cohort: which codes a DRG's stays carry, which of them count, and what they are
 * called. From data/synth/. */
#ifndef CASEMIX_DATA_SYNTH_KNOWLEDGE_H
#define CASEMIX_DATA_SYNTH_KNOWLEDGE_H

#include "base/csv.h"
#include "base/hash.h"
#include "base/memory.h"
#include "base/text.h"
#include "drg/catalog.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

enum cc_level { LEVEL_NONE, LEVEL_CC, LEVEL_MCC };
enum condition_kind { KIND_ACTIVE, KIND_CHRONIC, KIND_HISTORY, KIND_SILENT };

/* Who can have a condition or a procedure. */
enum code_sex { SEX_ANY, SEX_MALE, SEX_FEMALE };

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
    enum code_sex sex;
    double share; /* claims in 1000 that carry it as a secondary diagnosis */
    struct phrases wordings, clauses;
    struct phrases findings[FINDINGS];
};

struct procedure {
    const char *code;
    enum code_sex sex;
    struct phrases wordings;
};

enum { PROCEDURE_LIMIT = 25 };

/* What given claims need beyond the tables of the drawn cohort. Keys of the hashes are codes; zero-initialise. */
struct code_wishes {
    struct hash diagnoses, procedures;
    bool drgs[1000];
};

/* A row of moves.tsv: secondary diagnoses that another base DRG has (needed: that this one cannot do without). */
struct base_move {
    bool needed, but;                     /* but: all principal diagnoses except those listed */
    uint8_t drgs[125];                    /* bit set of DRG codes */
    const char *principals, *secondaries; /* comma lists of beginnings of codes; "*": all */
};

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
    enum code_sex sex;
};

/* The pairs that lead to one base DRG: `index` points into knowledge->pairs. All DRGs of a base share them. */
struct drg_profile {
    const struct drg *drg;
    double claims; /* 0: a DRG that only given claims have; it has no pairs and no secondary diagnoses */
    struct code_list pairs, secondary;
};

enum template_slot {
    SLOT_OPENING,
    SLOT_OPENING_LATE,
    SLOT_OPENING_SYMPTOM,
    SLOT_OPENING_SYMPTOM_LATE,
    SLOT_OPENING_PLANNED,
    SLOT_ED,
    SLOT_ELECTIVE,
    SLOT_PRINCIPAL_LATE,
    SLOT_CLAUSE,
    SLOT_CARE,
    SLOT_CARE_DIED,
    SLOT_FILLER,
    SLOT_FILLER_RECOVERY,
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
    SLOT_END_HOME,
    SLOT_END_SERVICES,
    SLOT_END_NURSING,
    SLOT_END_REHAB,
    SLOT_END_LONG_TERM,
    SLOT_END_HOSPICE,
    SLOT_END_PSYCHIATRIC,
    SLOT_END_AGAINST,
    SLOT_END_ACUTE,
    SLOT_END_DIED,
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
    TABLE_MOVES,
    TABLE_PROCEDURE_PARTS,
    TABLE_ALL_DIAGNOSES,  /* read for given claims only, as the next one */
    TABLE_ALL_EXCLUSIONS, /* in place of TABLE_EXCLUSIONS */
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
    struct base_move *moves; /* [move_count] */
    size_t move_count;
    uint8_t *excluded;         /* [groups, principals] 1: the principal diagnosis switches the group off */
    size_t groups, principals; /* rows and columns of excluded */
    struct hash diagnosis_ids, procedure_ids;
    struct uncounted *uncounted; /* [uncounted_count] sorted */
    size_t uncounted_count, uncounted_capacity;
    struct hash abbreviations; /* words in lower case: index into short_forms */
    const char **short_forms;
    size_t abbreviation_count;
    struct tsv tables[TABLES];
    struct arena arena;
};

/* Loads the tables of a directory. A wording that holds a DRG title is left out: it would give the label away. `wishes`
 * (may be NULL) names codes and DRGs of given claims: those that the tables of the drawn cohort lack are added from the
 * tables of all codes; what no table has stays unknown. Its keys must outlive the knowledge. */
bool knowledge_load(struct knowledge *knowledge, const char *directory, const struct code_wishes *wishes,
                    struct error *error);
void knowledge_free(struct knowledge *knowledge);

/* What the tables hold. */
struct knowledge_counts {
    size_t drgs, pairs, diagnoses, cc, mcc, procedures;
    size_t conditions, conditions_three; /* with wordings of their own; with three and more */
    size_t procedures_three;
    size_t wordings, clauses, findings, procedure_wordings, sentences;
    size_t reworded; /* diagnoses that are called by their reworded title */
};
struct knowledge_counts knowledge_count(const struct knowledge *knowledge);

/* What a secondary diagnosis counts for beside this principal diagnosis in this base DRG: its level, or none where an
 * exclusion says so. */
enum cc_level knowledge_level(const struct knowledge *knowledge, int32_t secondary, int32_t principal, int base);

/* Whether the code beside this principal diagnosis and these secondary ones [count] would move the stay to another base
 * DRG. */
bool knowledge_moves(const struct knowledge *knowledge, const struct drg *drg, int32_t principal,
                     const int32_t *secondary, size_t count, int32_t added);

/* Beginnings of codes, a comma list, of which a stay of this DRG needs one; NULL when there is no more. *at counts the
 * calls, from 0. */
const char *knowledge_needed(const struct knowledge *knowledge, const struct drg *drg, int32_t principal, size_t *at);

/* Whether the code begins as one of the comma list's items; "*" is how every code begins. */
bool code_begins(const char *list, const char *code);

/* The sex that a diagnosis (ICD-10-CM) or a procedure (ICD-10-PCS) goes with. */
enum code_sex diagnosis_sex(const char *code);
enum code_sex procedure_sex(const char *code);

/* The directory to use: `given` if not NULL, else data/synth as base/shipped.h finds it. */
bool knowledge_find(const char *given, char *directory, size_t capacity, struct error *error);

/* Reads drgs, principals, secondaries and both tables of exclusions, once diagnoses and procedures are known. Part of
 * knowledge_load. */
bool knowledge_read_profiles(struct knowledge *knowledge, const struct code_wishes *wishes, struct error *error);
bool knowledge_read_moves(struct knowledge *knowledge, struct error *error);

/* Appends wordings of a procedure separated by '|', made from the characters of its code; false when its section is
 * unknown. Part of knowledge_load. */
bool procedure_compose(const struct knowledge *knowledge, const char *code, struct text *out);

/* The DRG title that stands in the text as whole words, any case; NULL if none does. */
const char *knowledge_leak(const char *text, size_t length);

#endif
