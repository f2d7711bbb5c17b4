/* The loop of a run. It reads from top to bottom: a step is gradient, guard, update, guard; then come log, dev and
 * checkpoint. Whatever decides about the way of the run (stopping, failing) is decided by all ranks together. */
#include "train/loop.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/threads.h"
#include "tensor/compute.h"
#include "train/cluster.h"
#include "train/stop.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* What this process adds to a loop. */
struct course {
    struct loop *loop;
    struct progress progress;
    struct text extra; /* of the last step */
    double norm, median;
    double started;
    int64_t first_step, first_tokens; /* where this process began */
};

void loop_start(struct loop *loop) {
    loop->state = (struct progress_state){.best_step = -1, .best_score = (double)INFINITY};
}

/* What gives the same bits only where it is the same. */
static uint64_t kernels_in_use(void) {
    const struct compute_choice *choice = compute_current();
    int64_t numbers[2 + 2 * SHAPE_CLASSES + 1], count = 0;
    numbers[count++] = choice->type;
    for (int shape = 0; shape < SHAPE_CLASSES; shape++) {
        for (int halves = 0; halves < 2; halves++) numbers[count++] = choice->way[shape][halves];
    }
    numbers[count++] = choice->few_rows[0];
    numbers[count++] = choice->few_rows[1];
    return hash_bytes(numbers, (size_t)count * sizeof *numbers, 0);
}

static bool checkpoint_path(const struct loop *loop, char *path, size_t capacity, struct error *error) {
    return run_path(loop->directory->path, path, capacity, "checkpoint.bin", error);
}

/* Ranks that compute alike have the same weights bit for bit; one of another kind of machine may drift away. */
static bool check_drift(const struct loop *loop, struct error *error) {
    const struct parameters *set = loop->parameters;
    const uint64_t own = hash_bytes(set->values, (size_t)set->total * sizeof(float), 0);
    uint64_t first = own;
    cluster_broadcast(&first, sizeof first);
    const bool same = own == first || error_set(error, "the weights have drifted away from those of rank 0");
    return same || error_hint(error, "run the same build on machines of one kind, or build with PORTABLE=1");
}

static bool save_checkpoint(struct loop *loop, struct error *error) {
    char path[4096];
    loop->state.threads = threads_count();
    loop->state.ranks = cluster_ranks();
    loop->state.kernels = kernels_in_use();
    if (cluster_ranks() > 1 && !cluster_agree(check_drift(loop, error), error)) return false;
    const bool done = !cluster_is_first() || (checkpoint_path(loop, path, sizeof path, error) &&
                                              checkpoint_write(path, loop->fingerprint, &loop->state, loop->parameters,
                                                               loop->optimizer, error));
    return cluster_agree(done, error);
}

/* A run goes on to the same bytes where it is computed in the same way. */
static void warn_of_other_bits(const struct progress_state *state) {
    if (state->threads != threads_count() || state->ranks != cluster_ranks()) {
        log_warning("the run was computed on %lld ranks of %lld threads so far, now on %d of %d: it goes on as well, "
                    "but not to the same last bits",
                    (long long)state->ranks, (long long)state->threads, cluster_ranks(), threads_count());
    } else if (state->kernels != kernels_in_use()) {
        log_warning("other kernels multiply than in the run so far (another processor, or measured anew): it goes on "
                    "as well, but not to the same last bits");
    }
}

/* Rank 0 reads, the others get it from there: only it needs the run directory. */
static bool load_checkpoint(struct loop *loop, struct error *error) {
    char path[4096];
    const size_t bytes = (size_t)loop->parameters->total * sizeof(float);
    bool done = true;
    if (cluster_is_first()) {
        done = !loop->directory->goes_on ||
               (checkpoint_path(loop, path, sizeof path, error) &&
                checkpoint_read(path, loop->fingerprint, &loop->state, loop->parameters, loop->optimizer, error));
        done = done && run_cut_log(loop->directory->path, loop->state.step, error);
        if (done && loop->directory->goes_on) warn_of_other_bits(&loop->state);
    }
    if (!cluster_agree(done, error)) return false;
    cluster_broadcast(&loop->state, sizeof loop->state);
    cluster_broadcast(&loop->optimizer->step, sizeof loop->optimizer->step);
    cluster_broadcast(loop->parameters->values, bytes);
    cluster_broadcast(loop->optimizer->m, bytes);
    cluster_broadcast(loop->optimizer->v, bytes);
    return true;
}

