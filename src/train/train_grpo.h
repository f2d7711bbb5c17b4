/* Reinforcement learning of a model that writes answers (method grpo): DRG-Sapphire (Wang et al. 2025) and its
 * ablations.
 *
 * A step samples a group of completions for each stay of its batch from the model as it stands, pays them by rules, and
 * moves the weights towards what was paid better than its group. Rollouts are a function of weights, seed and step, so
 * a resumed run is the run that was not stopped. */
#ifndef CASEMIX_TRAIN_TRAIN_GRPO_H
#define CASEMIX_TRAIN_TRAIN_GRPO_H

#include "train/train_classify.h"

bool train_grpo(const struct train_settings *settings, struct error *error);

#endif
