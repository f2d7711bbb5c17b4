/* Synthetic discharge summaries, section by section; the hospital course has a file of its own. Complaints, laboratory
 * values, medications and findings agree with the conditions of the stay. */
#include "data/synth_note.h"
#include "data/synth_writer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const tell_names[TELLS] = {"all", "no-principal", "background", "principal-only"};

static void sort_conditions(struct writer *writer) {
    for (size_t i = 0; i < writer->stay->secondary_count; i++) {
        const int32_t code = writer->stay->secondary[i];
        switch (writer->knowledge->diagnoses[code].kind) {
        case KIND_ACTIVE:
            writer->active[writer->active_count++] = code;
            break;
        case KIND_CHRONIC:
            writer->chronic[writer->chronic_count++] = code;
            break;
        case KIND_HISTORY:
            writer->past[writer->past_count++] = code;
            break;
        case KIND_SILENT:
            break;
        }
    }
    rng_shuffle(writer->rng, writer->active, writer->active_count, sizeof *writer->active);
    rng_shuffle(writer->rng, writer->chronic, writer->chronic_count, sizeof *writer->chronic);
}

static void add_complaint(struct writer *writer) {
    const char *symptom = condition_finding(writer, writer->stay->principal, FINDING_SYMPTOM);
    add_heading(writer->out, "Chief Complaint");
    add_capital(writer->out, symptom != NULL ? symptom : condition_name(writer, writer->stay->principal));
    add_heading(writer->out, "Major Surgical or Invasive Procedure");
    for (size_t i = 0; i < writer->stay->procedure_count; i++) {
        if (i > 0) text_add_char(writer->out, '\n');
        add_capital(writer->out, procedure_name(writer, writer->stay->procedures[i]));
    }
    if (writer->stay->procedure_count == 0) text_add(writer->out, "None");
}

static void add_present_illness(struct writer *writer) {
    const struct synthetic_stay *stay = writer->stay;
    const size_t named = writer->chronic_count < 3 ? writer->chronic_count : 3,
                 sentences = 2 + rng_below(writer->rng, 4);
    const bool elective = stay->admission.elective;
    struct text history = {0};
    add_heading(writer->out, "History of Present Illness");
    const size_t start = writer->out->length;
    if (named > 0)
        add_names(writer, &history, writer->chronic, named);
    else
        text_add(&history, phrase_pick(writer->rng, &writer->knowledge->templates[SLOT_HISTORY_NONE]));
    const char *symptom = condition_finding(writer, stay->principal, FINDING_SYMPTOM);
    const struct filling filling = {.s = symptom,
                                    .history = history.data == NULL ? "" : history.data,
                                    .x = elective ? condition_name(writer, stay->principal) : NULL,
                                    .p = elective ? procedure_name(writer, stay->procedures[0]) : NULL};
    add_sentence(writer,
                 elective          ? SLOT_OPENING_PLANNED
                 : symptom != NULL ? SLOT_OPENING_SYMPTOM_LATE
                                   : SLOT_OPENING_LATE,
                 filling);
    for (size_t i = 0; i < sentences; i++) {
        add_break(writer, false);
        add_sentence(writer, elective ? SLOT_ELECTIVE : SLOT_ED, (struct filling){0});
    }
    style_apply(writer, start);
    text_free(&history);
}

static void add_histories(struct writer *writer) {
    static const char *const social[] = {"___", "Lives with ___. Denies tobacco, alcohol or illicit drugs.",
                                         "Retired ___, lives alone. Former smoker, quit ___.",
                                         "Married, lives with spouse. Rare alcohol, no tobacco.",
                                         "Lives at ___. Tobacco: never. EtOH: social."};
    static const char *const family[] = {"Non-contributory.", "No history of early cardiac death.",
                                         "Father died at ___ of ___.", "Mother with HTN, father with ___.", "___"};
    struct text *out = writer->out;
    const size_t all = writer->past_count + writer->chronic_count;
    add_heading(out, "Past Medical History");
    for (size_t i = 0; i < all; i++) {
        const int32_t code = i < writer->past_count ? writer->past[i] : writer->chronic[i - writer->past_count];
        text_printf(out, "- %s\n", condition_name(writer, code));
    }
    if (all == 0) text_add(out, "None");
    add_heading(out, "Social History");
    text_add(out, social[rng_below(writer->rng, sizeof social / sizeof social[0])]);
    add_heading(out, "Family History");
    text_add(out, family[rng_below(writer->rng, sizeof family / sizeof family[0])]);
}

