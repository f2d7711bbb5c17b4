/* The sections of a synthetic note behind the hospital course: medications, disposition, diagnoses, condition,
 * instructions. They agree with how the stay ended. */
#include "data/synth_writer.h"

static const char *const usual_medications[] = {
    "acetaminophen 650 mg as needed", "docusate 100 mg twice daily",    "multivitamin daily",
    "omeprazole 20 mg daily",         "vitamin D 1000 units daily",     "senna 8.6 mg nightly",
    "melatonin 3 mg nightly",         "polyethylene glycol 17 g daily", "calcium carbonate 500 mg daily"};

static void add_medication_list(struct writer *writer, const char *heading, const struct lines *lines) {
    static const char incomplete[] =
        "The Preadmission Medication list may be inaccurate and requires further investigation.\n";
    static const char *const openings[] = {"", "The Preadmission Medication list is accurate and complete.\n",
                                           incomplete};
    add_heading(writer->out, heading);
    if (heading[0] == 'M') text_add(writer->out, openings[rng_below(writer->rng, 3)]);
    for (size_t i = 0; i < lines->count; i++) text_printf(writer->out, "%zu. %s\n", i + 1, lines->items[i]);
}

static void add_usual(struct writer *writer, struct lines *lines) {
    lines_add(lines, usual_medications[rng_below(writer->rng, sizeof usual_medications / sizeof usual_medications[0])]);
}

static void add_medications(struct writer *writer, bool died) {
    struct lines lines = {.count = 0};
    for (size_t i = 0; i < writer->chronic_count; i++)
        lines_add(&lines, condition_finding(writer, writer->chronic[i], FINDING_MED));
    for (size_t i = 0; i < writer->past_count; i++)
        lines_add(&lines, condition_finding(writer, writer->past[i], FINDING_MED));
    add_usual(writer, &lines);
    add_medication_list(writer, "Medications on Admission", &lines);
    if (died) {
        add_heading(writer->out, "Discharge Medications");
        text_add(writer->out, "Expired");
        return;
    }
    lines_add(&lines, condition_finding(writer, writer->stay->principal, FINDING_MED));
    for (size_t i = 0; i < writer->active_count; i++)
        lines_add(&lines, condition_finding(writer, writer->active[i], FINDING_MED));
    add_usual(writer, &lines);
    add_medication_list(writer, "Discharge Medications", &lines);
}

static void add_diagnoses(struct writer *writer) {
    struct text *out = writer->out;
    add_heading(out, "Discharge Diagnosis");
    text_printf(out, "%s:\n%s", chance(writer->rng, 0.5) ? "Primary" : "PRIMARY DIAGNOSIS",
                condition_name(writer, writer->stay->principal));
    if (writer->active_count > 0) text_add(out, "\nSecondary:");
    for (size_t i = 0; i < writer->active_count; i++)
        text_printf(out, "\n%s", condition_name(writer, writer->active[i]));
}

void back_write(struct writer *writer) {
    static const char *const letters[] = {
        "You were cared for at ___. Please take your medications as listed and keep your appointments.",
        "It was a pleasure taking care of you at ___. Please call your doctor if your symptoms return.",
        "You came to ___ because you were not well and you are now ready to leave. Please follow up with Dr. ___."};
    struct text *out = writer->out;
    const enum destination destination = writer->stay->admission.destination;
    const bool died = destination == TO_DIED;
    add_medications(writer, died);
    add_heading(out, "Discharge Disposition");
    text_add(out, destination_disposition(destination));
    if (destination_is_facility(destination)) text_add(out, "\n \nFacility:\n___");
    add_diagnoses(writer);
    add_heading(out, "Discharge Condition");
    if (died)
        text_add(out, "Expired");
    else
        text_printf(out,
                    "Mental Status: Clear and coherent.\nLevel of Consciousness: Alert and interactive.\nActivity "
                    "Status: %s.",
                    destination == TO_HOME ? "Ambulatory - Independent"
                                           : "Ambulatory - requires assistance or aid (walker or cane)");
    add_heading(out, "Discharge Instructions");
    text_printf(out, "%s\n \nFollowup Instructions:\n___\n",
                died ? "Expired" : letters[rng_below(writer->rng, sizeof letters / sizeof letters[0])]);
}
