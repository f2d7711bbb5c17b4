/* The routes: one table, to which openapi.json is held by a test. */
#ifndef CASEMIX_SERVE_ROUTES_H
#define CASEMIX_SERVE_ROUTES_H

#include "serve/keys.h"
#include <stdbool.h>
#include <stddef.h>

struct request;

enum body_kind { BODY_NONE, BODY_JSON, BODY_NOTES, BODY_FHIR };

struct route {
    const char *method; /* "GET", "POST" or "DELETE" */
    const char *path;   /* as in openapi.json; one part may be {name} */
    enum role role;     /* ROLE_NONE: anybody */
    enum body_kind body;
    size_t limit;                            /* bytes of the body; 0 with BODY_NOTES: the server's setting */
    bool (*handle)(struct request *request); /* as request.h says */
};

extern const struct route routes[];
extern const size_t route_count;

/* The route of a request, with the part that stands for {name}. NULL when there is none; then *methods (of at least 64
 * bytes) lists the methods of the path, or is empty when there is no such path. HEAD is looked up as GET. */
const struct route *route_find(const char *method, const char *path, char part[80], char methods[64]);

bool handle_page(struct request *request);
bool handle_page_script(struct request *request);
bool handle_page_style(struct request *request);
bool handle_openapi(struct request *request);
bool handle_health(struct request *request);
bool handle_metrics(struct request *request);
bool handle_session(struct request *request);
bool handle_models(struct request *request);
bool handle_drg(struct request *request);
bool handle_batch_start(struct request *request);
bool handle_batch_list(struct request *request);
bool handle_batch_status(struct request *request);
bool handle_batch_cancel(struct request *request);
bool handle_batch_events(struct request *request);
bool handle_batch_result(struct request *request);
bool handle_fhir_drg(struct request *request);
bool handle_catalog_search(struct request *request);
bool handle_catalog_entry(struct request *request);
bool handle_chat_completions(struct request *request);
bool handle_completions(struct request *request);
bool handle_review_add(struct request *request);
bool handle_review_list(struct request *request);
bool handle_rating_add(struct request *request);
bool handle_rating_list(struct request *request);
bool handle_rating_agreement(struct request *request);
bool handle_dashboard(struct request *request);
bool handle_note(struct request *request);

#endif
