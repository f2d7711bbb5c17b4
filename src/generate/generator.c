/* Continuous batching: see generator.h. A step takes one row for each running continuation and fills up with pieces of
 * prompts; prompts whose last token was among them are forked into their continuations. */
#include "generate/generator.h"
#include "base/error.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/threads.h"
#include "generate/decode.h"
#include "generate/kept_prompts.h"
#include "model/decoder.h"
#include "tokenizer/token_stream.h"
#include "tokenizer/tokenizer.h"
#include <math.h>
#include <string.h>

/* A request and its copies of what was asked for. */
struct request {
    struct request *next;
    struct generation_request asked;
    int64_t id;
    int32_t sequence;    /* of the prompt; -1 while queued and once forked */
    int64_t prompt_done; /* tokens of the prompt in the cache */
    int32_t live;        /* continuations not yet ended */
    bool cancelled;
    char *memory;
};

/* A continuation that is running. */
struct continuation {
    struct request *request;
    int32_t sample, sequence;
    struct rng rng;
    struct trie_state trie;
    struct token_stream stream;
    struct text text;      /* characters not yet handed out: they may begin a stop string */
    struct token_list ids; /* prompt and continuation, for the repetition penalty; empty without one */
    int64_t generated;
    int32_t last;
};

struct generator {
    const struct decoder *decoder;
    const struct tokenizer *tokenizer;
    const struct title_trie *trie;
    struct generator_settings settings;
    struct kv_cache *cache;
    struct decode *decode;
    struct sampler **samplers; /* [threads] */
    int threads;
    struct sampled *drawn; /* [sequences] the running continuations' next tokens */
    struct kept_prompts kept;
    struct request *requests;     /* in the order in which they came */
    struct continuation *running; /* [running_count] */
    size_t running_count;
    int64_t next_id;
    struct decode_row *rows; /* [step_rows] */
    float *logits;           /* [sequences, V] */
    struct text bytes;
    struct generator_counts counts;
};

const char *generation_end_name(enum generation_end end) {
    static const char *const names[] = {"", "stop", "stop", "length", "cancelled"};
    return names[end];
}

struct generator_settings generator_settings_for(int64_t prompt_tokens, int64_t samples, int64_t max_tokens) {
    return (struct generator_settings){.cache_tokens = prompt_tokens + samples * (max_tokens + 2 * ATTENTION_BLOCK) +
                                                       ATTENTION_BLOCK,
                                       .sequences = samples + 2,
                                       .step_rows = samples > 256 ? samples : 256,
                                       .kept_prompts = 1};
}

bool generator_size(const struct decoder *decoder, const struct generator_settings *settings, size_t *bytes,
                    struct error *error) {
    size_t cache, work, logits;
    const int64_t tokens = settings->cache_tokens, positions = decoder->config.positions;
    if (!kv_cache_size(&decoder->config, tokens, settings->sequences, &cache, error) ||
        !decode_size(decoder, positions < tokens ? positions : tokens, settings->step_rows, &work, error))
        return false;
    if (!size_multiply((size_t)settings->sequences, (size_t)decoder->config.V * sizeof(float), &logits))
        return error_set(error, "the logits of %lld sequences do not fit into the address space",
                         (long long)settings->sequences);
    *bytes = cache + work + logits + (size_t)decoder->config.V * 24 * (size_t)threads_count();
    return true;
}

/* One a thread: a pass over the logits of a large vocabulary takes as long as some layers. */
static bool open_samplers(struct generator *generator, struct error *error) {
    generator->threads = threads_count();
    generator->samplers = memory_zero((size_t)generator->threads, sizeof(struct sampler *));
    generator->drawn = memory_alloc((size_t)generator->settings.sequences, sizeof *generator->drawn);
    if (generator->samplers == NULL || generator->drawn == NULL)
        return memory_error(error, (size_t)generator->threads * sizeof(struct sampler *), "samplers");
    for (int i = 0; i < generator->threads; i++) {
        if (!sampler_open(&generator->samplers[i], generator->decoder->config.V, error)) return false;
    }
    return true;
}

