/* Integrated gradients along the straight way from the baseline's embeddings to the note's, by the midpoints of equal
 * steps. A logit turns somewhere about the middle of the way and hardly at its ends, where Gauss-Legendre's points
 * crowd: on synthetic notes ten midpoints miss the difference of the logits by 0.1 to 0.3, ten of Gauss by 0.1 to 0.6.
 */
#include "base/error.h"
#include "base/memory.h"
#include "eval/evidence_finder.h"
#include <math.h>
#include <string.h>

/* Memory of a backward is limited: layers are computed twice where the model is large. */
#define PATH_MEMORY ((size_t)1 << 30)

static bool open_path(struct evidence_finder *finder, int64_t T, int64_t N, struct error *error) {
    const struct network *network = &finder->classifier->network;
    const size_t width = (size_t)network->call->shape(network->model).width,
                 scores = classifier_width(finder->classifier), cells = (size_t)T * width;
    struct run_plan plan = {.T = T, .N = N, .rows = N, .train = true, .inputs = true};
    if (finder->path != NULL) network->call->run_close(finder->path);
    finder->path = NULL;
    finder->path_T = finder->path_N = 0;
    /* A plan that does not fit is still the smallest there is. */
    if (!network->call->run_plan(&plan, network->model, PATH_MEMORY, error) && plan.bytes == 0) return false;
    if (!network->call->run_open_planned(&finder->path, network->model, &plan, error)) return false;
    float **const arrays[] = {&finder->note, &finder->baseline, &finder->between, &finder->gradient};
    bool done = true;
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++) {
        memory_free(*arrays[i]);
        *arrays[i] = memory_alloc(cells, sizeof(float));
        done = done && *arrays[i] != NULL;
    }
    memory_free(finder->d_logits);
    finder->d_logits = memory_zero((size_t)N, scores * sizeof(float));
    if (!done || finder->d_logits == NULL) return memory_error(error, cells * sizeof(float), "evidence");
    finder->path_T = T;
    finder->path_N = N;
    return true;
}

static bool reserve_path(struct evidence_finder *finder, int64_t T, struct error *error) {
    int64_t N = PATH_BATCH / T;
    N = N < 1 ? 1 : N > PATH_POINTS ? PATH_POINTS : N;
    if (T * N <= finder->path_T && N <= finder->path_N) return true;
    const int64_t room = T * N > PATH_BATCH ? T * N : PATH_BATCH;
    return open_path(finder, room, PATH_POINTS < room ? PATH_POINTS : room, error);
}

/* The frame of the text (BOS, [CLS]) is the same at both ends of the way. */
static void fill_baseline(struct evidence_finder *finder, int64_t T, int64_t width) {
    const struct network *network = &finder->classifier->network;
    for (int64_t t = 0; t < T; t++) {
        const struct byte_span span = finder->origins.items[t];
        const int32_t *token = span.start == span.end ? &finder->tokens.ids[t] : &finder->neutral;
        network->call->embed(network->model, token, 1, finder->baseline + t * width);
    }
}

/* Adds the gradients at `count` points of the path, given as shares of the way; `T * count` fits into a batch. */
static bool add_points(struct evidence_finder *finder, const float *along, int count, int64_t T, int64_t width,
                       int32_t label, struct error *error) {
    const struct network *network = &finder->classifier->network;
    const size_t scores = classifier_width(finder->classifier);
    for (int64_t n = 0; n < count; n++) {
        float *to = finder->between + n * T * width;
        for (int64_t i = 0; i < T * width; i++)
            to[i] = finder->baseline[i] + along[n] * (finder->note[i] - finder->baseline[i]);
        memcpy(finder->packed + n * T, finder->tokens.ids, (size_t)T * sizeof *finder->packed);
        finder->offsets[n + 1] = (int32_t)((n + 1) * T);
    }
    const struct batch batch = {
        .T = T * count, .N = count, .tokens = finder->packed, .offsets = finder->offsets, .embedded = finder->between};
    if (!network->call->check(network->model, finder->path, &batch, error)) return false;
    network->call->forward(network->model, finder->path, &batch, 0, finder->logits);
    memset(finder->d_logits, 0, (size_t)count * scores * sizeof *finder->d_logits);
    for (int64_t n = 0; n < count; n++) finder_score_gradient(finder, finder->d_logits + (size_t)n * scores, label);
    network->call->backward(network->model, finder->path, &batch, finder->d_logits);
    const float *gradient = network->call->input_gradient(finder->path);
    for (int64_t n = 0; n < count; n++) {
        for (int64_t i = 0; i < T * width; i++) finder->gradient[i] += gradient[n * T * width + i];
    }
    return true;
}

