/* Between steps of the generator new requests are taken in and those that nobody wants are cancelled. */
#include "serve/writer.h"
#include "base/log.h"
#include "base/memory.h"
#include "model/decoder.h"
#include "serve/counters.h"
#include "serve/models.h"
#include "serve/turns.h"

/* Continuations and kept prompts at once; tokens of a step. */
enum { SEQUENCES = 40, KEPT_PROMPTS = 4, STEP_ROWS = 256 };

struct writer {
    const struct served *served;
    struct turns *compute;
    struct counters *counters;
    struct generator *generator;
    struct generator_settings settings;
    size_t limit;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_t thread;
    struct writing *first, **last; /* that wait to be taken in */
    struct writing *active;        /* that the generator has; of the thread alone */
    size_t waiting;                /* both */
    bool stop, running;
};

static void finish(struct writer *writer, struct writing *writing, enum writing_end end, const struct error *error) {
    pthread_mutex_lock(&writer->mutex);
    writer->waiting--;
    pthread_mutex_unlock(&writer->mutex);
    writing->done(writing, end, error);
}

/* The generator tells of every end but of one that we ask for by returning false. */
static bool take_event(void *context, const struct generation_event *event) {
    struct writing *writing = context;
    const bool wanted = !atomic_load(&writing->gone) && writing->text(writing, event);
    if (!wanted) atomic_store(&writing->gone, true);
    if (event->end != GENERATION_GOES_ON || !wanted) writing->live--;
    if (event->end == GENERATION_CANCELLED || !wanted) writing->cancelled = true;
    return wanted;
}

/* Requests that have come; NULL when there are none. Waits while there is nothing else to do. */
static struct writing *take_new(struct writer *writer, bool *stop) {
    pthread_mutex_lock(&writer->mutex);
    while (writer->first == NULL && writer->active == NULL && !writer->stop)
        pthread_cond_wait(&writer->changed, &writer->mutex);
    struct writing *list = writer->first;
    writer->first = NULL;
    writer->last = &writer->first;
    *stop = writer->stop;
    pthread_mutex_unlock(&writer->mutex);
    return list;
}

static void begin(struct writer *writer, struct writing *writing) {
    struct error error = {0};
    if (atomic_load(&writing->gone)) {
        counters_left(writer->counters);
        finish(writer, writing, WRITING_LEFT, &error);
        return;
    }
    if (writing->deadline > 0 && time_now() > writing->deadline) {
        finish(writer, writing, WRITING_LATE, &error);
        return;
    }
    writing->asked.function = take_event;
    writing->asked.context = writing;
    writing->live = writing->asked.samples;
    if (!generator_submit(writer->generator, &writing->asked, &writing->id, &error)) {
        finish(writer, writing, WRITING_REFUSED, &error);
        return;
    }
    writing->begun(writing);
    writing->next = writer->active;
    writer->active = writing;
}

/* Cancels what nobody wants, and gives back what is over. */
static void settle(struct writer *writer) {
    for (struct writing *writing = writer->active; writing != NULL; writing = writing->next) {
        if (writing->live > 0 && atomic_load(&writing->gone)) {
            counters_left(writer->counters);
            generator_cancel(writer->generator, writing->id);
        }
    }
    for (struct writing **at = &writer->active; *at != NULL;) {
        struct writing *writing = *at;
        if (writing->live > 0) {
            at = &writing->next;
            continue;
        }
        struct error error = {0};
        *at = writing->next;
        finish(writer, writing, writing->cancelled ? WRITING_LEFT : WRITING_DONE, &error);
    }
}

/* After an error a generator can only be closed; what it had is lost, and another takes its place. */
static void start_anew(struct writer *writer, const struct error *why) {
    struct error error = {0};
    while (writer->active != NULL) {
        struct writing *writing = writer->active;
        writer->active = writing->next;
        finish(writer, writing, WRITING_FAILED, why);
    }
    generator_close(writer->generator);
    writer->generator = NULL;
    if (!generator_open(&writer->generator, &writer->served->answerer.decoder, writer->served->answerer.tokenizer,
                        writer->served->has_trie ? &writer->served->answerer.trie : NULL, &writer->settings, &error))
        log_warning("%s: %s", writer->served->id, error.message);
}

