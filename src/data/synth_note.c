/* Synthetic discharge summaries: sentences from templates, in one of three authors' styles, with findings that count, chronic conditions,
 * and distractors that do not count (ruled out, past, in the family, procedures of other years). */
#include "data/synth_note.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum style { STYLE_PROSE, STYLE_PROBLEMS, STYLE_MIXED, STYLES };

/* What one note is made from. */
struct writer {
    struct text *out;
    const struct knowledge *knowledge;
    const struct synthetic_stay *stay;
    struct rng *rng;
    enum style style;
    int32_t active[SECONDARY_LIMIT], chronic[SECONDARY_LIMIT], past[SECONDARY_LIMIT];
    size_t active_count, chronic_count, past_count;
};

static const char *pick(struct rng *rng, const struct phrases *phrases) { return phrases->items[rng_below(rng, phrases->count)]; }

static const char *condition_name(const struct writer *writer, int32_t diagnosis) {
    return pick(writer->rng, &writer->knowledge->diagnoses[diagnosis].wordings);
}

static const char *condition_clause(const struct writer *writer, int32_t diagnosis) {
    const struct diagnosis *d = &writer->knowledge->diagnoses[diagnosis];
    return pick(writer->rng, d->clauses.count > 0 ? &d->clauses : &writer->knowledge->templates[SLOT_GENERIC]);
}

static const char *procedure_name(const struct writer *writer, int32_t procedure) {
    return pick(writer->rng, &writer->knowledge->procedures[procedure].wordings);
}

/* What stands for the placeholders of a template; NULL where none does. */
struct filling {
    const char *x, *c, *p, *list, *history;
    int n;
};

static void add_capital(struct text *out, const char *phrase) {
    const size_t at = out->length;
    text_add(out, phrase);
    if (!out->failed && out->length > at) out->data[at] = (char)toupper((unsigned char)out->data[at]);
}

/* Appends the placeholder's value; false if the name is none. */
static bool add_value(struct writer *writer, const char *name, size_t length, const struct filling *filling) {
    const bool capital = length > 4 && memcmp(name + length - 4, "_cap", 4) == 0;
    if (capital) length -= 4;
    const char *value = NULL;
    if (length == 1) value = *name == 'x' ? filling->x : *name == 'c' ? filling->c : *name == 'p' ? filling->p : NULL;
    if (length == 4 && memcmp(name, "list", 4) == 0) value = filling->list;
    if (length == 7 && memcmp(name, "history", 7) == 0) value = filling->history;
    if (length == 1 && *name == 'n') {
        text_printf(writer->out, "%d", filling->n);
    } else if (length == 3 && memcmp(name, "age", 3) == 0) {
        static const char *const forms[] = {"%d year old", "%dyo", "%d y/o", "%d-year-old"};
        text_printf(writer->out, forms[rng_below(writer->rng, 4)], writer->stay->age);
    } else if (length == 3 && memcmp(name, "sex", 3) == 0) {
        static const char *const words[2][3] = {{"man", "male", "M"}, {"woman", "female", "F"}};
        text_add(writer->out, words[writer->stay->female][rng_below(writer->rng, 3)]);
    } else if (value != NULL && capital) {
        add_capital(writer->out, value);
    } else if (value != NULL) {
        text_add(writer->out, value);
    }
    return true;
}

static void add_sentence(struct writer *writer, enum template_slot slot, struct filling filling) {
    filling.n = 2 + (int)rng_below(writer->rng, 5);
    for (const char *from = pick(writer->rng, &writer->knowledge->templates[slot]); *from != '\0';) {
        const char *open = strchr(from, '{'), *close = open == NULL ? NULL : strchr(open, '}');
        if (close == NULL) {
            text_add(writer->out, from);
            break;
        }
        text_append(writer->out, from, (size_t)(open - from));
        add_value(writer, open + 1, (size_t)(close - open - 1), &filling);
        from = close + 1;
    }
}

/* Between sentences: a blank in prose, a new line before a problem. */
static void add_break(struct writer *writer, bool line) {
    if (writer->out->length > 0 && writer->out->data != NULL && writer->out->data[writer->out->length - 1] != '\n') {
        text_add_char(writer->out, line ? '\n' : ' ');
    }
}

