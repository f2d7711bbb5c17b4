/* Eight answers to one prompt, as GRPO and self-consistency want them: sampled by the engine (generate/generator.h) and
 * trained on (decoder batches with parents), together and one by one. */
#include "cli/bench_group.h"
#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/bench_model.h"
#include "generate/generator.h"
#include "model/lm_loss.h"
#include <string.h>

enum { PROMPT = 1500, ANSWER = 300, ANSWERS = 8, LENGTH = PROMPT + ANSWER };

struct group_case {
    struct bench *bench;
    const char *type;
    struct decoder decoder;
    struct generator *generator;
    int32_t prompt[PROMPT];
    double began, first, ended; /* of the request under way: submitted, its first token, its last */
    uint64_t seed;
    bool quick;
    struct error *error;
};

static void add_value(const struct group_case *c, const char *what, double value, const char *unit) {
    struct text name = {0};
    text_printf(&name, "%s, %s", c->type, what);
    bench_value(c->bench, name.data == NULL ? what : name.data, value, unit);
    bench_flush(c->bench);
    text_free(&name);
}

static bool take_event(void *context, const struct generation_event *event) {
    struct group_case *c = context;
    (void)event;
    c->ended = time_now();
    if (c->first <= 0) c->first = c->ended;
    return true;
}

/* One request from its submission to its last token. `samples` answers of `tokens`. */
static bool answer(struct group_case *c, int32_t samples, int64_t tokens, bool kept) {
    struct generation_request request = {.prompt = c->prompt,
                                         .prompt_count = PROMPT,
                                         .samples = samples,
                                         .max_tokens = tokens,
                                         .sampling = sampling_plain,
                                         .seed = ++c->seed,
                                         .function = take_event,
                                         .context = c};
    int64_t id;
    if (!kept) generator_forget_prompts(c->generator);
    c->first = 0;
    c->began = time_now();
    if (!generator_submit(c->generator, &request, &id, c->error)) return false;
    while (generator_busy(c->generator)) {
        if (!generator_step(c->generator, c->error)) return false;
    }
    return true;
}

/* Bytes that a step of one row reads: the weights, and the keys and values of a sequence half way. */
static double step_bytes(const struct decoder *decoder) {
    const struct model_config *c = &decoder->config;
    return (double)c->L * layer_weights(c) * (double)dtype_size(decoder->layers[0].projections[0].weight.dtype) +
           (double)(c->V * c->C) * (double)dtype_size(decoder->head.weight.dtype) +
           (double)(c->L * 2 * c->K * c->D) * sizeof(float) * (PROMPT + ANSWER / 2.0);
}

static bool bench_kept_prompt(struct group_case *c) {
    if (!answer(c, 1, 1, false)) return false;
    const double cold = c->first - c->began;
    if (!answer(c, 1, 1, true)) return false;
    const double kept = c->first - c->began;
    add_value(c, "first token, new prompt of 1,500", cold, "s");
    add_value(c, "first token, kept prompt", kept, "s");
    add_value(c, "first token, kept of new", 100 * kept / cold, "%");
    return true;
}

static bool bench_sampling(struct group_case *c) {
    const struct generator_settings settings = generator_settings_for(PROMPT, ANSWERS, ANSWER);
    if (!generator_open(&c->generator, &c->decoder, NULL, NULL, &settings, c->error) || !bench_kept_prompt(c) ||
        !answer(c, ANSWERS, ANSWER, false))
        return false;
    const double together = c->ended - c->began, behind = c->ended - c->first;
    const int runs = c->quick ? 2 : ANSWERS;
    double apart = 0, apart_behind = 0;
    for (int run = 0; run < runs; run++) {
        if (!answer(c, 1, ANSWER, false)) return false;
        apart += (c->ended - c->began) * ANSWERS / runs;
        apart_behind += (c->ended - c->first) / runs;
    }
    add_value(c, "8 x 300 together, prompt included", ANSWERS * ANSWER / together, "tokens/s");
    add_value(c, "8 x 300 together, behind the prompt", ANSWERS * (ANSWER - 1) / behind, "tokens/s");
    add_value(c, "8 separate runs, prompts included", ANSWERS * ANSWER / apart, "tokens/s");
    add_value(c, "together against separate", apart / together, "times");
    bench_tokens(c->bench, "one answer, behind the prompt", ANSWER - 1, 0, (ANSWER - 1) * step_bytes(&c->decoder),
                 apart_behind);
    bench_flush(c->bench);
    return true;
}

/* Tokens of a packed batch and what it is trained on. */
struct group_batch {
    int32_t tokens[PROMPT + ANSWERS * ANSWER], offsets[ANSWERS + 2], parents[ANSWERS + 1];
    int32_t rows[ANSWERS * ANSWER], targets[ANSWERS * ANSWER];
    float weights[ANSWERS * ANSWER], log_p[ANSWERS * ANSWER];
    struct batch batch;
};

static int32_t token_of(const struct group_case *c, int64_t text, int64_t t) {
    return (int32_t)((text * 104729 + t * 7919) % c->decoder.config.V);
}

/* One sequence of the prompt and an answer. */
static void make_separate(const struct group_case *c, struct group_batch *b, int answer_number) {
    memcpy(b->tokens, c->prompt, sizeof c->prompt);
    for (int t = 0; t < ANSWER; t++) {
        b->tokens[PROMPT + t] = b->targets[t] = token_of(c, answer_number + 1, t);
        b->rows[t] = PROMPT - 1 + t;
        b->weights[t] = 1.0f / (ANSWERS * ANSWER);
    }
    b->offsets[1] = LENGTH;
    b->batch =
        (struct batch){.T = LENGTH, .N = 1, .tokens = b->tokens, .offsets = b->offsets, .rows = b->rows, .Q = ANSWER};
}

