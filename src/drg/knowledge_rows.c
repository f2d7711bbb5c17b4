/* Knowledge rows: see knowledge_rows.h. */
#include "drg/knowledge_rows.h"
#include "drg/mdc.h"
#include <stdio.h>
#include <string.h>

const char knowledge_reasoning[] = "For this I go through the table of MS-DRGs and read off their titles.";

/* The first DRG of the i-th category; NULL when there are not so many. */
static const struct drg *category_at(const struct catalog *catalog, size_t i) {
    for (size_t d = 0; d < catalog->count; d++) {
        bool known = false;
        for (size_t earlier = 0; earlier < d && !known; earlier++)
            known = strcmp(catalog->drgs[earlier].mdc, catalog->drgs[d].mdc) == 0;
        if (!known && i-- == 0) return &catalog->drgs[d];
    }
    return NULL;
}

size_t knowledge_rows_count(const struct catalog *catalog) {
    size_t categories = 0;
    while (category_at(catalog, categories) != NULL) categories++;
    return 1 + categories;
}

static void name_group(struct knowledge_row *row, const char *mdc) {
    const char *name = mdc_name(mdc);
    snprintf(row->id, sizeof row->id, "knowledge-%s", strcmp(mdc, "-") == 0 ? "none" : mdc);
    if (strcmp(mdc, "PRE") == 0)
        snprintf(row->group, sizeof row->group, "the Pre-MDC MS-DRGs");
    else if (strcmp(mdc, "ALL") == 0)
        snprintf(row->group, sizeof row->group, "the MS-DRGs that any MDC may lead to");
    else if (strcmp(mdc, "-") == 0)
        snprintf(row->group, sizeof row->group, "the MS-DRGs outside of all MDCs");
    else
        snprintf(row->group, sizeof row->group, "the MS-DRGs of MDC %s (%s)", mdc, name);
}

struct knowledge_row knowledge_row_write(const struct catalog *catalog, size_t i, struct text *answer) {
    struct knowledge_row row = {"knowledge-all", "all MS-DRGs"};
    const struct drg *first = i == 0 ? NULL : category_at(catalog, i - 1);
    if (first != NULL) name_group(&row, first->mdc);
    bool behind = false;
    for (size_t d = 0; d < catalog->count; d++) {
        if (first != NULL && strcmp(catalog->drgs[d].mdc, first->mdc) != 0) continue;
        if (behind) text_add(answer, ", ");
        text_add(answer, catalog->drgs[d].title);
        behind = true;
    }
    return row;
}
