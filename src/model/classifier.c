/* Opening a run directory as a classifier of notes, and its packed inference. */
#include "model/classifier.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "model/quantise.h"
#include <stdio.h>
#include <string.h>

/* The tokens that a batch holds unless the caller says otherwise: enough to fill the matrix products, little enough to
 * stay in cache. */
#define BATCH_TOKENS 4096

/* An adapter run names its base model relative to itself. */
static bool base_directory(const struct run_card *card, const char *directory, char *base, size_t capacity,
                           struct error *error) {
    const bool fits = card->base[0] == '/' ? (size_t)snprintf(base, capacity, "%s", card->base) < capacity
                                           : path_join(base, capacity, directory, card->base);
    return fits || error_set(error, "%s/casemix.json: the path of the base model is too long", directory);
}

static bool open_weights(struct classifier *classifier, const char *directory, struct error *error) {
    if (classifier->card.base[0] == '\0') return decoder_open(&classifier->decoder, directory, error);
    char base[4096];
    if (!base_directory(&classifier->card, directory, base, sizeof base, error)) return false;
    if (!decoder_open(&classifier->decoder, base, error)) return error_context(error, "base model of %s", directory);
    return decoder_open_adapter(&classifier->decoder, directory, false, error);
}

static bool check_agreement(const struct classifier *classifier, const char *directory, struct error *error) {
    const struct model_config *config = &classifier->decoder.config;
    if (!config->classifier || classifier->decoder.head.weight.data == NULL) {
        error_set(error, "%s: the model has no classification head", directory);
        return error_hint(error, "name a run that `casemix train` wrote with method: classify");
    }
    if ((size_t)config->labels != classifier->card.labels.count) {
        return error_set(error, "%s: the model has %lld labels, casemix.json lists %zu DRGs", directory,
                         (long long)config->labels, classifier->card.labels.count);
    }
    if (tokenizer_vocabulary(classifier->tokenizer) > (size_t)config->V) {
        return error_set(error, "%s: tokenizer.json has ids up to %zu, the model a vocabulary of %lld", directory,
                         tokenizer_vocabulary(classifier->tokenizer) - 1, (long long)config->V);
    }
    return true;
}

static bool open_parts(struct classifier *classifier, const char *directory, struct error *error) {
    if (!run_card_load(&classifier->card, directory, error)) return false;
    if (strcmp(classifier->card.task, "classify") != 0) {
        return error_set(error, "%s/casemix.json: task is \"%s\", expected \"classify\"", directory,
                         classifier->card.task);
    }
    classifier->catalog = catalog_get(classifier->card.grouper);
    if (!tokenizer_open(&classifier->tokenizer, directory, error)) return false;
    return open_weights(classifier, directory, error) && check_agreement(classifier, directory, error);
}

bool classifier_open(struct classifier *classifier, const char *directory, struct error *error) {
    *classifier = (struct classifier){0};
    if (!path_is_directory(directory)) {
        error_set(error, "%s: no such model directory", directory);
        return error_hint(error, "--model takes a run directory, such as models/tiny-classifier");
    }
    if (open_parts(classifier, directory, error)) return true;
    classifier_close(classifier);
    return false;
}

void classifier_close(struct classifier *classifier) {
    decoder_close(&classifier->decoder);
    tokenizer_close(classifier->tokenizer);
    run_card_free(&classifier->card);
    *classifier = (struct classifier){0};
}

bool classifier_compute(struct classifier *classifier, enum compute_type type, const char *int8_cache,
                        struct error *error) {
    if (int8_cache != NULL && type != COMPUTE_INT8) return error_usage(error, "--int8-cache goes with --compute int8");
    compute_start(type);
    const struct quantise_settings settings = {.cache = int8_cache};
    return type != COMPUTE_INT8 || decoder_quantise(&classifier->decoder, &settings, NULL, error);
}

static int64_t token_limit(const struct classifier *classifier) {
    const int64_t positions = classifier->decoder.config.positions, limit = classifier->card.max_tokens;
    return limit > 0 && limit < positions ? limit : positions;
}