bool generator_open(struct generator **out, const struct decoder *decoder, const struct tokenizer *tokenizer,
                    const struct title_trie *trie, const struct generator_settings *settings, struct error *error) {
    size_t bytes;
    if (settings->sequences < 1 || settings->step_rows < settings->sequences || settings->kept_prompts < 0)
        return error_set(error, "a step of %lld rows cannot hold %lld sequences", (long long)settings->step_rows,
                         (long long)settings->sequences);
    if (!generator_size(decoder, settings, &bytes, error)) return false;
    struct generator *generator = memory_zero(1, sizeof *generator);
    if (generator == NULL) return memory_error(error, sizeof *generator, "a generator");
    generator->decoder = decoder;
    generator->tokenizer = tokenizer;
    generator->trie = trie;
    generator->settings = *settings;
    generator->rows = memory_alloc((size_t)settings->step_rows, sizeof *generator->rows);
    generator->running = memory_zero((size_t)settings->sequences, sizeof *generator->running);
    generator->logits = memory_alloc((size_t)settings->sequences, (size_t)decoder->config.V * sizeof(float));
    bool done = (generator->rows != NULL && generator->running != NULL && generator->logits != NULL) ||
                memory_error(error, bytes, "a generator");
    done = done &&
           kv_cache_open(&generator->cache, &decoder->config, settings->cache_tokens, settings->sequences, error) &&
           decode_open(&generator->decode, decoder, generator->cache, settings->step_rows, error) &&
           open_samplers(generator, error) &&
           kept_prompts_open(&generator->kept, generator->cache, settings->kept_prompts, error);
    if (!done) {
        generator_close(generator);
        return false;
    }
    *out = generator;
    return true;
}

static void free_request(struct request *request) {
    memory_free(request->memory);
    memory_free(request);
}

static void free_continuation(struct continuation *continuation) {
    text_free(&continuation->text);
    token_list_free(&continuation->ids);
}

void generator_close(struct generator *generator) {
    if (generator == NULL) return;
    for (size_t i = 0; i < generator->running_count; i++) free_continuation(&generator->running[i]);
    for (struct request *request = generator->requests, *next; request != NULL; request = next) {
        next = request->next;
        free_request(request);
    }
    kept_prompts_close(&generator->kept);
    for (int i = 0; generator->samplers != NULL && i < generator->threads; i++) sampler_close(generator->samplers[i]);
    memory_free(generator->samplers);
    memory_free(generator->drawn);
    decode_close(generator->decode);
    kv_cache_close(generator->cache);
    text_free(&generator->bytes);
    memory_free(generator->rows);
    memory_free(generator->running);
    memory_free(generator->logits);
    memory_free(generator);
}

/* Blocks that a request can come to need. */
static int64_t blocks_of_request(const struct generation_request *asked) {
    const int64_t prompt = (asked->prompt_count + ATTENTION_BLOCK - 1) / ATTENTION_BLOCK,
                  each = (asked->max_tokens + ATTENTION_BLOCK - 1) / ATTENTION_BLOCK + 1;
    return prompt + asked->samples * each;
}

static bool check_request(const struct generator *generator, const struct generation_request *asked,
                          struct error *error) {
    const struct model_config *config = &generator->decoder->config;
    if (asked->prompt_count < 1) {
        error_set(error, "the prompt is empty");
        return error_hint(error, "a model needs at least one token to go on from");
    }
    if (asked->prompt_count >= config->positions)
        return error_set(error, "a prompt of %lld tokens leaves no room in the model's %lld positions",
                         (long long)asked->prompt_count, (long long)config->positions);
    if (asked->samples < 1 || asked->max_tokens < 1)
        return error_set(error, "%d continuations of %lld tokens are not possible", asked->samples,
                         (long long)asked->max_tokens);
    for (int64_t i = 0; i < asked->prompt_count; i++) {
        if (asked->prompt[i] < 0 || asked->prompt[i] >= config->V)
            return error_set(error, "token id %d is outside the model's vocabulary of %lld", (int)asked->prompt[i],
                             (long long)config->V);
    }
    if (generator->tokenizer == NULL && (asked->answer_trie || asked->stop_string_count > 0))
        return error_set(error, "without a tokenizer there is no text: neither stop strings nor titles");
    if (asked->answer_trie && generator->trie == NULL)
        return error_set(error, "no titles were given to keep the answer to");
    for (size_t s = 0; s < asked->stop_string_count; s++) {
        if (asked->stop_strings[s][0] == '\0') return error_set(error, "a stop string is empty");
    }
    const int64_t blocks = (generator->settings.cache_tokens + ATTENTION_BLOCK - 1) / ATTENTION_BLOCK;
    if (asked->samples >= generator->settings.sequences || blocks_of_request(asked) > blocks) {
        error_set(error,
                  "%d continuations of %lld tokens behind %lld do not fit the cache of %lld tokens in %lld "
                  "sequences",
                  asked->samples, (long long)asked->max_tokens, (long long)asked->prompt_count,
                  (long long)generator->settings.cache_tokens, (long long)generator->settings.sequences);
        return error_hint(error, "fewer tokens, fewer samples, or a larger cache");
    }
    return sampling_check(&asked->sampling, error);
}