static bool train_step(struct course *course, struct error *error) {
    struct loop *loop = course->loop;
    struct parameters *set = loop->parameters;
    struct progress_state *state = &loop->state;
    text_clear(&course->extra);
    struct batch_part part = {.extra = &course->extra};
    memset(set->gradients, 0, (size_t)set->total * sizeof *set->gradients);
    const bool computed = loop->method.gradient(loop->method.context, state->step, &part, error);
    if (!cluster_agree(computed && text_ok(&course->extra, error), error)) return false;
    double sums[2] = {part.loss, (double)part.tokens};
    cluster_sum(set->gradients, set->total);
    cluster_sum_doubles(sums, 2);
    course->norm = gradient_norm(set);
    if (!cluster_agree(guard_gradients(set, state->step + 1, sums[0], course->norm, error), error)) return false;
    const bool alarm = norm_window_add(&state->norms, course->norm, &course->median);
    if (alarm && cluster_is_first())
        norm_window_warn(set, state->step + 1, course->norm, course->median, loop->optimizer->max_norm);
    adamw_update(loop->optimizer, set, schedule_rate(&loop->schedule, state->step), course->norm);
    if (!cluster_agree(guard_weights(set, loop->optimizer, state->step + 1, error), error)) return false;
    state->step++;
    state->loss_sum += sums[0];
    state->loss_count++;
    state->tokens += (int64_t)sums[1];
    return true;
}

/* Seconds that the rest will take at the pace of this process so far, evaluations included. */
static double seconds_left(const struct course *course) {
    const struct progress_state *state = &course->loop->state;
    const double steps = (double)(state->step - course->first_step), elapsed = time_now() - course->started;
    return steps > 0 ? elapsed / steps * (double)(course->loop->steps - state->step) : 0;
}

/* Local time with its offset, as ISO 8601. */
static void format_finish(char *out, size_t capacity, double seconds) {
    const time_t then = time(NULL) + (time_t)seconds;
    struct tm local;
    if (localtime_r(&then, &local) == NULL || strftime(out, capacity, "%Y-%m-%dT%H:%M:%S%z", &local) == 0)
        out[0] = '\0';
}

static bool write_log(const struct course *course, const struct text *line, struct error *error) {
    const bool done =
        !cluster_is_first() || (text_ok(line, error) && run_log(course->loop->directory->path, line->data, error));
    return cluster_agree(done, error);
}

static bool log_step(struct course *course, struct error *error) {
    struct loop *loop = course->loop;
    struct progress_state *state = &loop->state;
    const double seconds = time_now() - course->started, left = seconds_left(course);
    char finish[40];
    struct text line = {0};
    format_finish(finish, sizeof finish, left);
    text_printf(&line, "{\"step\": %lld, \"epoch\": %.6g, \"loss\": %.9g, \"grad_norm\": %.9g", (long long)state->step,
                (double)state->step / (double)loop->steps_per_epoch, state->loss_sum / (double)state->loss_count,
                course->norm);
    text_printf(&line, ", \"grad_norm_median\": %.9g, \"grad_alarms\": %lld, \"lr\": %.9g",
                norm_window_median(&state->norms), (long long)state->norms.alarms,
                schedule_rate(&loop->schedule, state->step - 1));
    text_append(&line, course->extra.data == NULL ? "" : course->extra.data, course->extra.length);
    text_printf(&line, ", \"tokens\": %lld, \"tokens_per_second\": %.0f, \"seconds\": %.2f", (long long)state->tokens,
                (double)(state->tokens - course->first_tokens) / (seconds > 0 ? seconds : 1), seconds);
    text_printf(&line, ", \"seconds_left\": %.0f, \"finish\": \"%s\"}", left, finish);
    state->loss_sum = 0;
    state->loss_count = 0;
    const bool done = write_log(course, &line, error);
    text_free(&line);
    return done;
}

