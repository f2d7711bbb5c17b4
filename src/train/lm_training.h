/* What methods that train a model to write share beside the loop: the prompt and its encoder, the token that ends a
 * completion, and the examples of train.jsonl and dev.jsonl. */
#ifndef CASEMIX_TRAIN_LM_TRAINING_H
#define CASEMIX_TRAIN_LM_TRAINING_H

#include "train/example_lines.h"
#include "train/training.h"

/* The context of such a method, or the first member of it. Zero-initialise. */
struct lm_training {
    struct prompt prompt;
    struct prompt_encoder encoder; /* of the prompt, with the chat form and the end of a completion */
    struct examples data, dev;
};

/* Opens a prompt (NULL: the one that the run --model keeps, else "answer") and its encoder. In open_data: tokenizer and
 * model are open. */
bool lm_open_prompt(struct lm_training *lm, const struct training *training, const char *name, struct error *error);

/* Reads train.jsonl and dev.jsonl of the data directory, fills training->load but for `sequences` and `unit`, and says
 * what was cut or left out. The file's reader is set here. */
bool lm_open_examples(struct lm_training *lm, struct training *training, struct example_file *file,
                      struct error *error);

/* Keeps the prompt in the run directory. */
bool lm_prepare(const struct lm_training *lm, const struct training *training, struct error *error);

void lm_close(struct lm_training *lm);

#endif
