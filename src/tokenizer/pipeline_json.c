/* Reading tokenizer.json: normalizer, pre-tokenizers, post-processor and decoder. */
#include "base/error.h"
#include "base/text.h"
#include "tokenizer/characters.h"
#include "tokenizer/tokenizer_json.h"
#include <string.h>

/* Calls back for each part of a Sequence, or for the member itself. */
typedef bool part_function(struct tokenizer *tokenizer, const json_node *node, struct error *error);

static bool each_part(struct tokenizer *tokenizer, const json_node *node, const char *list, part_function *function,
                      struct error *error) {
    if (strcmp(json_type(node), "Sequence") != 0) return function(tokenizer, node, error);
    if (!json_is_array(json_member(node, list))) return error_set(error, "Sequence without a list \"%s\"", list);
    for (const json_node *part = json_first(json_member(node, list)); part != NULL; part = json_next(part)) {
        if (!each_part(tokenizer, part, list, function, error)) return false;
    }
    return true;
}

/* A pattern is {"String": …} or {"Regex": …}. */
static bool pattern_text(const json_node *node, const char **text, bool *literal, struct error *error) {
    const char *string = json_string(json_member(node, "String")), *regex = json_string(json_member(node, "Regex"));
    if (string == NULL && regex == NULL) return error_set(error, "a pattern without \"String\" or \"Regex\"");
    *literal = string != NULL;
    *text = string != NULL ? string : regex;
    return true;
}

/* A string that a step puts into texts again and again. */
static bool copy_string(char **out, const char *string, struct error *error) {
    enum { LONGEST = 1024 };
    if (strlen(string) > LONGEST) return error_set(error, "a string of more than %d bytes", LONGEST);
    *out = memory_copy_string(string, strlen(string));
    return *out != NULL || memory_error(error, strlen(string), "the tokenizer's strings");
}

static bool read_replace(struct tokenizer *tokenizer, const json_node *node, struct error *error) {
    const char *pattern = NULL, *content = NULL;
    bool literal = false;
    if (!json_get_string(node, "content", true, &content, error) ||
        !pattern_text(json_member(node, "pattern"), &pattern, &literal, error))
        return false;
    struct normalizer_step step = {.kind = NORMALIZE_REPLACE};
    if (pattern[0] == '\0') return error_set(error, "Replace with an empty pattern");
    if (!copy_string(&step.content, content, error)) return false;
    const bool ready =
        literal ? copy_string(&step.literal, pattern, error) : pattern_open(&step.pattern, pattern, false, error);
    if (!ready) memory_free(step.content);
    return ready && normalizer_add(&tokenizer->normalizer, step, error);
}

static bool read_bert_normalizer(struct tokenizer *tokenizer, const json_node *node, struct error *error) {
    struct normalizer_step step = {
        .kind = NORMALIZE_BERT, .clean_text = true, .separate_ideographs = true, .lowers = true};
    if (!json_get_bool(node, "clean_text", false, &step.clean_text, error) ||
        !json_get_bool(node, "handle_chinese_chars", false, &step.separate_ideographs, error) ||
        !json_get_bool(node, "lowercase", false, &step.lowers, error))
        return false;
    step.accents_off = step.lowers; /* unless the file says otherwise */
    return json_get_bool(node, "strip_accents", false, &step.accents_off, error) &&
           normalizer_add(&tokenizer->normalizer, step, error);
}

static bool read_normalizer_part(struct tokenizer *tokenizer, const json_node *node, struct error *error) {
    static const struct {
        const char *type;
        enum normalizer_kind kind;
    } plain[] = {
        {"NFC", NORMALIZE_NFC},
        {"NFD", NORMALIZE_NFD},
        {"NFKC", NORMALIZE_NFKC},
        {"NFKD", NORMALIZE_NFKD},
        {"Lowercase", NORMALIZE_LOWERCASE},
        {"StripAccents", NORMALIZE_STRIP_ACCENTS},
    };
    const char *type = json_type(node), *content = NULL;
    for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
        if (strcmp(type, plain[i].type) == 0)
            return normalizer_add(&tokenizer->normalizer, (struct normalizer_step){.kind = plain[i].kind}, error);
    }
    if (strcmp(type, "Replace") == 0) return read_replace(tokenizer, node, error);
    if (strcmp(type, "BertNormalizer") == 0) return read_bert_normalizer(tokenizer, node, error);
    if (strcmp(type, "Strip") == 0) {
        struct normalizer_step step = {.kind = NORMALIZE_STRIP, .strip_left = true, .strip_right = true};
        return json_get_bool(node, "strip_left", false, &step.strip_left, error) &&
               json_get_bool(node, "strip_right", false, &step.strip_right, error) &&
               normalizer_add(&tokenizer->normalizer, step, error);
    }
    if (strcmp(type, "Prepend") != 0) return json_unsupported("normalizer", node, error);
    struct normalizer_step step = {.kind = NORMALIZE_PREPEND};
    return json_get_string(node, "prepend", true, &content, error) && copy_string(&step.content, content, error) &&
           normalizer_add(&tokenizer->normalizer, step, error);
}

