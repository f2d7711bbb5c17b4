/* What a run of method grpo holds beside the loop's own; shared by the method and by what it reports. */
#ifndef CASEMIX_TRAIN_GRPO_TRAINING_H
#define CASEMIX_TRAIN_GRPO_TRAINING_H

#include "generate/title_trie.h"
#include "train/grpo_update.h"
#include "train/lm_training.h"
#include "train/stay_prompts.h"

struct grpo {
    struct lm_training lm; /* prompt and encoder */
    const struct recipe_grpo *recipe;
    struct reward_settings rewards;
    struct group_settings sampling, dev_sampling;
    const struct catalog *catalog;
    struct title_trie trie;
    struct stay_prompts data, dev;
    struct generator *generator;
    struct group_stay *stays, *dev_stays; /* [batch_size], [dev.count] */
    struct groups groups, dev_groups;     /* this rank's */
    struct decoder_run *run;
    struct policy policy;
    struct decoder reference; /* opened when all weights are trained and there is a KL term */
    struct decoder_run *reference_run;
    struct policy reference_policy;
    struct grpo_update update;
    double sampling_seconds;
    uint64_t sampled_tokens; /* of the last batch of groups, those thrown away too */
    int64_t flat_steps;      /* batches in a row of which nothing could be learned */
    bool log_cut;            /* rollouts.jsonl ends where this process went on */
};

/* Which of `count` stays in a row this rank samples answers to: from … stop - 1. */
void grpo_share(int64_t count, int64_t *from, int64_t *stop);

/* Members of log.jsonl about the last step. */
void grpo_log(const struct training *training, struct text *line);

/* Appends the groups that all ranks have just sampled to rollouts.jsonl, this rank's those of the stays from place
 * `first` of the order on, and warns when nothing can be learned from them. */
bool grpo_report_groups(struct training *training, int64_t first, struct error *error);

void grpo_log_dev(const struct training *training, struct text *line); /* of the last evaluation */

/* Samples answers to stays of dev. */
bool grpo_evaluate(struct training *training, struct training_dev *dev, struct error *error);

#endif