/* Copies of the lists of a request, in one block: prompt, stop ids, pointers to the stop strings, their bytes. */
static bool copy_lists(struct request *request, const struct generation_request *asked, struct error *error) {
    const size_t prompt = (size_t)asked->prompt_count * sizeof(int32_t), ids = asked->stop_id_count * sizeof(int32_t),
                 pointers = asked->stop_string_count * sizeof(char *);
    size_t strings = 0;
    for (size_t s = 0; s < asked->stop_string_count; s++) strings += strlen(asked->stop_strings[s]) + 1;
    char *memory = memory_alloc(pointers + prompt + ids + strings, 1);
    if (memory == NULL) return memory_error(error, prompt, "a request");
    const char **list = (const char **)memory;
    char *at = memory + pointers + prompt + ids;
    for (size_t s = 0; s < asked->stop_string_count; s++) {
        list[s] = strcpy(at, asked->stop_strings[s]);
        at += strlen(at) + 1;
    }
    request->asked.stop_strings = list;
    request->asked.prompt = memcpy(memory + pointers, asked->prompt, prompt);
    request->asked.stop_ids = (const int32_t *)(memory + pointers + prompt);
    if (ids > 0) memcpy(memory + pointers + prompt, asked->stop_ids, ids);
    request->memory = memory;
    return true;
}

bool generator_submit(struct generator *generator, const struct generation_request *asked, int64_t *id,
                      struct error *error) {
    struct generation_request wanted = *asked;
    const int64_t left = generator->decoder->config.positions - asked->prompt_count;
    if (wanted.max_tokens > left) wanted.max_tokens = left;
    if (!check_request(generator, &wanted, error)) return false;
    struct request *request = memory_zero(1, sizeof *request);
    if (request == NULL) return memory_error(error, sizeof *request, "a request");
    request->asked = wanted;
    request->sequence = -1;
    request->live = wanted.samples;
    if (!copy_lists(request, &wanted, error)) {
        memory_free(request);
        return false;
    }
    *id = request->id = generator->next_id++;
    struct request **end = &generator->requests;
    while (*end != NULL) end = &(*end)->next;
    *end = request;
    return true;
}

static bool is_queued(const struct request *request) {
    return request->sequence < 0 && request->prompt_done == 0;
}

static bool is_reading(const struct request *request) {
    return request->sequence >= 0;
}

/* Blocks that what is under way may still take. */
static int64_t blocks_promised(const struct generator *generator) {
    int64_t blocks = 0;
    for (size_t i = 0; i < generator->running_count; i++) {
        const struct continuation *c = &generator->running[i];
        blocks += kv_blocks_needed(generator->cache, c->sequence, c->request->asked.max_tokens - c->generated + 1);
    }
    for (const struct request *r = generator->requests; r != NULL; r = r->next) {
        if (is_reading(r)) blocks += blocks_of_request(&r->asked);
    }
    return blocks;
}

/* Sequences in use or promised to continuations. */
static int64_t sequences_promised(const struct generator *generator) {
    int64_t count = (int64_t)generator->running_count;
    for (const struct request *r = generator->requests; r != NULL; r = r->next) {
        if (is_reading(r)) count += r->asked.samples + 1;
    }
    return count;
}

