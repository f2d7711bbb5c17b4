/* One queue, one thread, one finder. */
#include "serve/explainer.h"
#include "base/log.h"
#include "base/memory.h"
#include "eval/evidence.h"
#include "model/classifier.h"
#include "serve/turns.h"

struct explainer {
    const struct classifier *classifier;
    struct turns *compute;
    struct evidence_finder *finder;
    size_t limit;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_t thread;
    struct explaining *first, **last;
    size_t waiting; /* also the one at hand */
    bool stop, running;
};

static void add_spans(struct text *out, const struct evidence *evidence) {
    text_add_char(out, '[');
    for (size_t i = 0; i < evidence->span_count; i++) {
        const struct evidence_part *span = &evidence->spans[i];
        text_printf(out, "%s{\"start\": %zu, \"end\": %zu, \"score\": ", i == 0 ? "" : ", ", span->start, span->end);
        text_add_json_float(out, span->score);
        text_add_char(out, '}');
    }
    text_add_char(out, ']');
}

/* Nobody waits for it any more. */
static bool is_stale(struct explaining *explaining) {
    if (explaining->gone != NULL && atomic_load(explaining->gone))
        explaining->end = CODING_LEFT;
    else if (explaining->deadline > 0 && time_now() > explaining->deadline)
        explaining->end = CODING_LATE;
    else
        return false;
    return true;
}

static bool explain_drg(struct explainer *explainer, struct explaining *explaining, int drg, struct text *spans) {
    struct evidence evidence = {0};
    const int label = labels_find(&explainer->classifier->card.labels, drg);
    bool done = true;
    if (label >= 0) {
        turn_take(explainer->compute);
        done = evidence_find(explainer->finder, explaining->note, explaining->section, label, &evidence,
                             &explaining->error);
        turn_end(explainer->compute);
    }
    if (done) add_spans(spans, &evidence);
    return done && text_ok(spans, &explaining->error);
}

static void explain(struct explainer *explainer, struct explaining *explaining) {
    struct text list = {0}, spans = {0};
    bool done = true;
    explaining->end = CODING_DONE;
    for (size_t i = 0; i < explaining->drg_count && done && !is_stale(explaining); i++) {
        const int drg = explaining->drgs[i];
        text_clear(&spans);
        done = explain_drg(explainer, explaining, drg, &spans);
        if (!done) break;
        text_printf(&list, "%s{\"drg\": %d, \"spans\": %s}", i == 0 ? "" : ", ", drg, spans.data);
        if (drg == explaining->first) text_printf(&explaining->members, ", \"evidence\": %s", spans.data);
    }
    text_printf(&explaining->members, ", \"evidence_by_drg\": [%s]", list.data == NULL ? "" : list.data);
    if (!done || !text_ok(&list, &explaining->error) || !text_ok(&explaining->members, &explaining->error))
        explaining->end = CODING_FAILED;
    text_free(&list);
    text_free(&spans);
}

/* NULL: it stops. */
static struct explaining *take_first(struct explainer *explainer) {
    pthread_mutex_lock(&explainer->mutex);
    while (explainer->first == NULL && !explainer->stop) pthread_cond_wait(&explainer->changed, &explainer->mutex);
    struct explaining *explaining = explainer->stop ? NULL : explainer->first;
    if (explaining != NULL) {
        explainer->first = explaining->next;
        if (explainer->first == NULL) explainer->last = &explainer->first;
    }
    pthread_mutex_unlock(&explainer->mutex);
    return explaining;
}

static void *run(void *context) {
    struct explainer *explainer = context;
    for (struct explaining *explaining; (explaining = take_first(explainer)) != NULL;) {
        explain(explainer, explaining);
        pthread_mutex_lock(&explainer->mutex);
        explainer->waiting--;
        pthread_mutex_unlock(&explainer->mutex);
        explaining->done(explaining);
    }
    return NULL;
}

bool explainer_open(struct explainer **out, const struct classifier *classifier, struct turns *compute, size_t limit,
                    struct error *error) {
    struct explainer *explainer = memory_zero(1, sizeof *explainer);
    if (explainer == NULL) return memory_error(error, sizeof *explainer, "evidence");
    explainer->classifier = classifier;
    explainer->compute = compute;
    explainer->limit = limit;
    explainer->last = &explainer->first;
    pthread_mutex_init(&explainer->mutex, NULL);
    pthread_cond_init(&explainer->changed, NULL);
    *out = explainer;
    if (!evidence_finder_open(&explainer->finder, classifier, EVIDENCE_GRADIENTS, error)) return false;
    explainer->running = pthread_create(&explainer->thread, NULL, run, explainer) == 0;
    return explainer->running || error_set(error, "no thread can be started");
}

void explainer_stop(struct explainer *explainer) {
    if (explainer == NULL || !explainer->running) return;
    pthread_mutex_lock(&explainer->mutex);
    explainer->stop = true;
    pthread_cond_signal(&explainer->changed);
    pthread_mutex_unlock(&explainer->mutex);
    pthread_join(explainer->thread, NULL);
    explainer->running = false;
    for (struct explaining *explaining = explainer->first, *next; explaining != NULL; explaining = next) {
        next = explaining->next;
        explaining->end = CODING_STOPPED;
        explaining->done(explaining);
    }
    explainer->first = NULL;
    explainer->waiting = 0;
}

void explainer_close(struct explainer *explainer) {
    if (explainer == NULL) return;
    explainer_stop(explainer);
    evidence_finder_close(explainer->finder);
    pthread_mutex_destroy(&explainer->mutex);
    pthread_cond_destroy(&explainer->changed);
    memory_free(explainer);
}

bool explainer_submit(struct explainer *explainer, struct explaining *explaining) {
    pthread_mutex_lock(&explainer->mutex);
    const bool taken = !explainer->stop;
    explaining->next = NULL;
    if (taken) {
        *explainer->last = explaining;
        explainer->last = &explaining->next;
        explainer->waiting++;
        pthread_cond_signal(&explainer->changed);
    }
    pthread_mutex_unlock(&explainer->mutex);
    return taken;
}

size_t explainer_waiting(struct explainer *explainer) {
    pthread_mutex_lock(&explainer->mutex);
    const size_t waiting = explainer->waiting;
    pthread_mutex_unlock(&explainer->mutex);
    return waiting;
}

bool explainer_has_room(struct explainer *explainer) {
    return explainer_waiting(explainer) < explainer->limit;
}
