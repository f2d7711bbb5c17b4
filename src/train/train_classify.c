/* The loop that trains a classifier. It reads from top to bottom: a step is batch, micro-batches, gradient, update;
 * then come log, dev and checkpoint. */
#include "train/train_classify.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "tensor/kernels.h"
#include "train/training.h"
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static volatile sig_atomic_t stop_requested;

static void request_stop(int signal_number) {
    (void)signal_number;
    stop_requested = 1;
}

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

uint64_t training_dropout_seed(const struct training *training, int64_t place) {
    return (uint64_t)training->settings->recipe->seed * 1000003 + (uint64_t)(training->state.step * 4099 + place + 1);
}

static double sum_losses(const struct training *training, int64_t N) {
    double sum = 0;
    for (int64_t n = 0; n < N; n++) sum += (double)training->losses[n];
    return sum;
}

/* The gradient of the mean loss of one batch of sequences, whatever micro-batches it is cut into. */
static bool batch_gradient(struct training *training, int64_t first, int64_t end, double *mean, struct error *error) {
    const struct network *network = &training->network;
    const float share = 1.0f / (float)(end - first);
    double loss = 0;
    (void)error;
    for (int64_t from = first; from < end;) {
        const int64_t to = training_micro_end(training, training->data.starts, 1, training->order, from, end);
        const struct batch batch = pack(training, &training->data, training->order, from, to);
        const uint64_t dropout = training_dropout_seed(training, from - first);
        network->call->forward(network->model, training->run, &batch, dropout, training->logits);
        cross_entropy(training->losses, training->logits, training->logits, training->micro_labels, batch.N,
                      network->call->shape(network->model).labels, share);
        network->call->backward(network->model, training->run, &batch, training->logits);
        loss += sum_losses(training, batch.N);
        training->state.tokens += batch.T;
        from = to;
    }
    *mean = loss / (double)(end - first);
    return true;
}

/* Says which tensor went wrong first, in the order of the model. */
static bool diverged(const struct training *training, double loss, double norm, struct error *error) {
    const struct parameters *set = training->network.call->parameters(training->network.model);
    const char *tensor = "the loss itself";
    for (size_t i = 0; i < set->count; i++) {
        const struct matrix gradient = {DTYPE_F32, set->items[i].rows, set->items[i].cols, parameter_gradient(set, i)};
        if (matrix_find_nonfinite(&gradient) < 0) continue;
        tensor = set->items[i].name;
        break;
    }
    error_set(error, "step %lld: loss %g, gradient norm %g; the first tensor with a gradient that is no number is %s",
              (long long)training->state.step, loss, norm, tensor);
    return error_hint(error, "the last checkpoint is kept; lower train.learning_rate or train.max_grad_norm");
}

static bool train_step(struct training *training, double *loss, double *norm, struct error *error) {
    const int64_t epoch = training->state.step / training->steps_per_epoch,
                  place = training->state.step % training->steps_per_epoch / training->updates;
    if (epoch != training->order_epoch) {
        if (training->method->order != NULL)
            training->method->order(training, epoch);
        else
            encoded_shuffle(training->order, (size_t)training->load.count, (uint64_t)training->settings->recipe->seed,
                            epoch);
        training->order_epoch = epoch;
    }
    const int64_t first = place * training->train->batch_size, count = training->load.count;
    const int64_t end = first + training->train->batch_size < count ? first + training->train->batch_size : count;
    const struct parameters *set = training->network.call->parameters(training->network.model);
    memset(set->gradients, 0, (size_t)set->total * sizeof *set->gradients);
    if (!training->method->gradient(training, first, end, loss, error)) return false;
    *norm = gradient_norm(set);
    if (!isfinite(*loss) || !isfinite(*norm)) return diverged(training, *loss, *norm, error);
    adamw_update(&training->optimizer, set, schedule_rate(&training->schedule, training->state.step), *norm);
    training->state.step++;
    training->state.loss_sum += *loss;
    training->state.loss_count++;
    return true;
}

