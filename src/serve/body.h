/* JSON bodies of requests: read strictly, and refused without repeating a word of them. */
#ifndef CASEMIX_SERVE_BODY_H
#define CASEMIX_SERVE_BODY_H

#include "base/json.h"
#include "serve/coded_note.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

/* An object whose members are all among `known` (a NULL ends it). */
bool body_parse(struct json **document, const char *bytes, size_t length, const char *const *known,
                struct error *error);

/* The body of POST /v1/drg. Strings point into the document. */
struct drg_body {
    const char *text, *id, *model;
    int64_t k, samples, billed;
    int64_t evidence_drgs[EXPLAINED_DRGS];
    size_t evidence_drg_count;
    bool evidence, stream;
};
bool drg_body_read(struct drg_body *body, const json_node *root, struct error *error);

/* The body of POST /v1/reviews and of POST /v1/ratings. */
struct review_body {
    int64_t prediction, drg; /* drg 0: none given */
    const char *decision, *comment;
};
bool review_body_read(struct review_body *body, const json_node *root, struct error *error);

struct rating_body {
    int64_t prediction, helpfulness, accuracy;
    const char *comment;
};
bool rating_body_read(struct rating_body *body, const json_node *root, struct error *error);

extern const char *const drg_body_members[];
extern const char *const review_body_members[];
extern const char *const rating_body_members[];

#endif
