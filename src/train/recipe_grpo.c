/* Sections of recipes with method grpo: fields, and what values they may have. */
#include "train/recipe_grpo.h"
#include "base/error.h"
#include "train/recipe_lm_schema.h"

enum { PATH = 1024 };

static const cyaml_strval_t losses[] = {
    {"grpo", GRPO_LOSS_GRPO}, {"bnpo", GRPO_LOSS_BNPO}, {"dr_grpo", GRPO_LOSS_DR_GRPO}, {"dapo", GRPO_LOSS_DAPO}};
static const cyaml_strval_t advantages[] = {
    {"group", ADVANTAGE_GROUP}, {"batch", ADVANTAGE_BATCH}, {"none", ADVANTAGE_NONE}};
static const cyaml_strval_t ratios[] = {{"token", GRPO_LEVEL_TOKEN}, {"sequence", GRPO_LEVEL_SEQUENCE}};
static const cyaml_strval_t beta_schedules[] = {{"constant", BETA_CONSTANT}, {"cosine", BETA_COSINE}};
static const cyaml_strval_t references[] = {{"start", REFERENCE_START}, {"base", REFERENCE_BASE}};
static const cyaml_strval_t resamplings[] = {
    {"none", RESAMPLING_NONE}, {"neutral", RESAMPLING_NEUTRAL}, {"positive", RESAMPLING_POSITIVE}};
static const cyaml_strval_t removes[] = {
    {"none", REMOVE_NONE}, {"easy", REMOVE_EASY}, {"hard", REMOVE_HARD}, {"both", REMOVE_BOTH}};
static const cyaml_strval_t orders[] = {{"shuffled", ORDER_SHUFFLED}, {"easy_first", ORDER_EASY_FIRST}};
static const cyaml_strval_t kinds[] = {
    {"dense", CHOICE_DENSE}, {"balanced", CHOICE_BALANCED}, {"strict", CHOICE_STRICT}, {"custom", CHOICE_CUSTOM}};

/* OPTIONAL: a key that is left out is 0, which switches it off or is its first value. */
#define INTEGER(name) CYAML_FIELD_INT(#name, CYAML_FLAG_OPTIONAL, struct recipe_grpo, name)
#define REAL(name) CYAML_FIELD_FLOAT(#name, CYAML_FLAG_OPTIONAL, struct recipe_grpo, name)
#define FLAG(name) CYAML_FIELD_BOOL(#name, CYAML_FLAG_OPTIONAL, struct recipe_grpo, name)
#define CHOICE(name, values)                                                                           \
    CYAML_FIELD_ENUM(#name, CYAML_FLAG_OPTIONAL | CYAML_FLAG_STRICT, struct recipe_grpo, name, values, \
                     CYAML_ARRAY_LEN(values))
