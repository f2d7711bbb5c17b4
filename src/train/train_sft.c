/* Fine-tuning and pre-training: see train_sft.h. */
#include "train/train_sft.h"
#include "base/error.h"
#include "base/file.h"
#include "model/lm_loss.h"
#include "train/cluster.h"
#include "train/lm_training.h"
#include <string.h>

struct sft {
    struct lm_training lm;
    struct prompt knowledge_prompt;
    struct prompt_encoder knowledge;
    bool on_all; /* prompts are learned too */
    struct decoder_run *run;
    struct lm_loss loss;
    int32_t *tokens, *offsets; /* one micro-batch */
    int32_t *rows, *targets;   /* [micro_rows] tokens that predict, and what */
    float *log_p, *coefficients;
    float *d_hidden; /* [micro_rows, C] */
};

/* Predicted tokens of an example: the first token of a sequence is never one. */
static int64_t target_count(const struct sft *sft, const struct examples *examples, size_t i) {
    const int64_t prompt = examples_part(examples, i, 0).count, completion = examples_part(examples, i, 1).count;
    return sft->on_all || prompt == 0 ? prompt + completion - 1 : completion;
}

/* Copies the examples order[first … end) into the micro-batch. */
static struct batch pack(struct sft *sft, const struct examples *examples, const uint32_t *order, int64_t first,
                         int64_t end) {
    int32_t t = 0, q = 0;
    sft->offsets[0] = 0;
    for (int64_t i = first; i < end; i++) {
        const size_t example = order == NULL ? (size_t)i : order[i];
        const struct token_span prompt = examples_part(examples, example, 0);
        const int64_t length = examples_length(examples, example), targets = target_count(sft, examples, example);
        memcpy(sft->tokens + t, prompt.ids, (size_t)length * sizeof *sft->tokens);
        for (int64_t p = length - targets; p < length; p++) {
            sft->rows[q] = t + (int32_t)p - 1;
            sft->targets[q++] = sft->tokens[t + p];
        }
        t += (int32_t)length;
        sft->offsets[i - first + 1] = t;
    }
    return (struct batch){
        .T = t, .N = end - first, .tokens = sft->tokens, .offsets = sft->offsets, .rows = sft->rows, .Q = q};
}

/* This rank's share of the gradient of the mean loss of all predicted tokens of the examples first … end - 1. */
static bool gradient(struct training *training, int64_t first, int64_t end, double *loss, struct error *error) {
    struct sft *sft = training->context;
    const struct examples *data = &sft->lm.data;
    int64_t targets = 0, from, stop;
    double sum = 0;
    (void)error;
    for (int64_t i = first; i < end; i++) targets += target_count(sft, data, training->order[i]);
    for (int64_t i = 0; i < training->micro_rows; i++) sft->coefficients[i] = (float)(1.0 / (double)targets);
    training_share(data->starts, 2, training->order, first, end, &from, &stop);
    while (from < stop) {
        const int64_t to = training_micro_end(training, data->starts, 2, training->order, from, stop);
        const struct batch batch = pack(sft, data, training->order, from, to);
        const float *hidden =
            decoder_hidden_forward(&training->decoder, sft->run, &batch, training_dropout_seed(training, from - first));
        const struct lm_rows rows = {batch.Q, hidden, sft->targets, 1};
        lm_loss_step(&sft->loss, &training->decoder, &rows, sft->coefficients, sft->log_p, NULL, sft->d_hidden);
        decoder_hidden_backward(&training->decoder, sft->run, &batch, sft->d_hidden);
        for (int64_t q = 0; q < batch.Q; q++) sum -= (double)sft->log_p[q];
        training->step_tokens += batch.T;
        from = to;
    }
    *loss = sum / (double)targets;
    return true;
}

/* Mean loss of a predicted token on dev, and the share of them that are the model's likeliest. */
static bool evaluate(struct training *training, struct training_dev *result, struct error *error) {
    struct sft *sft = training->context;
    const struct examples *dev = &sft->lm.dev;
    int64_t targets = 0, right = 0, from, stop;
    double sum = 0;
    (void)error;
    training_share(dev->starts, 2, NULL, 0, (int64_t)dev->count, &from, &stop);
    while (from < stop) {
        const int64_t to = training_micro_end(training, dev->starts, 2, NULL, from, stop);
        const struct batch batch = pack(sft, dev, NULL, from, to);
        const struct lm_rows rows = {batch.Q, decoder_hidden_forward(&training->decoder, sft->run, &batch, 0),
                                     sft->targets, 1};
        lm_loss_forward(&sft->loss, &training->decoder, &rows, sft->log_p, NULL);
        for (int64_t q = 0; q < batch.Q; q++) {
            sum -= (double)sft->log_p[q];
            right += sft->loss.behind[q] <= 0;
        }
        targets += batch.Q;
        from = to;
    }
    double sums[] = {sum, (double)right, (double)targets};
    cluster_sum_doubles(sums, 3);
    *result = (struct training_dev){sums[0] / sums[2], sums[1] / sums[2], "token accuracy", "dev_token_accuracy"};
    return true;
}

