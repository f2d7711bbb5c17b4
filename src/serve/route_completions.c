/* POST /v1/chat/completions and /v1/completions: OpenAI's answers, whole or as they are written. */
#include "base/error.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "serve/audit.h"
#include "serve/completion_body.h"
#include "serve/models.h"
#include "serve/request.h"
#include "serve/routes.h"
#include "serve/server.h"
#include "serve/store.h"
#include "serve/stream.h"
#include "serve/writer.h"
#include "tokenizer/chat.h"
#include "tokenizer/tokenizer.h"
#include <sqlite3.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

/* A completion on its way; freed when it is over. Once its stream has begun the request is not touched any more. */
struct completion {
    struct writing writing; /* first */
    struct store_job keep;
    struct server *server;
    struct request *request;
    struct stream *stream; /* NULL: the answer is sent whole */
    struct served *served;
    struct principal who;
    struct json *document;
    struct completion_body body;
    struct token_list ids;
    int32_t end_token;
    bool chat, begun;
    struct text texts[COMPLETION_SAMPLES];
    enum generation_end ends[COMPLETION_SAMPLES];
    int64_t tokens;
    char id[40], sha256[65];
    int64_t created;
};

static void completion_free(struct completion *completion) {
    for (int i = 0; i < COMPLETION_SAMPLES; i++) text_free(&completion->texts[i]);
    token_list_free(&completion->ids);
    completion_body_free(&completion->body);
    json_free(completion->document);
    stream_release(completion->stream);
    memory_free(completion);
}

/* {"id": …, "object": …, "created": …, "model": … */
static void add_head(struct text *out, const struct completion *completion, const char *object) {
    text_printf(out, "{\"id\": \"%s\", \"object\": \"%s\", \"created\": %lld, \"model\": ", completion->id, object,
                (long long)completion->created);
    text_add_json(out, completion->served->id, strlen(completion->served->id));
}

static void add_usage(struct text *out, const struct completion *completion) {
    const long long prompt = (long long)completion->ids.count, written = (long long)completion->tokens;
    text_printf(out, ", \"usage\": {\"prompt_tokens\": %lld, \"completion_tokens\": %lld, \"total_tokens\": %lld}",
                prompt, written, prompt + written);
}

static const char *chunk_object(const struct completion *completion) {
    return completion->chat ? "chat.completion.chunk" : "text_completion";
}

/* A piece of one sample as a server-sent event; `finish` NULL while it goes on. */
static bool send_chunk(struct completion *completion, int sample, const char *role, const char *bytes, size_t length,
                       const char *finish) {
    struct text event = {0};
    text_add(&event, "data: ");
    add_head(&event, completion, chunk_object(completion));
    text_printf(&event, ", \"choices\": [{\"index\": %d, ", sample);
    if (completion->chat) {
        text_add(&event, "\"delta\": {");
        if (role != NULL) text_printf(&event, "\"role\": \"%s\", ", role);
        if (finish == NULL || length > 0) {
            text_add(&event, "\"content\": ");
            text_add_json(&event, bytes, length);
        }
        text_add_char(&event, '}');
    } else {
        text_add(&event, "\"text\": ");
        text_add_json(&event, bytes, length);
    }
    if (finish == NULL)
        text_add(&event, ", \"finish_reason\": null}]}\n\n");
    else
        text_printf(&event, ", \"finish_reason\": \"%s\"}]}\n\n", finish);
    const bool wanted = !event.failed && stream_write(completion->stream, &event);
    text_free(&event);
    return wanted;
}

static void begun(struct writing *writing) {
    struct completion *completion = (struct completion *)writing;
    completion->begun = true;
    if (completion->stream == NULL) return;
    for (int i = 0; completion->chat && i < completion->body.samples; i++)
        send_chunk(completion, i, "assistant", "", 0, NULL);
    struct request *request = completion->request;
    completion->request = NULL;
    request_answer_stream(request, "text/event-stream", stream_share(completion->stream));
    request_resume(request);
}

static bool take_text(struct writing *writing, const struct generation_event *event) {
    struct completion *completion = (struct completion *)writing;
    if (event->token != NULL) completion->tokens++;
    completion->ends[event->sample] = event->end;
    if (event->end == GENERATION_CANCELLED) return false;
    const char *finish = event->end == GENERATION_GOES_ON ? NULL : generation_end_name(event->end);
    text_append(&completion->texts[event->sample], event->bytes, event->length);
    if (completion->stream == NULL) return !atomic_load(&completion->request->gone);
    if (finish == NULL && event->length == 0) return !stream_abandoned(completion->stream);
    return send_chunk(completion, event->sample, NULL, event->bytes, event->length, finish);
}

