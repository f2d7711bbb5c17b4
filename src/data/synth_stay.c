/* Drawing a synthetic stay: see synth_stay.h. */
#include "data/synth_stay.h"
#include <math.h>
#include <string.h>

bool severity_admits(enum drg_severity severity, enum cc_level level) {
    switch (severity) {
    case SEVERITY_MCC:
        return level == LEVEL_MCC;
    case SEVERITY_CC:
        return level == LEVEL_CC;
    case SEVERITY_NONE:
        return level == LEVEL_NONE;
    case SEVERITY_WITHOUT_MCC:
        return level != LEVEL_MCC;
    case SEVERITY_CC_MCC:
        return level != LEVEL_NONE;
    case SEVERITY_ANY:
        break;
    }
    return true;
}

enum cc_level synthetic_stay_level(const struct knowledge *knowledge, const struct synthetic_stay *stay) {
    const int base = knowledge->profiles[stay->profile].drg->base;
    enum cc_level highest = LEVEL_NONE;
    for (size_t i = 0; i < stay->secondary_count; i++) {
        const enum cc_level level = knowledge_level(knowledge, stay->secondary[i], stay->principal, base);
        if (level > highest) highest = level;
    }
    return highest;
}

static bool has_secondary(const struct synthetic_stay *stay, int32_t code) {
    for (size_t i = 0; i < stay->secondary_count; i++) {
        if (stay->secondary[i] == code) return true;
    }
    return code == stay->principal;
}

/* The highest level that a secondary diagnosis of this DRG may have. */
static enum cc_level highest_allowed(enum drg_severity severity) {
    switch (severity) {
    case SEVERITY_NONE:
        return LEVEL_NONE;
    case SEVERITY_CC:
    case SEVERITY_WITHOUT_MCC:
        return LEVEL_CC;
    case SEVERITY_MCC:
    case SEVERITY_CC_MCC:
    case SEVERITY_ANY:
        break;
    }
    return LEVEL_MCC;
}

static void add_secondary(struct synthetic_stay *stay, int32_t code) {
    if (stay->secondary_count < SECONDARY_LIMIT) stay->secondary[stay->secondary_count++] = code;
}

/* One code that gives the stay the level it still lacks: from the DRG's own list if it has one, else from the common
 * ones. */
static void add_deciding(struct synthetic_stay *stay, const struct knowledge *knowledge,
                         const struct drg_profile *profile, struct rng *rng) {
    const struct code_list *own = &profile->secondary;
    const enum drg_severity severity = profile->drg->severity;
    for (int attempt = 0; attempt < 400; attempt++) {
        const struct code_list *list = attempt < 200 && own->count > 0 ? own : &knowledge->serious;
        const int32_t code = list->index[rng_pick(rng, list->cumulative, list->count)];
        const enum cc_level level = knowledge_level(knowledge, code, stay->principal, profile->drg->base);
        if (level == LEVEL_NONE || !severity_admits(severity, level) || has_secondary(stay, code)) continue;
        if (knowledge->diagnoses[code].kind == KIND_SILENT) continue;
        add_secondary(stay, code);
        return;
    }
}

/* Each code of the list by its own chance; what would raise the severity too high is left out. */
static void draw_secondary(struct synthetic_stay *stay, const struct knowledge *knowledge,
                           const struct drg_profile *profile, struct rng *rng) {
    enum { USUAL = 7 };
    const struct code_list *list = &profile->secondary;
    const enum cc_level highest = highest_allowed(profile->drg->severity);
    const size_t start = list->count > 0 ? rng_below(rng, list->count) : 0;
    for (size_t i = 0; i < list->count && stay->secondary_count < USUAL; i++) {
        const size_t place = (start + i) % list->count;
        const double chance = list->weight[place] / 1000;
        if (rng_uniform(rng) >= (chance > 0.9 ? 0.9 : chance)) continue;
        const int32_t code = list->index[place];
        if (has_secondary(stay, code) ||
            knowledge_level(knowledge, code, stay->principal, profile->drg->base) > highest)
            continue;
        add_secondary(stay, code);
    }
    if (!severity_admits(profile->drg->severity, synthetic_stay_level(knowledge, stay))) {
        add_deciding(stay, knowledge, profile, rng);
    }
}

/* A principal diagnosis with its procedures, as claims pair them. */
static void draw_pair(struct synthetic_stay *stay, const struct knowledge *knowledge, const struct drg_profile *profile,
                      struct rng *rng) {
    const struct principal_pair *pair =
        &knowledge->pairs[profile->pairs.index[rng_pick(rng, profile->pairs.cumulative, profile->pairs.count)]];
    stay->principal = pair->principal;
    stay->procedure_count = pair->procedure_count;
    for (size_t i = 0; i < pair->procedure_count; i++) stay->procedures[i] = pair->procedures[i];
}

/* Whether the patient's sex rules the DRG out: MDC 12 is male, 13 and 14 are female. */
static bool sex_conflicts(const struct drg *drg, bool female) {
    if (drg->mdc[0] != '1') return false;
    return female ? drg->mdc[1] == '2' : drg->mdc[1] == '3' || drg->mdc[1] == '4';
}

static int32_t draw_profile(const struct knowledge *knowledge, const double *cumulative, bool female, struct rng *rng) {
    for (;;) {
        const size_t profile = rng_pick(rng, cumulative, knowledge->profile_count);
        if (!sex_conflicts(knowledge->profiles[profile].drg, female)) return (int32_t)profile;
    }
}

void synthetic_stay_draw(struct synthetic_stay *stay, const struct knowledge *knowledge, const double *cumulative,
                         struct rng *rng) {
    stay->profile = draw_profile(knowledge, cumulative, stay->female, rng);
    const struct drg_profile *profile = &knowledge->profiles[stay->profile];
    /* A few principal diagnoses leave no code that could count beside them: another one is drawn then. */
    for (int attempt = 0; attempt < 50; attempt++) {
        stay->secondary_count = 0;
        draw_pair(stay, knowledge, profile, rng);
        draw_secondary(stay, knowledge, profile, rng);
        if (severity_admits(profile->drg->severity, synthetic_stay_level(knowledge, stay))) break;
    }
    const double days = profile->drg->gmlos * exp(0.5 * rng_normal(rng));
    stay->days = days < 1 ? 1 : days > 90 ? 90 : (int)(days + 0.5);
    if (strcmp(profile->drg->mdc, "14") == 0) stay->age = 19 + stay->age % 24; /* obstetrics */
}
