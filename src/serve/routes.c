/* The table of routes and the search in it. */
#include "serve/routes.h"
#include <stdio.h>
#include <string.h>

/* A note of 4 MiB may need more bytes as a JSON string: line feeds are two there, "\u00e9" is six. */
#define NOTE_BODY ((size_t)12 << 20)
#define SMALL_BODY ((size_t)64 << 10)

const struct route routes[] = {
    {"GET", "/", ROLE_NONE, BODY_NONE, 0, handle_page},
    {"GET", "/app.js", ROLE_NONE, BODY_NONE, 0, handle_page_script},
    {"GET", "/app.css", ROLE_NONE, BODY_NONE, 0, handle_page_style},
    {"GET", "/openapi.json", ROLE_NONE, BODY_NONE, 0, handle_openapi},
    {"GET", "/health", ROLE_NONE, BODY_NONE, 0, handle_health},
    {"GET", "/metrics", ROLE_CODE, BODY_NONE, 0, handle_metrics},
    {"GET", "/v1/session", ROLE_NONE, BODY_NONE, 0, handle_session},
    {"GET", "/v1/models", ROLE_CODE, BODY_NONE, 0, handle_models},
    {"POST", "/v1/drg", ROLE_CODE, BODY_JSON, NOTE_BODY, handle_drg},
    {"POST", "/v1/drg/batch", ROLE_CODE, BODY_NOTES, 0, handle_batch_start},
    {"GET", "/v1/drg/batch", ROLE_CODE, BODY_NONE, 0, handle_batch_list},
    {"GET", "/v1/drg/batch/{job}", ROLE_CODE, BODY_NONE, 0, handle_batch_status},
    {"DELETE", "/v1/drg/batch/{job}", ROLE_CODE, BODY_NONE, 0, handle_batch_cancel},
    {"GET", "/v1/drg/batch/{job}/events", ROLE_CODE, BODY_NONE, 0, handle_batch_events},
    {"GET", "/v1/drg/batch/{job}/result", ROLE_CODE, BODY_NONE, 0, handle_batch_result},
    {"POST", "/fhir/$drg", ROLE_CODE, BODY_FHIR, NOTE_BODY, handle_fhir_drg},
    {"GET", "/v1/catalog", ROLE_CODE, BODY_NONE, 0, handle_catalog_search},
    {"GET", "/v1/catalog/{code}", ROLE_CODE, BODY_NONE, 0, handle_catalog_entry},
    {"POST", "/v1/chat/completions", ROLE_CODE, BODY_JSON, NOTE_BODY, handle_chat_completions},
    {"POST", "/v1/completions", ROLE_CODE, BODY_JSON, NOTE_BODY, handle_completions},
    {"POST", "/v1/reviews", ROLE_REVIEW, BODY_JSON, SMALL_BODY, handle_review_add},
    {"GET", "/v1/reviews", ROLE_REVIEW, BODY_NONE, 0, handle_review_list},
    {"POST", "/v1/ratings", ROLE_REVIEW, BODY_JSON, SMALL_BODY, handle_rating_add},
    {"GET", "/v1/ratings", ROLE_REVIEW, BODY_NONE, 0, handle_rating_list},
    {"GET", "/v1/ratings/agreement", ROLE_REVIEW, BODY_NONE, 0, handle_rating_agreement},
    {"GET", "/v1/dashboard", ROLE_REVIEW, BODY_NONE, 0, handle_dashboard},
    {"GET", "/v1/notes/{note_sha256}", ROLE_REVIEW, BODY_NONE, 0, handle_note},
};
const size_t route_count = sizeof routes / sizeof routes[0];

/* Whether a path has the form of a pattern; `part` gets what stands for {name}: one part, not empty. */
static bool path_fits(const char *pattern, const char *path, char part[80]) {
    const char *open = strchr(pattern, '{');
    part[0] = '\0';
    if (open == NULL) return strcmp(pattern, path) == 0;
    const size_t before = (size_t)(open - pattern);
    if (strncmp(pattern, path, before) != 0) return false;
    const char *behind = strchr(open, '}') + 1;
    const size_t length = strcspn(path + before, "/");
    if (length == 0 || length >= 80 || strcmp(path + before + length, behind) != 0) return false;
    memcpy(part, path + before, length);
    part[length] = '\0';
    return true;
}

const struct route *route_find(const char *method, const char *path, char part[80], char methods[64]) {
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    methods[0] = '\0';
    for (size_t i = 0; i < route_count; i++) {
        if (!path_fits(routes[i].path, path, part)) continue;
        if (strcmp(routes[i].method, wanted) == 0) return &routes[i];
        const size_t used = strlen(methods);
        snprintf(methods + used, 64 - used, "%s%s", used == 0 ? "" : ", ", routes[i].method);
    }
    part[0] = '\0';
    return NULL;
}
