/* Opening a run directory as a classifier of notes, and its packed inference. */
#include "model/classifier.h"
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "model/quantise.h"
#include "model/run_decoder.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* The tokens that a batch holds unless the caller says otherwise: enough to fill the matrix products, little enough to
 * stay in cache. */
#define BATCH_TOKENS 4096

static bool open_weights(struct classifier *classifier, const char *directory, enum network_family family,
                         struct error *error) {
    if (family == NETWORK_CAML) {
        classifier->network = network_of_caml(&classifier->caml);
        return caml_open(&classifier->caml, directory, error);
    }
    if (family == NETWORK_LINEAR) {
        classifier->network = network_of_linear_bag(&classifier->linear_bag);
        return linear_bag_open(&classifier->linear_bag, directory, error);
    }
    if (family == NETWORK_BERT) {
        classifier->network = network_of_encoder(&classifier->encoder);
        return encoder_open(&classifier->encoder, directory, 0, error);
    }
    classifier->network = network_of_decoder(&classifier->decoder);
    return run_decoder_open(&classifier->decoder, &classifier->card, directory, error);
}

static bool open_reader(struct classifier *classifier, const char *directory, enum network_family family,
                        struct error *error) {
    char path[4096];
    if (family == NETWORK_CAML || family == NETWORK_LINEAR) {
        if (!path_join(path, sizeof path, directory, "words.txt"))
            return error_set(error, "%s: path too long", directory);
        if (!words_open(&classifier->words, path, error)) return false;
        classifier->reader = text_reader_of_words(classifier->words);
        return true;
    }
    if (!tokenizer_open(&classifier->tokenizer, directory, error)) return false;
    if (family == NETWORK_BERT) return text_reader_of_bert(&classifier->reader, classifier->tokenizer, error);
    return text_reader_of_decoder(&classifier->reader, classifier->tokenizer, error);
}

static bool check_agreement(const struct classifier *classifier, const char *directory, struct error *error) {
    const struct network_shape shape = classifier->network.call->shape(classifier->network.model);
    const size_t ids = text_reader_vocabulary(&classifier->reader);
    const bool decoder = classifier->network.family == NETWORK_DECODER;
    if (shape.labels == 0 ||
        (decoder && (!classifier->decoder.config.classifier || classifier->decoder.head.weight.data == NULL))) {
        error_set(error, "%s: the model has no classification head", directory);
        return error_hint(error, "name a run that `casemix train` wrote with method: classify");
    }
    if ((size_t)shape.labels != classifier_width(classifier)) {
        return classifier->card.bases > 0
                   ? error_set(error, "%s: the model has %lld labels, casemix.json says %lld bases and %d severities",
                               directory, (long long)shape.labels, (long long)classifier->card.bases,
                               TWO_LABEL_SEVERITIES)
                   : error_set(error, "%s: the model has %lld labels, casemix.json lists %zu DRGs", directory,
                               (long long)shape.labels, classifier->card.labels.count);
    }
    return ids <= (size_t)shape.V ||
           error_set(error, "%s: %s has ids up to %zu, the model a vocabulary of %lld", directory,
                     classifier->words != NULL ? "words.txt" : "the tokenizer", ids - 1, (long long)shape.V);
}

static bool open_parts(struct classifier *classifier, const char *directory, struct error *error) {
    if (!run_card_load(&classifier->card, directory, error)) return false;
    if (strcmp(classifier->card.task, "classify") != 0 && strcmp(classifier->card.task, "two_label") != 0) {
        return error_set(error, "%s/casemix.json: task is \"%s\", expected \"classify\" or \"two_label\"", directory,
                         classifier->card.task);
    }
    classifier->catalog = catalog_get(classifier->card.grouper);
    enum network_family family = NETWORK_DECODER; /* an adapter's: its base is one */
    if (classifier->card.base[0] == '\0' && !network_family_of(&family, directory, error)) return false;
    const bool reads = open_reader(classifier, directory, family, error);
    classifier->reader.window = classifier->card.window;
    return reads && open_weights(classifier, directory, family, error) && check_agreement(classifier, directory, error);
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
    encoder_close(&classifier->encoder);
    caml_close(&classifier->caml);
    linear_bag_close(&classifier->linear_bag);
    tokenizer_close(classifier->tokenizer);
    words_close(classifier->words);
    run_card_free(&classifier->card);
    *classifier = (struct classifier){0};
}

bool classifier_compute(struct classifier *classifier, enum compute_type type, const char *int8_cache,
                        struct error *error) {
    if (int8_cache != NULL && type != COMPUTE_INT8) return error_usage(error, "--int8-cache goes with --compute int8");
    if (type == COMPUTE_INT8 && classifier->network.family != NETWORK_DECODER) {
        error_set(error, "int8 weights are there for decoders, and this model is none");
        return error_hint(error, "leave --compute out");
    }
    compute_start(type);
    const struct quantise_settings settings = {.cache = int8_cache};
    return type != COMPUTE_INT8 || decoder_quantise(&classifier->decoder, &settings, NULL, error);
}

static int64_t token_limit(const struct classifier *classifier) {
    const int64_t positions = classifier->network.call->shape(classifier->network.model).positions,
                  limit = classifier->card.max_tokens;
    return limit > 0 && limit < positions ? limit : positions;
}

bool classifier_encode(const struct classifier *classifier, const char *text, size_t length, struct token_list *out,
                       bool *truncated, struct error *error) {
    return text_reader_encode(&classifier->reader, text, length, token_limit(classifier), out, truncated, error);
}

