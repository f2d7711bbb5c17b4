/* Characters as tokenizers class them: reading UTF-8, white space, punctuation, word characters, and what BERT's
 * normaliser takes for control characters and ideographs. */
#ifndef CASEMIX_TOKENIZER_CHARACTERS_H
#define CASEMIX_TOKENIZER_CHARACTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct text;

/* Length of the character whose first byte this is; the text is valid UTF-8. */
size_t character_length(char first);
/* Reads the character at the start of valid, non-empty UTF-8; *step gets its length. */
int32_t character_read(const char *bytes, size_t length, size_t *step);
/* Appends a character in UTF-8. */
void character_append(struct text *text, int32_t code);

bool character_is_space(int32_t code);       /* property White_Space */
bool character_is_punctuation(int32_t code); /* categories P*, and every other printing ASCII sign */
bool character_is_word(int32_t code);        /* \w of Unicode regular expressions */
bool character_is_number(int32_t code);      /* categories N* */
bool character_is_control(int32_t code);     /* categories Cc, Cf, Co but tab, line feed, carriage return */
bool character_is_mark(int32_t code);        /* any combining mark */
bool character_is_accent(int32_t code);      /* category Mn */
bool character_is_ideograph(int32_t code);   /* the CJK blocks of BERT's tokenizer */

#endif