/* Adds the midpoints of `points` equal steps, batch by batch; with `finer` those that were midpoints of steps three
 * times as long are there already. */
static bool add_midpoints(struct evidence_finder *finder, int points, bool finer, int64_t T, int64_t width,
                          int32_t label, struct error *error) {
    const int64_t room = finder->path_T / T < finder->path_N ? finder->path_T / T : finder->path_N;
    float along[PATH_POINTS];
    int count = 0;
    for (int i = 0; i < points; i++) {
        if (!finer || i % 3 != 1) along[count++] = ((float)i + 0.5f) / (float)points;
        if (count == 0 || (count < room && i + 1 < points)) continue;
        if (!add_points(finder, along, count, T, width, label, error)) return false;
        count = 0;
    }
    return true;
}

/* Scores of the tokens by the gradients of `points` points; their sum. */
static double score_tokens(struct evidence_finder *finder, int points, int64_t T, int64_t width) {
    double sum = 0;
    for (int64_t t = 0; t < T; t++) {
        double score = 0;
        for (int64_t i = t * width; i < (t + 1) * width; i++)
            score += (double)finder->gradient[i] * (double)(finder->note[i] - finder->baseline[i]) / points;
        finder->token_scores[t] = (float)score;
        sum += score;
    }
    return sum;
}

/* A linear model needs no path: its score is a sum over words. */
static void add_terms(struct evidence_finder *finder, struct evidence *evidence) {
    const struct linear_bag *bag = &finder->classifier->linear_bag;
    const int32_t T = (int32_t)finder->tokens.count, offsets[] = {0, T};
    const struct batch batch = {.T = T, .N = 1, .tokens = finder->tokens.ids, .offsets = offsets};
    size_t rows[2];
    evidence->reference = 0;
    memset(finder->token_scores, 0, (size_t)T * sizeof *finder->token_scores);
    for (size_t i = finder_rows(finder, evidence->label, rows); i-- > 0;) {
        evidence->reference += (double)(bag->bias[rows[i]] / finder->temperature);
        linear_bag_attribute(bag, (struct linear_bag_run *)finder->run, &batch, 0, (int64_t)rows[i],
                             finder->token_scores);
    }
    for (int32_t t = 0; t < T; t++) finder->token_scores[t] /= finder->temperature;
}

bool finder_integrate(struct evidence_finder *finder, struct evidence *evidence, struct error *error) {
    const struct network *network = &finder->classifier->network;
    if (network->family == NETWORK_LINEAR) {
        add_terms(finder, evidence);
        return true;
    }
    const int64_t T = (int64_t)finder->tokens.count, width = network->call->shape(network->model).width;
    if (!reserve_path(finder, T, error) || !finder_reserve(finder, finder->path_T, finder->path_N, error)) return false;
    network->call->embed(network->model, finder->tokens.ids, T, finder->note);
    fill_baseline(finder, T, width);
    memcpy(finder->packed, finder->tokens.ids, (size_t)T * sizeof *finder->packed);
    finder->offsets[1] = (int32_t)T;
    finder_forward(finder, T, 1, false, finder->baseline);
    evidence->reference = finder_score(finder, 0, evidence->label);
    memset(finder->gradient, 0, (size_t)(T * width) * sizeof *finder->gradient);
    const double difference = evidence->logit - evidence->reference;
    int points = PATH_POINTS;
    bool done = add_midpoints(finder, points, false, T, width, evidence->label, error);
    /* Three times as many points where the logit turns too sharply for so few. */
    while (done &&
           fabs(score_tokens(finder, points, T, width) - difference) > finder->tolerance * fmax(fabs(difference), 1) &&
           points < finder->most_points) {
        points *= 3;
        done = add_midpoints(finder, points, true, T, width, evidence->label, error);
    }
    return done;
}
