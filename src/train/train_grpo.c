/* Method grpo of the loop: data, models and memory; a step's groups and their gradient. */
#include "train/train_grpo.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "train/cluster.h"
#include "train/encoded.h"
#include "train/grpo_training.h"
#include <math.h>
#include <string.h>

static bool data_file(const struct training *training, char *path, size_t capacity, const char *name,
                      struct error *error) {
    return path_join(path, capacity, training->settings->data, name) ||
           error_set(error, "%s: path too long", training->settings->data);
}

/* labels.tsv says which grouper the stays are of. */
static bool open_catalog(struct grpo *grpo, struct training *training, struct error *error) {
    char path[4096];
    if (!data_file(training, path, sizeof path, "labels.tsv", error) || !labels_load(&training->labels, path, error))
        return false;
    grpo->catalog = catalog_get(training->labels.grouper);
    return !grpo->recipe->answer_trie ||
           title_trie_open(&grpo->trie, training->tokenizer, training->labels.grouper, error);
}

static void read_settings(struct grpo *grpo, const struct training *training) {
    const struct recipe *recipe = training->settings->recipe;
    const struct recipe_grpo *g = recipe->grpo;
    const struct recipe_reward *r = recipe->reward;
    grpo->recipe = g;
    grpo->rewards = (struct reward_settings){.pay = recipe_reward_pay(r),
                                             .compat = r->compat,
                                             .accuracy = r->accuracy,
                                             .format = r->format,
                                             .length = r->length,
                                             .max_tokens = g->max_tokens,
                                             .length_soft = r->length_soft,
                                             .repetition = r->repetition,
                                             .repetition_ngram = r->repetition_ngram,
                                             .cot_first = r->cot_first,
                                             .cot_first_tokens = r->cot_first_tokens};
    grpo->sampling = (struct group_settings){
        .rollout = {.group = (int32_t)g->group, .max_tokens = g->max_tokens, .top_p = 1, .answer_trie = g->answer_trie},
        .temperature = g->temperature,
        .resampling = g->resampling,
        .tries = (int32_t)g->resampling_tries,
        .temperature_count = (int64_t)g->resampling_temperatures_count,
        .seed = (uint64_t)recipe->seed};
    for (unsigned i = 0; i < g->resampling_temperatures_count; i++)
        grpo->sampling.temperatures[i] = g->resampling_temperatures[i];
    grpo->dev_sampling = grpo->sampling;
    grpo->dev_sampling.rollout.group = (int32_t)g->eval_samples;
    grpo->dev_sampling.rollout.top_p = g->eval_top_p;
    grpo->dev_sampling.temperature = g->eval_temperature;
    grpo->dev_sampling.resampling = RESAMPLING_NONE;
    grpo->dev_sampling.tries = 0;
    grpo->dev_sampling.seed = (uint64_t)recipe->seed + 1;
    grpo->update.settings =
        (struct grpo_settings){.kind = g->loss,
                               .level = g->ratio,
                               .epsilon_low = g->epsilon_low,
                               .epsilon_high = g->epsilon_high,
                               .mask_truncated = g->mask_truncated,
                               .max_completion = g->loss_length > 0 ? g->loss_length : g->max_tokens};
    grpo->update.scale = g->advantage;
    grpo->update.has_reference = g->beta > 0;
}

