/* Training a classifier: what a batch is, its micro-batches, their gradient, and the loss on dev; the loop around it is
 * train/loop's. */
#include "train/train_classify.h"
#include "base/error.h"
#include "train/cluster.h"
#include "train/loop.h"
#include "train/training.h"
#include <stdio.h>
#include <string.h>

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

/* Where the micro-batch that begins at `first` ends: as many sequences as its tokens hold, at least one. */
static int64_t micro_end(const struct training *training, const struct encoded *from, const uint32_t *order,
                         int64_t first, int64_t limit) {
    int64_t tokens = 0, i = first;
    for (; i < limit && i - first < training->micro_sequences; i++) {
        const size_t sequence = order == NULL ? (size_t)i : order[i];
        tokens += from->starts[sequence + 1] - from->starts[sequence];
        if (tokens > training->micro_tokens) break;
    }
    return i;
}

/* A row of sequences, order[first …] or first …, that ranks share out by their tokens. */
struct row {
    const struct encoded *from;
    const uint32_t *order;
    int64_t first;
};

static int64_t sequence_tokens(const void *context, int64_t index) {
    const struct row *row = context;
    const size_t sequence = row->order == NULL ? (size_t)(row->first + index) : row->order[row->first + index];
    return row->from->starts[sequence + 1] - row->from->starts[sequence];
}

static double sum_losses(const struct training *training, int64_t N) {
    double sum = 0;
    for (int64_t n = 0; n < N; n++) sum += (double)training->losses[n];
    return sum;
}

/* This rank's share of the gradient of the mean loss of the sequences first … end - 1, whatever micro-batches it is cut
 * into. */
static double batch_gradient(struct training *training, int64_t step, int64_t first, int64_t end, int64_t *tokens) {
    const struct network *network = &training->network;
    const struct row sequences = {&training->data, training->order, first};
    const float share = 1.0f / (float)(end - first);
    double loss = 0;
    int64_t from, stop;
    cluster_share(end - first, sequence_tokens, &sequences, &from, &stop);
    for (from += first, stop += first; from < stop;) {
        const int64_t to = micro_end(training, &training->data, training->order, from, stop);
        const struct batch batch = pack(training, &training->data, training->order, from, to);
        const uint64_t dropout =
            (uint64_t)training->settings->recipe->seed * 1000003 + (uint64_t)(step * 4099 + from - first + 1);
        network->call->forward(network->model, training->run, &batch, dropout, training->logits);
        objective_gradient(&training->objective, training->losses, training->logits, training->micro_labels, batch.N,
                           share);
        network->call->backward(network->model, training->run, &batch, training->logits);
        loss += sum_losses(training, batch.N);
        *tokens += batch.T;
        from = to;
    }
    return loss / (double)(end - first);
}

static bool step_gradient(void *context, int64_t step, struct batch_part *part, struct error *error) {
    struct training *training = context;
    const int64_t epoch = step / training->steps_per_epoch, place = step % training->steps_per_epoch;
    (void)error;
    if (epoch != training->order_epoch) {
        encoded_shuffle(training->order, training->data.count, (uint64_t)training->settings->recipe->seed, epoch);
        training->order_epoch = epoch;
    }
    const int64_t first = place * training->train->batch_size, count = (int64_t)training->data.count;
    const int64_t end = first + training->train->batch_size < count ? first + training->train->batch_size : count;
    part->loss = batch_gradient(training, step, first, end, &part->tokens);
    return true;
}

/* Mean loss on dev, and shares of it whose DRG, base and severity are right. */
struct dev_means {
    double loss, drg, base, severity;
};

static struct dev_means evaluate_dev(struct training *training) {
    const struct network *network = &training->network;
    const int64_t count = (int64_t)training->dev.count;
    const struct row sequences = {&training->dev, NULL, 0};
    struct objective_hits hits = {0};
    double sum = 0;
    int64_t from, stop;
    cluster_share(count, sequence_tokens, &sequences, &from, &stop);
    while (from < stop) {
        const int64_t to = micro_end(training, &training->dev, NULL, from, stop);
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
    return (struct dev_means){sums[0] / all, sums[1] / all, sums[2] / all, sums[3] / all};
}

static bool evaluate(void *context, struct dev_score *found, struct error *error) {
    struct training *training = context;
    const struct dev_means means = evaluate_dev(training);
    found->score = means.loss;
    text_printf(&found->members, "\"dev_loss\": %.9g, \"dev_acc1\": %.9g", means.loss, means.drg);
    if (training->objective.part_count > 1)
        text_printf(&found->members, ", \"dev_acc_base\": %.9g, \"dev_acc_cc\": %.9g", means.base, means.severity);
    snprintf(found->note, sizeof found->note, "dev loss %.3f acc@1 %.1f %%", means.loss, 100 * means.drg);
    return text_ok(&found->members, error);
}

static bool save_model(void *context, struct error *error) {
    return training_save_model(context, error);
}

static bool run_loop(struct training *training, const struct run_directory *directory, struct error *error) {
    struct loop loop = {.method = {training, step_gradient, evaluate, save_model},
                        .directory = directory,
                        .train = training->train,
                        .schedule = training->schedule,
                        .steps = training->steps,
                        .steps_per_epoch = training->steps_per_epoch,
                        .stop_after = training->settings->stop_after,
                        .fingerprint = training->fingerprint,
                        .parameters = training->network.call->parameters(training->network.model),
                        .optimizer = &training->optimizer};
    loop_start(&loop);
    return loop_run(&loop, error);
}

static bool run(struct training *training, struct error *error) {
    const struct train_settings *settings = training->settings;
    struct run_directory directory;
    const bool ready = run_directory_open(&directory, settings->out, settings->recipe_text, settings->resume, error) &&
                       (directory.goes_on || !cluster_is_first() || training_write_files(training, error));
    const bool done = cluster_agree(ready, error) && run_loop(training, &directory, error);
    run_directory_close(&directory);
    return done;
}

bool train_classify(const struct train_settings *settings, struct error *error) {
    struct training training;
    bool done = cluster_agree(training_open(&training, settings, error), error);
    if (done && settings->plan && cluster_is_first())
        training_print_plan(&training);
    else if (done && !settings->plan)
        done = run(&training, error);
    training_close(&training);
    return done;
}