bool tokenizer_read_normalizer(struct tokenizer *tokenizer, const json_node *node, struct error *error) {
    return json_is_null(node) || each_part(tokenizer, node, "normalizers", read_normalizer_part, error) ||
           error_context(error, "normalizer");
}

static bool read_behavior(const json_node *node, enum split_behavior otherwise, enum split_behavior *behavior,
                          struct error *error) {
    static const char *const names[] = {"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"};
    const char *name = NULL;
    *behavior = otherwise;
    if (!json_get_string(node, "behavior", false, &name, error)) return false;
    for (size_t i = 0; name != NULL && i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) != 0) continue;
        *behavior = (enum split_behavior)i;
        return true;
    }
    return name == NULL || error_set(error, "\"behavior\": \"%.50s\" is not supported", name);
}

static bool add_pattern_cut(struct tokenizer *tokenizer, const char *pattern, bool literal, struct cut cut,
                            struct error *error) {
    cut.kind = CUT_PATTERN;
    return pattern_open(&cut.pattern, pattern, literal, error) &&
           pretokenizer_add(&tokenizer->pretokenizer, cut, error);
}

static bool read_split(struct tokenizer *tokenizer, const json_node *node, struct error *error) {
    const char *pattern = NULL;
    bool literal = false;
    struct cut cut = {0};
    return pattern_text(json_member(node, "pattern"), &pattern, &literal, error) &&
           read_behavior(node, SPLIT_ISOLATED, &cut.behavior, error) &&
           json_get_bool(node, "invert", false, &cut.invert, error) &&
           add_pattern_cut(tokenizer, pattern, literal, cut, error);
}

/* "replacement" of Metaspace: one character. */
static bool read_mark(const json_node *node, const char **mark, struct error *error) {
    *mark = "\xe2\x96\x81";
    if (!json_get_string(node, "replacement", false, mark, error)) return false;
    return ((*mark)[0] != '\0' && strlen(*mark) == character_length((*mark)[0])) ||
           error_set(error, "Metaspace: \"replacement\" is not one character");
}

/* Older files say add_prefix_space, newer ones prepend_scheme. */
static bool read_prepend(const json_node *node, enum prepend_scheme *prepend, struct error *error) {
    const char *scheme = NULL;
    bool prefix = true;
    if (!json_get_bool(node, "add_prefix_space", false, &prefix, error) ||
        !json_get_string(node, "prepend_scheme", false, &scheme, error))
        return false;
    *prepend = prefix ? PREPEND_ALWAYS : PREPEND_NEVER;
    if (scheme == NULL) return true;
    if (strcmp(scheme, "always") == 0)
        *prepend = PREPEND_ALWAYS;
    else if (strcmp(scheme, "first") == 0)
        *prepend = PREPEND_FIRST;
    else if (strcmp(scheme, "never") == 0)
        *prepend = PREPEND_NEVER;
    else
        return error_set(error, "Metaspace: \"prepend_scheme\": \"%.50s\" is not supported", scheme);
    return true;
}

static bool read_metaspace(struct tokenizer *tokenizer, const json_node *node, struct error *error) {
    const char *mark = NULL;
    struct cut cut = {.kind = CUT_METASPACE, .splits = true};
    if (!read_mark(node, &mark, error) || !read_prepend(node, &cut.prepend, error) ||
        !json_get_bool(node, "split", false, &cut.splits, error))
        return false;
    memcpy(cut.mark, mark, strlen(mark));
    return pretokenizer_add(&tokenizer->pretokenizer, cut, error);
}

