/* What the bodies may hold, member by member. */
#include "serve/body.h"
#include "base/error.h"
#include "base/text.h"
#include "drg/note.h"
#include <stdio.h>
#include <string.h>

enum { COMMENT_LIMIT = 4000 };

const char *const drg_body_members[] = {"text",          "id",      "model",  "k",      "evidence",
                                        "evidence_drgs", "samples", "billed", "stream", NULL};
const char *const review_body_members[] = {"prediction", "decision", "drg", "comment", NULL};
const char *const rating_body_members[] = {"prediction", "helpfulness", "accuracy", "comment", NULL};

static bool is_known(const char *name, const char *const *known) {
    for (; *known != NULL; known++) {
        if (strcmp(name, *known) == 0) return true;
    }
    return false;
}

static bool unknown_member(const char *const *known, struct error *error) {
    char list[400] = "";
    for (; *known != NULL; known++) {
        const size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", used == 0 ? "" : ", ", *known);
    }
    error_set(error, "the body has a member that is not known here");
    return error_hint(error, "known are: %s", list);
}

bool body_parse(struct json **document, const char *bytes, size_t length, const char *const *known,
                struct error *error) {
    struct error told;
    *document = NULL;
    /* What the parser says may hold names that the client wrote; only this much goes back. */
    if (length == 0 || !json_parse(document, "body", bytes, length, &told)) {
        error_set(error, "the body is not JSON that is read here");
        return error_hint(error, "one value in UTF-8, no member twice, no NUL, at most 256 levels deep");
    }
    bool done = json_is_object(json_root(*document)) || error_set(error, "the body is not a JSON object");
    for (const json_node *member = json_first(json_root(*document)); done && member != NULL; member = json_next(member))
        done = is_known(json_name(member), known) || unknown_member(known, error);
    if (done) return true;
    json_free(*document);
    *document = NULL;
    return false;
}

static bool read_drg_list(struct drg_body *body, const json_node *list, struct error *error) {
    if (json_is_null(list)) return true;
    if (!json_is_array(list) || json_count(list) > EXPLAINED_DRGS)
        return error_set(error, "\"evidence_drgs\" is not a list of at most %d DRGs", EXPLAINED_DRGS);
    for (const json_node *item = json_first(list); item != NULL; item = json_next(item)) {
        int64_t code;
        if (!json_integer(item, &code) || code < 1 || code > 999)
            return error_set(error, "\"evidence_drgs\" holds something that is no DRG");
        body->evidence_drgs[body->evidence_drg_count++] = code;
    }
    return true;
}

bool drg_body_read(struct drg_body *body, const json_node *root, struct error *error) {
    *body = (struct drg_body){.id = "", .k = 5};
    if (!json_get_string(root, "text", true, &body->text, error) ||
        !json_get_string(root, "id", false, &body->id, error) ||
        !json_get_string(root, "model", false, &body->model, error) ||
        !json_get_int(root, "k", false, 1, CODING_TOP, &body->k, error) ||
        !json_get_bool(root, "evidence", false, &body->evidence, error) ||
        !json_get_int(root, "samples", false, 0, 32, &body->samples, error) ||
        !json_get_int(root, "billed", false, 1, 999, &body->billed, error) ||
        !json_get_bool(root, "stream", false, &body->stream, error) ||
        !read_drg_list(body, json_member(root, "evidence_drgs"), error))
        return false;
    if (strlen(body->id) >= NOTE_ID) return error_set(error, "\"id\" is longer than %d bytes", NOTE_ID - 1);
    return note_check("text", body->text, strlen(body->text), error);
}

static bool read_comment(const json_node *root, const char **comment, struct error *error) {
    *comment = "";
    return json_get_string(root, "comment", false, comment, error) &&
           (strlen(*comment) <= COMMENT_LIMIT ||
            error_set(error, "\"comment\" is longer than %d bytes", COMMENT_LIMIT));
}

bool review_body_read(struct review_body *body, const json_node *root, struct error *error) {
    *body = (struct review_body){0};
    if (!json_get_int(root, "prediction", true, 1, INT64_C(1) << 53, &body->prediction, error) ||
        !json_get_string(root, "decision", true, &body->decision, error) ||
        !json_get_int(root, "drg", false, 1, 999, &body->drg, error) || !read_comment(root, &body->comment, error))
        return false;
    const bool change = strcmp(body->decision, "change") == 0, comment = strcmp(body->decision, "comment") == 0;
    if (!change && !comment && strcmp(body->decision, "accept") != 0)
        return error_set(error, "\"decision\" is none of accept, change, comment");
    if (change != (body->drg != 0)) return error_set(error, "\"drg\" goes with the decision change, and only with it");
    return !comment || body->comment[0] != '\0' || error_set(error, "\"comment\" is empty");
}

bool rating_body_read(struct rating_body *body, const json_node *root, struct error *error) {
    *body = (struct rating_body){0};
    return json_get_int(root, "prediction", true, 1, INT64_C(1) << 53, &body->prediction, error) &&
           json_get_int(root, "helpfulness", true, 1, 5, &body->helpfulness, error) &&
           json_get_int(root, "accuracy", true, 1, 5, &body->accuracy, error) &&
           read_comment(root, &body->comment, error);
}