static void sort_conditions(struct writer *writer) {
    for (size_t i = 0; i < writer->stay->secondary_count; i++) {
        const int32_t code = writer->stay->secondary[i];
        switch (writer->knowledge->diagnoses[code].kind) {
        case KIND_ACTIVE: writer->active[writer->active_count++] = code; break;
        case KIND_CHRONIC: writer->chronic[writer->chronic_count++] = code; break;
        case KIND_HISTORY: writer->past[writer->past_count++] = code; break;
        case KIND_SILENT: break;
        }
    }
    rng_shuffle(writer->rng, writer->active, writer->active_count, sizeof *writer->active);
    rng_shuffle(writer->rng, writer->chronic, writer->chronic_count, sizeof *writer->chronic);
}

/* "CAD, DM2 and CKD" from codes. */
static void join_names(const struct writer *writer, struct text *out, const int32_t *codes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        text_add(out, i == 0 ? "" : i + 1 == count && count > 1 ? " and " : ", ");
        text_add(out, condition_name(writer, codes[i]));
    }
}

/* A chronic condition that counts as CC or MCC gets a sentence or a place in a list like the others: where it stands says nothing about it. */
static void add_opening(struct writer *writer, bool late, size_t *told_chronic) {
    struct text history = {0};
    int32_t named[SECONDARY_LIMIT];
    size_t count = 0;
    for (size_t i = 0; i < writer->past_count; i++) named[count++] = writer->past[i];
    *told_chronic = writer->chronic_count < 3 ? writer->chronic_count : 1 + rng_below(writer->rng, 3);
    for (size_t i = 0; i < *told_chronic; i++) named[count++] = writer->chronic[i];
    if (count == 0) text_add(&history, pick(writer->rng, &writer->knowledge->templates[SLOT_HISTORY_NONE]));
    rng_shuffle(writer->rng, named, count, sizeof *named);
    join_names(writer, &history, named, count);
    const struct filling filling = {.x = condition_name(writer, writer->stay->principal), .history = history.data == NULL ? "" : history.data};
    add_sentence(writer, late ? SLOT_OPENING_LATE : SLOT_OPENING, filling);
    text_free(&history);
}

static void add_principal(struct writer *writer, bool late) {
    const struct filling filling = {.x = condition_name(writer, writer->stay->principal), .c = condition_clause(writer, writer->stay->principal)};
    if (writer->style == STYLE_PROBLEMS) {
        add_break(writer, true);
        add_sentence(writer, late ? SLOT_PRINCIPAL_LATE : SLOT_PROBLEM_PRINCIPAL, filling);
        return;
    }
    add_break(writer, writer->style == STYLE_MIXED);
    if (late) add_sentence(writer, SLOT_PRINCIPAL_LATE, filling);
    if (late) add_break(writer, false);
    add_sentence(writer, SLOT_CLAUSE, filling);
}

static void add_active(struct writer *writer) {
    for (size_t i = 0; i < writer->active_count; i++) {
        const struct filling filling = {.x = condition_name(writer, writer->active[i]), .c = condition_clause(writer, writer->active[i])};
        add_break(writer, writer->style != STYLE_PROSE);
        if (writer->style == STYLE_PROBLEMS) add_sentence(writer, SLOT_PROBLEM_ACTIVE, filling);
        else add_sentence(writer, rng_below(writer->rng, 3) == 0 ? SLOT_ACTIVE_BARE : SLOT_ACTIVE, filling);
    }
}

static void add_procedures(struct writer *writer) {
    for (size_t i = 0; i < writer->stay->procedure_count; i++) {
        add_break(writer, writer->style == STYLE_PROBLEMS);
        add_sentence(writer, i == 0 ? SLOT_PROCEDURE : SLOT_PROCEDURE_MINOR, (struct filling){.p = procedure_name(writer, writer->stay->procedures[i])});
    }
}

static void add_chronic(struct writer *writer, size_t told) {
    struct text list = {0};
    join_names(writer, &list, writer->chronic + told, writer->chronic_count - told);
    if (writer->chronic_count > told && !list.failed) {
        add_break(writer, writer->style != STYLE_PROSE);
        add_sentence(writer, writer->style == STYLE_PROBLEMS ? SLOT_PROBLEM_CHRONIC : SLOT_CHRONIC, (struct filling){.list = list.data});
    }
    text_free(&list);
}

/* Codes that share their wordings are one condition to a reader. */
static bool same_condition(const struct diagnosis *a, const struct diagnosis *b) {
    return a->wordings.count > 0 && b->wordings.count > 0 && strcmp(a->wordings.items[0], b->wordings.items[0]) == 0;
}