static void step(struct writer *writer) {
    struct error error = {0};
    if (!generator_busy(writer->generator)) return;
    const uint64_t before = generator_counts(writer->generator).generated_tokens;
    turn_take(writer->compute);
    const bool done = generator_step(writer->generator, &error);
    turn_end(writer->compute);
    counters_generated(writer->counters, generator_counts(writer->generator).generated_tokens - before);
    if (!done) start_anew(writer, &error);
}

static void refuse_all(struct writer *writer, struct writing *list, enum writing_end end) {
    struct error error = {0};
    error_set(&error, "there is no memory to write with");
    for (struct writing *writing = list, *next; writing != NULL; writing = next) {
        next = writing->next;
        finish(writer, writing, end, &error);
    }
}

static void *run(void *context) {
    struct writer *writer = context;
    bool stop = false;
    while (!stop) {
        struct writing *list = take_new(writer, &stop);
        if (stop || writer->generator == NULL) {
            refuse_all(writer, list, stop ? WRITING_STOPPED : WRITING_FAILED);
            continue;
        }
        for (struct writing *writing = list, *next; writing != NULL; writing = next) {
            next = writing->next;
            begin(writer, writing);
        }
        settle(writer);
        step(writer);
        if (writer->generator != NULL) settle(writer);
    }
    for (struct writing *writing = writer->active; writing != NULL; writing = writing->next)
        atomic_store(&writing->gone, true);
    if (writer->generator != NULL) settle(writer);
    refuse_all(writer, writer->active, WRITING_STOPPED);
    return NULL;
}

bool writer_open(struct writer **out, const struct served *served, struct turns *compute, size_t limit,
                 int64_t cache_tokens, struct counters *counters, struct error *error) {
    struct writer *writer = memory_zero(1, sizeof *writer);
    if (writer == NULL) return memory_error(error, sizeof *writer, "a queue of prompts");
    writer->served = served;
    writer->compute = compute;
    writer->counters = counters;
    writer->limit = limit;
    writer->last = &writer->first;
    writer->settings = (struct generator_settings){
        .cache_tokens = cache_tokens, .sequences = SEQUENCES, .step_rows = STEP_ROWS, .kept_prompts = KEPT_PROMPTS};
    pthread_mutex_init(&writer->mutex, NULL);
    pthread_cond_init(&writer->changed, NULL);
    *out = writer;
    if (!generator_open(&writer->generator, &served->answerer.decoder, served->answerer.tokenizer,
                        served->has_trie ? &served->answerer.trie : NULL, &writer->settings, error))
        return false;
    writer->running = pthread_create(&writer->thread, NULL, run, writer) == 0;
    return writer->running || error_set(error, "no thread can be started");
}

void writer_stop(struct writer *writer) {
    if (writer == NULL || !writer->running) return;
    pthread_mutex_lock(&writer->mutex);
    writer->stop = true;
    pthread_cond_signal(&writer->changed);
    pthread_mutex_unlock(&writer->mutex);
    pthread_join(writer->thread, NULL);
    writer->running = false;
    refuse_all(writer, writer->first, WRITING_STOPPED);
    writer->first = NULL;
}

void writer_close(struct writer *writer) {
    if (writer == NULL) return;
    writer_stop(writer);
    generator_close(writer->generator);
    pthread_mutex_destroy(&writer->mutex);
    pthread_cond_destroy(&writer->changed);
    memory_free(writer);
}

bool writer_submit(struct writer *writer, struct writing *writing) {
    pthread_mutex_lock(&writer->mutex);
    const bool taken = !writer->stop && writer->waiting < writer->limit;
    if (taken) {
        writing->next = NULL;
        *writer->last = writing;
        writer->last = &writing->next;
        writer->waiting++;
        pthread_cond_signal(&writer->changed);
    }
    pthread_mutex_unlock(&writer->mutex);
    return taken;
}

size_t writer_waiting(struct writer *writer) {
    pthread_mutex_lock(&writer->mutex);
    const size_t waiting = writer->waiting;
    pthread_mutex_unlock(&writer->mutex);
    return waiting;
}
