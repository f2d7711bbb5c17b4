/* Prompts: the words in which a generative model is asked for the DRG of a stay, as text that a user can edit.
 *
 * One file is one prompt: sections [template], [system] and [user], and {note}, {title}, {drg} and {group} where a
 * stay's own words go; data/prompts/answer.txt says how. Those under data/prompts are compiled in. A run directory
 * keeps a copy of the prompt that it was trained on, which everything that asks the run reads (prompt_open_run).
 * model/prompt_encoder.h makes token ids of a prompt. */
#ifndef CASEMIX_DRG_PROMPT_H
#define CASEMIX_DRG_PROMPT_H

#include "base/text.h"
#include <stdbool.h>
#include <stddef.h>

struct error;

/* A section of the file, without the blank lines around it; length 0 when there is none. */
struct prompt_part {
    const char *text;
    size_t length;
};

struct prompt {
    struct text source; /* the whole file; the parts point into it */
    struct prompt_part template, system, user;
};

/* `name`: one of the built-in prompts (answer, answer-differential, answer-short, rationale, rationale-differential,
 * knowledge), or a file's path, which has a '/' or a '.' in it. Errors name the line. Release with prompt_close; one
 * that was only zeroed may be closed too. */
bool prompt_open(struct prompt *prompt, const char *name, struct error *error);
/* The prompt that a run directory keeps; the one called `otherwise` when there is none. */
bool prompt_open_run(struct prompt *prompt, const char *directory, const char *otherwise, struct error *error);
/* Keeps the prompt in a run directory, as prompt.txt. */
bool prompt_write_run(const struct prompt *prompt, const char *directory, struct error *error);
void prompt_close(struct prompt *prompt);

/* What the braces stand for; NULL (drg: 0): not known here, an error where a prompt wants it. */
struct prompt_values {
    const char *note;
    size_t note_length;
    const char *title;
    int drg;
    const char *group; /* as in "all MS-DRGs" */
};

/* Appends a section with its values. What stands in a note is never read as a brace. */
bool prompt_fill(const struct prompt_part *part, const struct prompt_values *values, struct text *out,
                 struct error *error);
/* Whether {note} stands in the section. */
bool prompt_part_has_note(const struct prompt_part *part);

#endif
