/* web/report/page.html, taken into the program byte by byte (see drg/catalog_tables.c). */
#include "eval/report_page.h"

__asm__(".section .rodata\n.balign 16\ncasemix_report_page:\n.incbin \"web/report/page.html\"\n"
        "casemix_report_page_end:\n.byte 0\n.previous\n");
extern const char casemix_report_page[];
extern const char casemix_report_page_end[];

const char *report_page(size_t *length) {
    *length = (size_t)(casemix_report_page_end - casemix_report_page);
    return casemix_report_page;
}
