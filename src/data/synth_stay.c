/* Drawing a synthetic stay: see synth_stay.h. */
#include "data/synth_stay.h"
#include "base/error.h"
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
    const int base = stay->profile->drg->base;
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

/* Whether the patient can have the code, does not have it yet, and keeps the base DRG with it. */
static bool may_have(const struct synthetic_stay *stay, const struct knowledge *knowledge, int32_t code) {
    const enum code_sex sex = knowledge->diagnoses[code].sex;
    return (sex == SEX_ANY || (sex == SEX_FEMALE) == stay->female) && !has_secondary(stay, code) &&
           !knowledge_moves(knowledge, stay->profile->drg, stay->principal, stay->secondary, stay->secondary_count,
                            code);
}

/* One code that gives the stay the level it still lacks: from the DRG's own list if it has one, else from the common
 * ones. */
static void add_deciding(struct synthetic_stay *stay, const struct knowledge *knowledge, struct rng *rng) {
    const struct code_list *own = &stay->profile->secondary;
    const struct drg *drg = stay->profile->drg;
    for (int attempt = 0; attempt < 400; attempt++) {
        const struct code_list *list = attempt < 200 && own->count > 0 ? own : &knowledge->serious;
        const int32_t code = list->index[rng_pick(rng, list->cumulative, list->count)];
        const enum cc_level level = knowledge_level(knowledge, code, stay->principal, drg->base);
        if (level == LEVEL_NONE || !severity_admits(drg->severity, level) || !may_have(stay, knowledge, code)) continue;
        if (knowledge->diagnoses[code].kind == KIND_SILENT) continue;
        add_secondary(stay, code);
        return;
    }
}

/* A secondary diagnosis without which the pair of principal diagnosis and procedures would lead to another base; false
 * when none can be had without raising the severity. */
static bool add_needed(struct synthetic_stay *stay, const struct knowledge *knowledge, struct rng *rng) {
    const struct drg *drg = stay->profile->drg;
    const enum cc_level highest = highest_allowed(drg->severity);
    size_t at = 0;
    for (const char *list; (list = knowledge_needed(knowledge, drg, stay->principal, &at)) != NULL;) {
        const size_t start = rng_below(rng, knowledge->diagnosis_count), before = stay->secondary_count;
        for (size_t i = 0; i < knowledge->diagnosis_count && stay->secondary_count == before; i++) {
            const int32_t code = (int32_t)((start + i) % knowledge->diagnosis_count);
            if (code_begins(list, knowledge->diagnoses[code].code) && may_have(stay, knowledge, code) &&
                knowledge_level(knowledge, code, stay->principal, drg->base) <= highest)
                add_secondary(stay, code);
        }
        if (stay->secondary_count == before) return false;
    }
    return true;
}

/* Each code of the list by its own chance; what would raise the severity too high is left out. */
static void draw_secondary(struct synthetic_stay *stay, const struct knowledge *knowledge, struct rng *rng) {
    enum { USUAL = 7 };
    const struct drg *drg = stay->profile->drg;
    const struct code_list *list = &stay->profile->secondary;
    const enum cc_level highest = highest_allowed(drg->severity);
    const size_t start = list->count > 0 ? rng_below(rng, list->count) : 0;
    for (size_t i = 0; i < list->count && stay->secondary_count < USUAL; i++) {
        const size_t place = (start + i) % list->count;
        const double chance = list->weight[place] / 1000;
        if (rng_uniform(rng) >= (chance > 0.9 ? 0.9 : chance)) continue;
        const int32_t code = list->index[place];
        if (!may_have(stay, knowledge, code) || knowledge_level(knowledge, code, stay->principal, drg->base) > highest)
            continue;
        add_secondary(stay, code);
    }
    if (!severity_admits(drg->severity, synthetic_stay_level(knowledge, stay))) add_deciding(stay, knowledge, rng);
}

/* A principal diagnosis with its procedures, as claims pair them; of a pair that is for the other sex only, another. */
static void draw_pair(struct synthetic_stay *stay, const struct knowledge *knowledge, struct rng *rng) {
    enum { ATTEMPTS = 60 };
    const struct code_list *pairs = &stay->profile->pairs;
    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        const struct principal_pair *pair =
            &knowledge->pairs[pairs->index[rng_pick(rng, pairs->cumulative, pairs->count)]];
        if (pair->sex != SEX_ANY && (pair->sex == SEX_FEMALE) != stay->female && attempt + 1 < ATTEMPTS) continue;
        stay->principal = pair->principal;
        stay->procedure_count = pair->procedure_count;
        for (size_t i = 0; i < pair->procedure_count; i++) stay->procedures[i] = pair->procedures[i];
        return;
    }
}

/* Whether a patient of this kind can have the DRG: MDC 12 is male, 13 female, 14 obstetric. */
static bool kind_admits(enum patient_kind kind, const struct drg *drg) {
    const char *mdc = drg->mdc;
    if (mdc[0] == '1' && mdc[1] == '4') return kind == PATIENT_OBSTETRIC;
    if (mdc[0] == '1' && mdc[1] == '2') return kind == PATIENT_MALE;
    if (mdc[0] == '1' && mdc[1] == '3') return kind == PATIENT_FEMALE;
    return kind != PATIENT_OBSTETRIC;
}

