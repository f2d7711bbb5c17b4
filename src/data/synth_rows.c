/* Rows of MIMIC-IV's files: see synth_rows.h. */
#include "data/synth_rows.h"
#include "data/dataset.h"
#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { MINUTES = 24 * 60 };

const struct file_form file_forms[FILES] = {
    [FILE_DISCHARGE] = {"discharge.csv.gz", "note_id,subject_id,hadm_id,note_type,note_seq,charttime,storetime,text\n"},
    [FILE_DRG] = {"drgcodes.csv.gz", "subject_id,hadm_id,drg_type,drg_code,description,drg_severity,drg_mortality\n"},
    [FILE_DIAGNOSES] = {"diagnoses_icd.csv.gz", "subject_id,hadm_id,seq_num,icd_code,icd_version\n"},
    [FILE_PROCEDURES] = {"procedures_icd.csv.gz", "subject_id,hadm_id,seq_num,chartdate,icd_code,icd_version\n"},
    [FILE_PATIENTS] = {"patients.csv.gz", "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod\n"},
    [FILE_ADMISSIONS] = {"admissions.csv.gz",
                         "subject_id,hadm_id,admittime,dischtime,deathtime,admission_type,admit_provider_id,"
                         "admission_location,discharge_location,insurance,language,marital_status,race,edregtime,"
                         "edouttime,hospital_expire_flag\n"},
    [FILE_TRAIN] = {"train.jsonl", ""},
    [FILE_DEV] = {"dev.jsonl", ""},
    [FILE_TEST] = {"test.jsonl", ""},
    [FILE_CLAIMS] = {"claims.tsv", "claim_id\thadm_id\n"},
};

/* What the row functions share. */
struct row_maker {
    struct rendered *rendered;
    const struct knowledge *knowledge;
    const struct synthetic_stay *stay;
    const struct stay_place *place;
    long long subject, hadm;
    char note_id[64];
};

static void add_jsonl(const struct row_maker *maker, const struct span *course) {
    static const char *const parts[] = {"train", "dev", "test"};
    const struct dataset_line line = {.note_id = maker->note_id,
                                      .hadm_id = maker->hadm,
                                      .subject_id = maker->subject,
                                      .text = maker->rendered->note.data + course->start,
                                      .length = course->end - course->start,
                                      .drg = maker->stay->profile->drg,
                                      .split = parts[maker->place->patient.part]};
    dataset_add_line(&maker->rendered->rows[FILE_TRAIN + maker->place->patient.part], &line);
}

static void add_discharge(const struct row_maker *maker, struct rng *rng) {
    struct text *out = &maker->rendered->rows[FILE_DISCHARGE];
    const int64_t day = maker->stay->admission.discharged / MINUTES;
    text_printf(out, "%s,%lld,%lld,DS,%d,", maker->note_id, maker->subject, maker->hadm, maker->place->sequence);
    add_day(out, day);
    text_add(out, " 00:00:00,");
    add_minute(out, (day + 1) * MINUTES + (int64_t)rng_below(rng, 3 * MINUTES));
    text_add_char(out, ',');
    text_add_csv(out, maker->rendered->note.data, maker->rendered->note.length);
    text_add_char(out, '\n');
}

/* An imitation of an APR row, for readers that must skip them: APR-DRG is proprietary, so the base code is our own
 * numbering and the description the MS-DRG's without its severity. Severity of illness and risk of mortality, 1 to 4,
 * follow from the levels of the codes and the age. */
static void add_apr(const struct row_maker *maker) {
    static const char *const ends[] = {" WITH MCC", " WITH CC", " WITHOUT CC", " WITHOUT MCC"};
    const struct synthetic_stay *stay = maker->stay;
    const struct drg *drg = stay->profile->drg;
    struct text *out = &maker->rendered->rows[FILE_DRG];
    size_t levels[3] = {0}, length = strlen(drg->title);
    for (size_t i = 0; i < stay->secondary_count; i++)
        levels[knowledge_level(maker->knowledge, stay->secondary[i], stay->principal, drg->base)]++;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        const char *end = strstr(drg->title, ends[i]);
        if (end != NULL && (size_t)(end - drg->title) < length) length = (size_t)(end - drg->title);
    }
    const int severity = levels[LEVEL_MCC] > 1   ? 4
                         : levels[LEVEL_MCC] > 0 ? 3
                         : levels[LEVEL_CC] > 1  ? 3
                         : levels[LEVEL_CC] > 0  ? 2
                                                 : 1;
    int mortality = severity > 1 ? severity - 1 : 1;
    if (stay->age >= 80 && mortality < 4) mortality++;
    if (stay->admission.destination == TO_DIED) mortality = 4;
    text_printf(out, "%lld,%lld,APR,%03d,", maker->subject, maker->hadm, drg->base + 1);
    text_add_csv(out, drg->title, length);
    text_printf(out, ",%d,%d\n", severity, mortality);
}