static void add_exam(struct writer *writer) {
    struct text *out = writer->out;
    const struct lines findings = collect_findings(writer, FINDING_EXAM);
    add_heading(out, "Physical Exam");
    text_printf(out,
                "ADMISSION:\nVS: T 98.%d BP %d/%d HR %d RR %d O2 sat %d%%\nGen: NAD. HEENT: MMM. CV: S1 S2. Lungs: %s. "
                "Abd: soft.\n",
                (int)rng_below(writer->rng, 9), 100 + (int)rng_below(writer->rng, 60),
                55 + (int)rng_below(writer->rng, 35), 60 + (int)rng_below(writer->rng, 50),
                12 + (int)rng_below(writer->rng, 10), 91 + (int)rng_below(writer->rng, 9),
                chance(writer->rng, 0.5) ? "clear" : "CTAB");
    for (size_t i = 0; i < findings.count; i++) text_printf(out, "Notable: %s\n", findings.items[i]);
    if (writer->stay->admission.destination == TO_DIED)
        text_add(out, "DISCHARGE:\nNo spontaneous respirations, no pulse. Pupils fixed and dilated.");
    else
        text_printf(out, "DISCHARGE:\nVS stable. Gen: comfortable, A&Ox3. Exam otherwise %s.",
                    chance(writer->rng, 0.5) ? "unchanged" : "improved");
}

/* The usual panel; a condition moves its value into the range that goes with it. */
static void add_results(struct writer *writer) {
    static const struct {
        const char *name;
        double low, high;
        int digits;
    } panel[] = {{"WBC", 4.2, 10.8, 1}, {"HGB", 10.8, 15.2, 1}, {"PLT", 150, 390, 0},
                 {"NA", 134, 145, 0},   {"K", 3.5, 5.0, 1},     {"HCO3", 21, 29, 0},
                 {"BUN", 8, 24, 0},     {"CREAT", 0.6, 1.2, 1}, {"GLUC", 78, 142, 0}};
    enum { PANEL = sizeof panel / sizeof panel[0] };
    struct text *out = writer->out;
    struct lines labs = {.count = 0};
    const size_t codes = 1 + writer->active_count + writer->chronic_count;
    bool given[LINES] = {false};
    for (size_t i = 0; i < codes; i++) {
        const int32_t code = i == 0                      ? writer->stay->principal
                             : i <= writer->active_count ? writer->active[i - 1]
                                                         : writer->chronic[i - 1 - writer->active_count];
        const struct phrases *findings = &writer->knowledge->diagnoses[code].findings[FINDING_LAB];
        for (size_t f = 0; f < findings->count; f++) lines_add(&labs, findings->items[f]);
    }
    add_heading(out, "Pertinent Results");
    text_add(out, "___ BLOOD ");
    for (int p = 0; p < PANEL; p++) {
        double low = panel[p].low, high = panel[p].high;
        for (size_t i = 0; i < labs.count; i++) {
            char name[16];
            double from, to;
            if (given[i] || sscanf(labs.items[i], "%15s %lf-%lf", name, &from, &to) != 3 ||
                strcmp(name, panel[p].name) != 0)
                continue;
            given[i] = true;
            low = from;
            high = to;
        }
        text_printf(out, "%s%s-%.*f", p == 0 ? "" : " ", panel[p].name, panel[p].digits,
                    low + (high - low) * rng_uniform(writer->rng));
    }
    for (size_t i = 0; i < labs.count; i++) {
        char name[16];
        double from, to;
        if (given[i] || sscanf(labs.items[i], "%15s %lf-%lf", name, &from, &to) != 3) continue;
        text_printf(out, "\n___ BLOOD %s-%.*f", name, to < 30 ? 1 : 0, from + (to - from) * rng_uniform(writer->rng));
    }
    const struct lines imaging = collect_findings(writer, FINDING_IMAGING);
    for (size_t i = 0; i < imaging.count; i++) text_printf(out, "\n%s", imaging.items[i]);
}

