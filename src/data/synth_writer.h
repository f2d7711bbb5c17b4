/* What one synthetic note is made from, and the sentences that all of its sections use. Inside of the note writer:
 * synth_note.h is its interface. */
#ifndef CASEMIX_DATA_SYNTH_WRITER_H
#define CASEMIX_DATA_SYNTH_WRITER_H

#include "base/rng.h"
#include "base/text.h"
#include "data/synth_note.h"
#include "data/synth_stay.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How an author lays out a hospital course: running text; a line a problem ("# AKI: …"); sentences on lines of their
 * own; numbered problems; problems under headings, the problem on a line and its text below. */
enum layout { LAYOUT_PROSE, LAYOUT_PROBLEMS, LAYOUT_LINES, LAYOUT_NUMBERED, LAYOUT_HEADED, LAYOUTS };
enum problem_case { CASE_CAPITAL, CASE_UPPER, CASE_LOWER, PROBLEM_CASES };

struct author {
    enum layout layout;
    enum problem_case problem_case;
    double abbreviates; /* chance that a word with a short form is shortened */
    double misspells;   /* share of the longer words that are misspelt */
    bool blanks_age;    /* the age was taken out with the names */
};

struct writer {
    struct text *out;
    const struct knowledge *knowledge;
    const struct synthetic_stay *stay;
    struct rng *rng;
    struct author author;
    enum tell tell; /* of the hospital course */
    int32_t active[SECONDARY_LIMIT], chronic[SECONDARY_LIMIT], past[SECONDARY_LIMIT];
    size_t active_count, chronic_count, past_count;
};

/* What stands for the placeholders of a template; NULL where none does. */
struct filling {
    const char *x, *c, *p, *s, *list, *history, *quote;
    int day; /* of the stay, from 1; 0: any */
};

/* One of the phrases; there is at least one. */
const char *phrase_pick(struct rng *rng, const struct phrases *phrases);
bool chance(struct rng *rng, double p);

const char *condition_name(const struct writer *writer, int32_t diagnosis);
const char *condition_clause(const struct writer *writer, int32_t diagnosis);
/* Whether the clause denies what the patient has. */
bool clause_contradicts(const struct writer *writer, const char *clause);
const char *procedure_name(const struct writer *writer, int32_t procedure);
/* A finding of this kind that goes with the condition; NULL if the tables have none. */
const char *condition_finding(const struct writer *writer, int32_t diagnosis, enum finding_kind kind);

/* Appends a template, or any one of the slot, with its placeholders filled: {age} {sex} {he} {his} {him} {n} {d} {hr}
 * {bp} and those of the filling; _cap begins with a capital, as {He} does. */
void add_sentence(struct writer *writer, enum template_slot slot, struct filling filling);
void add_template(struct writer *writer, const char *template, struct filling filling);
void add_capital(struct text *out, const char *phrase);
/* A blank, or a new line, between what stands there and what follows. */
void add_break(struct writer *writer, bool line);
/* "CAD, DM2 and CKD". */
void add_names(const struct writer *writer, struct text *out, const int32_t *codes, size_t count);

/* Lines of a section, each once. */
enum { LINES = 48 };
struct lines {
    const char *items[LINES];
    size_t count;
};
void lines_add(struct lines *lines, const char *line); /* NULL: nothing */
/* Findings of one kind over the conditions of the stay, the principal one first. */
struct lines collect_findings(const struct writer *writer, enum finding_kind kind);
void add_heading(struct text *out, const char *heading);

/* The sections behind the hospital course: medications, where the patient goes, diagnoses, instructions. */
void back_write(struct writer *writer);

/* The hospital course, about `words` long in the mean. */
void course_write(struct writer *writer, int words);

/* Rewrites what stands in the text from `start` on as the author would type it: short forms, slips of the keyboard. */
void style_apply(struct writer *writer, size_t start);

#endif