bool classifier_encode(const struct classifier *classifier, const char *text, size_t length, struct token_list *out,
                       bool *truncated, struct error *error) {
    const size_t before = out->count, limit = (size_t)token_limit(classifier);
    if (!tokenizer_encode(classifier->tokenizer, text, length, false, out, error)) return false;
    if (out->count == before) return error_set(error, "the note holds no text that the tokenizer knows");
    *truncated = out->count - before > limit;
    if (*truncated) out->count = before + limit;
    return true;
}

/* Notes as one run of tokens: note i is ids[starts[i]] … ids[starts[i+1]-1]. */
struct encoded_notes {
    struct token_list tokens;
    size_t *starts;
};

static bool encode_notes(const struct classifier *classifier, const struct note *notes, size_t count,
                         struct encoded_notes *encoded, int32_t *token_counts, bool *truncated, struct error *error) {
    encoded->starts = memory_alloc(count + 1, sizeof *encoded->starts);
    if (encoded->starts == NULL)
        return memory_error(error, (count + 1) * sizeof *encoded->starts, "the tokens of a batch");
    for (size_t i = 0; i < count; i++) {
        bool cut = false;
        encoded->starts[i] = encoded->tokens.count;
        if (!classifier_encode(classifier, notes[i].text, notes[i].length, &encoded->tokens, &cut, error)) return false;
        if (token_counts != NULL) token_counts[i] = (int32_t)(encoded->tokens.count - encoded->starts[i]);
        if (truncated != NULL) truncated[i] = cut;
    }
    encoded->starts[count] = encoded->tokens.count;
    return true;
}

/* The notes from `first` on that go into one batch: as many as its tokens hold, at least one. */
static size_t batch_end(const size_t *starts, size_t first, size_t count, int64_t batch_tokens) {
    size_t end = first + 1;
    while (end < count && starts[end + 1] - starts[first] <= (size_t)batch_tokens) end++;
    return end;
}

static bool run_batches(const struct classifier *classifier, const struct encoded_notes *encoded, size_t count,
                        int64_t batch_tokens, float *logits, void (*progress)(void *context, size_t done),
                        void *context, struct error *error) {
    int64_t T = 1, N = 1;
    for (size_t first = 0; first < count;) {
        const size_t end = batch_end(encoded->starts, first, count, batch_tokens);
        const int64_t tokens = (int64_t)(encoded->starts[end] - encoded->starts[first]);
        if (tokens > T) T = tokens;
        if ((int64_t)(end - first) > N) N = (int64_t)(end - first);
        first = end;
    }
    struct decoder_run *run;
    if (!decoder_run_open(&run, &classifier->decoder, T, N, false, error)) return false;
    int32_t *offsets = memory_alloc((size_t)N + 1, sizeof *offsets);
    bool done = offsets != NULL || memory_error(error, ((size_t)N + 1) * sizeof *offsets, "the offsets of a batch");
    for (size_t first = 0; done && first < count;) {
        const size_t end = batch_end(encoded->starts, first, count, batch_tokens);
        for (size_t i = first; i <= end; i++)
            offsets[i - first] = (int32_t)(encoded->starts[i] - encoded->starts[first]);
        const struct batch batch = {offsets[end - first], (int64_t)(end - first),
                                    encoded->tokens.ids + encoded->starts[first], offsets};
        done = batch_check(&classifier->decoder, run, &batch, error);
        if (done)
            decoder_classify_forward(&classifier->decoder, run, &batch, 0,
                                     logits + (int64_t)first * classifier->decoder.config.labels);
        if (done && progress != NULL) progress(context, end);
        first = end;
    }
    memory_free(offsets);
    decoder_run_close(run);
    return done;
}

bool classifier_logits(const struct classifier *classifier, const struct note *notes, size_t count,
                       int64_t batch_tokens, float *logits, int32_t *token_counts, bool *truncated,
                       void (*progress)(void *context, size_t done), void *context, struct error *error) {
    if (count == 0) return true;
    struct encoded_notes encoded = {0};
    const bool done = encode_notes(classifier, notes, count, &encoded, token_counts, truncated, error) &&
                      run_batches(classifier, &encoded, count, batch_tokens > 0 ? batch_tokens : BATCH_TOKENS, logits,
                                  progress, context, error);
    memory_free(encoded.starts);
    token_list_free(&encoded.tokens);
    return done;
}
