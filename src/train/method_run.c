/* A method in the loop: opens what it trains, brings its gradient and its score on dev to train/loop, and closes. */
#include "base/error.h"
#include "train/cluster.h"
#include "train/loop.h"
#include "train/training.h"
#include <stdio.h>

int64_t training_micro_end(const struct training *training, const int64_t *starts, int64_t stride,
                           const uint32_t *order, int64_t first, int64_t limit) {
    const int64_t most = training->micro_sequences / training->load.sequences;
    int64_t tokens = 0, i = first;
    for (; i < limit && i - first < most; i++) {
        const int64_t item = (order == NULL ? i : (int64_t)order[i]) * stride;
        tokens += starts[item + stride] - starts[item];
        if (tokens > training->micro_tokens) break;
    }
    return i;
}

/* Items of a row, as training_share takes them. */
struct row {
    const int64_t *starts;
    const uint32_t *order;
    int64_t stride, first;
};

static int64_t item_tokens(const void *context, int64_t index) {
    const struct row *row = context;
    const int64_t place = row->first + index, item = (row->order == NULL ? place : row->order[place]) * row->stride;
    return row->starts[item + row->stride] - row->starts[item];
}

void training_share(const int64_t *starts, int64_t stride, const uint32_t *order, int64_t first, int64_t end,
                    int64_t *from, int64_t *stop) {
    const struct row row = {starts, order, stride, first};
    cluster_share(end - first, item_tokens, &row, from, stop);
    *from += first;
    *stop += first;
}

uint64_t training_dropout_seed(const struct training *training, int64_t place) {
    return (uint64_t)training->settings->recipe->seed * 1000003 + (uint64_t)(training->step * 4099 + place + 1);
}

static void order_epoch(struct training *training, int64_t epoch) {
    if (epoch == training->order_epoch) return;
    if (training->method->order != NULL)
        training->method->order(training, epoch);
    else
        encoded_shuffle(training->order, (size_t)training->load.count, (uint64_t)training->settings->recipe->seed,
                        epoch);
    training->order_epoch = epoch;
}

static bool step_gradient(void *context, int64_t step, struct batch_part *part, struct error *error) {
    struct training *training = context;
    const int64_t place = step % training->steps_per_epoch / training->updates;
    const int64_t first = place * training->train->batch_size, count = training->load.count;
    const int64_t end = first + training->train->batch_size < count ? first + training->train->batch_size : count;
    order_epoch(training, step / training->steps_per_epoch);
    training->step = step;
    training->step_tokens = 0;
    if (!training->method->gradient(training, first, end, &part->loss, error)) return false;
    part->tokens = training->step_tokens;
    if (training->method->log != NULL) training->method->log(training, part->extra);
    return true;
}

static bool evaluate(void *context, struct dev_score *found, struct error *error) {
    struct training *training = context;
    struct training_dev dev;
    if (!training->method->evaluate(training, &dev, error)) return false;
    found->score = dev.loss;
    text_printf(&found->members, "\"dev_loss\": %.9g, \"%s\": %.9g", dev.loss, dev.member, dev.accuracy);
    if (training->method->log_dev != NULL) training->method->log_dev(training, &found->members);
    snprintf(found->note, sizeof found->note, "dev loss %.3f %s %.1f %%", dev.loss, dev.unit, 100 * dev.accuracy);
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
                        .updates = training->updates,
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

bool training_run(const struct train_settings *settings, const struct training_method *method, void *context,
                  struct error *error) {
    struct training training;
    bool done = cluster_agree(training_open(&training, settings, method, context, error), error);
    if (done && settings->plan && cluster_is_first())
        training_print_plan(&training);
    else if (done && !settings->plan)
        done = run(&training, error);
    training_close(&training);
    return done;
}