static bool read_byte_level(struct tokenizer *tokenizer, const json_node *node, struct error *error) {
    bool prefix = true, regex = true;
    tokenizer->model = MODEL_BYTE_BPE;
    if (!json_get_bool(node, "add_prefix_space", false, &prefix, error) ||
        !json_get_bool(node, "use_regex", false, &regex, error))
        return false;
    if (prefix && !pretokenizer_add(&tokenizer->pretokenizer, (struct cut){.kind = CUT_PREFIX}, error)) return false;
    return !regex || add_pattern_cut(tokenizer, pattern_gpt2, false, (struct cut){.behavior = SPLIT_ISOLATED}, error);
}

static bool add_class_cut(struct tokenizer *tokenizer, bool (*matches)(int32_t), enum split_behavior behavior,
                          struct error *error) {
    const bool known = behavior == SPLIT_ISOLATED || behavior == SPLIT_REMOVED || behavior == SPLIT_CONTIGUOUS;
    if (!known) return error_set(error, "this \"behavior\" of Punctuation is not supported");
    return pretokenizer_add(&tokenizer->pretokenizer,
                            (struct cut){.kind = CUT_CHARACTERS, .matches = matches, .behavior = behavior}, error);
}

static bool read_pretokenizer_part(struct tokenizer *tokenizer, const json_node *node, struct error *error) {
    const char *type = json_type(node);
    enum split_behavior behavior;
    bool individual = false;
    /* Cuts behind ByteLevel would see its alphabet instead of the text. */
    if (tokenizer->model == MODEL_BYTE_BPE)
        return error_set(error, "\"%.50s\" behind ByteLevel is not supported", type);
    if (strcmp(type, "ByteLevel") == 0) return read_byte_level(tokenizer, node, error);
    if (strcmp(type, "Split") == 0) return read_split(tokenizer, node, error);
    if (strcmp(type, "Metaspace") == 0) return read_metaspace(tokenizer, node, error);
    if (strcmp(type, "BertPreTokenizer") == 0)
        return add_class_cut(tokenizer, character_is_space, SPLIT_REMOVED, error) &&
               add_class_cut(tokenizer, character_is_punctuation, SPLIT_ISOLATED, error);
    if (strcmp(type, "WhitespaceSplit") == 0) return add_class_cut(tokenizer, character_is_space, SPLIT_REMOVED, error);
    if (strcmp(type, "Whitespace") == 0)
        return add_pattern_cut(tokenizer, "\\w+|[^\\w\\s]+", false,
                               (struct cut){.behavior = SPLIT_REMOVED, .invert = true}, error);
    if (strcmp(type, "Punctuation") == 0)
        return read_behavior(node, SPLIT_ISOLATED, &behavior, error) &&
               add_class_cut(tokenizer, character_is_punctuation, behavior, error);
    if (strcmp(type, "Digits") == 0)
        return json_get_bool(node, "individual_digits", false, &individual, error) &&
               add_class_cut(tokenizer, character_is_number, individual ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS, error);
    return json_unsupported("pre_tokenizer", node, error);
}

bool tokenizer_read_pretokenizer(struct tokenizer *tokenizer, const json_node *node, struct error *error) {
    return json_is_null(node) || each_part(tokenizer, node, "pretokenizers", read_pretokenizer_part, error) ||
           error_context(error, "pre_tokenizer");
}

static bool add_ids(const struct tokenizer *tokenizer, struct token_list *list, const json_node *ids,
                    struct error *error) {
    for (const json_node *node = json_first(ids); node != NULL; node = json_next(node)) {
        int64_t id;
        if (!json_integer(node, &id) || id < 0 || id >= (int64_t)tokenizer->vocabulary ||
            tokenizer->pieces[id].bytes == NULL)
            return error_set(error, "a special token's id is not in the vocabulary");
        if (!token_list_add(list, &(int32_t){(int32_t)id}, 1, error)) return false;
    }
    return true;
}

