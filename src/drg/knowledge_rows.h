/* What DRGs there are, as questions and answers for fine-tuning (DRG-Sapphire, section 4.1): all titles of a grouper,
 * and the titles of each major diagnostic category. The question is the prompt "knowledge" with {group} filled in. */
#ifndef CASEMIX_DRG_KNOWLEDGE_ROWS_H
#define CASEMIX_DRG_KNOWLEDGE_ROWS_H

#include "base/text.h"
#include "drg/catalog.h"

struct knowledge_row {
    char id[32];     /* "knowledge-all", "knowledge-05", … */
    char group[128]; /* "all MS-DRGs", "the MS-DRGs of MDC 05 (Circulatory)", … */
};

/* Rows of the grouper: one for all titles, one for each category, in the order in which the catalog has them. */
size_t knowledge_rows_count(const struct catalog *catalog);

/* Row i, and its answer, appended: the titles with ", " between them. */
struct knowledge_row knowledge_row_write(const struct catalog *catalog, size_t i, struct text *answer);

/* What is thought before such an answer. */
extern const char knowledge_reasoning[];

#endif
