/* Direct preference optimization: see train_dpo.h. What the reference thinks of every pair is computed once, before the
 * first step, so that no second model is held. */
#include "train/train_dpo.h"
#include "base/error.h"
#include "base/log.h"
#include "train/cluster.h"
#include "train/dpo_loss.h"
#include "train/lm_training.h"
#include "train/policy.h"

/* Log-probabilities of the two completions of each example under the reference, [count] each. */
struct reference {
    double *chosen, *rejected;
};

/* Means over pairs, for the log. */
struct dpo_means {
    double chosen, rejected, right;
};

struct dpo {
    struct lm_training lm;
    struct decoder_run *run;
    struct policy policy;
    struct reference data, dev;
    float *log_p, *coefficients; /* [micro_rows] of the completion tokens of a micro-batch */
    struct {
        double *chosen, *rejected, *reference_chosen, *reference_rejected, *coefficients;
    } pairs; /* [micro_sequences], of a micro-batch */
    struct dpo_means step, evaluated;
};

static double sum_up(const float *values, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++) sum += (double)values[i];
    return sum;
}

/* Scores the pairs order[first … end) (NULL: first … end): the log-probabilities of their completions. */
static bool score(struct dpo *dpo, const struct examples *examples, const uint32_t *order, int64_t first, int64_t end,
                  uint64_t dropout_seed, struct error *error) {
    completion_batch_clear(&dpo->policy.batch);
    for (int64_t i = first; i < end; i++) {
        const size_t example = order == NULL ? (size_t)i : order[i];
        const struct token_span prompt = examples_part(examples, example, 0),
                                completions[] = {examples_part(examples, example, 1),
                                                 examples_part(examples, example, 2)};
        if (!completion_batch_add(&dpo->policy.batch, &prompt, completions, 2))
            return error_set(error, "a micro-batch of pairs has no room for pair %lld", (long long)i);
    }
    if (!policy_score(&dpo->policy, dropout_seed, dpo->log_p, NULL, error)) return false;
    const float *log_p = dpo->log_p;
    for (int64_t i = first; i < end; i++) {
        const size_t example = order == NULL ? (size_t)i : order[i];
        const int64_t chosen = examples_part(examples, example, 1).count,
                      rejected = examples_part(examples, example, 2).count;
        dpo->pairs.chosen[i - first] = sum_up(log_p, chosen);
        dpo->pairs.rejected[i - first] = sum_up(log_p + chosen, rejected);
        log_p += chosen + rejected;
    }
    return true;
}

/* The loss of the pairs just scored, added to the sums; the coefficients are those of its gradient. */
static void compare(struct dpo *dpo, const struct training *training, const struct reference *reference,
                    const uint32_t *order, int64_t first, int64_t end, double share, struct dpo_sums *sums) {
    for (int64_t i = first; i < end; i++) {
        const size_t example = order == NULL ? (size_t)i : order[i];
        dpo->pairs.reference_chosen[i - first] = reference->chosen[example];
        dpo->pairs.reference_rejected[i - first] = reference->rejected[example];
    }
    const struct dpo_pairs pairs = {.N = end - first,
                                    .beta = training->settings->recipe->dpo->beta,
                                    .chosen = dpo->pairs.chosen,
                                    .rejected = dpo->pairs.rejected,
                                    .reference_chosen = dpo->pairs.reference_chosen,
                                    .reference_rejected = dpo->pairs.reference_rejected};
    dpo_loss(sums, dpo->pairs.coefficients, &pairs, share);
}

/* Means over the pairs of all ranks. */
static struct dpo_means means_of(const struct dpo_sums *sums) {
    double all[] = {sums->chosen, sums->rejected, (double)sums->right, (double)sums->pairs};
    cluster_sum_doubles(all, 4);
    return (struct dpo_means){all[0] / all[3], all[1] / all[3], all[2] / all[3]};
}

/* Every token of a completion has the coefficient of its pair, with the sign of its side. */
static void spread_coefficients(struct dpo *dpo, const struct examples *examples, const uint32_t *order, int64_t first,
                                int64_t end) {
    float *to = dpo->coefficients;
    for (int64_t i = first; i < end; i++) {
        const float coefficient = (float)dpo->pairs.coefficients[i - first];
        for (int64_t side = 1; side <= 2; side++) {
            const int64_t count = examples_part(examples, order[i], side).count;
            for (int64_t t = 0; t < count; t++) *to++ = side == 1 ? coefficient : -coefficient;
        }
    }
}

