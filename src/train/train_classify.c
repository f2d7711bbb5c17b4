/* Training a classifier: what a batch is, its gradient, and the loss on dev. */
#include "train/train_classify.h"
#include "base/error.h"
#include "train/cluster.h"
#include "train/training.h"
#include <stdio.h>
#include <string.h>

/* Shares of dev whose base and severity are right, for the log. */
struct classify {
    double base, severity;
};

/* Copies the sequences order[first … end) into the micro-batch. */
static struct batch pack(struct training *training, const struct encoded *from, const uint32_t *order, int64_t first,
                         int64_t end) {
    int32_t t = 0;
    training->offsets[0] = 0;
    for (int64_t i = first; i < end; i++) {
        const size_t sequence = order == NULL ? (size_t)i : order[i];
        const int64_t start = from->starts[sequence], length = from->starts[sequence + 1] - start;
        memcpy(training->tokens + t, from->tokens + start, (size_t)length * sizeof *training->tokens);
        t += (int32_t)length;
        training->offsets[i - first + 1] = t;
        training->micro_labels[i - first] = from->labels[sequence];
    }
    return (struct batch){.T = t, .N = end - first, .tokens = training->tokens, .offsets = training->offsets};
}

static double sum_losses(const struct training *training, int64_t N) {
    double sum = 0;
    for (int64_t n = 0; n < N; n++) sum += (double)training->losses[n];
    return sum;
}

/* This rank's share of the gradient of the mean loss of the sequences first … end - 1, whatever micro-batches it is cut
 * into. */
static bool batch_gradient(struct training *training, int64_t first, int64_t end, double *mean, struct error *error) {
    const struct network *network = &training->network;
    const float share = 1.0f / (float)(end - first);
    double loss = 0;
    int64_t from, stop;
    (void)error;
    training_share(training->data.starts, 1, training->order, first, end, &from, &stop);
    while (from < stop) {
        const int64_t to = training_micro_end(training, training->data.starts, 1, training->order, from, stop);
        const struct batch batch = pack(training, &training->data, training->order, from, to);
        const uint64_t dropout = training_dropout_seed(training, from - first);
        network->call->forward(network->model, training->run, &batch, dropout, training->logits);
        objective_gradient(&training->objective, training->losses, training->logits, training->micro_labels, batch.N,
                           share);
        network->call->backward(network->model, training->run, &batch, training->logits);
        loss += sum_losses(training, batch.N);
        training->step_tokens += batch.T;
        from = to;
    }
    *mean = loss / (double)(end - first);
    return true;
}

/* Mean loss on dev, and shares of it whose DRG, base and severity are right. */
static bool evaluate_dev(struct training *training, struct training_dev *dev, struct error *error) {
    const struct network *network = &training->network;
    const int64_t count = (int64_t)training->dev.count;
    struct classify *classify = training->context;
    struct objective_hits hits = {0};
    double sum = 0;
    int64_t from, stop;
    (void)error;
    training_share(training->dev.starts, 1, NULL, 0, count, &from, &stop);
    while (from < stop) {
        const int64_t to = training_micro_end(training, training->dev.starts, 1, NULL, from, stop);
        const struct batch batch = pack(training, &training->dev, NULL, from, to);
        network->call->forward(network->model, training->run, &batch, 0, training->logits);
        objective_count(&training->objective, &training->labels, training->logits, training->micro_labels, batch.N,
                        &hits);
        objective_losses(&training->objective, training->losses, training->logits, training->micro_labels, batch.N);
        sum += sum_losses(training, batch.N);
        from = to;
    }
    double sums[] = {sum, (double)hits.drg, (double)hits.base, (double)hits.severity};
    cluster_sum_doubles(sums, sizeof sums / sizeof sums[0]);
    const double all = (double)count;
    *dev = (struct training_dev){sums[0] / all, sums[1] / all, "acc@1", "dev_acc1"};
    *classify = (struct classify){sums[2] / all, sums[3] / all};
    return true;
}

static void log_dev(const struct training *training, struct text *line) {
    const struct classify *classify = training->context;
    if (training->objective.part_count > 1)
        text_printf(line, ", \"dev_acc_base\": %.9g, \"dev_acc_cc\": %.9g", classify->base, classify->severity);
}

bool train_classify(const struct train_settings *settings, struct error *error) {
    static const struct training_method method = {.task = "classify",
                                                  .open_data = stays_open_data,
                                                  .plan_buffers = stays_plan_buffers,
                                                  .open_buffers = stays_open_buffers,
                                                  .gradient = batch_gradient,
                                                  .evaluate = evaluate_dev,
                                                  .log_dev = log_dev,
                                                  .close = stays_close};
    struct classify classify = {0};
    return training_run(settings, &method, &classify, error);
}