static bool is_present(const struct writer *writer, const struct diagnosis *diagnosis) {
    if (same_condition(diagnosis, &writer->knowledge->diagnoses[writer->stay->principal])) return true;
    for (size_t i = 0; i < writer->stay->secondary_count; i++) {
        if (same_condition(diagnosis, &writer->knowledge->diagnoses[writer->stay->secondary[i]])) return true;
    }
    return false;
}

/* A CC or MCC that the patient does not have: half of the time one that is common in just this DRG. */
static int32_t draw_absent(struct writer *writer) {
    const struct code_list *own = &writer->knowledge->profiles[writer->stay->profile].secondary;
    for (int attempt = 0; attempt < 40; attempt++) {
        const bool near = own->count > 0 && attempt < 20 && rng_below(writer->rng, 2) == 0;
        const struct code_list *list = near ? own : &writer->knowledge->serious;
        const int32_t code = list->index[rng_pick(writer->rng, list->cumulative, list->count)];
        const struct diagnosis *diagnosis = &writer->knowledge->diagnoses[code];
        if (diagnosis->kind == KIND_ACTIVE && diagnosis->wordings.count > 0 && !is_present(writer, diagnosis)) return code;
    }
    return -1;
}

static void add_distractors(struct writer *writer, int words) {
    const size_t count = (words >= 100 ? 1 : 0) + rng_below(writer->rng, 2) + (words >= 200 ? rng_below(writer->rng, 3) : 0);
    for (size_t i = 0; i < count; i++) {
        const int32_t code = draw_absent(writer);
        if (code < 0) continue;
        const struct filling filling = {.x = condition_name(writer, code)};
        const uint64_t way = rng_below(writer->rng, 10);
        add_break(writer, writer->style == STYLE_PROBLEMS);
        if (way < 6) add_sentence(writer, writer->style == STYLE_PROBLEMS ? SLOT_PROBLEM_NEGATED : SLOT_NEGATED, filling);
        else add_sentence(writer, way < 9 ? SLOT_HISTORICAL : SLOT_FAMILY, filling);
    }
    if (rng_below(writer->rng, 6) == 0) {
        const int32_t procedure = (int32_t)rng_below(writer->rng, writer->knowledge->procedure_count);
        add_break(writer, writer->style == STYLE_PROBLEMS);
        add_sentence(writer, SLOT_PROCEDURE_PAST, (struct filling){.p = procedure_name(writer, procedure)});
    }
}

static void add_course(struct writer *writer, int words) {
    const bool late = rng_below(writer->rng, 4) == 0, active_first = late && rng_below(writer->rng, 2) == 0;
    const bool distract_early = rng_below(writer->rng, 2) == 0;
    size_t told;
    add_opening(writer, late, &told);
    if (distract_early && writer->style == STYLE_PROSE) add_distractors(writer, words);
    if (active_first) add_active(writer);
    add_principal(writer, late);
    if (rng_below(writer->rng, 2) == 0 || words > 150) {
        add_break(writer, false);
        add_sentence(writer, SLOT_CARE, (struct filling){0});
    }
    add_procedures(writer);
    if (!active_first) add_active(writer);
    if (!(distract_early && writer->style == STYLE_PROSE)) add_distractors(writer, words);
    add_chronic(writer, told);
    add_break(writer, writer->style == STYLE_PROBLEMS);
    add_sentence(writer, SLOT_END, (struct filling){0});
}

static void add_heading(struct text *out, const char *heading) { text_printf(out, "\n\n%s:\n", heading); }