static void add_drg(const struct row_maker *maker, bool apr) {
    const struct drg *drg = maker->stay->profile->drg;
    struct text *out = &maker->rendered->rows[FILE_DRG];
    text_printf(out, "%lld,%lld,HCFA,%03d,", maker->subject, maker->hadm, drg->code);
    text_add_csv(out, drg->title, strlen(drg->title));
    text_add(out, ",,\n");
    if (apr) add_apr(maker);
}

static void add_codes(const struct row_maker *maker) {
    const struct synthetic_stay *stay = maker->stay;
    struct text *diagnoses = &maker->rendered->rows[FILE_DIAGNOSES],
                *procedures = &maker->rendered->rows[FILE_PROCEDURES];
    text_printf(diagnoses, "%lld,%lld,1,%s,10\n", maker->subject, maker->hadm,
                maker->knowledge->diagnoses[stay->principal].code);
    for (size_t i = 0; i < stay->secondary_count; i++) {
        text_printf(diagnoses, "%lld,%lld,%zu,%s,10\n", maker->subject, maker->hadm, i + 2,
                    maker->knowledge->diagnoses[stay->secondary[i]].code);
    }
    const int64_t first = stay->admission.admitted / MINUTES;
    for (size_t i = 0; i < stay->procedure_count; i++) {
        text_printf(procedures, "%lld,%lld,%zu,", maker->subject, maker->hadm, i + 1);
        add_day(procedures, first + stay->procedure_days[i]);
        text_printf(procedures, ",%s,10\n", maker->knowledge->procedures[stay->procedures[i]].code);
    }
}

static void add_time(struct text *out, int64_t minute) {
    if (minute > 0) add_minute(out, minute);
    text_add_char(out, ',');
}

static void add_admission(const struct row_maker *maker) {
    const struct admission *admission = &maker->stay->admission;
    const struct patient *patient = &maker->place->patient;
    struct text *out = &maker->rendered->rows[FILE_ADMISSIONS];
    text_printf(out, "%lld,%lld,", maker->subject, maker->hadm);
    add_time(out, admission->admitted);
    add_time(out, admission->discharged);
    add_time(out, admission->died);
    text_printf(out, "%s,%s,%s,%s,%s,%s,%s,%s,", admission->type, admission->provider, admission->location,
                destination_location(admission->destination), patient->insurance, patient->language, patient->marital,
                patient->race);
    add_time(out, admission->arrived);
    add_time(out, admission->left);
    text_printf(out, "%d\n", admission->died > 0);
}

/* The patient's own row comes with the last stay, which tells of a death. Ages above 89 are 91, as MIMIC-IV has them.
 */
static void add_patient(const struct row_maker *maker) {
    const struct patient *patient = &maker->place->patient;
    struct text *out = &maker->rendered->rows[FILE_PATIENTS];
    text_printf(out, "%lld,%c,%d,%d,%s,", maker->subject, maker->stay->female ? 'F' : 'M',
                patient->age > 89 ? 91 : patient->age, patient_anchor_year(patient), patient->year_group);
    if (maker->stay->admission.died_day >= 0) add_day(out, maker->stay->admission.died_day);
    text_add_char(out, '\n');
}

void rows_render(struct rendered *rendered, const struct knowledge *knowledge, const struct synthetic_stay *stay,
                 const struct stay_place *place, const struct note_style *style, bool apr, struct rng *rng) {
    struct row_maker maker = {.rendered = rendered,
                              .knowledge = knowledge,
                              .stay = stay,
                              .place = place,
                              .subject = (long long)stay->subject_id,
                              .hadm = (long long)stay->hadm_id};
    struct span course;
    synthetic_note_write(&rendered->note, &course, knowledge, stay, style, rng);
    if (rendered->note.failed) return;
    snprintf(maker.note_id, sizeof maker.note_id, "%lld-DS-%d", maker.subject, place->sequence);
    add_discharge(&maker, rng);
    add_drg(&maker, apr);
    add_codes(&maker);
    add_admission(&maker);
    if (place->closing) add_patient(&maker);
    add_jsonl(&maker, &course);
    if (place->claim_id != NULL) text_printf(&rendered->rows[FILE_CLAIMS], "%s\t%lld\n", place->claim_id, maker.hadm);
}
