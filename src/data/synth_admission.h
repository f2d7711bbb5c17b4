/* Patients and the administrative side of their stays: who they are, when each stay begins and ends, how it ends. */
#ifndef CASEMIX_DATA_SYNTH_ADMISSION_H
#define CASEMIX_DATA_SYNTH_ADMISSION_H

#include "base/rng.h"
#include "base/text.h"
#include <stdbool.h>
#include <stdint.h>

enum { STAYS_A_PATIENT = 4 };

/* A patient's stays are all of one kind. */
enum patient_kind { PATIENT_MALE, PATIENT_FEMALE, PATIENT_OBSTETRIC, PATIENT_NEWBORN, PATIENT_KINDS };

struct patient {
    int64_t number;
    int stays, part; /* part of the split: 0 train, 1 dev, 2 test */
    enum patient_kind kind;
    int age;                   /* at the first stay: MIMIC-IV's anchor_age */
    int first_day;             /* of the first stay, in days since 2110-01-01 */
    int gaps[STAYS_A_PATIENT]; /* days from the beginning of one stay to that of the next */
    const char *year_group, *insurance, *language, *marital, *race;
};

/* The patient of this number: same seed, same patient. `obstetric`: share of patients whose stays are obstetric.
 * split[3]: shares of train, dev and test. */
struct patient patient_draw(uint64_t seed, int64_t number, double obstetric, const double *split);
/* Makes another kind of the patient: sex, and an age that goes with it. */
void patient_set_kind(struct patient *patient, enum patient_kind kind);
bool patient_is_female(const struct patient *patient);
/* Age at stay `sequence` (from 1). */
int patient_age_at(const struct patient *patient, int sequence);
int patient_anchor_year(const struct patient *patient);

enum destination {
    TO_HOME,
    TO_HOME_SERVICES,
    TO_NURSING,
    TO_REHAB,
    TO_LONG_TERM,
    TO_HOSPICE,
    TO_PSYCHIATRY,
    TO_AGAINST_ADVICE,
    TO_ACUTE,
    TO_DIED,
    DESTINATIONS
};

/* How a stay may end so that the grouper gives it the same DRG: it looks at deaths in acute myocardial infarction, for
 * example. */
struct discharge_rules {
    bool may_die, may_leave_against, psychiatric;
    enum destination only; /* DESTINATIONS: any that may be */
    double death;          /* chance, where it may be */
};

struct admission {
    int64_t admitted, discharged; /* minutes since 2110-01-01 00:00 */
    int64_t arrived, left;        /* the emergency department; 0: not through it */
    int64_t died;                 /* minute of death in hospital; 0: none */
    int died_day;                 /* day of death, in hospital or within a year; -1: not known to have died */
    bool elective;
    enum destination destination;
    const char *type, *location; /* MIMIC-IV's admission_type and admission_location */
    char provider[8];
};

/* Draws times and ends of a patient's stay `sequence` of `days` nights. `last`: no other stay of the patient follows.
 * `planned`: it may be an elective one. */
struct admission admission_draw(const struct patient *patient, int sequence, bool last, int days, bool planned,
                                const struct discharge_rules *rules, struct rng *rng);

/* MIMIC-IV's discharge_location, and the note's discharge disposition. */
const char *destination_location(enum destination destination);
const char *destination_disposition(enum destination destination);
bool destination_is_facility(enum destination destination);

/* Appends "2110-01-31 14:05:00", and "2110-01-31". */
void add_minute(struct text *out, int64_t minute);
void add_day(struct text *out, int64_t day);

#endif