/* Mean loss and accuracy on dev. */
static bool evaluate_dev(struct training *training, struct training_dev *dev, struct error *error) {
    const struct network *network = &training->network;
    const int64_t labels = network->call->shape(network->model).labels, count = (int64_t)training->dev.count;
    double sum = 0;
    int64_t right = 0;
    (void)error;
    for (int64_t from = 0; from < count;) {
        const int64_t to = training_micro_end(training, training->dev.starts, 1, NULL, from, count);
        const struct batch batch = pack(training, &training->dev, NULL, from, to);
        network->call->forward(network->model, training->run, &batch, 0, training->logits);
        cross_entropy(training->losses, NULL, training->logits, training->micro_labels, batch.N, labels, 1);
        sum += sum_losses(training, batch.N);
        for (int64_t n = 0; n < batch.N; n++) {
            const float *row = training->logits + n * labels;
            int64_t best = 0;
            for (int64_t v = 1; v < labels; v++) best = row[v] > row[best] ? v : best;
            right += best == training->micro_labels[n];
        }
        from = to;
    }
    *dev = (struct training_dev){sum / (double)count, (double)right / (double)count, "acc@1", "dev_acc1"};
    return true;
}

static bool log_step(struct training *training, struct progress *progress, double norm, struct error *error) {
    struct progress_state *state = &training->state;
    const double seconds = time_now() - training->started, mean = state->loss_sum / (double)state->loss_count;
    const double speed = (double)(state->tokens - training->tokens_at_start) / (seconds > 0 ? seconds : 1);
    struct text line = {0};
    text_printf(
        &line,
        "{\"step\": %lld, \"epoch\": %.6g, \"loss\": %.9g, \"grad_norm\": %.9g, \"lr\": %.9g, \"tokens\": %lld, "
        "\"tokens_per_second\": %.0f, "
        "\"seconds\": %.2f",
        (long long)state->step, (double)state->step / (double)training->steps_per_epoch, mean, norm,
        schedule_rate(&training->schedule, state->step - 1), (long long)state->tokens, speed, seconds);
    if (training->method->log != NULL) training->method->log(training, &line);
    text_add_char(&line, '}');
    if (state->best_step < 0) progress_note(progress, "loss %.3f, %.0f tokens/s", mean, speed);
    state->loss_sum = 0;
    state->loss_count = 0;
    const bool done = text_ok(&line, error) && training_log(training, line.data, error);
    text_free(&line);
    return done;
}

/* Dev loss; the best model so far becomes the run's. */
static bool evaluate(struct training *training, struct progress *progress, struct error *error) {
    struct progress_state *state = &training->state;
    struct training_dev dev;
    if (!training->method->evaluate(training, &dev, error)) return false;
    const bool better = dev.loss < state->best_loss;
    state->stale = better ? 0 : state->stale + 1;
    if (better) {
        state->best_loss = dev.loss;
        state->best_step = state->step;
        if (!training_save_model(training, error)) return false;
    }
    const double seconds = time_now() - training->started;
    struct text line = {0};
    text_printf(&line, "{\"step\": %lld, \"dev_loss\": %.9g, \"%s\": %.9g, \"best_step\": %lld, \"seconds\": %.2f",
                (long long)state->step, dev.loss, dev.member, dev.accuracy, (long long)state->best_step, seconds);
    if (training->method->log_dev != NULL) training->method->log_dev(training, &line);
    text_add_char(&line, '}');
    progress_note(progress, "dev loss %.3f %s %.1f %%, %.0f tokens/s", dev.loss, dev.unit, 100 * dev.accuracy,
                  (double)(state->tokens - training->tokens_at_start) / (seconds > 0 ? seconds : 1));
    const bool done = text_ok(&line, error) && training_log(training, line.data, error);
    text_free(&line);
    return done;
}

