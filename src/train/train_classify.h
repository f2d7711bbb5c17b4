/* Training a classifier of notes: cross-entropy over the DRGs of a cohort, all weights or LoRA. */
#ifndef CASEMIX_TRAIN_TRAIN_CLASSIFY_H
#define CASEMIX_TRAIN_TRAIN_CLASSIFY_H

#include "base/text.h"
#include "tensor/compute.h"
#include "train/recipe.h"
#include <stdbool.h>
#include <stdint.h>

struct error;

struct train_settings {
    const struct recipe *recipe;
    const struct text *recipe_text; /* as run, overrides applied */
    const char *recipe_name;
    const char *data;      /* directory with train.jsonl, dev.jsonl and labels.tsv */
    const char *model;     /* Hugging Face directory to start from; NULL: the recipe's model section */
    const char *tokenizer; /* directory with tokenizer.json; NULL: the model's */
    const char *out;       /* run directory */
    bool resume;
    bool plan;                 /* print what the run needs and stop */
    enum compute_type compute; /* int8: frozen weights in eight bits */
    const char *int8_cache;    /* as in model/quantise.h; NULL: none */
    int64_t stop_after;        /* updates in all after which to stop as on SIGTERM; 0: never */
};

/* Runs to the end, or stops early with an error that says how to resume. */
bool train_classify(const struct train_settings *settings, struct error *error);

#endif