/* The prompt once, and eight answers that go on from it. First come the rows at the prompt's end. */
static void make_shared(const struct group_case *c, struct group_batch *b) {
    int64_t Q = 0;
    memcpy(b->tokens, c->prompt, sizeof c->prompt);
    b->parents[0] = -1;
    b->offsets[1] = PROMPT;
    for (int a = 0; a < ANSWERS; a++) {
        b->rows[Q] = PROMPT - 1;
        b->targets[Q++] = token_of(c, a + 1, 0);
    }
    for (int a = 0; a < ANSWERS; a++) {
        b->parents[a + 1] = 0;
        b->offsets[a + 2] = b->offsets[a + 1] + ANSWER;
        for (int t = 0; t < ANSWER; t++) {
            b->tokens[b->offsets[a + 1] + t] = token_of(c, a + 1, t);
            if (t == 0) continue;
            b->rows[Q] = b->offsets[a + 1] + t - 1;
            b->targets[Q++] = token_of(c, a + 1, t);
        }
    }
    for (int64_t q = 0; q < Q; q++) b->weights[q] = 1.0f / (ANSWERS * ANSWER);
    b->batch = (struct batch){.T = PROMPT + ANSWERS * ANSWER,
                              .N = ANSWERS + 1,
                              .tokens = b->tokens,
                              .offsets = b->offsets,
                              .parents = b->parents,
                              .rows = b->rows,
                              .Q = Q};
}

/* Forward and backward of a batch; adds to the gradients. */
static bool train_batch(struct group_case *c, struct group_batch *b, double *seconds) {
    struct decoder_run *run = NULL;
    struct lm_loss loss = {0};
    struct run_plan plan = {.T = b->batch.T, .N = b->batch.N, .rows = b->batch.Q, .train = true};
    const size_t states = (size_t)(b->batch.Q * c->decoder.config.C);
    float *d_hidden = memory_alloc(states, sizeof *d_hidden);
    bool done = (d_hidden != NULL || memory_error(c->error, states * sizeof *d_hidden, "gradients")) &&
                decoder_run_plan(&plan, &c->decoder, (size_t)(0.8 * available_memory()), c->error) &&
                decoder_run_open_planned(&run, &c->decoder, &plan, c->error) &&
                batch_check(&c->decoder, run, &b->batch, c->error) &&
                lm_loss_open(&loss, &c->decoder, b->batch.Q, c->error);
    if (done) {
        const double began = time_now();
        const struct lm_rows rows = {b->batch.Q, decoder_hidden_forward(&c->decoder, run, &b->batch, 0), b->targets, 1};
        lm_loss_step(&loss, &c->decoder, &rows, b->weights, b->log_p, NULL, d_hidden);
        decoder_hidden_backward(&c->decoder, run, &b->batch, d_hidden);
        *seconds += time_now() - began;
    }
    lm_loss_close(&loss);
    decoder_run_close(run);
    memory_free(d_hidden);
    return done;
}

static bool bench_training(struct group_case *c) {
    static const struct lora_settings lora = {.rank = 8, .alpha = 16, .targets = {true, true, true, true}};
    struct group_batch *b = memory_zero(1, sizeof *b);
    const int runs = c->quick ? 1 : 2;
    double together = 0, apart = 0;
    if (b == NULL) return memory_error(c->error, sizeof *b, "a batch");
    bool done = decoder_add_lora(&c->decoder, &lora, 0, 1, c->error);
    for (int run = 0; done && run < runs; run++) {
        make_separate(c, b, run);
        done = train_batch(c, b, &apart);
    }
    if (done) make_shared(c, b);
    done = done && train_batch(c, b, &together);
    if (done) {
        apart *= (double)ANSWERS / runs;
        add_value(c, "LoRA forward and backward, 8 together", together, "s");
        add_value(c, c->quick ? "the same apart (1 of them, times 8)" : "the same apart (2 of them, times 4)", apart,
                  "s");
        add_value(c, "training together against apart", apart / together, "times");
    }
    memory_free(b);
    return done;
}

static const struct model_way *way_of(enum compute_type type) {
    for (int w = 0; w < MODEL_WAYS; w++) {
        if (model_ways[w].type == (type == COMPUTE_AUTO ? COMPUTE_INT8 : type)) return &model_ways[w];
    }
    return &model_ways[0];
}

bool bench_group(struct bench *bench, const char *shape, enum compute_type type, bool quick, struct error *error) {
    const struct model_shape *found = model_shape_find(shape);
    const struct model_way *way = way_of(type);
    if (found == NULL) return error_usage(error, "there is no shape \"%s\"", shape);
    if (model_bytes(&found->config, way->dtype) > available_memory())
        return error_set(error, "%s in %s does not fit into the memory that is free", found->title, way->name);
    struct group_case *c = memory_zero(1, sizeof *c);
    if (c == NULL) return memory_error(error, sizeof *c, "the measurements");
    c->bench = bench;
    c->type = way->name;
    c->quick = quick;
    c->error = error;
    compute_start(way->arithmetic);
    bool done = random_decoder(&c->decoder, &found->config, way->dtype, error);
    for (int t = 0; t < PROMPT; t++) c->prompt[t] = token_of(c, 0, t);
    bench_begin(bench, "group", "8 answers of 300 tokens to one prompt of 1,500, random weights");
    done = done && bench_sampling(c);
    generator_close(c->generator);
    c->generator = NULL;
    done = done && bench_training(c);
    decoder_close(&c->decoder);
    memory_free(c);
    bench_end(bench);
    bench_flush(bench);
    return done;
}
