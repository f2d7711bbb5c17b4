/* Completions put together and taken apart: "<think>\nREASONING\n</think>\n<answer>\nANSWER\n</answer>", as
 * DRG-Sapphire writes them. What one is worth, and which DRG it names, is in reward.h. */
#ifndef CASEMIX_DRG_COMPLETION_H
#define CASEMIX_DRG_COMPLETION_H

#include "base/text.h"
#include <stddef.h>

/* Appends a whole completion. The four tags are taken out of the reasoning (a model that explains may write them, and
 * the paper takes them out too), and blanks around it, so that the completion has the format that is rewarded. */
void completion_write(struct text *out, const char *reasoning, size_t length, const char *answer);

/* The bytes between <think> and </think>, blanks around them aside. Without the opening tag they begin at the start,
 * without the closing one they reach to <answer>, and without that to the end. */
const char *completion_reasoning(const char *completion, size_t length, size_t *reasoning_length);

#endif