static bool load_stays(struct grpo *grpo, const struct training *training, struct error *error) {
    char path[4096];
    const struct recipe_grpo *g = grpo->recipe;
    struct curriculum curriculum = {0};
    struct stay_prompts_settings settings = {.encoder = &grpo->lm.encoder,
                                             .catalog = grpo->catalog,
                                             .limit = training->train->max_tokens - g->max_tokens,
                                             .last = g->stays,
                                             .removes = g->remove};
    if (settings.limit < 1) {
        error_set(error, "train.max_tokens is %lld, of which grpo.max_tokens leaves nothing for a prompt",
                  (long long)training->train->max_tokens);
        return error_hint(error, "train.max_tokens is prompt and completion together");
    }
    bool done = g->curriculum == NULL || curriculum_open(&curriculum, g->curriculum, &grpo->rewards.pay, error);
    if (g->curriculum != NULL) settings.curriculum = &curriculum;
    done = done && data_file(training, path, sizeof path, "train.jsonl", error) &&
           stay_prompts_load(&grpo->data, path, &settings, error);
    settings.curriculum = NULL;
    settings.last = 0;
    settings.first = g->eval_stays;
    done = done && data_file(training, path, sizeof path, "dev.jsonl", error) &&
           stay_prompts_load(&grpo->dev, path, &settings, error);
    curriculum_close(&curriculum);
    if (done && grpo->data.removed > 0)
        log_info("%zu stays are left out by the curriculum, %zu remain", grpo->data.removed, grpo->data.count);
    return done;
}

/* What the KL term is measured against. */
static bool open_reference(struct grpo *grpo, struct training *training, struct error *error) {
    struct grpo_reference *model = &grpo->update.reference_model;
    if (!grpo->update.has_reference) return true;
    if (training->settings->recipe->lora == NULL) {
        if (grpo->recipe->reference == REFERENCE_BASE)
            return error_set(error,
                             "grpo.reference base goes with a section \"lora\": there is no adapter to take off");
        model->policy = &grpo->reference_policy;
        return decoder_open(&grpo->reference, training->base, error) && decoder_set_causal(&grpo->reference, error);
    }
    if (!training->goes_on || grpo->recipe->reference == REFERENCE_BASE) return true; /* the bare base */
    model->adapter = "reference";
    return decoder_load_adapter(&training->decoder, model->adapter, training->settings->model, false, error);
}

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static bool open_data(struct training *training, struct error *error) {
    struct grpo *grpo = training->context;
    read_settings(grpo, training);
    if (!lm_open_prompt(&grpo->lm, training, grpo->recipe->prompt, error) || !open_catalog(grpo, training, error) ||
        !load_stays(grpo, training, error) || !open_reference(grpo, training, error))
        return false;
    const int64_t prompt = larger(grpo->data.longest, grpo->dev.longest);
    grpo->sampling.rollout.stop = grpo->dev_sampling.rollout.stop = grpo->lm.encoder.end;
    training->load = (struct training_load){
        .unit = "stays",
        .count = (int64_t)grpo->data.count,
        .cut = (int64_t)grpo->data.cut,
        .tokens = grpo->data.tokens,
        .longest = prompt + grpo->recipe->max_tokens,
        .positions = prompt + grpo->recipe->max_tokens,
        .sequences = grpo->recipe->group + 1,
        .updates = grpo->recipe->updates,
        .bytes = (size_t)(grpo->data.tokens + grpo->dev.tokens) * sizeof(int32_t) +
                 (grpo->data.count + grpo->dev.count) * sizeof(struct stay_prompt),
        .fingerprint = grpo->data.fingerprint ^ (grpo->dev.fingerprint << 1),
    };
    return true;
}

/* Keys and values for as many completions at once as the recipe says, with their prompts. */
static struct generator_settings generator_room(const struct grpo *grpo, const struct training *training) {
    enum { BLOCK = 32, KEPT = 2 };
    const int64_t parallel = grpo->recipe->parallel, prompts = parallel / grpo->recipe->group + 1 + KEPT;
    const int64_t prompt = training->load.positions - grpo->recipe->max_tokens;
    return (struct generator_settings){.cache_tokens = parallel * (grpo->recipe->max_tokens + 2 * BLOCK) +
                                                       prompts * (prompt + BLOCK),
                                       .sequences = parallel + prompts,
                                       .step_rows = larger(256, parallel + prompts),
                                       .kept_prompts = KEPT};
}

static struct completion_size micro_room(const struct training *training) {
    return (struct completion_size){
        .tokens = training->micro_tokens, .sequences = training->micro_sequences, .rows = training->micro_rows};
}