/* What stands above the hospital course in a summary. */
static void add_front(struct writer *writer) {
    struct text *out = writer->out;
    static const char *const services[] = {"MEDICINE", "SURGERY", "CARDIOTHORACIC", "NEUROLOGY", "ORTHOPAEDICS"};
    const struct drg_profile *profile = &writer->knowledge->profiles[writer->stay->profile];
    text_printf(out, " \nName:  ___                     Unit No:   ___\n \nAdmission Date:  ___              Discharge Date:   ___\n \n"
                     "Date of Birth:  ___             Sex:   %s\n \nService: %s\n \nAllergies: \nNo Known Allergies / Adverse Drug Reactions\n \n"
                     "Attending: ___.",
                writer->stay->female ? "F" : "M", services[profile->drg->type == DRG_SURGICAL ? 1 + rng_below(writer->rng, 4) : 0]);
    add_heading(out, "Chief Complaint");
    text_add(out, condition_name(writer, writer->stay->principal));
    add_heading(out, "Major Surgical or Invasive Procedure");
    for (size_t i = 0; i < writer->stay->procedure_count; i++) {
        text_printf(out, "%s%s", i == 0 ? "" : "\n", procedure_name(writer, writer->stay->procedures[i]));
    }
    if (writer->stay->procedure_count == 0) text_add(out, "None");
    add_heading(out, "History of Present Illness");
    add_sentence(writer, SLOT_OPENING, (struct filling){.x = condition_name(writer, writer->stay->principal), .history = "the problems listed below"});
    add_heading(out, "Past Medical History");
    for (size_t i = 0; i < writer->past_count + writer->chronic_count; i++) {
        const int32_t code = i < writer->past_count ? writer->past[i] : writer->chronic[i - writer->past_count];
        text_printf(out, "- %s\n", condition_name(writer, code));
    }
    add_heading(out, "Social History");
    text_add(out, "___");
    add_heading(out, "Family History");
    text_add(out, "Non-contributory.");
    add_heading(out, "Physical Exam");
    text_printf(out, "VS: T 98.%d BP %d/%d HR %d RR %d O2 sat %d%%\nGen: NAD. HEENT: MMM. CV: S1 S2. Lungs: clear. Abd: soft.", (int)rng_below(writer->rng, 9),
                100 + (int)rng_below(writer->rng, 60), 55 + (int)rng_below(writer->rng, 35), 60 + (int)rng_below(writer->rng, 50),
                12 + (int)rng_below(writer->rng, 10), 91 + (int)rng_below(writer->rng, 9));
    add_heading(out, "Pertinent Results");
    text_printf(out, "WBC-%d.%d HGB-%d.%d PLT-%d NA-%d K-%d.%d CREAT-%d.%d", 4 + (int)rng_below(writer->rng, 14), (int)rng_below(writer->rng, 10),
                8 + (int)rng_below(writer->rng, 6), (int)rng_below(writer->rng, 10), 120 + (int)rng_below(writer->rng, 250),
                130 + (int)rng_below(writer->rng, 14), 3 + (int)rng_below(writer->rng, 2), (int)rng_below(writer->rng, 10),
                (int)rng_below(writer->rng, 3), (int)rng_below(writer->rng, 10));
}

static void add_back(struct writer *writer) {
    static const char *const drugs[] = {"aspirin 81 mg daily", "atorvastatin 40 mg nightly", "metoprolol tartrate 25 mg twice daily", "furosemide 40 mg daily",
                                        "lisinopril 10 mg daily", "omeprazole 20 mg daily", "acetaminophen 650 mg as needed", "docusate 100 mg twice daily"};
    static const char *const headings[] = {"Medications on Admission", "Discharge Medications"};
    struct text *out = writer->out;
    for (int list = 0; list < 2; list++) {
        add_heading(out, headings[list]);
        const size_t start = rng_below(writer->rng, 8), count = 2 + rng_below(writer->rng, 4);
        for (size_t i = 0; i < count; i++) text_printf(out, "%zu. %s\n", i + 1, drugs[(start + i) % 8]);
    }
    add_heading(out, "Discharge Disposition");
    text_add(out, rng_below(writer->rng, 2) == 0 ? "Home" : "Extended Care");
    add_heading(out, "Discharge Diagnosis");
    text_add(out, condition_name(writer, writer->stay->principal));
    for (size_t i = 0; i < writer->active_count; i++) text_printf(out, "\n%s", condition_name(writer, writer->active[i]));
    add_heading(out, "Discharge Condition");
    text_add(out, "Mental Status: Clear and coherent.\nActivity Status: Ambulatory.");
    add_heading(out, "Discharge Instructions");
    text_add(out, "You were cared for at ___. Please take your medications as listed and keep your appointments.\n \nFollowup Instructions:\n___\n");
}

void synthetic_note_write(struct text *out, struct span *course, const struct knowledge *knowledge, const struct synthetic_stay *stay, int words,
                          struct rng *rng) {
    struct writer writer = {.out = out, .knowledge = knowledge, .stay = stay, .rng = rng};
    const size_t start = out->length;
    writer.style = (enum style)rng_below(rng, STYLES);
    sort_conditions(&writer);
    add_front(&writer);
    text_add(out, "\n\nBrief Hospital Course:\n");
    course->start = out->length - start;
    add_course(&writer, words);
    course->end = out->length - start;
    add_back(&writer);
}
