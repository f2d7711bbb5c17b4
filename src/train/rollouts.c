/* Sampling: all prompts are handed to the generator at once, which runs as many as it has room for. */
#include "train/rollouts.h"
#include "base/error.h"
#include "base/memory.h"

/* Where the tokens of one prompt's continuations go. */
struct receiver {
    struct rollout *group;
    struct error error; /* of the first that could not be kept */
    bool failed;
};

static bool keep_token(struct rollout *rollout, const struct generation_event *event, struct error *error) {
    const size_t count = rollout->ids.count + 1;
    text_append(&rollout->text, event->bytes, event->length);
    if (!memory_grow(&rollout->ids.ids, &rollout->ids.capacity, count, sizeof *rollout->ids.ids, error) ||
        !memory_grow(&rollout->log_p, &rollout->log_p_capacity, count, sizeof *rollout->log_p, error) ||
        !memory_grow(&rollout->text_ends, &rollout->end_capacity, count, sizeof *rollout->text_ends, error) ||
        !text_ok(&rollout->text, error))
        return false;
    rollout->ids.ids[count - 1] = event->token->id;
    rollout->log_p[count - 1] = (float)event->token->log_drawn;
    rollout->text_ends[count - 1] = (int32_t)rollout->text.length;
    rollout->ids.count = count;
    rollout->is_cut = event->end == GENERATION_LENGTH;
    return true;
}

static bool take_event(void *context, const struct generation_event *event) {
    struct receiver *receiver = context;
    if (event->token == NULL || receiver->failed) return false;
    receiver->failed = !keep_token(&receiver->group[event->sample], event, &receiver->error);
    return !receiver->failed;
}

static void clear_group(struct rollout *group, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        group[i].ids.count = 0;
        group[i].is_cut = false;
        text_clear(&group[i].text);
    }
}

static bool submit(struct generator *generator, struct receiver *receiver, const struct rollout_prompt *prompt,
                   const struct rollout_settings *settings, struct error *error) {
    struct generation_request request = {.prompt = prompt->ids.ids,
                                         .prompt_count = prompt->ids.count,
                                         .samples = settings->group,
                                         .max_tokens = settings->max_tokens,
                                         .sampling = sampling_plain,
                                         .seed = prompt->seed,
                                         .stop_ids = &settings->stop,
                                         .stop_id_count = 1,
                                         .answer_trie = settings->answer_trie,
                                         .function = take_event,
                                         .context = receiver};
    int64_t id;
    request.sampling.temperature = prompt->temperature;
    request.sampling.top_p = settings->top_p;
    clear_group(receiver->group, settings->group);
    return generator_submit(generator, &request, &id, error);
}

bool rollouts_sample(struct rollout *rollouts, struct generator *generator, const struct rollout_prompt *prompts,
                     int64_t count, const struct rollout_settings *settings, struct error *error) {
    struct receiver *receivers = memory_zero((size_t)count, sizeof *receivers);
    if (receivers == NULL) return memory_error(error, (size_t)count * sizeof *receivers, "rollouts");
    bool done = true;
    for (int64_t i = 0; done && i < count; i++) {
        receivers[i].group = rollouts + i * settings->group;
        done = submit(generator, &receivers[i], &prompts[i], settings, error);
    }
    while (done && generator_busy(generator)) done = generator_step(generator, error);
    for (int64_t i = 0; done && i < count; i++) {
        if (!receivers[i].failed) continue;
        if (error != NULL) *error = receivers[i].error;
        done = false;
    }
    memory_free(receivers);
    return done;
}

void rollout_free(struct rollout *rollout) {
    token_list_free(&rollout->ids);
    memory_free(rollout->log_p);
    memory_free(rollout->text_ends);
    text_free(&rollout->text);
    *rollout = (struct rollout){0};
}
