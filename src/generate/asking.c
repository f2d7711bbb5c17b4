/* Many questions at once: see answerer.h. A window of questions is under way in the generator; the oldest is handed
 * over first, so that the answers come out in the order of the questions. */
#include "base/error.h"
#include "base/memory.h"
#include "generate/answerer.h"
#include "tensor/attention_blocks.h"
#include <string.h>

/* Prompts of up to 4,096 tokens, as in DRG-Sapphire: the window of a large model would take gigabytes of keys and
 * values that no note fills. */
enum { WINDOW = 64, KEPT_PROMPTS = 2, LONGEST_PROMPT = 4096 };

struct asking {
    const struct answerer *answerer;
    struct asking_settings settings;
    struct generator *generator;
    answered_function *function;
    void *context;
    struct question questions[WINDOW]; /* a ring */
    size_t first, count, most;         /* the oldest, how many, how many at once */
    uint64_t asked;
    int64_t room; /* tokens of a prompt at most */
    bool failed;
};

static void free_question(struct question *question) {
    for (size_t s = 0; question->answers != NULL && s < question->samples; s++) {
        text_free(&question->answers[s].text);
        token_list_free(&question->answers[s].ids);
    }
    memory_free(question->answers);
    memory_free(question->name);
    token_list_free(&question->prompt);
    *question = (struct question){0};
}

static bool take_event(void *context, const struct generation_event *event) {
    struct question *question = context;
    struct answer *answer = &question->answers[event->sample];
    text_append(&answer->text, event->bytes, event->length);
    if (event->token != NULL) {
        if (!memory_grow(&answer->ids.ids, &answer->ids.capacity, answer->ids.count + 1, sizeof(int32_t), NULL)) {
            question->failed = true;
        } else {
            answer->ids.ids[answer->ids.count++] = event->token->id;
            answer->log_probability += event->token->log_probability;
        }
    }
    answer->end = event->end;
    question->failed = question->failed || answer->text.failed;
    if (event->end != GENERATION_GOES_ON || question->failed) question->ended++;
    return !question->failed;
}

/* Room for the window's longest prompts and all answers under way. */
static bool open_generator(struct asking *asking, struct error *error) {
    const struct asking_settings *settings = &asking->settings;
    const int64_t questions = (settings->batch + settings->samples - 1) / settings->samples,
                  answers = questions * settings->samples;
    const struct generator_settings generator = {
        .cache_tokens = (questions + KEPT_PROMPTS) * (asking->room + ATTENTION_BLOCK) +
                        answers * (settings->max_tokens + 2 * ATTENTION_BLOCK),
        .sequences = answers + questions + KEPT_PROMPTS + 1,
        .step_rows = answers + questions > 192 ? answers + questions + 64 : 256,
        .kept_prompts = KEPT_PROMPTS};
    asking->most = (size_t)(2 * questions < WINDOW ? 2 * questions : WINDOW);
    return generator_open(&asking->generator, &asking->answerer->decoder, asking->answerer->tokenizer,
                          settings->answer_trie ? &asking->answerer->trie : NULL, &generator, error);
}

bool asking_open(struct asking **out, const struct answerer *answerer, const struct asking_settings *settings,
                 answered_function *function, void *context, struct error *error) {
    struct asking *asking = memory_zero(1, sizeof *asking);
    if (asking == NULL) return memory_error(error, sizeof *asking, "the questions");
    asking->answerer = answerer;
    asking->settings = *settings;
    asking->function = function;
    asking->context = context;
    asking->room = answerer->window - settings->max_tokens;
    if (asking->room > LONGEST_PROMPT) asking->room = LONGEST_PROMPT;
    bool done = true;
    if (asking->room < 1) {
        error_set(error, "answers of %lld tokens leave no room for a prompt in the model's window of %lld",
                  (long long)settings->max_tokens, (long long)answerer->window);
        done = error_hint(error, "fewer --max-tokens");
    }
    done = done && open_generator(asking, error);
    if (done)
        *out = asking;
    else
        asking_close(asking);
    return done;
}

void asking_close(struct asking *asking) {
    if (asking == NULL) return;
    generator_close(asking->generator);
    for (size_t i = 0; i < WINDOW; i++) free_question(&asking->questions[i]);
    memory_free(asking);
}

struct generator_counts asking_counts(const struct asking *asking) {
    return generator_counts(asking->generator);
}

/* Steps until the oldest question is answered, and hands it over. */
static bool hand_over(struct asking *asking, struct error *error) {
    struct question *question = &asking->questions[asking->first];
    bool done = true;
    while (done && question->ended < question->samples) done = generator_step(asking->generator, error);
    if (done && question->failed) done = memory_error(error, question->prompt.count, "an answer");
    done = done && asking->function(asking->context, question, error);
    asking->failed = !done;
    if (!done) return false;
    free_question(question);
    asking->first = (asking->first + 1) % WINDOW;
    asking->count--;
    return true;
}

static bool submit(struct asking *asking, struct question *question, struct error *error) {
    const struct asking_settings *settings = &asking->settings;
    const struct generation_request request = {.prompt = question->prompt.ids,
                                               .prompt_count = (int64_t)question->prompt.count,
                                               .samples = (int32_t)settings->samples,
                                               .max_tokens = settings->max_tokens,
                                               .sampling = settings->sampling,
                                               .seed = settings->seed + asking->asked,
                                               .stop_ids = &asking->answerer->encoder.end,
                                               .stop_id_count = 1,
                                               .answer_trie = settings->answer_trie,
                                               .function = take_event,
                                               .context = question};
    return generator_submit(asking->generator, &request, &question->id, error);
}

bool asking_put(struct asking *asking, const char *name, size_t tag, const struct prompt_values *values,
                struct error *error) {
    if (asking->failed) return error_set(error, "questions have failed before");
    while (asking->count >= asking->most) {
        if (!hand_over(asking, error)) return false;
    }
    struct question *question = &asking->questions[(asking->first + asking->count) % WINDOW];
    const size_t samples = (size_t)asking->settings.samples;
    *question = (struct question){.name = memory_copy_string(name, strlen(name)),
                                  .tag = tag,
                                  .answers = memory_zero(samples, sizeof *question->answers),
                                  .samples = samples};
    bool done = (question->name != NULL && question->answers != NULL) ||
                memory_error(error, samples * sizeof *question->answers, "a question");
    done = done &&
           prompt_encode(&asking->answerer->encoder, values, asking->room, &question->prompt, &question->cut, error) &&
           submit(asking, question, error);
    if (!done) {
        free_question(question);
        return false;
    }
    asking->asked++;
    asking->count++;
    return true;
}

bool asking_finish(struct asking *asking, struct error *error) {
    if (asking->failed) return error_set(error, "questions have failed before");
    while (asking->count > 0) {
        if (!hand_over(asking, error)) return false;
    }
    return true;
}