/* The texts themselves are not kept: their hash is. */
static bool keep_completion(sqlite3 *database, struct store_job *job, struct error *error) {
    const struct completion *completion =
        (struct completion *)(void *)((char *)job - offsetof(struct completion, keep));
    struct text all = {0};
    char hash[65], answer[256], time[25];
    int64_t seq;
    for (int i = 0; i < completion->body.samples; i++) {
        const struct text *text = &completion->texts[i];
        text_append(&all, text->data == NULL ? "" : text->data, text->length);
    }
    if (!text_ok(&all, error)) return false;
    sha256_hex(all.data == NULL ? "" : all.data, all.length, hash);
    text_free(&all);
    snprintf(answer, sizeof answer, "{\"samples\":%d,\"tokens\":%lld,\"text_sha256\":\"%s\"}",
             (int)completion->body.samples, (long long)completion->tokens, hash);
    const struct audit_row row = {completion->who.name,
                                  "generate",
                                  completion->sha256,
                                  completion->served->id,
                                  completion->served->sha256,
                                  completion->served->adapter_sha256,
                                  answer,
                                  ""};
    return audit_append(database, &row, &seq, time, error);
}

static void send_error(struct completion *completion, unsigned status, const char *code, const struct error *error) {
    struct text event = {0};
    text_add(&event, "data: ");
    error_add_json(&event, status, code, error);
    text_add(&event, "\n\n");
    if (!event.failed) stream_write(completion->stream, &event);
    text_free(&event);
    stream_end(completion->stream);
}

static void fail(struct completion *completion, unsigned status, const char *code, const struct error *error) {
    if (completion->request == NULL) {
        send_error(completion, status, code, error);
    } else {
        request_refuse(completion->request, status, code, error);
        request_resume(completion->request);
    }
    completion_free(completion);
}

static void send_end(struct completion *completion) {
    struct text event = {0};
    if (completion->body.include_usage) {
        text_add(&event, "data: ");
        add_head(&event, completion, chunk_object(completion));
        text_add(&event, ", \"choices\": []");
        add_usage(&event, completion);
        text_add(&event, "}\n\n");
    }
    text_add(&event, "data: [DONE]\n\n");
    if (!event.failed) stream_write(completion->stream, &event);
    text_free(&event);
    stream_end(completion->stream);
}

static void send_whole(struct completion *completion) {
    struct text body = {0};
    add_head(&body, completion, completion->chat ? "chat.completion" : "text_completion");
    text_add(&body, ", \"choices\": [");
    for (int i = 0; i < completion->body.samples; i++) {
        const struct text *text = &completion->texts[i];
        text_printf(&body, "%s{\"index\": %d, %s", i == 0 ? "" : ", ", i,
                    completion->chat ? "\"message\": {\"role\": \"assistant\", \"content\": " : "\"text\": ");
        text_add_json(&body, text->data == NULL ? "" : text->data, text->length);
        text_printf(&body, "%s, \"finish_reason\": \"%s\"}", completion->chat ? "}" : "",
                    generation_end_name(completion->ends[i]));
        if (text->failed) body.failed = true;
    }
    text_add_char(&body, ']');
    add_usage(&body, completion);
    text_add(&body, "}\n");
    request_answer_json(completion->request, 200, &body);
    request_resume(completion->request);
}

static void completion_kept(struct store_job *job, bool kept, const struct error *error) {
    struct completion *completion = (struct completion *)(void *)((char *)job - offsetof(struct completion, keep));
    if (!kept) {
        struct error told = {0};
        log_warning("%s", error->message);
        error_set(&told, "the answer could not be kept, so it is not given");
        fail(completion, 503, "internal", &told);
        return;
    }
    if (completion->request == NULL)
        send_end(completion);
    else
        send_whole(completion);
    completion_free(completion);
}

static void written(struct writing *writing, enum writing_end end, const struct error *error) {
    struct completion *completion = (struct completion *)writing;
    struct error told = *error;
    switch (end) {
    case WRITING_DONE:
        completion->keep = (struct store_job){.run = keep_completion, .done = completion_kept};
        store_submit(completion->server->store, &completion->keep);
        return;
    case WRITING_REFUSED:
        fail(completion, 400, "bad_request", &told);
        return;
    case WRITING_LATE:
        error_set(&told, "the request has waited too long");
        fail(completion, 503, "too_slow", &told);
        return;
    case WRITING_LEFT:
        error_set(&told, "the client has left");
        fail(completion, 503, "stopping", &told);
        return;
    case WRITING_STOPPED:
        error_set(&told, "the server is stopping");
        fail(completion, 503, "stopping", &told);
        return;
    case WRITING_FAILED:
        log_warning("%s", error->message);
        error_set(&told, "the model could not go on");
        fail(completion, 503, "internal", &told);
        return;
    }
}