static bool read_template(const struct tokenizer *tokenizer, const json_node *node, struct token_list *before,
                          struct token_list *after, struct error *error) {
    const json_node *single = json_member(node, "single"), *known = json_member(node, "special_tokens");
    struct token_list *list = before;
    if (!json_is_array(single)) return error_set(error, "TemplateProcessing without a list \"single\"");
    for (const json_node *part = json_first(single); part != NULL; part = json_next(part)) {
        const json_node *special = json_member(part, "SpecialToken");
        const char *name = json_string(json_member(special, "id"));
        if (json_member(part, "Sequence") != NULL) {
            if (list == after) return error_set(error, "TemplateProcessing repeats the text in \"single\"");
            list = after;
            continue;
        }
        const json_node *ids = name == NULL ? NULL : json_member(json_member(known, name), "ids");
        if (!json_is_array(ids))
            return error_set(error, "TemplateProcessing: special_tokens lacks \"%.100s\"", name == NULL ? "" : name);
        if (!add_ids(tokenizer, list, ids, error)) return false;
    }
    return list == after || error_set(error, "TemplateProcessing leaves the text out of \"single\"");
}

/* "cls" and "sep" are [content, id]. */
static bool read_pair(const struct tokenizer *tokenizer, const json_node *pair, struct token_list *list,
                      struct error *error) {
    const json_node *id = json_next(json_first(pair));
    if (!json_is_array(pair) || !json_is_number(id) || json_next(id) != NULL)
        return error_set(error, "\"cls\" and \"sep\" must be [content, id]");
    int64_t value;
    if (!json_integer(id, &value) || value < 0 || value >= (int64_t)tokenizer->vocabulary ||
        tokenizer->pieces[value].bytes == NULL)
        return error_set(error, "a special token's id is not in the vocabulary");
    return token_list_add(list, &(int32_t){(int32_t)value}, 1, error);
}

/* A processor wraps what the processors before it have made. */
static bool wrap(struct tokenizer *tokenizer, struct token_list *before, const struct token_list *after,
                 struct error *error) {
    if (!token_list_add(before, tokenizer->before.ids, tokenizer->before.count, error)) return false;
    const struct token_list inner = tokenizer->before;
    tokenizer->before = *before;
    *before = inner;
    return token_list_add(&tokenizer->after, after->ids, after->count, error);
}

static bool read_postprocessor_part(struct tokenizer *tokenizer, const json_node *node, struct error *error) {
    const char *type = json_type(node);
    struct token_list before = {0}, after = {0};
    bool read;
    if (strcmp(type, "ByteLevel") == 0) return true; /* it changes offsets, not ids */
    if (strcmp(type, "TemplateProcessing") == 0)
        read = read_template(tokenizer, node, &before, &after, error);
    else if (strcmp(type, "BertProcessing") == 0 || strcmp(type, "RobertaProcessing") == 0)
        read = read_pair(tokenizer, json_member(node, "cls"), &before, error) &&
               read_pair(tokenizer, json_member(node, "sep"), &after, error);
    else
        return json_unsupported("post_processor", node, error);
    read = read && wrap(tokenizer, &before, &after, error);
    token_list_free(&before);
    token_list_free(&after);
    return read;
}

bool tokenizer_read_postprocessor(struct tokenizer *tokenizer, const json_node *node, struct error *error) {
    return json_is_null(node) || each_part(tokenizer, node, "processors", read_postprocessor_part, error) ||
           error_context(error, "post_processor");
}

static bool add_replacement(struct tokenizer *tokenizer, const char *mark, const char *blank, struct error *error) {
    struct decoder_steps *steps = &tokenizer->decoder;
    if (steps->replacements == REPLACE_LIMIT) return error_set(error, "more than %d Replace", REPLACE_LIMIT);
    const size_t i = steps->replacements++;
    steps->marks[i] = tokenizer_string(tokenizer, mark, error);
    steps->blanks[i] = steps->marks[i] == NULL ? NULL : tokenizer_string(tokenizer, blank, error);
    return steps->blanks[i] != NULL;
}

static bool read_decoder_replace(struct tokenizer *tokenizer, const json_node *node, struct error *error) {
    const char *pattern = NULL, *content = NULL;
    bool literal = false;
    if (!json_get_string(node, "content", true, &content, error) ||
        !pattern_text(json_member(node, "pattern"), &pattern, &literal, error))
        return false;
    if (!literal) return error_set(error, "Replace with a \"Regex\" is not supported");
    return add_replacement(tokenizer, pattern, content, error);
}

static bool read_decoder_metaspace(struct tokenizer *tokenizer, const json_node *node, struct error *error) {
    const char *mark = NULL;
    enum prepend_scheme prepend;
    if (!read_mark(node, &mark, error) || !read_prepend(node, &prepend, error) ||
        !add_replacement(tokenizer, mark, " ", error))
        return false;
    if (prepend != PREPEND_NEVER) tokenizer->decoder.first_dropped = tokenizer->decoder.marks[0];
    return true;
}

