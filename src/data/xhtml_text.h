/* The text of a piece of XHTML, as FHIR's narratives are written: blocks on lines of their own, cells apart. */
#ifndef CASEMIX_DATA_XHTML_TEXT_H
#define CASEMIX_DATA_XHTML_TEXT_H

#include <stddef.h>

struct text;

/* Appends what a reader would see. Never fails: markup that is broken reads as text or is passed over. */
void xhtml_add_text(struct text *out, const char *xhtml, size_t length);

#endif