static bool gradient(struct training *training, int64_t first, int64_t end, double *loss, struct error *error) {
    struct dpo *dpo = training->context;
    const struct examples *data = &dpo->lm.data;
    struct dpo_sums sums = {0};
    int64_t from, stop;
    bool done = true;
    training_share(data->starts, 3, training->order, first, end, &from, &stop);
    while (done && from < stop) {
        const int64_t to = training_micro_end(training, data->starts, 3, training->order, from, stop);
        const uint64_t dropout = training_dropout_seed(training, from - first);
        done = score(dpo, data, training->order, from, to, dropout, error);
        if (!done) break;
        compare(dpo, training, &dpo->data, training->order, from, to, 1.0 / (double)(end - first), &sums);
        spread_coefficients(dpo, data, training->order, from, to);
        policy_backward(&dpo->policy, dpo->coefficients);
        training->step_tokens += dpo->policy.batch.batch.T;
        from = to;
    }
    if (!cluster_agree(done, error)) return false;
    dpo->step = means_of(&sums);
    *loss = sums.loss;
    return true;
}

static bool evaluate(struct training *training, struct training_dev *result, struct error *error) {
    struct dpo *dpo = training->context;
    const struct examples *dev = &dpo->lm.dev;
    const int64_t count = (int64_t)dev->count;
    struct dpo_sums sums = {0};
    int64_t from, stop;
    bool done = true;
    training_share(dev->starts, 3, NULL, 0, count, &from, &stop);
    while (done && from < stop) {
        const int64_t to = training_micro_end(training, dev->starts, 3, NULL, from, stop);
        done = score(dpo, dev, NULL, from, to, 0, error);
        if (done) compare(dpo, training, &dpo->dev, NULL, from, to, 1.0 / (double)count, &sums);
        from = to;
    }
    if (!cluster_agree(done, error)) return false;
    dpo->evaluated = means_of(&sums);
    cluster_sum_doubles(&sums.loss, 1);
    *result = (struct training_dev){sums.loss, dpo->evaluated.right, "of pairs in order", "dev_accuracy"};
    return true;
}

static void log_means(const char *prefix, const struct dpo_means *means, struct text *line) {
    text_printf(line, ", \"%sreward_chosen\": %.6g, \"%sreward_rejected\": %.6g, \"%smargin\": %.6g", prefix,
                means->chosen, prefix, means->rejected, prefix, means->chosen - means->rejected);
}

static void log_step(const struct training *training, struct text *line) {
    const struct dpo *dpo = training->context;
    text_printf(line, ", \"accuracy\": %.6g", dpo->step.right);
    log_means("", &dpo->step, line);
}

static void log_dev(const struct training *training, struct text *line) {
    const struct dpo *dpo = training->context;
    log_means("dev_", &dpo->evaluated, line);
}

static bool open_data(struct training *training, struct error *error) {
    struct dpo *dpo = training->context;
    struct example_file file = {.kind = EXAMPLES_PREFERENCE};
    if (!lm_open_prompt(&dpo->lm, training, training->settings->recipe->dpo->prompt, error) ||
        !lm_open_examples(&dpo->lm, training, &file, error))
        return false;
    training->load.unit = "pairs";
    training->load.sequences = 3; /* a prompt and its two completions */
    return true;
}

static struct completion_size room_of(const struct training *training) {
    return (struct completion_size){training->micro_tokens, training->micro_sequences, training->micro_rows};
}

/* All tokens of a micro-batch may be predicted ones. */
static size_t plan_buffers(struct training *training) {
    const struct dpo *dpo = training->context;
    training->micro_rows = training->micro_tokens;
    const struct completion_size room = room_of(training);
    return policy_size(&training->decoder, &room) + 2 * (size_t)training->micro_rows * sizeof(float) +
           (5 * (size_t)training->micro_sequences + 2 * (dpo->lm.data.count + dpo->lm.dev.count)) * sizeof(double);
}

/* Every rank scores its share of the pairs and gets the others'. The weights are still those that the run is started
 * from, on resume too. */
