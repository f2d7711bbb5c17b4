/* What a recipe trains: the decoder (method classify), BERT, CAML or the linear bag of words, with the way in which
 * each reads texts. */
#ifndef CASEMIX_TRAIN_TRAINABLE_H
#define CASEMIX_TRAIN_TRAINABLE_H

#include "train/training.h"
#include <stdbool.h>

struct error;

/* Opens the tokenizer, or learns the words of CAML and linear from the training texts, and fills training->reader. */
bool trainable_open_reader(struct training *training, struct error *error);

/* BERT, CAML or linear, made as the recipe says or opened, all of it trained, with a classifier of the run's labels;
 * fills training->network. (The decoder's own opening stands in training.c.) */
bool trainable_open_model(struct training *training, struct error *error);

/* Puts into the run directory what its texts are read by: the tokenizer's files, or words.txt. */
bool trainable_write_reader(const struct training *training, struct error *error);

void trainable_close(struct training *training);

#endif
