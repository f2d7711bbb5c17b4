/* Patients and the administrative side of their stays: see synth_admission.h. */
#include "data/synth_admission.h"
#include <stdio.h>
#include <string.h>

enum { MINUTES = 24 * 60, FIRST_YEAR = 2110, LAST_YEAR = 2200 };

/* Streams of random numbers, so that one draw never moves another. */
enum { STREAM_PATIENT = 1, STREAM_SPLIT = 2, STREAM_GAPS = 4 };

static const struct {
    const char *location, *disposition;
    bool facility;
} destinations[DESTINATIONS] = {
    [TO_HOME] = {"HOME", "Home", false},
    [TO_HOME_SERVICES] = {"HOME HEALTH CARE", "Home With Service", true},
    [TO_NURSING] = {"SKILLED NURSING FACILITY", "Extended Care", true},
    [TO_REHAB] = {"REHAB", "Extended Care", true},
    [TO_LONG_TERM] = {"CHRONIC/LONG TERM ACUTE CARE", "Extended Care", true},
    [TO_HOSPICE] = {"HOSPICE", "Home With Service", true},
    [TO_PSYCHIATRY] = {"PSYCH FACILITY", "Extended Care", true},
    [TO_AGAINST_ADVICE] = {"AGAINST ADVICE", "Home", false},
    [TO_ACUTE] = {"ACUTE HOSPITAL", "Extended Care", true},
    [TO_DIED] = {"DIED", "Expired", false},
};

const char *destination_location(enum destination destination) {
    return destinations[destination].location;
}

const char *destination_disposition(enum destination destination) {
    return destinations[destination].disposition;
}

bool destination_is_facility(enum destination destination) {
    return destinations[destination].facility;
}

