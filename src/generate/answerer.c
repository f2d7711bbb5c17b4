/* Opening a model that writes: see answerer.h. */
#include "generate/answerer.h"
#include "base/error.h"
#include "base/file.h"
#include "base/text.h"
#include "drg/completion.h"
#include "model/classifier.h"
#include "model/quantise.h"
#include <stdio.h>
#include <string.h>

bool answerer_fits(const char *directory) {
    char path[4200];
    struct run_card card;
    struct model_config config;
    struct error ignored = {0};
    if (!path_join(path, sizeof path, directory, "casemix.json")) return false;
    if (!path_exists(path)) return model_config_load(&config, directory, &ignored) && !config.classifier;
    if (!run_card_load(&card, directory, &ignored)) return false;
    const bool writes = strcmp(card.task, "generate") == 0;
    run_card_free(&card);
    return writes;
}

/* What a run says of itself; a Hugging Face directory says nothing. */
static bool read_card(struct answerer *answerer, const struct answerer_settings *settings, char *base, size_t capacity,
                      struct error *error) {
    char path[4200];
    struct run_card card;
    bool done = true;
    enum grouper grouper = GROUPER_V34;
    base[0] = '\0';
    if (!path_join(path, sizeof path, settings->model, "casemix.json"))
        return error_set(error, "%.200s: path too long", settings->model);
    if (path_exists(path)) {
        if (!run_card_load(&card, settings->model, error)) return false;
        if (strcmp(card.task, "generate") != 0) {
            error_set(error, "%s: task is \"%s\", and this wants a model that writes", path, card.task);
            done = error_hint(error, "a run of method sft or grpo, or a Hugging Face directory of a causal model");
        }
        grouper = card.grouper;
        answerer->window = card.max_tokens;
        done = done && (card.base[0] == '\0' || run_card_base(&card, settings->model, base, capacity, error));
        run_card_free(&card);
    }
    answerer->catalog = catalog_get(settings->grouper != NULL ? *settings->grouper : grouper);
    return done;
}

static bool open_decoder(struct answerer *answerer, const struct answerer_settings *settings, const char *base,
                         struct error *error) {
    const char *directory = base[0] != '\0' ? base : settings->model;
    if (!decoder_open(&answerer->decoder, directory, error))
        return base[0] == '\0' ? false : error_context(error, "base model of %s", settings->model);
    if (answerer->decoder.config.classifier) {
        error_set(error, "%s is a classifier: it has no head that writes text", directory);
        return error_hint(error, "casemix predict codes notes with it");
    }
    if (base[0] != '\0' && !decoder_open_adapter(&answerer->decoder, settings->model, false, error)) return false;
    if (settings->adapter == NULL) return true;
    if (base[0] != '\0') return error_usage(error, "%s is an adapter already, --adapter is one too", settings->model);
    return decoder_open_adapter(&answerer->decoder, settings->adapter, false, error);
}

static bool start_compute(struct answerer *answerer, const struct answerer_settings *settings, struct error *error) {
    const struct quantise_settings quantise = {.head = true, .cache = settings->int8_cache};
    if (settings->int8_cache != NULL && settings->compute != COMPUTE_INT8)
        return error_usage(error, "--int8-cache goes with --compute int8");
    compute_start(settings->compute);
    return settings->compute != COMPUTE_INT8 || decoder_quantise(&answerer->decoder, &quantise, NULL, error);
}

static bool open_prompt(struct answerer *answerer, const struct answerer_settings *settings, struct error *error) {
    if (settings->prompt != NULL ? !prompt_open(&answerer->prompt, settings->prompt, error)
                                 : !prompt_open_run(&answerer->prompt, settings->model, settings->otherwise, error))
        return false;
    return prompt_encoder_open(&answerer->encoder, &answerer->prompt, answerer->tokenizer, settings->model,
                               answerer->decoder.config.eos_id, error);
}

bool answerer_open(struct answerer *answerer, const struct answerer_settings *settings, struct error *error) {
    char base[4096];
    *answerer = (struct answerer){.encoder = {.first = -1, .end = -1}};
    const bool done =
        read_card(answerer, settings, base, sizeof base, error) && open_decoder(answerer, settings, base, error) &&
        tokenizer_open(&answerer->tokenizer, settings->model, error) &&
        (tokenizer_vocabulary(answerer->tokenizer) <= (size_t)answerer->decoder.config.V ||
         error_set(error, "%s: the tokenizer has ids up to %zu, the model a vocabulary of %lld", settings->model,
                   tokenizer_vocabulary(answerer->tokenizer) - 1, (long long)answerer->decoder.config.V)) &&
        open_prompt(answerer, settings, error) &&
        (!settings->titles ||
         title_trie_open(&answerer->trie, answerer->tokenizer, answerer->catalog->grouper, error)) &&
        start_compute(answerer, settings, error);
    if (!done) {
        answerer_close(answerer);
        return false;
    }
    const int64_t positions = answerer->decoder.config.positions;
    if (answerer->window == 0 || answerer->window > positions) answerer->window = positions;
    return true;
}

void answerer_close(struct answerer *answerer) {
    title_trie_close(&answerer->trie);
    prompt_encoder_close(&answerer->encoder);
    prompt_close(&answerer->prompt);
    tokenizer_close(answerer->tokenizer);
    decoder_close(&answerer->decoder);
    *answerer = (struct answerer){.encoder = {.first = -1, .end = -1}};
}

/* How many of the ids spell the text up to and with "<answer>\n"; 0 when it does not come or ends within an id. */
static size_t ids_to_answer(const struct answerer *answerer, const struct answer *answer, struct error *error) {
    static const char opening[] = "<answer>\n";
    const size_t length = sizeof opening - 1;
    struct text spelled = {0};
    size_t count = 0, found = 0;
    bool done = true;
    while (done && found == 0 && count < answer->ids.count) {
        done = tokenizer_decode(answerer->tokenizer, answer->ids.ids + count, 1, false, &spelled, error);
        count++;
        if (!done || spelled.length < length) continue;
        const char *at = memmem(spelled.data, spelled.length, opening, length);
        if (at == NULL) continue;
        if (at + length != spelled.data + spelled.length) break;
        found = count;
    }
    text_free(&spelled);
    return found;
}

bool answer_context(const struct answerer *answerer, const struct answer *answer, struct token_list *out,
                    struct error *error) {
    const size_t count = ids_to_answer(answerer, answer, error);
    if (count > 0) {
        if (!memory_grow(&out->ids, &out->capacity, out->count + count, sizeof *out->ids, error)) return false;
        memcpy(out->ids + out->count, answer->ids.ids, count * sizeof *out->ids);
        out->count += count;
        return true;
    }
    struct text written = {0};
    size_t length;
    const char *text = answer->text.data == NULL ? "" : answer->text.data;
    const char *reasoning = completion_reasoning(text, answer->text.length, &length);
    completion_write(&written, reasoning, length, "");
    bool done = text_ok(&written, error);
    if (done) {
        const char *end = strstr(written.data, "<answer>\n") + strlen("<answer>\n");
        done = tokenizer_encode_content(answerer->tokenizer, written.data, (size_t)(end - written.data), false, out,
                                        error);
    }
    text_free(&written);
    return done;
}