/* A file that the recipe names lies in the data directory unless it is named absolutely. */
static bool load_rationales(struct rationales *rationales, const struct training *training, const char *name,
                            struct error *error) {
    char path[4096];
    if (name[0] == '/') return rationales_load(rationales, name, error);
    return (path_join(path, sizeof path, training->settings->data, name) ||
            error_set(error, "%s: path too long", name)) &&
           rationales_load(rationales, path, error);
}

/* The prompt that asks for knowledge, with its encoder. */
static bool open_knowledge(struct sft *sft, const struct training *training, struct error *error) {
    return prompt_open(&sft->knowledge_prompt, "knowledge", error) &&
           prompt_encoder_open(&sft->knowledge, &sft->knowledge_prompt, training->tokenizer,
                               training->tokenizer_directory, training->decoder.config.eos_id, error);
}

static bool open_data(struct training *training, struct error *error) {
    static const struct recipe_sft defaults = {.loss_on = LOSS_ON_COMPLETION};
    struct sft *sft = training->context;
    const struct recipe *recipe = training->settings->recipe;
    const struct recipe_sft *settings = recipe->sft == NULL ? &defaults : recipe->sft;
    const bool plain = recipe->method == METHOD_LM;
    struct rationales rationales = {0};
    struct example_file file = {.kind = plain ? EXAMPLES_TEXT : EXAMPLES_COMPLETION};
    sft->on_all = plain || settings->loss_on == LOSS_ON_ALL;
    bool done = lm_open_prompt(&sft->lm, training, settings->prompt, error);
    if (done && settings->rationales != NULL) {
        done = load_rationales(&rationales, training, settings->rationales, error);
        file.rationales = &rationales;
    }
    if (done && settings->knowledge) {
        done = open_knowledge(sft, training, error);
        file.knowledge = &sft->knowledge;
    }
    done = done && lm_open_examples(&sft->lm, training, &file, error);
    rationales_free(&rationales);
    training->load.unit = plain ? "texts" : "examples";
    training->load.sequences = 1;
    return done;
}

/* All tokens of a micro-batch but the first may be predicted ones. */
static size_t plan_buffers(struct training *training) {
    const size_t T = (size_t)training->micro_tokens, N = (size_t)training->micro_sequences,
                 C = (size_t)training->decoder.config.C;
    training->micro_rows = training->micro_tokens;
    return lm_loss_size(&training->decoder, training->micro_rows) + T * C * sizeof(float) +
           (5 * T + N + 1) * sizeof(int32_t);
}

static bool open_buffers(struct training *training, struct error *error) {
    struct sft *sft = training->context;
    const size_t T = (size_t)training->micro_tokens, N = (size_t)training->micro_sequences,
                 C = (size_t)training->decoder.config.C;
    sft->tokens = memory_alloc(T, sizeof *sft->tokens);
    sft->offsets = memory_alloc(N + 1, sizeof *sft->offsets);
    sft->rows = memory_alloc(T, sizeof *sft->rows);
    sft->targets = memory_alloc(T, sizeof *sft->targets);
    sft->log_p = memory_alloc(T, sizeof *sft->log_p);
    sft->coefficients = memory_alloc(T, sizeof *sft->coefficients);
    sft->d_hidden = memory_alloc(T, C * sizeof *sft->d_hidden);
    if (sft->tokens == NULL || sft->offsets == NULL || sft->rows == NULL || sft->targets == NULL ||
        sft->log_p == NULL || sft->coefficients == NULL || sft->d_hidden == NULL)
        return memory_error(error, training->buffer_bytes, "a micro-batch");
    return lm_loss_open(&sft->loss, &training->decoder, training->micro_rows, error) &&
           decoder_run_open_planned(&sft->run, &training->decoder, &training->plan, error);
}

static bool prepare(const struct training *training, struct error *error) {
    const struct sft *sft = training->context;
    return training->settings->recipe->method == METHOD_LM || lm_prepare(&sft->lm, training, error);
}

static void close_sft(struct training *training) {
    struct sft *sft = training->context;
    decoder_run_close(sft->run);
    lm_loss_close(&sft->loss);
    lm_close(&sft->lm);
    prompt_encoder_close(&sft->knowledge);
    prompt_close(&sft->knowledge_prompt);
    memory_free(sft->tokens);
    memory_free(sft->offsets);
    memory_free(sft->rows);
    memory_free(sft->targets);
    memory_free(sft->log_p);
    memory_free(sft->coefficients);
    memory_free(sft->d_hidden);
}

bool train_sft(const struct train_settings *settings, struct error *error) {
    static const struct training_method method = {.task = "generate",
                                                  .causal = true,
                                                  .open_data = open_data,
                                                  .plan_buffers = plan_buffers,
                                                  .open_buffers = open_buffers,
                                                  .gradient = gradient,
                                                  .evaluate = evaluate,
                                                  .prepare = prepare,
                                                  .close = close_sft};
    struct sft sft = {0};
    return training_run(settings, &method, &sft, error);
}