#define PATH_TEXT(name) \
    CYAML_FIELD_STRING_PTR(#name, CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct recipe_grpo, name, 1, PATH)
#define REWARD_REAL(name) CYAML_FIELD_FLOAT(#name, CYAML_FLAG_OPTIONAL, struct recipe_reward, name)
#define REWARD_INTEGER(name) CYAML_FIELD_INT(#name, CYAML_FLAG_OPTIONAL, struct recipe_reward, name)

static const cyaml_schema_value_t temperature_value = {CYAML_VALUE_FLOAT(CYAML_FLAG_DEFAULT, double)};

const cyaml_schema_field_t recipe_grpo_fields[] = {
    PATH_TEXT(prompt),
    INTEGER(group),
    INTEGER(max_tokens),
    REAL(temperature),
    INTEGER(parallel),
    FLAG(answer_trie),
    INTEGER(updates),
    CHOICE(loss, losses),
    CHOICE(advantage, advantages),
    CHOICE(ratio, ratios),
    REAL(epsilon_low),
    REAL(epsilon_high),
    INTEGER(loss_length),
    REAL(beta),
    CHOICE(beta_schedule, beta_schedules),
    CHOICE(reference, references),
    FLAG(mask_truncated),
    CHOICE(resampling, resamplings),
    INTEGER(resampling_tries),
    CYAML_FIELD_SEQUENCE("resampling_temperatures", CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, struct recipe_grpo,
                         resampling_temperatures, &temperature_value, 0, RESAMPLING_TEMPERATURES),
    PATH_TEXT(curriculum),
    CHOICE(remove, removes),
    CHOICE(order, orders),
    INTEGER(stays),
    INTEGER(sample_every),
    INTEGER(eval_stays),
    INTEGER(eval_samples),
    REAL(eval_temperature),
    REAL(eval_top_p),
    CYAML_FIELD_END,
};

const cyaml_schema_field_t recipe_reward_fields[] = {
    CYAML_FIELD_ENUM("kind", CYAML_FLAG_STRICT, struct recipe_reward, kind, kinds, CYAML_ARRAY_LEN(kinds)),
    CYAML_FIELD_BOOL("compat", CYAML_FLAG_OPTIONAL, struct recipe_reward, compat),
    REWARD_REAL(accuracy),
    REWARD_REAL(format),
    REWARD_REAL(length),
    REWARD_INTEGER(length_soft),
    REWARD_REAL(repetition),
    REWARD_INTEGER(repetition_ngram),
    REWARD_REAL(cot_first),
    REWARD_INTEGER(cot_first_tokens),
    REWARD_REAL(full),
    REWARD_REAL(base),
    REWARD_REAL(severity),
    REWARD_REAL(neither),
    REWARD_REAL(invalid),
    REWARD_REAL(no_format),
    CYAML_FIELD_END,
};

static bool in_range(const char *name, double value, double low, double high, struct error *error) {
    return (value >= low && value <= high) || error_set(error, "%s is %g, expected %g to %g", name, value, low, high);
}

static bool check_resampling(const struct recipe_grpo *g, struct error *error) {
    const double low = 0.01, high = 10;
    bool done = in_range("grpo.resampling_tries", (double)g->resampling_tries, g->resampling == RESAMPLING_NONE ? 0 : 1,
                         12, error);
    for (unsigned i = 0; done && i < g->resampling_temperatures_count; i++)
        done = in_range("grpo.resampling_temperatures", g->resampling_temperatures[i], low, high, error);
    if (done && g->resampling == RESAMPLING_NONE && g->resampling_tries > 0)
        return error_set(error, "grpo.resampling_tries goes with grpo.resampling neutral or positive");
    return done;
}

static bool check_curriculum(const struct recipe_grpo *g, struct error *error) {
    if (g->curriculum != NULL || (g->remove == REMOVE_NONE && g->order == ORDER_SHUFFLED)) return true;
    error_set(error, "grpo.remove and grpo.order easy_first need grpo.curriculum");
    return error_hint(error, "name the directory of an earlier run: its rollouts.jsonl says what was easy and hard");
}

static bool check_reward(const struct recipe_reward *r, const struct recipe_grpo *g, struct error *error) {
    const double most = 1e3;
    if (r->kind != CHOICE_CUSTOM && (r->full < 0 || r->full > 0 || r->no_format < 0 || r->no_format > 0))
        return error_set(error, "reward.full to reward.no_format go with reward.kind custom");
    if (r->compat && r->kind == CHOICE_CUSTOM) return error_set(error, "reward.compat goes with a published kind");
    return in_range("reward.accuracy", r->accuracy, 0, most, error) &&
           in_range("reward.format", r->format, 0, most, error) &&
           in_range("reward.length", r->length, 0, most, error) &&
           in_range("reward.length_soft", (double)r->length_soft, r->length > 0 ? 1 : 0, (double)g->max_tokens,
                    error) &&
           in_range("reward.repetition", r->repetition, 0, most, error) &&
           in_range("reward.repetition_ngram", (double)r->repetition_ngram, r->repetition > 0 ? 1 : 0, 1024, error) &&
           in_range("reward.cot_first", r->cot_first, 0, most, error) &&
           in_range("reward.cot_first_tokens", (double)r->cot_first_tokens, r->cot_first > 0 ? 1 : 0, 1 << 20, error) &&
           (r->accuracy > 0 || r->format > 0 || r->length > 0 || r->repetition > 0 ||
            error_set(error, "every term of \"reward\" has weight 0"));
}

bool recipe_check_grpo(const struct recipe_grpo *g, const struct recipe_reward *reward, struct error *error) {
    const double many = 1 << 24;
    return in_range("grpo.group", (double)g->group, 2, 1024, error) &&
           in_range("grpo.max_tokens", (double)g->max_tokens, 1, many, error) &&
           in_range("grpo.temperature", g->temperature, 0.01, 10, error) &&
           in_range("grpo.parallel", (double)g->parallel,
                    (double)(g->group > g->eval_samples ? g->group : g->eval_samples), 1 << 16, error) &&
           in_range("grpo.updates", (double)g->updates, 1, 64, error) &&
           in_range("grpo.epsilon_low", g->epsilon_low, 0, 1, error) &&
           in_range("grpo.epsilon_high", g->epsilon_high, 0, 1e6, error) &&
           in_range("grpo.loss_length", (double)g->loss_length, 0, many, error) &&
           in_range("grpo.beta", g->beta, 0, 1e3, error) && check_resampling(g, error) && check_curriculum(g, error) &&
           in_range("grpo.stays", (double)g->stays, 0, 1e9, error) &&
           in_range("grpo.sample_every", (double)g->sample_every, 0, 1e9, error) &&
           in_range("grpo.eval_stays", (double)g->eval_stays, 1, 1e9, error) &&
           in_range("grpo.eval_samples", (double)g->eval_samples, 1, 1024, error) &&
           in_range("grpo.eval_temperature", g->eval_temperature, 0, 10, error) &&
           in_range("grpo.eval_top_p", g->eval_top_p, 0.01, 1, error) && check_reward(reward, g, error);
}

struct reward_pay recipe_reward_pay(const struct recipe_reward *r) {
    if (r->kind != CHOICE_CUSTOM) return *reward_pay_of((enum reward_kind)r->kind);
    return (struct reward_pay){.full = r->full,
                               .base = r->base,
                               .severity = r->severity,
                               .neither = r->neither,
                               .invalid = r->invalid,
                               .no_format = r->no_format};
}
