/* Drawing a synthetic stay: DRG, codes and patient, so that the severity of the DRG follows from the codes, and the
 * base from principal diagnosis and procedures. */
#ifndef CASEMIX_DATA_SYNTH_STAY_H
#define CASEMIX_DATA_SYNTH_STAY_H

#include "base/rng.h"
#include "data/synth_admission.h"
#include "data/synth_knowledge.h"
#include <stdbool.h>
#include <stdint.h>

enum { SECONDARY_LIMIT = 40 };

struct synthetic_stay {
    int64_t subject_id, hadm_id;
    const struct drg_profile *profile;
    int32_t principal;
    int32_t secondary[SECONDARY_LIMIT];
    size_t secondary_count;
    int32_t procedures[PROCEDURE_LIMIT]; /* with the principal diagnosis they decide the base DRG */
    size_t procedure_count;
    int procedure_days[PROCEDURE_LIMIT]; /* days after admission */
    bool female;
    int age, days;
    struct admission admission;
};

/* Which DRGs a patient can have, and how likely each is. */
struct profile_weights {
    double *cumulative[PATIENT_KINDS]; /* [profiles] each; NULL: none for this kind */
    double obstetric;                  /* share of the patients who come for obstetric stays */
};
bool profile_weights_make(struct profile_weights *weights, const struct knowledge *knowledge, double temper,
                          struct error *error);
void profile_weights_free(struct profile_weights *weights);

/* Draws DRG, codes and length of the stay of a patient of this kind; ids, age and sex are the patient's and set before.
 */
void synthetic_stay_draw(struct synthetic_stay *stay, const struct knowledge *knowledge,
                         const struct profile_weights *weights, enum patient_kind kind, struct rng *rng);

/* When each procedure is done, once the admission is known: what a patient came for on the day of arrival. */
void synthetic_stay_draw_procedure_days(struct synthetic_stay *stay, struct rng *rng);

/* The length of a stay of given codes. */
void synthetic_stay_draw_days(struct synthetic_stay *stay, struct rng *rng);

/* The severity that the codes give: MCC over CC over none, exclusions applied. */
enum cc_level synthetic_stay_level(const struct knowledge *knowledge, const struct synthetic_stay *stay);

/* How the stay may end without another DRG: by its DRG, its principal diagnosis and what its MCCs count for. */
struct discharge_rules synthetic_stay_rules(const struct knowledge *knowledge, const struct synthetic_stay *stay);

/* Whether a DRG of this severity may have a stay of this level. */
bool severity_admits(enum drg_severity severity, enum cc_level level);

#endif
