/* The page, and what the server says of itself: health, metrics, who one is, the models. */
#include "base/error.h"
#include "base/log.h"
#include "drg/note.h"
#include "serve/access.h"
#include "serve/counters.h"
#include "serve/models.h"
#include "serve/page.h"
#include "serve/request.h"
#include "serve/routes.h"
#include "serve/server.h"
#include "serve/writer.h"
#include "tokenizer/chat.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static bool answer_page(struct request *request, const char *type, struct page_bytes page) {
    request_answer_constant(request, type, page.bytes, page.length);
    return true;
}

bool handle_page(struct request *request) {
    return answer_page(request, "text/html; charset=utf-8", page_html());
}

bool handle_page_script(struct request *request) {
    return answer_page(request, "text/javascript; charset=utf-8", page_script());
}

bool handle_page_style(struct request *request) {
    return answer_page(request, "text/css; charset=utf-8", page_style());
}

bool handle_openapi(struct request *request) {
    return answer_page(request, "application/json", page_openapi());
}

bool handle_health(struct request *request) {
    struct server *server = request->server;
    const bool stopping = atomic_load(&server->stopping);
    struct text body = {0};
    text_printf(&body,
                "{\"status\": \"%s\", \"version\": \"%s\", \"uptime\": %.1f, \"queue\": %zu, \"queue_limit\": %lld}\n",
                stopping ? "stopping" : "ok", server->settings.version, time_now() - server->started,
                models_waiting(server->models), (long long)server->settings.queue);
    request_answer_json(request, stopping ? 503 : 200, &body);
    return true;
}

/* Bytes of memory that are the process's in this moment. */
static double resident_bytes(void) {
    unsigned long long size, resident;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL) return 0;
    const int read = fscanf(file, "%llu %llu", &size, &resident);
    fclose(file);
    return read == 2 ? (double)resident * (double)sysconf(_SC_PAGESIZE) : 0;
}

bool handle_metrics(struct request *request) {
    struct server *server = request->server;
    const struct gauge gauges[] = {
        {"casemix_queue", "Notes and generations that wait.", (double)models_waiting(server->models)},
        {"casemix_queue_limit", "How many may wait.", (double)server->settings.queue},
        {"casemix_requests_active", "Requests being received or answered.", (double)atomic_load(&server->active)},
        {"casemix_body_bytes", "Bytes of bodies held.", (double)atomic_load(&server->body_bytes)},
        {"casemix_uptime_seconds", "Since the start.", time_now() - server->started},
        {"process_resident_memory_bytes", "Resident memory.", resident_bytes()},
    };
    struct text body = {0};
    counters_add_text(&body, server->counters, gauges, sizeof gauges / sizeof gauges[0]);
    request_answer(request, 200, "text/plain; version=0.0.4", &body);
    return true;
}

bool handle_session(struct request *request) {
    const struct server_settings *settings = &request->server->settings;
    struct text body = {0};
    text_add(&body, "{\"name\": ");
    text_add_json(&body, request->who.name, strlen(request->who.name));
    text_printf(&body,
                ", \"role\": \"%s\", \"keys_required\": %s, \"stores_notes\": %s, \"retention_days\": %lld, "
                "\"note_limit\": %zu, \"batch_limit\": %lld, \"version\": \"%s\"}\n",
                role_name(request->who.role), access_has_keys(request->server->access) ? "true" : "false",
                settings->store_notes ? "true" : "false", (long long)settings->retention_days, NOTE_LIMIT,
                (long long)settings->batch_limit, settings->version);
    request_answer_json(request, 200, &body);
    return true;
}

static void add_model(struct text *body, const struct served *served) {
    const struct run_card *card = &served->classifier.card;
    text_add(body, "{\"id\": ");
    text_add_json(body, served->id, strlen(served->id));
    text_printf(body,
                ", \"object\": \"model\", \"created\": %lld, \"owned_by\": \"casemix\", \"task\": \"%s\", \"grouper\": "
                "\"%s\", \"labels\": %zu, \"max_tokens\": %lld, \"model_sha256\": \"%s\", \"adapter_sha256\": \"%s\", "
                "\"evidence\": %s, \"codes_notes\": %s, \"chat\": %s}",
                (long long)served->created, served->generative ? "generate" : "classify", grouper_name(served->grouper),
                card->labels.count,
                (long long)(served->generative ? served->answerer.decoder.config.positions : card->max_tokens),
                served->sha256, served->adapter_sha256, served->generative ? "false" : "true",
                served->generative ? "false" : "true", served->chat != NULL ? "true" : "false");
}

bool handle_models(struct request *request) {
    struct models *models = request->server->models;
    struct text body = {0};
    text_add(&body, "{\"object\": \"list\", \"data\": [");
    for (size_t i = 0; i < models_count(models); i++) {
        if (i > 0) text_add(&body, ", ");
        add_model(&body, models_at(models, i));
    }
    text_add(&body, "]}\n");
    request_answer_json(request, 200, &body);
    return true;
}
