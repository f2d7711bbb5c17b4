/* web/app/dist and openapi.json, taken into the program byte by byte (see drg/catalog_tables.c). */
#include "serve/page.h"

#define INCLUDE_BYTES(symbol, path)                                                      \
    __asm__(".section .rodata\n.balign 16\n" #symbol ":\n.incbin \"" path "\"\n" #symbol \
            "_end:\n.byte 0\n.previous\n");                                              \
    extern const char symbol[];                                                          \
    extern const char symbol##_end[];

INCLUDE_BYTES(casemix_page_html, "web/app/dist/index.html")
INCLUDE_BYTES(casemix_page_script, "web/app/dist/app.js")
INCLUDE_BYTES(casemix_page_style, "web/app/dist/app.css")
INCLUDE_BYTES(casemix_openapi, "src/serve/openapi.json")

struct page_bytes page_html(void) {
    return (struct page_bytes){casemix_page_html, (size_t)(casemix_page_html_end - casemix_page_html)};
}

struct page_bytes page_script(void) {
    return (struct page_bytes){casemix_page_script, (size_t)(casemix_page_script_end - casemix_page_script)};
}

struct page_bytes page_style(void) {
    return (struct page_bytes){casemix_page_style, (size_t)(casemix_page_style_end - casemix_page_style)};
}

struct page_bytes page_openapi(void) {
    return (struct page_bytes){casemix_openapi, (size_t)(casemix_openapi_end - casemix_openapi)};
}
