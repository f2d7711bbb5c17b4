/* The page of the report, as web/report/build.mjs made it. */
#ifndef CASEMIX_EVAL_REPORT_PAGE_H
#define CASEMIX_EVAL_REPORT_PAGE_H

#include <stddef.h>

const char *report_page(size_t *length);

#endif