/* Whether there is room for a request, once kept prompts have made way. */
static bool make_room(struct generator *generator, const struct generation_request *asked) {
    const int64_t blocks = blocks_promised(generator) + blocks_of_request(asked),
                  sequences = sequences_promised(generator) + asked->samples + 1;
    for (;;) {
        const bool fits = kv_blocks_free(generator->cache) >= blocks &&
                          sequences + generator->kept.count <= generator->settings.sequences;
        if (fits || !kept_prompts_drop_oldest(&generator->kept)) return fits;
    }
}

/* Queued requests begin in their order, as far as there is room. */
static void admit(struct generator *generator) {
    for (struct request *request = generator->requests; request != NULL; request = request->next) {
        if (!is_queued(request)) continue;
        if (!make_room(generator, &request->asked)) return;
        request->sequence = kept_prompts_fork(&generator->kept, request->asked.prompt, request->asked.prompt_count,
                                              &request->prompt_done);
        if (request->sequence < 0) request->sequence = kv_sequence_open(generator->cache);
        if (request->sequence < 0) return;
        generator->counts.cached_tokens += (uint64_t)request->prompt_done;
    }
}

/* The rows of the next step; returns how many. */
static int64_t fill_rows(struct generator *generator) {
    int64_t count = 0;
    for (size_t i = 0; i < generator->running_count; i++) {
        const struct continuation *c = &generator->running[i];
        generator->rows[count++] = (struct decode_row){c->sequence, c->last, true};
    }
    for (struct request *r = generator->requests; r != NULL; r = r->next) {
        if (!is_reading(r)) continue;
        for (; r->prompt_done < r->asked.prompt_count && count < generator->settings.step_rows; r->prompt_done++) {
            generator->rows[count++] = (struct decode_row){r->sequence, r->asked.prompt[r->prompt_done],
                                                           r->prompt_done == r->asked.prompt_count - 1};
            generator->counts.prompt_tokens++;
        }
    }
    return count;
}

/* Bytes at the end of the text that may be the beginning of a stop string. */
static size_t may_begin_stop(const struct text *text, const struct generation_request *asked) {
    size_t longest = 0;
    for (size_t s = 0; s < asked->stop_string_count; s++) {
        size_t length = strlen(asked->stop_strings[s]) - 1;
        if (length > text->length) length = text->length;
        while (length > longest && memcmp(text->data + text->length - length, asked->stop_strings[s], length) != 0)
            length--;
        if (length > longest) longest = length;
    }
    return longest;
}

/* Where the first stop string begins in the text; SIZE_MAX if none stands there. */
static size_t find_stop(const struct text *text, const struct generation_request *asked) {
    size_t first = SIZE_MAX;
    for (size_t s = 0; s < asked->stop_string_count && text->length > 0; s++) {
        const char *found = memmem(text->data, text->length, asked->stop_strings[s], strlen(asked->stop_strings[s]));
        if (found != NULL && (size_t)(found - text->data) < first) first = (size_t)(found - text->data);
    }
    return first;
}

static bool is_stop_id(const struct generation_request *asked, int32_t id) {
    for (size_t i = 0; i < asked->stop_id_count; i++) {
        if (asked->stop_ids[i] == id) return true;
    }
    return false;
}

/* The characters that the token completes, and whether the continuation ends with it. *hand_out: bytes of the text that
 * can go out now. */
static bool take_text(struct continuation *c, int32_t id, enum generation_end *end, size_t *hand_out,
                      struct error *error) {
    const struct generation_request *asked = &c->request->asked;
    *end = GENERATION_GOES_ON;
    if (is_stop_id(asked, id)) {
        *end = GENERATION_STOP_TOKEN;
    } else if (c->stream.tokenizer != NULL && !token_stream_push(&c->stream, id, &c->text, error)) {
        return false;
    }
    size_t stop = find_stop(&c->text, asked);
    if (stop == SIZE_MAX && (*end == GENERATION_STOP_TOKEN || c->generated >= asked->max_tokens)) {
        if (c->stream.tokenizer != NULL && !token_stream_flush(&c->stream, &c->text, error)) return false;
        if (*end == GENERATION_GOES_ON) *end = GENERATION_LENGTH;
        *hand_out = c->text.length;
    } else if (stop == SIZE_MAX) {
        *hand_out = c->text.length - may_begin_stop(&c->text, asked);
    } else {
        *end = GENERATION_STOP_STRING;
        *hand_out = stop;
    }
    return text_ok(&c->text, error);
}

