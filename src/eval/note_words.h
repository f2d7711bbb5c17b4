/* The words and clauses of a note, as evidence names them.
 *
 * A word is what stands between white space, without the punctuation at its ends ("+" and "%" behind stay); an
 * ideograph is a word of its own. A clause ends at a full stop, semicolon, colon, question or exclamation mark, at a
 * comma once it has four words, at an empty line, before a bullet or number of a list, and at the end of a line shorter
 * than 60 bytes (longer ones are taken for wrapped text). */
#ifndef CASEMIX_EVAL_NOTE_WORDS_H
#define CASEMIX_EVAL_NOTE_WORDS_H

#include "drg/note.h"
#include <stdbool.h>
#include <stddef.h>

struct error;

struct note_words {
    struct span *words;   /* [count] in the order of the text */
    size_t *clause_of;    /* [count] */
    struct span *clauses; /* [clause_count] from the first word to the end of the last */
    size_t count, clause_count;
    size_t word_capacity, of_capacity, clause_capacity;
};

/* Replaces what the list held; it may be used again and again. `text` is valid UTF-8. */
bool note_words_find(struct note_words *list, const char *text, size_t length, struct error *error);
void note_words_free(struct note_words *list);

#endif