/* Only from the start, and only of the whole text: this is what Llama's and Mistral's files ask. */
static bool read_decoder_strip(struct tokenizer *tokenizer, const json_node *node, struct error *error) {
    const char *content = NULL;
    int64_t start = 0, stop = 0;
    if (!json_get_string(node, "content", true, &content, error) ||
        !json_get_int(node, "start", true, 0, INT32_MAX, &start, error) ||
        !json_get_int(node, "stop", true, 0, INT32_MAX, &stop, error))
        return false;
    if (stop != 0 || content[0] == '\0') return error_set(error, "Strip at the end of the text is not supported");
    tokenizer->decoder.strip = tokenizer_string(tokenizer, content, error);
    tokenizer->decoder.strip_count = (size_t)start;
    return tokenizer->decoder.strip != NULL;
}

static bool read_decoder_wordpiece(struct tokenizer *tokenizer, const json_node *node, struct error *error) {
    const char *prefix = "##";
    tokenizer->decoder.cleanup = true;
    if (!json_get_string(node, "prefix", false, &prefix, error) ||
        !json_get_bool(node, "cleanup", false, &tokenizer->decoder.cleanup, error))
        return false;
    tokenizer->decoder.continued = tokenizer_string(tokenizer, prefix, error);
    return tokenizer->decoder.continued != NULL;
}

/* The order in which decoding goes through its steps; a file that asks for another one is refused. */
enum decoder_order { ORDER_TOKENS, ORDER_BYTES, ORDER_FUSE, ORDER_WHOLE };

struct decoder_part {
    const char *type;
    enum decoder_order order;
    part_function *read; /* NULL: nothing to read */
};

static const struct decoder_part decoder_parts[] = {
    {"Replace", ORDER_TOKENS, read_decoder_replace},
    {"Metaspace", ORDER_TOKENS, read_decoder_metaspace},
    {"WordPiece", ORDER_TOKENS, read_decoder_wordpiece},
    {"ByteLevel", ORDER_BYTES, NULL},
    {"ByteFallback", ORDER_BYTES, NULL},
    {"Fuse", ORDER_FUSE, NULL},
    {"Strip", ORDER_WHOLE, read_decoder_strip},
};

static bool read_decoder_part(struct tokenizer *tokenizer, const json_node *node, enum decoder_order *reached,
                              struct error *error) {
    const char *type = json_type(node);
    for (size_t i = 0; i < sizeof decoder_parts / sizeof decoder_parts[0]; i++) {
        const struct decoder_part *part = &decoder_parts[i];
        if (strcmp(type, part->type) != 0) continue;
        if (part->order < *reached || (part->order == ORDER_WHOLE && *reached < ORDER_FUSE))
            return error_set(error, "\"%s\" at this place of a Sequence is not supported", type);
        *reached = part->order;
        if (strcmp(type, "ByteLevel") == 0) tokenizer->decoder.byte_level = true;
        if (strcmp(type, "ByteFallback") == 0) tokenizer->decoder.byte_fallback = true;
        return part->read == NULL || part->read(tokenizer, node, error);
    }
    return json_unsupported("decoder", node, error);
}

static bool read_decoder_parts(struct tokenizer *tokenizer, const json_node *node, struct error *error) {
    enum decoder_order reached = ORDER_TOKENS;
    if (strcmp(json_type(node), "Sequence") != 0) return read_decoder_part(tokenizer, node, &reached, error);
    for (const json_node *part = json_first(json_member(node, "decoders")); part != NULL; part = json_next(part)) {
        if (!read_decoder_part(tokenizer, part, &reached, error)) return false;
    }
    return true;
}

bool tokenizer_read_decoder(struct tokenizer *tokenizer, const json_node *node, struct error *error) {
    const bool none = json_is_null(node);
    if (!none && !read_decoder_parts(tokenizer, node, error)) return error_context(error, "decoder");
    if (none && tokenizer->model == MODEL_BYTE_BPE) tokenizer->decoder.byte_level = true;
    tokenizer->decoder.blanks_between = none && tokenizer->model != MODEL_BYTE_BPE;
    if (tokenizer->decoder.byte_level != (tokenizer->model == MODEL_BYTE_BPE))
        return error_set(error, "decoder: ByteLevel must stand in both pre_tokenizer and decoder, or in neither");
    return true;
}
