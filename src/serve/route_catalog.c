/* The catalog: a DRG with the severities of its base, and a search by words or codes. */
#include "base/error.h"
#include "drg/mdc.h"
#include "serve/models.h"
#include "serve/record.h"
#include "serve/request.h"
#include "serve/routes.h"
#include "serve/server.h"
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The grouper that the query names, else that of the first model. */
static bool find_catalog(struct request *request, const struct catalog **catalog) {
    const char *name = request_query(request, "grouper");
    enum grouper grouper = models_at(request->server->models, 0)->grouper;
    struct error error = {0};
    if (name != NULL && !grouper_parse(name, &grouper, &error)) {
        request_refuse_line(request, 400, "bad_request", error.hint, "there is no such grouper");
        return false;
    }
    *catalog = catalog_get(grouper);
    return true;
}

static void add_ladder(struct text *body, const struct catalog *catalog, const struct drg *drg) {
    const struct drg *ladder[8];
    size_t count = 0;
    for (size_t i = 0; i < catalog->count && count < 8; i++) {
        if (catalog->drgs[i].base != drg->base) continue;
        size_t at = count++;
        for (; at > 0 && ladder[at - 1]->weight > catalog->drgs[i].weight; at--) ladder[at] = ladder[at - 1];
        ladder[at] = &catalog->drgs[i];
    }
    text_add(body, ", \"ladder\": [");
    for (size_t i = 0; i < count; i++) {
        text_add(body, i == 0 ? "{" : ", {");
        record_add_drg(body, ladder[i]);
        text_add_char(body, '}');
    }
    text_add_char(body, ']');
}

bool handle_catalog_entry(struct request *request) {
    const struct catalog *catalog;
    struct error error = {0};
    struct text body = {0};
    int code;
    if (!find_catalog(request, &catalog)) return true;
    if (!drg_parse(request->part, &code, &error)) {
        request_refuse_line(request, 400, "bad_request", error.hint, "this is no DRG code");
        return true;
    }
    const struct drg *drg = catalog_find(catalog, code);
    if (drg == NULL) {
        request_refuse_line(request, 404, "not_found", "", "%s has no DRG %03d", grouper_name(catalog->grouper), code);
        return true;
    }
    text_add_char(&body, '{');
    record_add_drg(&body, drg);
    text_printf(&body, ", \"grouper\": \"%s\"", grouper_name(catalog->grouper));
    add_ladder(&body, catalog, drg);
    text_add(&body, "}\n");
    request_answer_json(request, 200, &body);
    return true;
}

/* Whether a word of the title begins with these letters. */
static bool title_has(const char *title, const char *word, size_t length) {
    for (const char *at = title; *at != '\0';) {
        if (strncasecmp(at, word, length) == 0) return true;
        at += strcspn(at, " -/,()&");
        at += strspn(at, " -/,()&");
    }
    return false;
}

static bool word_fits(const struct drg *drg, const char *word, size_t length) {
    char code[8], base[24];
    if (length > 4 && strncasecmp(word, "mdc:", 4) == 0)
        return strncasecmp(drg->mdc, word + 4, length - 4) == 0 && drg->mdc[length - 4] == '\0';
    snprintf(base, sizeof base, "base:%d", drg->base);
    if (length > 5 && strncasecmp(word, "base:", 5) == 0)
        return strlen(base) == length && strncasecmp(base, word, length) == 0;
    snprintf(code, sizeof code, "%03d", drg->code);
    if (isdigit((unsigned char)word[0]) && length <= 3) {
        char plain[8];
        snprintf(plain, sizeof plain, "%d", drg->code);
        if (strncmp(code, word, length) == 0 || strncmp(plain, word, length) == 0) return true;
    }
    return title_has(drg->title, word, length);
}

/* How well a DRG fits the query: 0 not at all; an exact code before a title that begins so before the rest. */
static int fit(const struct drg *drg, const char *query) {
    static const char blanks[] = " \t,";
    int64_t code;
    if (parse_int64(query, &code) && code == drg->code) return 3;
    const char *word = query + strspn(query, blanks);
    if (*word == '\0') return 1;
    const bool beginning = strncasecmp(drg->title, word, strcspn(word, blanks)) == 0;
    while (*word != '\0') {
        const size_t length = strcspn(word, blanks);
        if (!word_fits(drg, word, length)) return 0;
        word += length;
        word += strspn(word, blanks);
    }
    return beginning ? 2 : 1;
}

bool handle_catalog_search(struct request *request) {
    const char *query = request_query(request, "q");
    const struct catalog *catalog;
    long long limit = 20;
    size_t total = 0, written = 0;
    struct text body = {0};
    if (!find_catalog(request, &catalog) || !request_query_int(request, "limit", 1, 1000, &limit)) return true;
    if (query == NULL) query = "";
    if (strlen(query) > 200) {
        request_refuse_line(request, 400, "bad_request", "", "\"q\" is longer than 200 bytes");
        return true;
    }
    for (size_t i = 0; i < catalog->count; i++) total += fit(&catalog->drgs[i], query) > 0;
    text_printf(&body, "{\"grouper\": \"%s\", \"total\": %zu, \"drgs\": [", grouper_name(catalog->grouper), total);
    for (int wanted = 3; wanted > 0; wanted--) {
        for (size_t i = 0; i < catalog->count && written < (size_t)limit; i++) {
            if (fit(&catalog->drgs[i], query) != wanted) continue;
            text_add(&body, written++ == 0 ? "{" : ", {");
            record_add_drg(&body, &catalog->drgs[i]);
            text_add_char(&body, '}');
        }
    }
    text_add(&body, "]}\n");
    request_answer_json(request, 200, &body);
    return true;
}
