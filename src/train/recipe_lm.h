/* Sections of a recipe that trains a model to write: what methods sft and dpo are told beside `train`. */
#ifndef CASEMIX_TRAIN_RECIPE_LM_H
#define CASEMIX_TRAIN_RECIPE_LM_H

#include <stdbool.h>
#include <stdint.h>

struct error;

enum loss_on { LOSS_ON_COMPLETION, LOSS_ON_ALL };

/* Supervised fine-tuning. */
struct recipe_sft {
    enum loss_on loss_on;
    char *prompt; /* of stays: a built-in prompt or a file (drg/prompt.h); NULL: "answer" */
    char
        *rationales; /* file of `casemix rationales`, within the data directory unless it begins with '/'; NULL: none */
    bool knowledge;  /* the titles of all DRGs, and of each MDC, are examples too */
};

/* Direct preference optimization. */
struct recipe_dpo {
    double beta;
    char *prompt; /* as in struct recipe_sft */
};

bool recipe_check_sft(const struct recipe_sft *sft, struct error *error);
bool recipe_check_dpo(const struct recipe_dpo *dpo, struct error *error);

#endif
