/* WordPiece (Devlin et al. 2018): a word becomes its longest piece, then the longest continuing piece of the rest, and
 * so on; a word that leaves a rest is the unknown token. */
#include "base/error.h"
#include "tokenizer/characters.h"
#include "tokenizer/tokenizer_parts.h"
#include <string.h>

static size_t count_characters(const char *text, size_t length) {
    size_t count = 0;
    for (size_t i = 0; i < length; i++) count += ((unsigned char)text[i] & 0xc0) != 0x80;
    return count;
}

/* The piece that is the longest beginning of the bytes, and its length; at least `least` bytes. -1: none. */
static int32_t longest_piece(const struct tokenizer *tokenizer, const char *bytes, size_t length, size_t least,
                             size_t *taken) {
    if (length > tokenizer->wordpiece.longest) length = tokenizer->wordpiece.longest;
    for (size_t end = length; end > least; end--) {
        const int32_t id = hash_find(&tokenizer->ids, bytes, end, -1);
        if (id < 0 || tokenizer->pieces[id].added) continue;
        *taken = end;
        return id;
    }
    return -1;
}

bool wordpiece_encode(const struct tokenizer *tokenizer, struct text *scratch, const char *word, size_t length,
                      struct token_list *out, struct error *error) {
    const size_t prefix = strlen(tokenizer->wordpiece.prefix), before = out->count;
    bool whole = count_characters(word, length) <= tokenizer->wordpiece.characters;
    for (size_t start = 0, taken = 0; whole && start < length; start += taken) {
        int32_t id;
        if (start == 0) {
            id = longest_piece(tokenizer, word, length, 0, &taken);
        } else {
            text_clear(scratch);
            text_append(scratch, tokenizer->wordpiece.prefix, prefix);
            text_append(scratch, word + start, length - start);
            if (!text_ok(scratch, error)) return false;
            id = longest_piece(tokenizer, scratch->data, scratch->length, prefix, &taken);
            taken -= id < 0 ? 0 : prefix;
        }
        whole = id >= 0;
        if (whole && !token_list_add(out, &id, 1, error)) return false;
    }
    if (whole) return true;
    out->count = before;
    return token_list_add(out, &tokenizer->unknown, 1, error);
}
