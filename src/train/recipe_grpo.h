/* The sections "grpo" and "reward" of a recipe with method grpo. */
#ifndef CASEMIX_TRAIN_RECIPE_GRPO_H
#define CASEMIX_TRAIN_RECIPE_GRPO_H

#include "drg/reward.h"
#include "train/advantages.h"
#include "train/groups.h"
#include "train/grpo_loss.h"
#include "train/rollout_log.h"
#include <stdbool.h>
#include <stdint.h>

struct error;

enum beta_schedule { BETA_CONSTANT, BETA_COSINE };
enum reference_model {
    REFERENCE_START, /* the model as the run begins */
    REFERENCE_BASE   /* the base without any adapter */
};
enum stay_order { ORDER_SHUFFLED, ORDER_EASY_FIRST };

struct recipe_grpo {
    char *prompt;       /* a built-in prompt or a file (drg/prompt.h); NULL: "answer" */
    int64_t group;      /* completions of each prompt */
    int64_t max_tokens; /* of a completion */
    double temperature;
    int64_t parallel; /* completions that are sampled at once, at most */
    bool answer_trie; /* behind <answer> only titles that exist */
    int64_t updates;  /* of the weights for each batch of prompts; 1: strictly on-policy */
    enum grpo_loss_kind loss;
    enum advantage_scale advantage;
    enum grpo_level ratio;
    double epsilon_low, epsilon_high;
    int64_t loss_length; /* divisor of dr_grpo; 0: max_tokens */
    double beta;
    enum beta_schedule beta_schedule;
    enum reference_model reference;
    bool mask_truncated;
    enum resampling resampling;
    int64_t resampling_tries;
    double *resampling_temperatures;
    unsigned resampling_temperatures_count;
    char *curriculum; /* directory of an earlier run; NULL: none */
    enum curriculum_removes remove;
    enum stay_order order;
    int64_t stays;        /* of train.jsonl, its last ones; 0: all */
    int64_t sample_every; /* steps after which completions are kept in rollouts.jsonl; 0: never */
    int64_t eval_stays, eval_samples;
    double eval_temperature, eval_top_p;
};

enum reward_choice { CHOICE_DENSE, CHOICE_BALANCED, CHOICE_STRICT, CHOICE_CUSTOM };

struct recipe_reward {
    enum reward_choice kind;
    bool compat;
    double accuracy, format, length, repetition, cot_first; /* weights: see train/reward_terms.h */
    int64_t length_soft, repetition_ngram, cot_first_tokens;
    double full, base, severity, neither, invalid, no_format; /* of kind custom */
};

bool recipe_check_grpo(const struct recipe_grpo *grpo, const struct recipe_reward *reward, struct error *error);

/* What answers are worth by this section. */
struct reward_pay recipe_reward_pay(const struct recipe_reward *reward);

#endif
