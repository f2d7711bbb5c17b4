/* Models by the name under which they are shipped. */
#ifndef CASEMIX_CLI_SHIPPED_MODELS_H
#define CASEMIX_CLI_SHIPPED_MODELS_H

/* The model that is taken when none is named: its directory, or the name itself where it is not to be found. Lives as
 * long as the process. */
const char *shipped_model_default(void);

/* Puts the directory of a shipped model in place of each `--model NAME`, NAME or models/NAME, unless there is such a
 * directory here: for every command at once. */
void shipped_models_resolve(int argc, char **argv);

#endif