/* The best model so far becomes the run's. */
static bool evaluate(struct course *course, struct error *error) {
    struct loop *loop = course->loop;
    struct progress_state *state = &loop->state;
    struct dev_score found = {0};
    if (!cluster_agree(loop->method.evaluate(loop->method.context, &found, error), error)) {
        text_free(&found.members);
        return false;
    }
    if (!isfinite(found.score)) {
        text_free(&found.members);
        error_set(error, "step %lld: the score on dev is %g, while all trained weights are finite",
                  (long long)state->step, found.score);
        error_hint(error, "the last checkpoint is kept and was good; lower train.learning_rate");
        return cluster_agree(false, error);
    }
    const bool better = found.score < state->best_score;
    state->stale = better ? 0 : state->stale + 1;
    bool done = true;
    if (better) {
        state->best_score = found.score;
        state->best_step = state->step;
        done = cluster_agree(!cluster_is_first() || loop->method.save_model(loop->method.context, error), error);
    }
    struct text line = {0};
    text_printf(&line, "{\"step\": %lld, %s, \"best_step\": %lld, \"seconds\": %.2f}", (long long)state->step,
                found.members.data == NULL ? "" : found.members.data, (long long)state->best_step,
                time_now() - course->started);
    progress_note(&course->progress, "%s", found.note);
    done = done && write_log(course, &line, error);
    text_free(&line);
    text_free(&found.members);
    return done;
}

/* Ranks get a signal at different moments, and stop at the same step. */
static bool must_stop(const struct loop *loop) {
    const bool reached = loop->stop_after > 0 && loop->state.step >= loop->stop_after;
    return cluster_max(reached || stop_requested()) != 0;
}

static bool out_of_patience(const struct loop *loop) {
    return loop->train->patience > 0 && loop->state.stale >= loop->train->patience;
}

static bool run_steps(struct course *course, struct error *error) {
    struct loop *loop = course->loop;
    const struct recipe_train *t = loop->train;
    struct progress_state *state = &loop->state;
    while (state->step < loop->steps && !out_of_patience(loop)) {
        if (state->step % loop->updates == 0 && must_stop(loop)) {
            if (!save_checkpoint(loop, error)) return false;
            error_set(error, "stopped after step %lld of %lld", (long long)state->step, (long long)loop->steps);
            error_hint(error, "go on with the same command and --resume");
            return cluster_agree(false, error);
        }
        if (!train_step(course, error)) return false;
        const bool last = state->step == loop->steps, evaluates = last || state->step % t->eval_every == 0;
        if ((last || state->step % t->log_every == 0) && !log_step(course, error)) return false;
        if (evaluates && !evaluate(course, error)) return false;
        /* After each evaluation too, so that the best model on disk and the checkpoint never disagree. */
        const bool saves = (evaluates || state->step % t->save_every == 0) && state->step % loop->updates == 0;
        if (saves && !save_checkpoint(loop, error)) return false;
        progress_update(&course->progress, (uint64_t)state->step);
    }
    return true;
}

static void say_result(const struct loop *loop) {
    const struct progress_state *state = &loop->state;
    if (state->step < loop->steps)
        log_info("stopped early at step %lld of %lld: no better dev score in %lld evaluations", (long long)state->step,
                 (long long)loop->steps, (long long)state->stale);
    if (state->norms.alarms > 0)
        log_info("%lld warnings about the gradient norm (grad_norm in log.jsonl)", (long long)state->norms.alarms);
    log_info("best dev score %.4f at step %lld; the model is in %s", state->best_score, (long long)state->best_step,
             loop->directory->path);
}

bool loop_run(struct loop *loop, struct error *error) {
    struct stop_watch watch;
    if (!load_checkpoint(loop, error)) return false;
    struct course course = {
        .loop = loop, .started = time_now(), .first_step = loop->state.step, .first_tokens = loop->state.tokens};
    stop_watch_begin(&watch);
    progress_start(&course.progress, "training", "steps", (uint64_t)loop->steps);
    progress_go_on(&course.progress, (uint64_t)loop->state.step);
    const bool done = run_steps(&course, error);
    progress_finish(&course.progress);
    stop_watch_end(&watch);
    text_free(&course.extra);
    if (done && cluster_is_first()) say_result(loop);
    return done;
}
