/* web/report/page.html, taken into the program. */
#include "eval/report_page.h"
#include "base/include_bytes.h"

INCLUDE_BYTES(casemix_report_page, "web/report/page.html")

const char *report_page(size_t *length) {
    *length = (size_t)(casemix_report_page_end - casemix_report_page);
    return casemix_report_page;
}