/* The next token of a continuation from its logits. */
static struct sampled draw_token(const struct generator *generator, struct sampler *sampler, struct continuation *c,
                                 const float *logits) {
    const struct generation_request *asked = &c->request->asked;
    struct allowed_tokens allowed = {0};
    if (asked->answer_trie) allowed.ids = trie_allowed(generator->trie, &c->trie, &allowed.count);
    return sampler_draw(sampler, &asked->sampling, logits, c->ids.ids, c->ids.count,
                        allowed.ids == NULL ? NULL : &allowed, NULL, &c->rng);
}

/* Adds a drawn token to its continuation and tells of it. *alive: it goes on. */
static bool take_token(struct generator *generator, struct continuation *c, const struct sampled drawn, bool *alive,
                       struct error *error) {
    const struct generation_request *asked = &c->request->asked;
    size_t hand_out = 0;
    struct generation_event event = {c->request->id, c->sample, &drawn, "", 0, GENERATION_GOES_ON};
    c->generated++;
    c->last = drawn.id;
    generator->counts.generated_tokens++;
    if (c->ids.count > 0) {
        if (!memory_grow(&c->ids.ids, &c->ids.capacity, c->ids.count + 1, sizeof *c->ids.ids, error)) return false;
        c->ids.ids[c->ids.count++] = drawn.id;
    }
    if (asked->answer_trie) {
        text_clear(&generator->bytes);
        if (!tokenizer_decode(generator->tokenizer, &drawn.id, 1, false, &generator->bytes, error)) return false;
        c->trie = trie_advance(generator->trie, c->trie, drawn.id,
                               generator->bytes.data == NULL ? "" : generator->bytes.data, generator->bytes.length);
    }
    if (!take_text(c, drawn.id, &event.end, &hand_out, error)) return false;
    if (c->text.data != NULL) event.bytes = c->text.data;
    event.length = hand_out;
    const bool wanted = asked->function == NULL || asked->function(asked->context, &event);
    *alive = event.end == GENERATION_GOES_ON && wanted;
    if (hand_out > 0) {
        memmove(c->text.data, c->text.data + hand_out, c->text.length - hand_out);
        c->text.length -= hand_out;
        c->text.data[c->text.length] = '\0';
    }
    return true;
}

static void end_continuation(struct generator *generator, struct continuation *c) {
    kv_sequence_close(generator->cache, c->sequence);
    c->request->live--;
    free_continuation(c);
    *c = (struct continuation){0};
}

/* Where the prompt leaves the answer: its last tokens may open one. */
static bool start_trie(struct generator *generator, const struct generation_request *asked, struct trie_state *state,
                       struct error *error) {
    enum { TAIL = 16 };
    const int64_t first = asked->prompt_count < TAIL ? 0 : asked->prompt_count - TAIL;
    *state = trie_start;
    if (!asked->answer_trie) return true;
    text_clear(&generator->bytes);
    if (!tokenizer_decode(generator->tokenizer, asked->prompt + first, (size_t)(asked->prompt_count - first), false,
                          &generator->bytes, error))
        return false;
    if (generator->bytes.data != NULL) *state = trie_state_behind(generator->bytes.data, generator->bytes.length);
    return true;
}

/* A prompt that has been read becomes its continuations, each with its first token. */
static bool fork_request(struct generator *generator, struct request *request, const float *logits,
                         struct error *error) {
    const struct generation_request *asked = &request->asked;
    const double penalty = asked->sampling.repetition_penalty;
    struct trie_state start;
    if (!start_trie(generator, asked, &start, error)) return false;
    for (int32_t sample = 0; sample < asked->samples; sample++) {
        struct continuation *c = &generator->running[generator->running_count];
        bool alive = false;
        *c = (struct continuation){.request = request, .sample = sample, .trie = start};
        c->sequence = kv_sequence_fork(generator->cache, request->sequence);
        if (c->sequence < 0) return error_set(error, "no sequence is free for a continuation");
        generator->running_count++;
        rng_seed_stream(&c->rng, asked->seed, 1, (uint64_t)sample);
        if (generator->tokenizer != NULL) token_stream_start(&c->stream, generator->tokenizer, true);
        if (penalty < 1 || penalty > 1) {
            const size_t count = (size_t)asked->prompt_count;
            if (!memory_grow(&c->ids.ids, &c->ids.capacity, count + 1, sizeof *c->ids.ids, error)) return false;
            memcpy(c->ids.ids, asked->prompt, count * sizeof *c->ids.ids);
            c->ids.count = count;
        }
        const struct sampled drawn = draw_token(generator, generator->samplers[0], c, logits);
        if (!take_token(generator, c, drawn, &alive, error)) return false;
        if (alive) continue;
        end_continuation(generator, c);
        generator->running_count--;
    }
    kept_prompts_keep(&generator->kept, request->sequence, asked->prompt, asked->prompt_count);
    request->sequence = -1;
    return true;
}

