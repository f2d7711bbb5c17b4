/* Added tokens: one hash, asked once for each different length where a token may begin. */
#include "tokenizer/added_tokens.h"
#include "base/error.h"
#include "base/memory.h"
#include "tokenizer/characters.h"
#include <string.h>

static bool add_length(struct added_tokens *set, size_t length, struct error *error) {
    size_t at = 0;
    while (at < set->length_count && set->lengths[at] > length) at++;
    if (at < set->length_count && set->lengths[at] == length) return true;
    if (!memory_grow(&set->lengths, &set->length_capacity, set->length_count + 1, sizeof *set->lengths, error))
        return false;
    memmove(set->lengths + at + 1, set->lengths + at, (set->length_count - at) * sizeof *set->lengths);
    set->lengths[at] = length;
    set->length_count++;
    return true;
}

bool added_tokens_add(struct added_tokens *set, struct added_token token, struct error *error) {
    if (token.length == 0) return true;
    int32_t *known = hash_value(&set->by_content, token.content, token.length);
    if (known != NULL) {
        token.content = set->tokens[*known].content;
        set->tokens[*known] = token;
        return true;
    }
    if (!memory_grow(&set->tokens, &set->capacity, set->count + 1, sizeof token, error) ||
        !add_length(set, token.length, error) ||
        !hash_insert(&set->by_content, token.content, token.length, (int32_t)set->count, NULL, error))
        return false;
    set->begins[(unsigned char)token.content[0]] = true;
    set->tokens[set->count++] = token;
    return true;
}

void added_tokens_free(struct added_tokens *set) {
    memory_free(set->tokens);
    memory_free(set->lengths);
    hash_free(&set->by_content);
    *set = (struct added_tokens){0};
}

const struct added_token *added_tokens_find(const struct added_tokens *set, const char *text, size_t length,
                                            size_t from, size_t *at) {
    if (set->count == 0) return NULL;
    for (size_t i = from; i < length; i++) {
        if (!set->begins[(unsigned char)text[i]]) continue;
        for (size_t l = 0; l < set->length_count; l++) {
            if (set->lengths[l] > length - i) continue;
            const int32_t index = hash_find(&set->by_content, text + i, set->lengths[l], -1);
            if (index < 0) continue;
            *at = i;
            return &set->tokens[index];
        }
    }
    return NULL;
}

/* Start of the character that ends at `end`. */
static size_t character_before(const char *text, size_t end) {
    size_t start = end - 1;
    while (start > 0 && ((unsigned char)text[start] & 0xc0) == 0x80) start--;
    return start;
}

static bool inside_word(const char *text, size_t length, size_t start, size_t end) {
    size_t step;
    if (start > 0) {
        const size_t before = character_before(text, start);
        if (character_is_word(character_read(text + before, start - before, &step))) return true;
    }
    return end < length && character_is_word(character_read(text + end, length - end, &step));
}

bool added_token_extent(const struct added_token *token, const char *text, size_t length, size_t at, size_t from,
                        size_t *start, size_t *end) {
    *start = at;
    *end = at + token->length;
    if (token->single_word && inside_word(text, length, *start, *end)) return false;
    while (token->lstrip && *start > from) {
        size_t step;
        const size_t before = character_before(text, *start);
        if (before < from || !character_is_space(character_read(text + before, *start - before, &step))) break;
        *start = before;
    }
    for (size_t step; token->rstrip && *end < length; *end += step) {
        if (!character_is_space(character_read(text + *end, length - *end, &step))) break;
    }
    return true;
}
