/* Reading vocab.txt, the WordPiece vocabulary of BERT: a piece a line, its id the number of the line from 0. Of a piece
 * that stands twice the later line counts, and an empty line only counts as a line, as in Hugging Face tokenizers. */
#include "base/error.h"
#include "tokenizer/characters.h"
#include "tokenizer/tokenizer_config.h"
#include <string.h>

/* The next line without its end; NULL behind the last one. */
static const char *next_line(const char **at, const char *end, size_t *length) {
    const char *line = *at;
    if (line == end) return NULL;
    const char *feed = memchr(line, '\n', (size_t)(end - line));
    *at = feed == NULL ? end : feed + 1;
    *length = (size_t)((feed == NULL ? end : feed) - line);
    if (*length > 0 && line[*length - 1] == '\r') --*length;
    return line;
}

static bool read_pieces(struct tokenizer *tokenizer, const char *bytes, size_t length, struct error *error) {
    char *spellings = tokenizer->spellings;
    const char *at = bytes, *line;
    int32_t id = 0;
    for (size_t size; (line = next_line(&at, bytes + length, &size)) != NULL; id++) {
        if (!tokenizer_add_piece(tokenizer, &spellings, id, line, size, size == 0 ? PIECE_UNLISTED : PIECE_LAST, error))
            return false;
        if (size > tokenizer->wordpiece.longest) tokenizer->wordpiece.longest = size;
    }
    return true;
}

static bool add_special(struct tokenizer *tokenizer, const char *content, int32_t *id, struct error *error) {
    *id = hash_find(&tokenizer->ids, content, strlen(content), -1);
    if (*id < 0 || hash_find(&tokenizer->added, content, strlen(content), -1) >= 0) return true;
    const struct added_token token = {.content = content, .length = strlen(content), .id = *id};
    return tokenizer_add_added(tokenizer, token, true, false, error);
}

/* [UNK], [PAD], [MASK], [CLS] and [SEP], or what the config calls them. */
static bool read_special(struct tokenizer *tokenizer, const struct json *config, struct error *error) {
    static const char *const names[][2] = {{"unk_token", "[UNK]"},
                                           {"pad_token", "[PAD]"},
                                           {"mask_token", "[MASK]"},
                                           {"cls_token", "[CLS]"},
                                           {"sep_token", "[SEP]"}};
    enum { UNKNOWN, PAD, MASK, CLS, SEP, COUNT };
    int32_t ids[COUNT];
    for (int i = 0; i < COUNT; i++) {
        const char *content;
        if (!config_token(config, names[i][0], names[i][1], &content, error)) return false;
        if (!add_special(tokenizer, content, &ids[i], error)) return false;
        if (i == UNKNOWN && ids[i] < 0)
            return error_set(error, "the unknown token \"%.50s\" is not in the vocabulary", content);
    }
    tokenizer->unknown = ids[UNKNOWN];
    return token_list_add(&tokenizer->before, &ids[CLS], ids[CLS] >= 0, error) &&
           token_list_add(&tokenizer->after, &ids[SEP], ids[SEP] >= 0, error);
}

static bool set_steps(struct tokenizer *tokenizer, const struct json *config, struct error *error) {
    struct normalizer_step step = {
        .kind = NORMALIZE_BERT, .clean_text = true, .separate_ideographs = true, .lowers = true};
    if (!config_flag(config, "do_lower_case", &step.lowers, error) ||
        !config_flag(config, "tokenize_chinese_chars", &step.separate_ideographs, error))
        return false;
    step.accents_off = step.lowers;
    if (!config_flag(config, "strip_accents", &step.accents_off, error)) return false;
    tokenizer->wordpiece.prefix = tokenizer->decoder.continued = "##";
    tokenizer->wordpiece.characters = 100;
    tokenizer->decoder.cleanup = true;
    return normalizer_add(&tokenizer->normalizer, step, error) &&
           pretokenizer_add(
               &tokenizer->pretokenizer,
               (struct cut){.kind = CUT_CHARACTERS, .matches = character_is_space, .behavior = SPLIT_REMOVED}, error) &&
           pretokenizer_add(
               &tokenizer->pretokenizer,
               (struct cut){.kind = CUT_CHARACTERS, .matches = character_is_punctuation, .behavior = SPLIT_ISOLATED},
               error);
}

bool tokenizer_read_vocabulary(struct tokenizer *tokenizer, const char *bytes, size_t length, const struct json *config,
                               struct error *error) {
    size_t bad, lines = 0, size;
    if (!utf8_valid(bytes, length, &bad)) return error_set(error, "invalid UTF-8 at byte %zu", bad);
    for (const char *at = bytes; next_line(&at, bytes + length, &size) != NULL;) lines++;
    if (lines == 0) return error_set(error, "an empty vocabulary");
    if (lines > ID_LIMIT) return error_set(error, "%zu lines; at most %d are supported", lines, ID_LIMIT);
    tokenizer->model = MODEL_WORDPIECE;
    size_t vocabulary = lines;
    return config_measure_added(config, &vocabulary, error) &&
           tokenizer_make_pieces(tokenizer, vocabulary, length, error) &&
           read_pieces(tokenizer, bytes, length, error) && set_steps(tokenizer, config, error) &&
           read_special(tokenizer, config, error) && config_read_added(tokenizer, config, error);
}