/* Tokens for all whose logits have come: first the continuations of before, then the prompts that are read. */
static bool take_logits(struct generator *generator, struct error *error) {
    const int64_t V = generator->decoder->config.V;
    const size_t before = generator->running_count;
    const float *logits = generator->logits;
    size_t kept = 0;
#pragma omp parallel for schedule(dynamic, 1) num_threads(generator->threads) if (before > 1)
    for (size_t i = 0; i < before; i++) {
        generator->drawn[i] = draw_token(generator, generator->samplers[threads_index()], &generator->running[i],
                                         logits + (int64_t)i * V);
    }
    logits += (int64_t)before * V;
    for (size_t i = 0; i < before; i++) {
        struct continuation *c = &generator->running[i];
        bool alive = false;
        if (!take_token(generator, c, generator->drawn[i], &alive, error)) return false;
        if (!alive) {
            end_continuation(generator, c);
            continue;
        }
        if (kept != i) {
            generator->running[kept] = *c;
            *c = (struct continuation){0};
        }
        kept++;
    }
    generator->running_count = kept;
    for (struct request *r = generator->requests; r != NULL; r = r->next) {
        if (!is_reading(r) || r->prompt_done < r->asked.prompt_count) continue;
        if (!fork_request(generator, r, logits, error)) return false;
        logits += V;
    }
    return true;
}

/* Requests all of whose continuations have ended are forgotten. */
static void drop_finished(struct generator *generator) {
    for (struct request **at = &generator->requests; *at != NULL;) {
        struct request *request = *at;
        if (request->live > 0) {
            at = &request->next;
            continue;
        }
        *at = request->next;
        free_request(request);
    }
}

static void tell_cancelled(const struct request *request, int32_t sample) {
    const struct generation_event event = {request->id, sample, NULL, "", 0, GENERATION_CANCELLED};
    if (request->asked.function != NULL) request->asked.function(request->asked.context, &event);
}

void generator_cancel(struct generator *generator, int64_t id) {
    size_t kept = 0;
    for (size_t i = 0; i < generator->running_count; i++) {
        struct continuation *c = &generator->running[i];
        if (c->request->id == id) {
            tell_cancelled(c->request, c->sample);
            end_continuation(generator, c);
            continue;
        }
        if (kept != i) {
            generator->running[kept] = *c;
            *c = (struct continuation){0};
        }
        kept++;
    }
    generator->running_count = kept;
    for (struct request *r = generator->requests; r != NULL; r = r->next) {
        if (r->id != id || (!is_queued(r) && !is_reading(r))) continue;
        for (int32_t sample = 0; sample < r->asked.samples; sample++) tell_cancelled(r, sample);
        if (is_reading(r)) kv_sequence_close(generator->cache, r->sequence);
        r->sequence = -1;
        r->prompt_done = r->asked.prompt_count;
        r->live = 0;
    }
    drop_finished(generator);
}

bool generator_step(struct generator *generator, struct error *error) {
    admit(generator);
    const int64_t rows = fill_rows(generator);
    if (rows == 0) return true;
    generator->counts.steps++;
    if (!decode_step(generator->decode, generator->rows, rows, generator->logits, error)) return false;
    if (!take_logits(generator, error)) return false;
    drop_finished(generator);
    return true;
}

bool generator_busy(const struct generator *generator) {
    return generator->requests != NULL;
}

void generator_forget_prompts(struct generator *generator) {
    while (kept_prompts_drop_oldest(&generator->kept)) continue;
}

struct generator_counts generator_counts(const struct generator *generator) {
    return generator->counts;
}
