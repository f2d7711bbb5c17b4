/* Method dpo: a model that writes learns to prefer one completion of a prompt to another (Rafailov et al. 2023), from
 * lines {"prompt": …, "chosen": …, "rejected": …}. The reference is the model as it was started from. */
#ifndef CASEMIX_TRAIN_TRAIN_DPO_H
#define CASEMIX_TRAIN_TRAIN_DPO_H

#include "train/train_classify.h"

/* As train_classify. */
bool train_dpo(const struct train_settings *settings, struct error *error);

#endif
