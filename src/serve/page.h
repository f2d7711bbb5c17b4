/* The page and the API's document, which are part of the program. */
#ifndef CASEMIX_SERVE_PAGE_H
#define CASEMIX_SERVE_PAGE_H

#include <stddef.h>

struct page_bytes {
    const char *bytes;
    size_t length;
};
struct page_bytes page_html(void);
struct page_bytes page_script(void);
struct page_bytes page_style(void);
struct page_bytes page_openapi(void);

#endif
