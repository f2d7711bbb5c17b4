/* Supervised training of a model that writes: fine-tuning on prompts with their completions (method sft), and
 * pre-training on plain text (method lm).
 *
 * The loss is the mean of -log p over the predicted tokens of an update, all of equal weight whatever micro-batches
 * they lie in: those of the completions and the token that ends each (loss_on: completion), or all but the first of a
 * sequence (loss_on: all). Examples lie end to end in a micro-batch and do not see each other. */
#ifndef CASEMIX_TRAIN_TRAIN_SFT_H
#define CASEMIX_TRAIN_TRAIN_SFT_H

#include "train/train_classify.h"

/* Methods sft and lm, as the recipe says. */
bool train_sft(const struct train_settings *settings, struct error *error);

#endif
