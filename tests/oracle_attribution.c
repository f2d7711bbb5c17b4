/* Gradient times input of oracle cases, by the same run that evidence uses: a frozen decoder, its gradient led down to
 * the embeddings. */
#include "oracle_attribution.h"
#include "base/error.h"
#include "base/memory.h"
#include "model/ranking.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void must(bool done, const struct error *error) {
    if (done) return;
    fprintf(stderr, "oracle: %s\n", error->message);
    exit(1);
}

static struct decoder_run *open_run(const struct decoder *decoder, const struct batch *batch) {
    struct run_plan plan = {.T = batch->T, .N = batch->N, .rows = batch->N, .train = true, .inputs = true};
    struct decoder_run *run = NULL;
    struct error error = {0};
    must(decoder_run_plan(&plan, decoder, 0, &error) && decoder_run_open_planned(&run, decoder, &plan, &error) &&
             batch_check(decoder, run, batch, &error),
         &error);
    return run;
}

/* Of the tokens of one sequence: gradient times embedding, and the gradient's norm. */
static void measure(const float *gradient, const float *embedding, int64_t T, int64_t C, float *saliency, float *norm) {
    for (int64_t t = 0; t < T; t++) {
        double product = 0, squares = 0;
        for (int64_t c = 0; c < C; c++) {
            const double g = (double)gradient[t * C + c];
            product += g * (double)embedding[t * C + c];
            squares += g * g;
        }
        saliency[t] = (float)product;
        norm[t] = (float)sqrt(squares);
    }
}

void oracle_attribution(const struct decoder *decoder, const struct batch *batch, oracle_check *check, void *oracle) {
    const int64_t N = batch->N, T = batch->T, C = decoder->config.C, labels = decoder->config.labels;
    struct decoder_run *run = open_run(decoder, batch);
    float *logits = memory_zero((size_t)(N * labels), sizeof *logits),
          *d_logits = memory_zero((size_t)(N * labels), sizeof *d_logits),
          *embeddings = memory_zero((size_t)(T * C), sizeof *embeddings),
          *saliency = memory_zero((size_t)T, sizeof *saliency), *norms = memory_zero((size_t)T, sizeof *norms),
          *top = memory_zero((size_t)N, sizeof *top);
    decoder_classify_forward(decoder, run, batch, 0, logits);
    for (int64_t n = 0; n < N; n++) {
        struct ranked best;
        ranking_top(logits + n * labels, (size_t)labels, &best, 1);
        top[n] = (float)best.label;
        d_logits[n * labels + best.label] = 1;
    }
    decoder_classify_backward(decoder, run, batch, d_logits);
    decoder_embed(decoder, batch->tokens, T, embeddings);
    check(oracle, "logits", logits, N * labels);
    check(oracle, "top", top, N);
    for (int64_t n = 0; n < N; n++) {
        char name[64];
        const int64_t first = batch->offsets[n], length = batch->offsets[n + 1] - first;
        measure(decoder_input_gradient(run) + first * C, embeddings + first * C, length, C, saliency, norms);
        snprintf(name, sizeof name, "saliency.%lld", (long long)n);
        check(oracle, name, saliency, length);
        snprintf(name, sizeof name, "grad_l2.%lld", (long long)n);
        check(oracle, name, norms, length);
    }
    float *const owned[] = {logits, d_logits, embeddings, saliency, norms, top};
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) memory_free(owned[i]);
    decoder_run_close(run);
}
