/* A decoder out of a run directory: a full model, or an adapter over the base that the run's card names. */
#ifndef CASEMIX_MODEL_RUN_DECODER_H
#define CASEMIX_MODEL_RUN_DECODER_H

#include "model/classifier.h"

struct error;

/* The weights of a run whose card is loaded. */
bool run_decoder_open(struct decoder *decoder, const struct run_card *card, const char *directory, struct error *error);

/* The same for any directory: a Hugging Face model, or a run of casemix. */
bool model_directory_open(struct decoder *decoder, const char *directory, struct error *error);

#endif