static bool leap_year(int year) {
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

/* Year, and the day of it from 0. */
static int year_of(int64_t day, int *rest) {
    int year = FIRST_YEAR;
    while (day >= 365 + leap_year(year)) day -= 365 + leap_year(year++);
    *rest = (int)day;
    return year;
}

void add_day(struct text *out, int64_t day) {
    static const int lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int rest, month = 0;
    const int year = year_of(day, &rest);
    for (;; month++) {
        const int length = lengths[month] + (month == 1 && leap_year(year));
        if (rest < length) break;
        rest -= length;
    }
    text_printf(out, "%04d-%02d-%02d", year, month + 1, rest + 1);
}

void add_minute(struct text *out, int64_t minute) {
    add_day(out, minute / MINUTES);
    text_printf(out, " %02d:%02d:00", (int)(minute % MINUTES / 60), (int)(minute % 60));
}

/* One of the items, each as often as its weight says. */
struct choice {
    const char *name;
    double weight;
};

static const char *choose(struct rng *rng, const struct choice *choices, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += choices[i].weight;
    double at = rng_uniform(rng) * sum;
    for (size_t i = 0; i + 1 < count; i++) {
        if ((at -= choices[i].weight) < 0) return choices[i].name;
    }
    return choices[count - 1].name;
}

#define CHOOSE(rng, choices) choose(rng, choices, sizeof choices / sizeof choices[0])

static void draw_person(struct patient *patient, struct rng *rng) {
    static const struct choice groups[] = {{"2008 - 2010", 30},
                                           {"2011 - 2013", 26},
                                           {"2014 - 2016", 25},
                                           {"2017 - 2019", 19}},
                               old[] = {{"Medicare", 82}, {"Other", 14}, {"Medicaid", 4}},
                               young[] = {{"Other", 62}, {"Medicaid", 24}, {"Medicare", 14}},
                               languages[] = {{"ENGLISH", 90}, {"?", 10}},
                               marital[] = {{"MARRIED", 45}, {"SINGLE", 28}, {"WIDOWED", 18}, {"DIVORCED", 9}},
                               races[] = {{"WHITE", 66},
                                          {"BLACK/AFRICAN AMERICAN", 14},
                                          {"HISPANIC/LATINO - PUERTO RICAN", 3},
                                          {"HISPANIC OR LATINO", 3},
                                          {"ASIAN", 2},
                                          {"ASIAN - CHINESE", 2},
                                          {"WHITE - OTHER EUROPEAN", 3},
                                          {"OTHER", 4},
                                          {"UNKNOWN", 3}};
    patient->year_group = CHOOSE(rng, groups);
    patient->insurance = patient->age >= 65 ? CHOOSE(rng, old) : CHOOSE(rng, young);
    patient->language = CHOOSE(rng, languages);
    patient->marital = patient->age < 18 ? "" : CHOOSE(rng, marital);
    patient->race = CHOOSE(rng, races);
}

void patient_set_kind(struct patient *patient, enum patient_kind kind) {
    patient->kind = kind;
    if (kind == PATIENT_OBSTETRIC && (patient->age < 18 || patient->age > 41))
        patient->age = 18 + patient->age % 24;
    else if (kind == PATIENT_NEWBORN)
        patient->age = 0;
}

struct patient patient_draw(uint64_t seed, int64_t number, double obstetric, const double *split) {
    struct rng rng;
    rng_seed_stream(&rng, seed, STREAM_PATIENT, (uint64_t)number);
    struct patient patient = {.number = number, .stays = 1};
    enum patient_kind kind = rng_below(&rng, 2) == 0 ? PATIENT_FEMALE : PATIENT_MALE;
    while (patient.stays < STAYS_A_PATIENT && rng_uniform(&rng) < 0.3) patient.stays++;
    const double age = 68 + 14 * rng_normal(&rng);
    patient.age = age < 19 ? 19 : age > 97 ? 97 : (int)age;
    if (rng_uniform(&rng) < obstetric) kind = PATIENT_OBSTETRIC;
    patient_set_kind(&patient, kind);
    patient.first_day = 1 + (int)rng_below(&rng, 365 * (LAST_YEAR - FIRST_YEAR));
    draw_person(&patient, &rng);
    rng_seed_stream(&rng, seed, STREAM_SPLIT, (uint64_t)number);
    const double share = rng_uniform(&rng) * (split[0] + split[1] + split[2]);
    patient.part = share < split[0] ? 0 : share < split[0] + split[1] ? 1 : 2;
    /* A stay ends after 90 days at the latest, so the next one begins behind it; pregnancies are a year apart. */
    rng_seed_stream(&rng, seed, STREAM_GAPS, (uint64_t)number);
    for (int i = 0; i < STAYS_A_PATIENT; i++)
        patient.gaps[i] = (kind == PATIENT_OBSTETRIC ? 370 : 95) + (int)rng_below(&rng, 500);
    return patient;
}

bool patient_is_female(const struct patient *patient) {
    return patient->kind == PATIENT_FEMALE || patient->kind == PATIENT_OBSTETRIC ||
           (patient->kind == PATIENT_NEWBORN && patient->number % 2 == 0);
}

static int64_t day_of_stay(const struct patient *patient, int sequence) {
    int64_t day = patient->first_day;
    for (int i = 1; i < sequence; i++) day += patient->gaps[i - 1];
    return day;
}

int patient_anchor_year(const struct patient *patient) {
    int rest;
    return year_of(patient->first_day, &rest);
}

int patient_age_at(const struct patient *patient, int sequence) {
    int rest;
    return patient->age + year_of(day_of_stay(patient, sequence), &rest) - patient_anchor_year(patient);
}

/* Where the patient goes: the old and those who stayed long go home less often. */
static enum destination draw_destination(const struct patient *patient, int age, int days, bool last,
                                         const struct discharge_rules *rules, struct rng *rng) {
    if (rules->only != DESTINATIONS) return rules->only;
    if (last && rules->may_die && rng_uniform(rng) < rules->death) return TO_DIED;
    if (patient->kind == PATIENT_NEWBORN || patient->kind == PATIENT_OBSTETRIC) return TO_HOME;
    if (rules->psychiatric) return rng_uniform(rng) < 0.25 ? TO_PSYCHIATRY : TO_HOME;
    const double frail = (age > 75 ? 0.25 : age > 60 ? 0.12 : 0.03) + (days > 7 ? 0.2 : 0);
    const double u = rng_uniform(rng), v = rng_uniform(rng);
    if (u < frail) return v < 0.5 ? TO_NURSING : v < 0.8 ? TO_REHAB : v < 0.9 ? TO_LONG_TERM : TO_HOSPICE;
    if (rules->may_leave_against && u > 0.992) return TO_AGAINST_ADVICE;
    if (u > 0.985) return TO_ACUTE;
    return v < 0.4 + frail ? TO_HOME_SERVICES : TO_HOME;
}

/* How the patient came: through the emergency department, sent by somebody, or to have an operation. */
static void draw_arrival(struct admission *admission, struct rng *rng) {
    static const struct choice urgent[] = {{"EW EMER.", 62},
                                           {"OBSERVATION ADMIT", 25},
                                           {"URGENT", 8},
                                           {"DIRECT EMER.", 5}},
                               locations[] = {{"EMERGENCY ROOM", 70},
                                              {"PHYSICIAN REFERRAL", 12},
                                              {"WALK-IN/SELF REFERRAL", 10},
                                              {"TRANSFER FROM SKILLED NURSING FACILITY", 4},
                                              {"TRANSFER FROM HOSPITAL", 4}},
                               direct[] = {{"TRANSFER FROM HOSPITAL", 55},
                                           {"CLINIC REFERRAL", 25},
                                           {"PHYSICIAN REFERRAL", 20}},
                               planned[] = {{"SURGICAL SAME DAY ADMISSION", 70}, {"ELECTIVE", 30}};
    if (admission->elective) {
        admission->type = CHOOSE(rng, planned);
        admission->location = "PHYSICIAN REFERRAL";
        return;
    }
    admission->type = CHOOSE(rng, urgent);
    if (strcmp(admission->type, "URGENT") == 0 || strcmp(admission->type, "DIRECT EMER.") == 0) {
        admission->location = CHOOSE(rng, direct);
        return;
    }
    admission->location = CHOOSE(rng, locations);
    admission->arrived = admission->admitted - 60 - (int64_t)rng_below(rng, 600);
    admission->left = admission->admitted + (int64_t)rng_below(rng, 240);
}

struct admission admission_draw(const struct patient *patient, int sequence, bool last, int days, bool planned,
                                const struct discharge_rules *rules, struct rng *rng) {
    const int64_t day = day_of_stay(patient, sequence);
    struct admission admission = {.died_day = -1};
    admission.elective = planned && rng_uniform(rng) < 0.55;
    admission.admitted =
        day * MINUTES + (admission.elective ? 330 + (int64_t)rng_below(rng, 300) : (int64_t)rng_below(rng, MINUTES));
    /* Patients leave between ten and eight in the evening; whoever came later than that leaves another day. */
    admission.discharged = (day + days) * MINUTES + 600 + (int64_t)rng_below(rng, 600);
    admission.destination = draw_destination(patient, patient_age_at(patient, sequence), days, last, rules, rng);
    draw_arrival(&admission, rng);
    snprintf(admission.provider, sizeof admission.provider, "P%02X%c%c%c", (unsigned)rng_below(rng, 256),
             (int)('A' + rng_below(rng, 26)), (int)('0' + rng_below(rng, 10)), (int)('A' + rng_below(rng, 26)));
    if (admission.destination == TO_DIED) {
        admission.died = admission.discharged;
        admission.died_day = (int)(admission.discharged / MINUTES);
    } else if (last && (admission.destination == TO_HOSPICE || (patient->age > 60 && rng_uniform(rng) < 0.06))) {
        const uint64_t left = admission.destination == TO_HOSPICE ? 40 : 360;
        admission.died_day = (int)(admission.discharged / MINUTES) + 1 + (int)rng_below(rng, left);
    }
    return admission;
}
