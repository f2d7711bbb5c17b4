/* Recipes: what to train and how, as YAML. A recipe holds every setting, so that the file is the record of the
 * experiment. */
#ifndef CASEMIX_TRAIN_RECIPE_H
#define CASEMIX_TRAIN_RECIPE_H

#include "base/text.h"
#include "model/decoder.h"
#include "model/text_window.h"
#include "train/optimizer.h"
#include "train/recipe_grpo.h"
#include "train/recipe_lm.h"
#include "train/schedule.h"
#include <stdbool.h>
#include <stdint.h>

struct error;

enum method {
    METHOD_CLASSIFY,
    METHOD_TWO_LABEL,
    METHOD_TOKENIZER,
    METHOD_BERT,
    METHOD_CAML,
    METHOD_LINEAR,
    METHOD_LM,
    METHOD_SFT,
    METHOD_DPO,
    METHOD_GRPO
};

/* What a loss makes of classes of which there are few and many (train/objective.h). */
enum loss_kind { LOSS_CROSS_ENTROPY, LOSS_CLASS_BALANCED, LOSS_LOGIT_ADJUSTED };

/* What a classifier is trained for. Pointers are NULL where the recipe says nothing: recipe_objective fills them in. */
struct recipe_objective {
    enum loss_kind loss;
    double *beta;      /* class_balanced: of the effective number of stays, (1 - beta^n) / (1 - beta) */
    double *tau;       /* logit_adjusted: logits + tau log(share of the class in training) */
    double *cc_weight; /* two_label: of the severity's cross-entropy beside the base's */
    double label_smoothing;
};

/* The same with its defaults. */
struct objective_settings {
    enum loss_kind loss;
    double beta, tau, cc_weight, label_smoothing;
};

/* A model to be made from scratch. */
struct recipe_model {
    char *architecture; /* "qwen2" or "llama" */
    int64_t layers, width, heads, kv_heads, head_size, ffn_width, positions;
    double rope_theta, norm_eps;
};

/* A BERT to be made from scratch. */
struct recipe_bert {
    int64_t layers, width, heads, ffn_width, positions;
    double dropout; /* everywhere that BERT has one */
    double norm_eps;
};

struct recipe_caml {
    int64_t embed_size, filter_maps, kernel_size;
    double dropout;        /* on the embeddings */
    int64_t minimum_count; /* a word that the training texts hold less often is unknown */
};

struct recipe_linear {
    int64_t pair_buckets;  /* that pairs of neighbouring words are hashed into; 0: words alone */
    int64_t minimum_count; /* a word that the training texts hold less often is unknown */
};

struct recipe_lora {
    int64_t rank;
    double alpha, dropout;
    bool rank_stable;
    char **targets;
    unsigned targets_count;
};

struct recipe_train {
    double epochs;
    int64_t batch_size;         /* sequences that one update sees */
    int64_t micro_batch_tokens; /* tokens that go through the model at once */
    int64_t max_tokens;         /* of a text; the rest is cut off */
    enum truncation truncate;   /* which rest */
    double *head_share;         /* of truncate head_tail; NULL: a half */
    bool whole_note;            /* texts are whole notes: `predict` reads them so, not the hospital course alone */
    double learning_rate;
    enum schedule_kind schedule;
    double min_learning_rate_ratio; /* cosine */
    double warmup_share;            /* of all steps */
    double weight_decay, beta1, beta2, epsilon;
    double max_grad_norm;
    int64_t eval_every, save_every, log_every; /* steps */
    int64_t patience;                          /* evaluations without a better dev loss before stopping; 0: never */
    enum dtype save_dtype;
};

struct recipe_tokenizer {
    int64_t vocabulary, minimum_count;
    char **special;
    unsigned special_count;
};

struct recipe {
    enum method method;
    int64_t seed;
    struct recipe_model *model;         /* NULL: the model is opened */
    struct recipe_bert *bert;           /* the same for method bert */
    struct recipe_caml *caml;           /* method caml */
    struct recipe_linear *linear;       /* method linear */
    struct recipe_lora *lora;           /* NULL: all weights are trained */
    struct recipe_objective *objective; /* NULL: cross-entropy */
    struct recipe_train *train;
    struct recipe_tokenizer *tokenizer;
    struct recipe_sft *sft;       /* method sft; NULL: its defaults */
    struct recipe_dpo *dpo;       /* method dpo */
    struct recipe_grpo *grpo;     /* method grpo, with… */
    struct recipe_reward *reward; /* …what its completions are paid */
};

/* Reads a recipe, with overrides of the form "train.learning_rate=3e-4" applied to its text. *text receives the recipe
 * as it was parsed. Unknown keys, wrong types and values out of range are refused by name. Release with recipe_free. */
bool recipe_load(struct recipe **recipe, struct text *text, const char *path, const char *const *overrides,
                 size_t override_count, struct error *error);
void recipe_free(struct recipe *recipe);

/* beta 0.999, tau 1, cc_weight 0.5 (DRG-LLaMA's) where the recipe says nothing. */
struct objective_settings recipe_objective(const struct recipe *recipe);
struct text_window recipe_window(const struct recipe_train *train);

#endif
