/* Rationales that a model writes: it is shown the DRG of each stay and explains it as if it did not know it. */
#include "base/error.h"
#include "base/log.h"
#include "base/text.h"
#include "cli/rationales.h"
#include "drg/completion.h"
#include "drg/named_title.h"
#include "generate/answerer.h"
#include <string.h>

struct explaining {
    const struct rationales_options *options;
    const struct answerer *answerer;
    const struct dataset *dataset;
    struct rationale_log *log;
    struct progress progress;
    uint64_t done;
    size_t written, rejected, unfinished;
};

/* What the model wrote, without the tags that it may have put around it. */
static bool take_rationale(void *context, const struct question *question, struct error *error) {
    struct explaining *explaining = context;
    const struct answer *answer = &question->answers[0];
    const struct drg *drg = catalog_find(explaining->answerer->catalog, explaining->dataset->stays[question->tag].drg);
    struct text written = {0};
    size_t length;
    completion_write(&written, answer->text.data == NULL ? "" : answer->text.data, answer->text.length, "");
    if (!text_ok(&written, error)) {
        text_free(&written);
        return false;
    }
    const char *reasoning = completion_reasoning(written.data, written.length, &length);
    written.data[reasoning - written.data + (ptrdiff_t)length] = '\0';
    const struct rationale rationale = {
        .note_id = question->name, .drg = drg->code, .title = drg->title, .text = reasoning};
    const bool wrong =
        explaining->options->reject &&
        (answer->end == GENERATION_LENGTH || named_title(explaining->answerer->catalog, reasoning, length) != drg);
    bool done = true;
    explaining->unfinished += answer->end == GENERATION_LENGTH;
    explaining->rejected += wrong || length == 0;
    if (!wrong && length > 0) {
        done = rationale_log_add(explaining->log, &rationale, error);
        explaining->written++;
    }
    text_free(&written);
    progress_update(&explaining->progress, ++explaining->done);
    return done;
}

static bool ask_stay(struct asking *asking, const struct explaining *explaining, size_t i, struct error *error) {
    const struct stay *stay = &explaining->dataset->stays[i];
    const struct drg *drg = catalog_find(explaining->answerer->catalog, stay->drg);
    if (drg == NULL)
        return error_set(error, "note %s: there is no DRG %d in %s", stay->note_id, stay->drg,
                         grouper_name(explaining->answerer->catalog->grouper));
    const struct prompt_values values = {
        .note = stay->text, .note_length = stay->text_length, .title = drg->title, .drg = drg->code};
    return asking_put(asking, stay->note_id, i, &values, error);
}

static bool ask_all(struct explaining *explaining, struct error *error) {
    const struct rationales_options *options = explaining->options;
    const struct asking_settings settings = {.samples = 1,
                                             .max_tokens = options->max_tokens,
                                             .batch = options->batch,
                                             .sampling = options->sampling,
                                             .seed = (uint64_t)options->seed << 32};
    struct asking *asking = NULL;
    int64_t asked = 0;
    bool done = asking_open(&asking, explaining->answerer, &settings, take_rationale, explaining, error);
    for (size_t i = 0; done && i < explaining->dataset->count; i++) {
        if (options->limit > 0 && asked == options->limit) break;
        if (rationale_log_has(explaining->log, explaining->dataset->stays[i].note_id)) continue;
        done = ask_stay(asking, explaining, i, error);
        asked++;
    }
    done = done && asking_finish(asking, error);
    asking_close(asking);
    return done;
}

bool rationales_ask(const struct rationales_options *options, const struct dataset *dataset, struct rationale_log *log,
                    struct error *error) {
    struct answerer answerer;
    const char *otherwise = options->differential ? "rationale-differential" : "rationale";
    const struct answerer_settings settings = {.model = options->model,
                                               .adapter = options->adapter,
                                               .prompt = options->prompt != NULL ? options->prompt : otherwise,
                                               .grouper = &options->grouper,
                                               .compute = options->compute,
                                               .int8_cache = options->int8_cache};
    if (!answerer_open(&answerer, &settings, error)) return false;
    struct explaining explaining = {.options = options, .answerer = &answerer, .dataset = dataset, .log = log};
    progress_start(&explaining.progress, "explaining", "stays", dataset->count - rationale_log_found(log));
    const bool done = ask_all(&explaining, error);
    progress_finish(&explaining.progress);
    if (done && explaining.rejected > 0)
        log_info("%zu rationales were rejected: they name another DRG, or none", explaining.rejected);
    if (done && explaining.unfinished > 0)
        log_warning("%zu rationales came to no end within --max-tokens %lld", explaining.unfinished,
                    (long long)options->max_tokens);
    if (done) log_info("%zu rationales", explaining.written);
    answerer_close(&answerer);
    return done;
}
