/* What a run of training holds while it is under way; shared by the loop and by the files that prepare and record it.
 */
#ifndef CASEMIX_TRAIN_TRAINING_H
#define CASEMIX_TRAIN_TRAINING_H

#include "data/dataset.h"
#include "model/network.h"
#include "model/text_reader.h"
#include "train/encoded.h"
#include "train/objective.h"
#include "train/optimizer.h"
#include "train/schedule.h"
#include "train/train_classify.h"

struct training {
    const struct train_settings *settings;
    const struct recipe_train *train;
    struct tokenizer *tokenizer;
    const char *tokenizer_directory;
    struct words *words;       /* of CAML, instead of a tokenizer */
    struct text_reader reader; /* over either of them */
    struct labels labels;
    struct encoded data, dev;
    struct objective objective;
    enum network_family family; /* of what is trained */
    struct decoder decoder;     /* one of these three is what is trained… */
    struct encoder encoder;
    struct caml caml;
    struct network network; /* …through this */
    struct lora_settings lora;
    struct adamw optimizer;
    struct schedule schedule;
    struct run_plan plan;
    struct network_run *run;               /* forward and backward of a micro-batch, and forward of dev */
    int64_t micro_tokens, micro_sequences; /* the largest micro-batch */
    int64_t steps_per_epoch, steps;
    uint32_t *order;                          /* of the current epoch */
    int64_t order_epoch;                      /* -1: none shuffled yet */
    int32_t *tokens, *offsets, *micro_labels; /* one micro-batch */
    float *logits, *losses;
    uint64_t fingerprint; /* of recipe, data and the model that is started from */
};

/* Opens data, tokenizer and model, and makes room for everything. Release with training_close, also after a failure. */
bool training_open(struct training *training, const struct train_settings *settings, struct error *error);
void training_close(struct training *training);

/* Plans the memory of the run: layers keep their activations as far as settings->memory, or what is free, allows. A run
 * that cannot fit is refused. After model and data are open, before anything else is allocated. */
bool training_plan_memory(struct training *training, struct error *error);

/* Prints what the run will need: parameters, memory, steps. */
void training_print_plan(const struct training *training);

/* Puts what stands in a run directory from the start beside the recipe: tokenizer, config.json and casemix.json. */
bool training_write_files(const struct training *training, struct error *error);

/* The model as it now stands becomes the run's: model.safetensors, or the adapter's files. */
bool training_save_model(const struct training *training, struct error *error);

#endif
