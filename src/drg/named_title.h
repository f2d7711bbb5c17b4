/* Which DRG a text of free words names: for rationales, whose conclusion must be the DRG that was to be explained. */
#ifndef CASEMIX_DRG_NAMED_TITLE_H
#define CASEMIX_DRG_NAMED_TITLE_H

#include "drg/catalog.h"
#include <stddef.h>

/* The title that is named last in the text, in any case, blanks of any kind between its words; of two that end at the
 * same place, the longer one. NULL when none is named. */
const struct drg *named_title(const struct catalog *catalog, const char *text, size_t length);

#endif