/* A DRG that only one sex can have is met by half of the patients: it counts twice. */
bool profile_weights_make(struct profile_weights *weights, const struct knowledge *knowledge, double temper,
                          struct error *error) {
    double sums[PATIENT_KINDS] = {0};
    *weights = (struct profile_weights){.obstetric = 0};
    for (int kind = 0; kind <= PATIENT_OBSTETRIC; kind++) {
        weights->cumulative[kind] = memory_alloc(knowledge->profile_count, sizeof *weights->cumulative[kind]);
        if (weights->cumulative[kind] == NULL) {
            profile_weights_free(weights);
            return memory_error(error, knowledge->profile_count * sizeof(double), "the DRGs' weights");
        }
        for (size_t i = 0; i < knowledge->profile_count; i++) {
            const struct drg_profile *profile = &knowledge->profiles[i];
            const char *mdc = profile->drg->mdc;
            const bool one_sex = mdc[0] == '1' && (mdc[1] == '2' || mdc[1] == '3');
            if (profile->claims > 0 && kind_admits((enum patient_kind)kind, profile->drg))
                sums[kind] += pow(profile->claims, temper) * (one_sex ? 2 : 1);
            weights->cumulative[kind][i] = sums[kind];
        }
    }
    const double general = (sums[PATIENT_MALE] + sums[PATIENT_FEMALE]) / 2;
    weights->obstetric = sums[PATIENT_OBSTETRIC] / (general + sums[PATIENT_OBSTETRIC]);
    return true;
}

void profile_weights_free(struct profile_weights *weights) {
    for (int kind = 0; kind < PATIENT_KINDS; kind++) memory_free(weights->cumulative[kind]);
    *weights = (struct profile_weights){.obstetric = 0};
}

void synthetic_stay_draw_days(struct synthetic_stay *stay, struct rng *rng) {
    const double days = stay->profile->drg->gmlos * exp(0.5 * rng_normal(rng));
    stay->days = days < 1 ? 1 : days > 90 ? 90 : (int)(days + 0.5);
}

void synthetic_stay_draw_procedure_days(struct synthetic_stay *stay, struct rng *rng) {
    const int latest = stay->days < 6 ? stay->days : 6;
    for (size_t i = 0; i < stay->procedure_count; i++)
        stay->procedure_days[i] = stay->admission.elective && i == 0 ? 0 : (int)rng_below(rng, (uint64_t)latest);
}

void synthetic_stay_draw(struct synthetic_stay *stay, const struct knowledge *knowledge,
                         const struct profile_weights *weights, enum patient_kind kind, struct rng *rng) {
    stay->profile = &knowledge->profiles[rng_pick(rng, weights->cumulative[kind], knowledge->profile_count)];
    /* A few principal diagnoses leave no code that could count beside them: another one is drawn then. */
    for (int attempt = 0; attempt < 50; attempt++) {
        stay->secondary_count = 0;
        draw_pair(stay, knowledge, rng);
        const bool complete = add_needed(stay, knowledge, rng);
        draw_secondary(stay, knowledge, rng);
        if (complete && severity_admits(stay->profile->drg->severity, synthetic_stay_level(knowledge, stay))) break;
    }
    synthetic_stay_draw_days(stay, rng);
}

/* MCCs that count as such only when the patient leaves alive (Definitions Manual, appendix C, part 3), and those near
 * them. */
static bool counts_alive_only(const char *code) {
    return code_begins("I46,I4901,I4902,P2912,P2919,R092,R57,R6521,T794,T811", code);
}

struct discharge_rules synthetic_stay_rules(const struct knowledge *knowledge, const struct synthetic_stay *stay) {
    const struct drg *drg = stay->profile->drg;
    const int code = drg->code;
    const char *principal = knowledge->diagnoses[stay->principal].code;
    struct discharge_rules rules = {.only = DESTINATIONS, .death = 0.03};
    const int mdc = drg->mdc[0] >= '0' && drg->mdc[0] <= '9' ? (drg->mdc[0] - '0') * 10 + drg->mdc[1] - '0' : 0;
    bool alive_only = false, infarction = code_begins("I21,I22", principal);
    for (size_t i = 0; i < stay->secondary_count; i++) {
        const char *secondary = knowledge->diagnoses[stay->secondary[i]].code;
        alive_only = alive_only || counts_alive_only(secondary);
        infarction = infarction || code_begins("I21,I22", secondary);
    }
    if (code >= 283 && code <= 285) rules.only = TO_DIED;
    if (code == 894) rules.only = TO_AGAINST_ADVICE;
    if (code == 789) rules.only = TO_ACUTE;
    rules.psychiatric = mdc == 19 || mdc == 20;
    rules.may_leave_against = mdc != 20 && mdc != 14 && mdc != 15;
    rules.may_die = !alive_only && !(infarction && mdc == 5) && !rules.psychiatric && mdc != 14 && mdc != 15 &&
                    mdc != 23 && !code_begins("I21,I22,Z", principal);
    if (synthetic_stay_level(knowledge, stay) == LEVEL_MCC) rules.death = 0.14;
    return rules;
}