static bool save_checkpoint(const struct training *training, struct error *error) {
    char path[4096];
    if (!path_join(path, sizeof path, training->settings->out, "checkpoint.bin"))
        return error_set(error, "%s: path too long", training->settings->out);
    return checkpoint_write(path, training->fingerprint, &training->state,
                            training->network.call->parameters(training->network.model), &training->optimizer, error);
}

static bool load_checkpoint(struct training *training, struct error *error) {
    char path[4096];
    if (!path_join(path, sizeof path, training->settings->out, "checkpoint.bin"))
        return error_set(error, "%s: path too long", training->settings->out);
    return checkpoint_read(path, training->fingerprint, &training->state,
                           training->network.call->parameters(training->network.model), &training->optimizer, error) &&
           training_cut_log(training, training->state.step, error);
}

static bool must_stop(const struct training *training) {
    return stop_requested ||
           (training->settings->stop_after > 0 && training->state.step >= training->settings->stop_after);
}

static bool run_steps(struct training *training, struct progress *progress, struct error *error) {
    const struct recipe_train *t = training->train;
    struct progress_state *state = &training->state;
    while (state->step < training->steps && !(t->patience > 0 && state->stale >= t->patience)) {
        const bool between = state->step % training->updates == 0;
        if (between && must_stop(training)) {
            if (!save_checkpoint(training, error)) return false;
            error_set(error, "stopped after step %lld of %lld", (long long)state->step, (long long)training->steps);
            return error_hint(error, "go on with the same command and --resume");
        }
        double loss, norm;
        if (!train_step(training, &loss, &norm, error)) return false;
        const bool last = state->step == training->steps, evaluates = last || state->step % t->eval_every == 0;
        if ((last || state->step % t->log_every == 0) && !log_step(training, progress, norm, error)) return false;
        if (evaluates && !evaluate(training, progress, error)) return false;
        /* After each evaluation too, so that the best model on disk and the checkpoint never disagree. */
        const bool saves = (evaluates || state->step % t->save_every == 0) && state->step % training->updates == 0;
        if (saves && !save_checkpoint(training, error)) return false;
        progress_update(progress, (uint64_t)state->step);
    }
    return true;
}

static bool run(struct training *training, struct error *error) {
    if (!training_prepare_directory(training, error)) return false;
    if (training->settings->resume && !load_checkpoint(training, error)) return false;
    training->started = time_now();
    training->tokens_at_start = training->state.tokens;
    stop_requested = 0;
    void (*interrupt)(int) = signal(SIGINT, request_stop), (*terminate)(int) = signal(SIGTERM, request_stop);
    struct progress progress;
    progress_start(&progress, "training", "steps", (uint64_t)training->steps);
    progress.done = (uint64_t)training->state.step;
    const bool done = run_steps(training, &progress, error);
    progress_finish(&progress);
    signal(SIGINT, interrupt);
    signal(SIGTERM, terminate);
    if (done)
        log_info("best dev loss %.4f at step %lld; the model is in %s", training->state.best_loss,
                 (long long)training->state.best_step, training->settings->out);
    return done;
}

bool training_run(const struct train_settings *settings, const struct training_method *method, void *context,
                  struct error *error) {
    struct training training;
    bool done = training_open(&training, settings, method, context, error);
    if (done && settings->plan)
        training_print_plan(&training);
    else if (done)
        done = run(&training, error);
    training_close(&training);
    return done;
}

bool train_classify(const struct train_settings *settings, struct error *error) {
    static const struct training_method method = {.task = "classify",
                                                  .open_data = stays_open_data,
                                                  .plan_buffers = stays_plan_buffers,
                                                  .open_buffers = stays_open_buffers,
                                                  .gradient = batch_gradient,
                                                  .evaluate = evaluate_dev,
                                                  .close = stays_close};
    return training_run(settings, &method, NULL, error);
}
