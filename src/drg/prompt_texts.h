/* The files of data/prompts that stand in the program. */
#ifndef CASEMIX_DRG_PROMPT_TEXTS_H
#define CASEMIX_DRG_PROMPT_TEXTS_H

#include <stddef.h>

struct prompt_file {
    const char *name; /* without the ending */
    const char *bytes, *end;
};

/* The i-th; NULL behind the last. */
const struct prompt_file *prompt_file_at(size_t i);

#endif
