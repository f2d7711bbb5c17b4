/* What the ways of `casemix rationales` share: its options, and what each way is given. */
#ifndef CASEMIX_CLI_RATIONALES_H
#define CASEMIX_CLI_RATIONALES_H

#include "data/dataset.h"
#include "data/rationale_log.h"
#include "generate/sampler.h"
#include "tensor/compute.h"

struct rationales_options {
    const char *data, *out, *codes, *knowledge;        /* from codes */
    const char *model, *adapter, *prompt, *int8_cache; /* from a model */
    struct sampling sampling;
    int64_t max_tokens, batch, limit, seed;
    enum grouper grouper;
    enum compute_type compute;
    bool titles, differential, reject, grouper_given, help;
};

/* Rationales from what a model writes, for the stays that the log does not have yet. */
bool rationales_ask(const struct rationales_options *options, const struct dataset *dataset, struct rationale_log *log,
                    struct error *error);

#endif