static struct run_plan reference_plan(const struct training *training) {
    return (struct run_plan){
        .T = training->micro_tokens, .N = training->micro_sequences, .rows = training->micro_rows, .train = false};
}

/* Predicted tokens of a micro-batch: all but those of one prompt at least. */
static size_t plan_buffers(struct training *training) {
    struct grpo *grpo = training->context;
    const struct generator_settings room = generator_room(grpo, training);
    size_t sampling = 0;
    training->micro_rows = training->micro_tokens;
    const struct completion_size micro = micro_room(training);
    const int64_t completions = training->train->batch_size * grpo->recipe->group;
    if (!generator_size(&training->decoder, &room, &sampling, NULL)) sampling = SIZE_MAX / 4;
    size_t bytes =
        sampling + policy_size(&training->decoder, &micro) + grpo_update_size(completions, grpo->recipe->max_tokens);
    struct run_plan plan = reference_plan(training);
    if (grpo->update.reference_model.policy != NULL && decoder_run_plan(&plan, &grpo->reference, 0, NULL))
        bytes += plan.bytes + policy_size(&grpo->reference, &micro);
    return bytes;
}

static bool open_reference_run(struct grpo *grpo, const struct training *training, struct error *error) {
    struct run_plan plan = reference_plan(training);
    const struct completion_size micro = micro_room(training);
    if (grpo->update.reference_model.policy == NULL) return true;
    return decoder_run_plan(&plan, &grpo->reference, 0, error) &&
           decoder_run_open_planned(&grpo->reference_run, &grpo->reference, &plan, error) &&
           policy_open(&grpo->reference_policy, &grpo->reference, grpo->reference_run, &micro, error);
}

static bool open_stays(struct grpo *grpo, const struct training *training, struct error *error) {
    const size_t batch = (size_t)training->train->batch_size, dev = grpo->dev.count;
    grpo->stays = memory_zero(batch, sizeof *grpo->stays);
    grpo->dev_stays = memory_zero(dev, sizeof *grpo->dev_stays);
    if (grpo->stays == NULL || grpo->dev_stays == NULL)
        return memory_error(error, (batch + dev) * sizeof *grpo->stays, "the stays of a step");
    return groups_open(&grpo->groups, (int64_t)batch, grpo->recipe->group, error) &&
           groups_open(&grpo->dev_groups, (int64_t)dev, grpo->recipe->eval_samples, error);
}

static bool open_buffers(struct training *training, struct error *error) {
    struct grpo *grpo = training->context;
    const struct generator_settings room = generator_room(grpo, training);
    const struct completion_size micro = micro_room(training);
    const int64_t completions = training->train->batch_size * grpo->recipe->group;
    grpo->update.policy = &grpo->policy;
    grpo->update.decoder = &training->decoder;
    grpo->update.tokenizer = training->tokenizer;
    if (grpo->recipe->answer_trie) grpo->update.trie = &grpo->trie;
    return open_stays(grpo, training, error) &&
           decoder_run_open_planned(&grpo->run, &training->decoder, &training->plan, error) &&
           policy_open(&grpo->policy, &training->decoder, grpo->run, &micro, error) &&
           open_reference_run(grpo, training, error) &&
           grpo_update_open(&grpo->update, completions, grpo->recipe->max_tokens, error) &&
           generator_open(&grpo->generator, &training->decoder, training->tokenizer,
                          grpo->recipe->answer_trie ? &grpo->trie : NULL, &room, error);
}

/* From easy to hard in every epoch, or shuffled. */
static void order(struct training *training, int64_t epoch) {
    const struct grpo *grpo = training->context;
    if (grpo->recipe->order == ORDER_EASY_FIRST)
        stay_prompts_order_by_ease(&grpo->data, training->order);
    else
        encoded_shuffle(training->order, grpo->data.count, (uint64_t)training->settings->recipe->seed, epoch);
}