bool classifier_encode_spans(const struct classifier *classifier, const char *text, size_t length,
                             struct token_list *out, struct token_spans *spans, bool *truncated, struct error *error) {
    return text_reader_encode_spans(&classifier->reader, text, length, token_limit(classifier), out, spans, truncated,
                                    error);
}

bool classifier_section(const struct classifier *classifier, const char *note, size_t length, struct span *section) {
    const bool found = note_hospital_course(note, length, section);
    if (found && classifier->card.whole_note) *section = note_trim(note, length);
    return found || classifier->card.whole_note;
}

size_t classifier_width(const struct classifier *classifier) {
    const int64_t bases = classifier->card.bases;
    return bases > 0 ? (size_t)bases + TWO_LABEL_SEVERITIES : classifier->card.labels.count;
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
                        int64_t batch_tokens, float *outputs, void (*progress)(void *context, size_t done),
                        void *context, struct error *error) {
    int64_t T = 1, N = 1;
    for (size_t first = 0; first < count;) {
        const size_t end = batch_end(encoded->starts, first, count, batch_tokens);
        const int64_t tokens = (int64_t)(encoded->starts[end] - encoded->starts[first]);
        if (tokens > T) T = tokens;
        if ((int64_t)(end - first) > N) N = (int64_t)(end - first);
        first = end;
    }
    const struct network *network = &classifier->network;
    struct network_run *run;
    if (!network->call->run_open(&run, network->model, T, N, false, error)) return false;
    int32_t *offsets = memory_alloc((size_t)N + 1, sizeof *offsets);
    bool done = offsets != NULL || memory_error(error, ((size_t)N + 1) * sizeof *offsets, "the offsets of a batch");
    for (size_t first = 0; done && first < count;) {
        const size_t end = batch_end(encoded->starts, first, count, batch_tokens);
        for (size_t i = first; i <= end; i++)
            offsets[i - first] = (int32_t)(encoded->starts[i] - encoded->starts[first]);
        const struct batch batch = {.T = offsets[end - first],
                                    .N = (int64_t)(end - first),
                                    .tokens = encoded->tokens.ids + encoded->starts[first],
                                    .offsets = offsets};
        done = network->call->check(network->model, run, &batch, error);
        if (done)
            network->call->forward(network->model, run, &batch, 0, outputs + first * classifier_width(classifier));
        if (done && progress != NULL) progress(context, end);
        first = end;
    }
    memory_free(offsets);
    network->call->run_close(run);
    return done;
}

bool classifier_outputs(const struct classifier *classifier, const struct note *notes, size_t count,
                        int64_t batch_tokens, float *outputs, int32_t *token_counts, bool *truncated,
                        void (*progress)(void *context, size_t done), void *context, struct error *error) {
    if (count == 0) return true;
    struct encoded_notes encoded = {0};
    const bool done = encode_notes(classifier, notes, count, &encoded, token_counts, truncated, error) &&
                      run_batches(classifier, &encoded, count, batch_tokens > 0 ? batch_tokens : BATCH_TOKENS, outputs,
                                  progress, context, error);
    const float temperature = (float)classifier->card.temperature;
    for (size_t i = 0; done && temperature > 0 && i < count * classifier_width(classifier); i++)
        outputs[i] /= temperature;
    memory_free(encoded.starts);
    token_list_free(&encoded.tokens);
    return done;
}

void classifier_compose(const struct classifier *classifier, const float *outputs, size_t count, float *logits) {
    const struct labels *labels = &classifier->card.labels;
    const size_t bases = (size_t)classifier->card.bases, width = classifier_width(classifier);
    if (bases == 0) {
        if (logits != outputs) memcpy(logits, outputs, count * width * sizeof *logits);
        return;
    }
    for (size_t n = 0; n < count; n++) {
        const float *row = outputs + n * width;
        for (size_t i = 0; i < labels->count; i++) {
            const struct drg *drg = catalog_find(classifier->catalog, labels->codes[i]);
            logits[n * labels->count + i] = row[drg->base] + row[bases + (size_t)two_label_severity(drg)];
        }
    }
}

bool classifier_logits(const struct classifier *classifier, const struct note *notes, size_t count,
                       int64_t batch_tokens, float *logits, int32_t *token_counts, bool *truncated,
                       void (*progress)(void *context, size_t done), void *context, struct error *error) {
    if (classifier->card.bases == 0)
        return classifier_outputs(classifier, notes, count, batch_tokens, logits, token_counts, truncated, progress,
                                  context, error);
    const size_t width = classifier_width(classifier);
    float *outputs = memory_alloc(count, width * sizeof *outputs);
    const bool done =
        (outputs != NULL || memory_error(error, count * width * sizeof *outputs, "the scores of bases")) &&
        classifier_outputs(classifier, notes, count, batch_tokens, outputs, token_counts, truncated, progress, context,
                           error);
    if (done) classifier_compose(classifier, outputs, count, logits);
    memory_free(outputs);
    return done;
}

/* The first largest of some scores and its probability among them. */
static int likeliest(const float *scores, size_t count, double *p) {
    size_t best = 0;
    double sum = 0;
    for (size_t c = 1; c < count; c++) best = scores[c] > scores[best] ? c : best;
    for (size_t c = 0; c < count; c++) sum += exp((double)(scores[c] - scores[best]));
    *p = 1 / sum;
    return (int)best;
}

struct two_label_answer classifier_rule(const struct classifier *classifier, const float *outputs) {
    const size_t bases = (size_t)classifier->card.bases;
    struct two_label_answer answer;
    answer.base = likeliest(outputs, bases, &answer.base_p);
    answer.severity = likeliest(outputs + bases, TWO_LABEL_SEVERITIES, &answer.severity_p);
    answer.drg = catalog_resolve(classifier->catalog, answer.base, answer.severity);
    return answer;
}