static bool score_reference(struct training *training, const struct examples *examples, struct reference *reference,
                            struct error *error) {
    struct dpo *dpo = training->context;
    struct progress progress;
    const int64_t count = (int64_t)examples->count;
    int64_t first, from, stop;
    bool done = true;
    training_share(examples->starts, 3, NULL, 0, count, &first, &stop);
    progress_start(&progress, "reference", "pairs", (uint64_t)(stop - first));
    for (from = first; done && from < stop;) {
        const int64_t to = training_micro_end(training, examples->starts, 3, NULL, from, stop);
        done = score(dpo, examples, NULL, from, to, 0, error);
        for (int64_t i = from; done && i < to; i++) {
            reference->chosen[i] = dpo->pairs.chosen[i - from];
            reference->rejected[i] = dpo->pairs.rejected[i - from];
        }
        from = to;
        progress_update(&progress, (uint64_t)(from - first));
    }
    progress_finish(&progress);
    if (!cluster_agree(done, error)) return false;
    cluster_sum_doubles(reference->chosen, count);
    cluster_sum_doubles(reference->rejected, count);
    return true;
}

static bool open_buffers(struct training *training, struct error *error) {
    struct dpo *dpo = training->context;
    const size_t rows = (size_t)training->micro_rows, N = (size_t)training->micro_sequences;
    const struct completion_size room = room_of(training);
    double **const of_batch[] = {&dpo->pairs.chosen, &dpo->pairs.rejected, &dpo->pairs.reference_chosen,
                                 &dpo->pairs.reference_rejected, &dpo->pairs.coefficients};
    double **const of_data[] = {&dpo->data.chosen, &dpo->data.rejected, &dpo->dev.chosen, &dpo->dev.rejected};
    dpo->log_p = memory_alloc(rows, sizeof *dpo->log_p);
    dpo->coefficients = memory_alloc(rows, sizeof *dpo->coefficients);
    bool done = dpo->log_p != NULL && dpo->coefficients != NULL;
    for (int i = 0; i < 5; i++) done = (*of_batch[i] = memory_alloc(N, sizeof(double))) != NULL && done;
    for (int i = 0; i < 4; i++)
        done =
            (*of_data[i] = memory_zero(i < 2 ? dpo->lm.data.count : dpo->lm.dev.count, sizeof(double))) != NULL && done;
    if (!done) memory_error(error, training->buffer_bytes, "a micro-batch of pairs");
    done = done && decoder_run_open_planned(&dpo->run, &training->decoder, &training->plan, error) &&
           policy_open(&dpo->policy, &training->decoder, dpo->run, &room, error);
    return cluster_agree(done, error) && score_reference(training, &dpo->lm.data, &dpo->data, error) &&
           score_reference(training, &dpo->lm.dev, &dpo->dev, error);
}

static bool prepare(const struct training *training, struct error *error) {
    const struct dpo *dpo = training->context;
    return lm_prepare(&dpo->lm, training, error);
}

static void close_dpo(struct training *training) {
    struct dpo *dpo = training->context;
    policy_close(&dpo->policy);
    decoder_run_close(dpo->run);
    lm_close(&dpo->lm);
    memory_free(dpo->log_p);
    memory_free(dpo->coefficients);
    memory_free(dpo->pairs.chosen);
    memory_free(dpo->pairs.rejected);
    memory_free(dpo->pairs.reference_chosen);
    memory_free(dpo->pairs.reference_rejected);
    memory_free(dpo->pairs.coefficients);
    memory_free(dpo->data.chosen);
    memory_free(dpo->data.rejected);
    memory_free(dpo->dev.chosen);
    memory_free(dpo->dev.rejected);
}

bool train_dpo(const struct train_settings *settings, struct error *error) {
    static const struct training_method method = {.task = "generate",
                                                  .causal = true,
                                                  .open_data = open_data,
                                                  .plan_buffers = plan_buffers,
                                                  .open_buffers = open_buffers,
                                                  .gradient = gradient,
                                                  .evaluate = evaluate,
                                                  .log = log_step,
                                                  .log_dev = log_dev,
                                                  .prepare = prepare,
                                                  .close = close_dpo};
    struct dpo dpo = {0};
    return training_run(settings, &method, &dpo, error);
}