static int64_t one(const void *context, int64_t index) {
    (void)context;
    (void)index;
    return 1;
}

/* Answers weigh more than prompts, and how long they will be nobody knows. */
void grpo_share(int64_t count, int64_t *from, int64_t *stop) {
    cluster_share(count, one, NULL, from, stop);
}

/* This rank's groups of this step's stays, from the weights as they stand. A group does not depend on who samples it.
 */
static bool sample(struct training *training, int64_t first, int64_t end, struct error *error) {
    struct grpo *grpo = training->context;
    int64_t from, stop;
    grpo_share(end - first, &from, &stop);
    for (int64_t i = from; i < stop; i++) {
        const struct stay_prompt *stay = &grpo->data.items[training->order[first + i]];
        grpo->stays[i - from] = (struct group_stay){{stay->ids.ids, (int64_t)stay->ids.count}, stay->gold, stay->index};
    }
    const double start = time_now();
    const uint64_t before = generator_counts(grpo->generator).generated_tokens;
    generator_forget_prompts(grpo->generator);
    const bool sampled = groups_sample(&grpo->groups, grpo->generator, grpo->stays, stop - from, &grpo->sampling,
                                       &grpo->rewards, grpo->catalog, training->step, error);
    if (!cluster_agree(sampled, error)) return false;
    grpo->sampling_seconds = time_now() - start;
    grpo->sampled_tokens = generator_counts(grpo->generator).generated_tokens - before;
    return grpo_update_start(&grpo->update, &grpo->groups, error) && grpo_report_groups(training, first + from, error);
}

static double beta_at(const struct grpo *grpo, const struct training *training) {
    const double pi = 3.14159265358979323846, beta = grpo->recipe->beta;
    if (grpo->recipe->beta_schedule == BETA_CONSTANT) return beta;
    return beta * 0.5 * (1 + cos(pi * (double)training->step / (double)training->steps));
}

static bool gradient(struct training *training, int64_t first, int64_t end, double *loss, struct error *error) {
    struct grpo *grpo = training->context;
    const bool on_policy = training->step % training->updates == 0;
    if (on_policy && !sample(training, first, end, error)) return false;
    grpo->update.settings.beta = beta_at(grpo, training);
    if (!grpo_update_gradient(&grpo->update, on_policy, error)) return false;
    training->step_tokens += grpo->update.trained_tokens;
    *loss = grpo->update.sums.loss;
    return true;
}

static bool prepare(const struct training *training, struct error *error) {
    const struct grpo *grpo = training->context;
    return lm_prepare(&grpo->lm, training, error);
}

static void close_grpo(struct training *training) {
    struct grpo *grpo = training->context;
    generator_close(grpo->generator);
    grpo_update_close(&grpo->update);
    policy_close(&grpo->policy);
    decoder_run_close(grpo->run);
    policy_close(&grpo->reference_policy);
    decoder_run_close(grpo->reference_run);
    decoder_close(&grpo->reference);
    groups_close(&grpo->groups);
    groups_close(&grpo->dev_groups);
    stay_prompts_free(&grpo->data);
    stay_prompts_free(&grpo->dev);
    title_trie_close(&grpo->trie);
    lm_close(&grpo->lm);
    memory_free(grpo->stays);
    memory_free(grpo->dev_stays);
}

bool train_grpo(const struct train_settings *settings, struct error *error) {
    static const struct training_method method = {.task = "generate",
                                                  .causal = true,
                                                  .open_data = open_data,
                                                  .plan_buffers = plan_buffers,
                                                  .open_buffers = open_buffers,
                                                  .order = order,
                                                  .gradient = gradient,
                                                  .evaluate = grpo_evaluate,
                                                  .log = grpo_log,
                                                  .log_dev = grpo_log_dev,
                                                  .prepare = prepare,
                                                  .close = close_grpo};
    struct grpo grpo = {0};
    return training_run(settings, &method, &grpo, error);
}