/* The model that is asked, or the refusal. */
static struct served *choose_model(struct request *request, const struct completion_body *body, bool chat) {
    struct models *models = request->server->models;
    struct served *served = body->model == NULL ? models_first(models, true) : models_find(models, body->model);
    if (served == NULL && body->model != NULL) {
        request_refuse_line(request, 404, "not_found", "GET /v1/models lists them", "there is no such model");
        return NULL;
    }
    if (served == NULL || !served->generative)
        request_refuse_line(request, 400, "unsupported", "serve a causal model too: --model DIR",
                            "this model writes no text");
    else if (chat && served->chat == NULL)
        request_refuse_line(request, 400, "unsupported", "POST /v1/completions goes on from a prompt",
                            "this model has no chat template that is known");
    else if (body->answer_trie && !served->has_trie)
        request_refuse_line(request, 400, "unsupported", "", "answers of this model cannot be kept to titles");
    else
        return served;
    return NULL;
}

static bool encode(struct completion *completion, struct error *error) {
    const struct completion_body *body = &completion->body;
    const struct served *served = completion->served;
    if (completion->chat)
        return chat_encode(served->chat, body->messages, body->message_count, true, &completion->ids, error);
    return tokenizer_encode(served->answerer.tokenizer, body->prompt, strlen(body->prompt), true, &completion->ids,
                            error);
}

/* The hash under which the audit trail knows what was asked: of the last message, or of the prompt. */
static void hash_question(struct completion *completion) {
    const struct completion_body *body = &completion->body;
    const char *asked = completion->chat ? body->messages[body->message_count - 1].content : body->prompt;
    sha256_hex(asked, strlen(asked), completion->sha256);
}

static bool prepare(struct completion *completion, struct error *error) {
    const struct completion_body *body = &completion->body;
    const struct served *served = completion->served;
    unsigned char bytes[12];
    uint64_t seed;
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) return error_system(error, "random bytes");
    memcpy(&seed, bytes, sizeof seed);
    strcpy(completion->id, completion->chat ? "chatcmpl-" : "cmpl-");
    const size_t length = strlen(completion->id);
    for (size_t i = 0; i < sizeof bytes; i++) snprintf(completion->id + length + 2 * i, 3, "%02x", bytes[i]);
    completion->created = time(NULL);
    completion->end_token = completion->chat ? chat_end(served->chat) : served->answerer.decoder.config.eos_id;
    hash_question(completion);
    if (!encode(completion, error)) return false;
    completion->writing.asked = (struct generation_request){.prompt = completion->ids.ids,
                                                            .prompt_count = (int64_t)completion->ids.count,
                                                            .samples = (int32_t)body->samples,
                                                            .max_tokens = body->max_tokens,
                                                            .sampling = body->sampling,
                                                            .seed = body->seed == -1 ? seed : (uint64_t)body->seed,
                                                            .stop_ids = &completion->end_token,
                                                            .stop_id_count = completion->end_token >= 0 ? 1 : 0,
                                                            .stop_strings = body->stops,
                                                            .stop_string_count = body->stop_count,
                                                            .answer_trie = body->answer_trie};
    completion->writing.deadline = time_now() + (double)completion->server->settings.timeout;
    completion->writing.begun = begun;
    completion->writing.text = take_text;
    completion->writing.done = written;
    return true;
}

static bool refuse(struct completion *completion, unsigned status, const char *code, const struct error *error) {
    request_refuse(completion->request, status, code, error);
    completion_free(completion);
    return true;
}

static bool complete(struct request *request, bool chat) {
    struct error error = {0};
    bool unsupported = false;
    struct completion *completion = memory_zero(1, sizeof *completion);
    if (completion == NULL) {
        request_refuse_line(request, 503, "internal", "", "out of memory");
        return true;
    }
    completion->server = request->server;
    completion->request = request;
    completion->who = request->who;
    completion->chat = chat;
    if (!completion_body_parse(&completion->body, &completion->document,
                               request->body.data == NULL ? "" : request->body.data, request->body.length, chat,
                               &unsupported, &error))
        return refuse(completion, 400, unsupported ? "unsupported" : "bad_request", &error);
    completion->served = choose_model(request, &completion->body, chat);
    if (completion->served == NULL) {
        completion_free(completion);
        return true;
    }
    if (!prepare(completion, &error)) return refuse(completion, 400, "bad_request", &error);
    if (completion->body.stream && (completion->stream = stream_open(request->connection)) == NULL) {
        memory_error(&error, 256, "a stream");
        return refuse(completion, 503, "internal", &error);
    }
    request_leave(request);
    if (writer_submit(completion->served->writer, &completion->writing)) return false;
    request_refuse_line(request, 429, "busy", "", "%lld requests are waiting already",
                        (long long)request->server->settings.queue);
    completion_free(completion);
    request_resume(request);
    return false;
}

bool handle_chat_completions(struct request *request) {
    return complete(request, true);
}

bool handle_completions(struct request *request) {
    return complete(request, false);
}
