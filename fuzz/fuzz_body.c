/* Bodies and paths of requests, as the routes read them: a body that is taken has strings within its document and
 * numbers within their bounds. */
#include "base/error.h"
#include "base/json.h"
#include "input.h"
#include "serve/body.h"
#include "serve/completion_body.h"
#include "serve/routes.h"
#include <stdlib.h>
#include <string.h>

static struct error error;

static void touch(const char *string) {
    if (string != NULL) input_touch(string, strlen(string));
}

static void try_drg(const char *bytes, size_t length) {
    struct json *document;
    struct drg_body body;
    if (!body_parse(&document, bytes, length, drg_body_members, &error)) return;
    if (drg_body_read(&body, json_root(document), &error)) {
        touch(body.text);
        touch(body.id);
        touch(body.model);
        if (body.k < 1 || body.k > CODING_TOP || body.evidence_drg_count > EXPLAINED_DRGS || body.billed > 999) abort();
    }
    json_free(document);
}

static void try_reviews(const char *bytes, size_t length) {
    struct json *document;
    struct review_body review;
    struct rating_body rating;
    if (body_parse(&document, bytes, length, review_body_members, &error)) {
        if (review_body_read(&review, json_root(document), &error)) touch(review.comment);
        json_free(document);
    }
    if (!body_parse(&document, bytes, length, rating_body_members, &error)) return;
    if (rating_body_read(&rating, json_root(document), &error) && (rating.accuracy < 1 || rating.accuracy > 5)) abort();
    json_free(document);
}

static void try_completion(const char *bytes, size_t length, bool chat) {
    struct json *document;
    struct completion_body body;
    bool unsupported = false;
    if (!completion_body_parse(&body, &document, bytes, length, chat, &unsupported, &error)) return;
    touch(body.model);
    touch(body.prompt);
    for (size_t i = 0; i < body.message_count; i++) touch(body.messages[i].content);
    for (size_t i = 0; i < body.stop_count; i++) touch(body.stops[i]);
    if (body.samples < 1 || body.samples > COMPLETION_SAMPLES) abort();
    completion_body_free(&body);
    json_free(document);
}

static void try_path(const char *bytes, size_t length) {
    char path[256], part[80], methods[64];
    if (length >= sizeof path) return;
    memcpy(path, bytes, length);
    path[length] = '\0';
    const struct route *route = route_find("GET", path, part, methods);
    touch(part);
    touch(methods);
    if (route != NULL && strchr(part, '/') != NULL) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length) {
    const char *body = (const char *)bytes;
    try_drg(body, length);
    try_reviews(body, length);
    try_completion(body, length, true);
    try_completion(body, length, false);
    try_path(body, length);
    return 0;
}