/* The service that looks after stays of the DRG's MDC. */
static const char *service_of(const struct drg *drg) {
    if (drg->type != DRG_SURGICAL)
        return code_begins("14", drg->mdc)   ? "OBSTETRICS/GYNECOLOGY"
               : code_begins("19", drg->mdc) ? "PSYCHIATRY"
               : code_begins("01", drg->mdc) ? "NEUROLOGY"
                                             : "MEDICINE";
    return code_begins("01", drg->mdc)      ? "NEUROSURGERY"
           : code_begins("05", drg->mdc)    ? "CARDIOTHORACIC"
           : code_begins("08", drg->mdc)    ? "ORTHOPAEDICS"
           : code_begins("11,12", drg->mdc) ? "UROLOGY"
           : code_begins("13,14", drg->mdc) ? "OBSTETRICS/GYNECOLOGY"
           : code_begins("03", drg->mdc)    ? "OTOLARYNGOLOGY"
                                            : "SURGERY";
}

static void add_front(struct writer *writer) {
    static const char *const allergies[] = {"No Known Allergies / Adverse Drug Reactions", "Penicillins",
                                            "Sulfa (Sulfonamide Antibiotics)", "lisinopril", "latex"};
    text_printf(writer->out,
                " \nName:  ___                     Unit No:   ___\n \nAdmission Date:  ___              Discharge "
                "Date:   ___\n \n"
                "Date of Birth:  ___             Sex:   %s\n \nService: %s\n \nAllergies: \n%s\n \nAttending: ___.",
                writer->stay->female ? "F" : "M", service_of(writer->stay->profile->drg),
                allergies[chance(writer->rng, 0.6) ? 0 : rng_below(writer->rng, 5)]);
}

/* A third of the authors spell words out, a third shorten some, a third shorten most; slips gather in a few. */
static struct author draw_author(struct rng *rng, const struct note_style *style) {
    static const double shortening[] = {0, 0.15, 0.6};
    static const double slips[] = {0, 0.5, 2.5};
    struct author author = {.layout = (enum layout)rng_below(rng, LAYOUTS),
                            .abbreviates = style->abbreviates * shortening[rng_below(rng, 3)]};
    const double u = rng_uniform(rng);
    author.problem_case = u < 0.6 ? CASE_CAPITAL : u < 0.8 ? CASE_UPPER : CASE_LOWER;
    author.misspells = style->misspells * slips[rng_below(rng, 3)];
    author.blanks_age = chance(rng, 0.3);
    return author;
}

void synthetic_note_write(struct text *out, struct span *course, const struct knowledge *knowledge,
                          const struct synthetic_stay *stay, const struct note_style *style, struct rng *rng) {
    struct writer writer = {.out = out,
                            .knowledge = knowledge,
                            .stay = stay,
                            .rng = rng,
                            .author = draw_author(rng, style),
                            .tell = style->tell};
    const size_t start = out->length;
    sort_conditions(&writer);
    add_front(&writer);
    add_complaint(&writer);
    add_present_illness(&writer);
    add_histories(&writer);
    add_exam(&writer);
    add_results(&writer);
    text_add(out, "\n\nBrief Hospital Course:\n");
    course->start = out->length - start;
    struct writer teller = writer; /* what the course leaves out still stands in the other sections */
    course_write(&teller, style->words);
    style_apply(&writer, start + course->start);
    course->end = out->length - start;
    back_write(&writer);
}
