/* Two queues and one thread. While a block is in the model the next one gathers, so blocks grow with the load and a
 * single note never waits for company. */
#include "serve/coder.h"
#include "base/log.h"
#include "base/memory.h"
#include "model/classifier.h"
#include "serve/counters.h"
#include "serve/turns.h"
#include "tensor/kernels.h"
#include <string.h>

/* Notes that pass through together: more fill the matrix products no better, and make those behind wait longer. */
enum { BLOCK = 32 };

struct queue {
    struct coding *first, **last;
    size_t count;
};

struct coder {
    const struct classifier *classifier;
    struct turns *compute;
    struct counters *counters;
    size_t limit;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    pthread_t thread;
    struct queue people, batches;
    bool stop, running;
    float *logits; /* [BLOCK, labels] */
};

static void queue_add(struct queue *queue, struct coding *coding) {
    coding->next = NULL;
    *queue->last = coding;
    queue->last = &coding->next;
    queue->count++;
}

static struct coding *queue_take(struct queue *queue) {
    struct coding *coding = queue->first;
    if (coding == NULL) return NULL;
    queue->first = coding->next;
    if (queue->first == NULL) queue->last = &queue->first;
    queue->count--;
    return coding;
}

static void finish(struct coding *coding, enum coding_end end) {
    coding->end = end;
    coding->done(coding);
}

/* The notes of the next block; none: the coder stops. */
static size_t take_block(struct coder *coder, struct coding *block[BLOCK]) {
    size_t count = 0;
    pthread_mutex_lock(&coder->mutex);
    while (coder->people.count + coder->batches.count == 0 && !coder->stop)
        pthread_cond_wait(&coder->changed, &coder->mutex);
    while (!coder->stop && count < BLOCK) {
        struct coding *coding = queue_take(&coder->people);
        if (coding == NULL) coding = queue_take(&coder->batches);
        if (coding == NULL) break;
        block[count++] = coding;
    }
    pthread_mutex_unlock(&coder->mutex);
    return count;
}

/* Gives back those for whom it is no use any more; how many are left. */
static size_t drop_stale(struct coder *coder, struct coding *block[BLOCK], size_t count) {
    const double now = time_now();
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct coding *coding = block[i];
        if (coding->gone != NULL && atomic_load(coding->gone)) {
            counters_left(coder->counters);
            finish(coding, CODING_LEFT);
        } else if (coding->deadline > 0 && now > coding->deadline) {
            finish(coding, CODING_LATE);
        } else {
            block[kept++] = coding;
        }
    }
    return kept;
}

static bool run_notes(struct coder *coder, struct coding *const *block, size_t count, struct error *error) {
    struct note notes[BLOCK];
    int32_t tokens[BLOCK];
    bool truncated[BLOCK];
    for (size_t i = 0; i < count; i++) notes[i] = (struct note){block[i]->text, block[i]->length};
    turn_take(coder->compute);
    const bool done =
        classifier_logits(coder->classifier, notes, count, 0, coder->logits, tokens, truncated, NULL, NULL, error);
    turn_end(coder->compute);
    if (!done) return false;
    const size_t labels = coder->classifier->card.labels.count;
    uint64_t sum = 0;
    softmax_rows(coder->logits, coder->logits, (int64_t)count, (int64_t)labels);
    for (size_t i = 0; i < count; i++) {
        ranking_top(coder->logits + i * labels, labels, block[i]->top, block[i]->k);
        block[i]->tokens = tokens[i];
        block[i]->truncated = truncated[i];
        sum += (uint64_t)tokens[i];
    }
    counters_coded(coder->counters, count, sum);
    return true;
}

/* A note that cannot be read spoils the block: its notes then go one by one. */
static void run_block(struct coder *coder, struct coding *const *block, size_t count) {
    struct error error = {0};
    if (run_notes(coder, block, count, &error)) {
        for (size_t i = 0; i < count; i++) finish(block[i], CODING_DONE);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        const bool done = run_notes(coder, block + i, 1, &block[i]->error);
        if (!done) counters_failed(coder->counters, 1);
        finish(block[i], done ? CODING_DONE : CODING_FAILED);
    }
}

static void *run(void *context) {
    struct coder *coder = context;
    struct coding *block[BLOCK];
    for (size_t count; (count = take_block(coder, block)) > 0;) {
        count = drop_stale(coder, block, count);
        if (count > 0) run_block(coder, block, count);
    }
    return NULL;
}

bool coder_open(struct coder **out, const struct classifier *classifier, struct turns *compute, size_t limit,
                struct counters *counters, struct error *error) {
    const size_t labels = classifier->card.labels.count;
    struct coder *coder = memory_zero(1, sizeof *coder);
    if (coder == NULL) return memory_error(error, sizeof *coder, "a queue of notes");
    coder->classifier = classifier;
    coder->compute = compute;
    coder->counters = counters;
    coder->limit = limit;
    coder->people.last = &coder->people.first;
    coder->batches.last = &coder->batches.first;
    pthread_mutex_init(&coder->mutex, NULL);
    pthread_cond_init(&coder->changed, NULL);
    coder->logits = memory_alloc(BLOCK, labels * sizeof(float));
    *out = coder;
    if (coder->logits == NULL) return memory_error(error, BLOCK * labels * sizeof(float), "the logits of a block");
    coder->running = pthread_create(&coder->thread, NULL, run, coder) == 0;
    return coder->running || error_set(error, "no thread can be started");
}

void coder_stop(struct coder *coder) {
    if (coder == NULL || !coder->running) return;
    pthread_mutex_lock(&coder->mutex);
    coder->stop = true;
    pthread_cond_signal(&coder->changed);
    pthread_mutex_unlock(&coder->mutex);
    pthread_join(coder->thread, NULL);
    coder->running = false;
    for (struct coding *coding; (coding = queue_take(&coder->people)) != NULL;) finish(coding, CODING_STOPPED);
    for (struct coding *coding; (coding = queue_take(&coder->batches)) != NULL;) finish(coding, CODING_STOPPED);
}

void coder_close(struct coder *coder) {
    if (coder == NULL) return;
    coder_stop(coder);
    pthread_mutex_destroy(&coder->mutex);
    pthread_cond_destroy(&coder->changed);
    memory_free(coder->logits);
    memory_free(coder);
}

bool coder_submit(struct coder *coder, struct coding *coding) {
    pthread_mutex_lock(&coder->mutex);
    const bool taken = !coder->stop && (coding->batch || coder->people.count < coder->limit);
    if (taken) {
        queue_add(coding->batch ? &coder->batches : &coder->people, coding);
        pthread_cond_signal(&coder->changed);
    }
    pthread_mutex_unlock(&coder->mutex);
    return taken;
}

size_t coder_waiting(struct coder *coder) {
    pthread_mutex_lock(&coder->mutex);
    const size_t count = coder->people.count + coder->batches.count;
    pthread_mutex_unlock(&coder->mutex);
    return count;
}
