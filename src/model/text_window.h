/* What is read of a text that has more tokens than a model takes: its head, as the papers do; its tail; a share of
 * both; or its sections by how much they say about the DRG. */
#ifndef CASEMIX_MODEL_TEXT_WINDOW_H
#define CASEMIX_MODEL_TEXT_WINDOW_H

#include "tokenizer/token_spans.h"
#include "tokenizer/tokenizer.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

enum truncation { TRUNCATE_HEAD, TRUNCATE_TAIL, TRUNCATE_HEAD_TAIL, TRUNCATE_SECTIONS, TRUNCATIONS };

struct text_window {
    enum truncation truncation;
    double head_share; /* of the tokens of TRUNCATE_HEAD_TAIL, 0 to 1 */
};

const char *truncation_name(enum truncation truncation); /* "head", "tail", "head_tail", "sections" */
bool truncation_parse(const char *name, enum truncation *truncation, struct error *error);

/* Cuts the tokens from `first` on to `room` of them, at least one; no effect where they fit. Sections are cut by
 * text_window_sections: here they count as head. */
void text_window_cut(const struct text_window *window, struct token_list *tokens, size_t first, size_t room);
/* The same of the tokens' spans. */
void text_window_cut_spans(const struct text_window *window, struct token_spans *spans, size_t first, size_t room);

/* How many of the first tokens of each section are kept: kept [count], by rising rank (drg/sections.h) and, within a
 * rank, in the order of the note, until `room` is used up; the section that no longer fits keeps its first tokens.
 * lengths [count] in tokens, ranks [count] from 0. */
void text_window_sections(const size_t *lengths, const int *ranks, size_t count, size_t room, size_t *kept);

#endif
