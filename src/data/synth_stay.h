/* Drawing a synthetic stay: DRG, codes and patient, so that the severity of the DRG follows from the codes. */
#ifndef CASEMIX_DATA_SYNTH_STAY_H
#define CASEMIX_DATA_SYNTH_STAY_H

#include "base/rng.h"
#include "data/synth_knowledge.h"
#include <stdbool.h>
#include <stdint.h>

enum { SECONDARY_LIMIT = 16 };

struct synthetic_stay {
    int64_t subject_id, hadm_id;
    int32_t profile; /* index into knowledge->profiles */
    int32_t principal;
    int32_t secondary[SECONDARY_LIMIT];
    size_t secondary_count;
    int32_t procedures[PROCEDURE_LIMIT]; /* with the principal diagnosis they decide the base DRG */
    size_t procedure_count;
    bool female;
    int age, days;
};

/* Draws everything but the ids, the age and the sex, which are the patient's and set before. `cumulative` [profiles]:
 * how likely each DRG is. */
void synthetic_stay_draw(struct synthetic_stay *stay, const struct knowledge *knowledge, const double *cumulative,
                         struct rng *rng);

/* The severity that the codes give: MCC over CC over none, exclusions applied. */
enum cc_level synthetic_stay_level(const struct knowledge *knowledge, const struct synthetic_stay *stay);

/* Whether a DRG of this severity may have a stay of this level. */
bool severity_admits(enum drg_severity severity, enum cc_level level);

#endif
