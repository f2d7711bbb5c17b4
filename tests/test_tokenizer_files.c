/* The files that tokenizers come in: each step of a tokenizer.json does what Hugging Face tokenizers does (the ids
 * below were compared with it), vocab.txt and tokenizer.model are read, and what is damaged or unsupported is refused
 * by name. */
#include "base/error.h"
#include "base/file.h"
#include "base/memory.h"
#include "base/rng.h"
#include "base/text.h"
#include "folder.h"
#include "tokenizer/chat.h"
#include "tokenizer/token_stream.h"
#include "tokenizer/tokenizer.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MARK "\xe2\x96\x81"
/* A SentencePiece-style vocabulary of a few pieces. */
#define PIECES                                                                                                  \
    "\"vocab\": {\"<unk>\": 0, \"<s>\": 1, \"</s>\": 2, \"" MARK "\": 3, \"a\": 4, \"b\": 5, \"c\": 6, \"" MARK \
    "a\": 7, \"ab\": 8, \"" MARK "ab\": 9, \"<0xC3>\": 10, \"<0xA9>\": 11, \"!\": 12, \"" MARK MARK "\": 13}"
#define MERGES "\"merges\": [\"" MARK " a\", \"a b\", \"" MARK "a b\", \"" MARK " " MARK "\"]"
#define MERGES_AS_PAIRS \
    "\"merges\": [[\"" MARK "\", \"a\"], [\"a\", \"b\"], [\"" MARK "a\", \"b\"], [\"" MARK "\", \"" MARK "\"]]"
#define MODEL                                                                                                       \
    "\"model\": {\"type\": \"BPE\", \"unk_token\": \"<unk>\", \"fuse_unk\": true, \"byte_fallback\": true, " PIECES \
    ", " MERGES "}"
#define LEGACY                                                                                                        \
    "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"Prepend\", \"prepend\": \"" MARK "\"}, " \
    "{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"" MARK "\"}]}, "
#define DECODER                                                                                                      \
    "\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": {\"String\": \"" MARK \
    "\"}, \"content\": \" \"}, {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}, {\"type\": \"Strip\", "           \
    "\"content\": \" \", \"start\": 1, \"stop\": 0}]}, "
#define ADDED(flags) \
    "\"added_tokens\": [{\"id\": 2, \"content\": \"</s>\", \"special\": true, \"normalized\": false" flags "}], "
#define METASPACE(rest) "\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"" MARK "\"" rest "}, "

static struct tokenizer *open_text(const char *json) {
    struct error error = {0};
    struct tokenizer *tokenizer;
    if (!tokenizer_open(&tokenizer, folder_write_text("tokenizer.json", json), &error)) fail_msg("%s", error.message);
    return tokenizer;
}

static const char *list_ids(const struct token_list *ids) {
    static char line[4096];
    size_t length = 0;
    line[0] = '\0';
    for (size_t i = 0; i < ids->count; i++)
        length += (size_t)snprintf(line + length, sizeof line - length, "%s%d", i == 0 ? "" : " ", ids->ids[i]);
    return line;
}

static void expect_ids(const struct tokenizer *tokenizer, const char *text, bool special, const char *expected) {
    struct error error = {0};
    struct token_list ids = {0};
    if (!tokenizer_encode(tokenizer, text, strlen(text), special, &ids, &error)) fail_msg("%s", error.message);
    assert_string_equal(list_ids(&ids), expected);
    token_list_free(&ids);
}

static void expect(const char *json, const char *text, const char *expected) {
    struct tokenizer *tokenizer = open_text(json);
    expect_ids(tokenizer, text, false, expected);
    tokenizer_close(tokenizer);
}

static void expect_text(const struct tokenizer *tokenizer, const int32_t *ids, size_t count, bool skip_special,
                        const char *expected) {
    struct error error = {0};
    struct text text = {0};
    if (!tokenizer_decode(tokenizer, ids, count, skip_special, &text, &error)) fail_msg("%s", error.message);
    assert_string_equal(text.data == NULL ? "" : text.data, expected);
    text_free(&text);
}

static void sentencepiece_style_files_prepend_and_replace_the_blank(void **state) {
    (void)state;
    expect("{" LEGACY MODEL "}", "ab ab", "9 9");
    expect("{" LEGACY MODEL "}", " ab", "3 9");
    expect("{" LEGACY MODEL "}", "", "");
    expect("{" LEGACY MODEL "}", "  ", "13 3");
}

static void characters_without_a_piece_fall_back_on_bytes_or_become_unknown(void **state) {
    (void)state;
    expect("{" LEGACY MODEL "}", "a\xc3\xa9", "7 10 11");
    /* U+00E8 has no piece for its second byte; neighbours fuse. */
    expect("{" LEGACY MODEL "}", "a\xc3\xa8xx!x", "7 0 12 0");
    expect("{" LEGACY "\"model\": {\"type\": \"BPE\", \"unk_token\": \"<unk>\", " PIECES ", " MERGES "}}", "xx",
           "3 0 0");
    expect("{" LEGACY "\"model\": {\"type\": \"BPE\", " PIECES ", " MERGES "}}", "xax", "7");
}

static void merges_may_be_written_as_pairs(void **state) {
    (void)state;
    expect("{" LEGACY "\"model\": {\"type\": \"BPE\", " PIECES ", " MERGES_AS_PAIRS "}}", "ab ab", "9 9");
}

static void metaspace_prepends_always_first_or_never(void **state) {
    (void)state;
    static const char text[] = "ab</s>ab";
    expect("{" ADDED("") METASPACE("") MODEL "}", text, "9 2 9");
    expect("{" ADDED("") METASPACE(", \"add_prefix_space\": true") MODEL "}", text, "9 2 9");
    expect("{" ADDED("") METASPACE(", \"prepend_scheme\": \"always\"") MODEL "}", text, "9 2 9");
    expect("{" ADDED("") METASPACE(", \"prepend_scheme\": \"first\", \"split\": false") MODEL "}", text, "9 2 8");
    expect("{" ADDED("") METASPACE(", \"prepend_scheme\": \"never\"") MODEL "}", text, "8 2 8");
    expect("{" ADDED("") METASPACE(", \"add_prefix_space\": false") MODEL "}", text, "8 2 8");
    /* A text that begins with a blank gets no second one; cut, two blanks are two words. */
    expect("{" METASPACE("") MODEL "}", " ab", "9");
    expect("{" METASPACE("") MODEL "}", "a  b", "7 3 3 5");
    expect("{" METASPACE(", \"split\": false") MODEL "}", "a  b", "7 13 5");
}

static void added_tokens_take_white_space_and_respect_words_as_flagged(void **state) {
    (void)state;
    expect("{" ADDED("") MODEL "}", "a </s> b", "4 0 2 0 5");
    expect("{" ADDED(", \"lstrip\": true") MODEL "}", "a \t</s> b", "4 2 0 5");
    expect("{" ADDED(", \"rstrip\": true") MODEL "}", "a </s> \n b", "4 0 2 5");
    expect("{" ADDED(", \"single_word\": true") MODEL "}", "a</s>!", "4 0 12");
    expect("{" ADDED(", \"single_word\": true") MODEL "}", "!</s>!", "12 2 12");
    /* Of two tokens that begin at one place the longer is taken. */
    expect("{\"added_tokens\": [{\"id\": 8, \"content\": \"ab\", \"normalized\": false}, {\"id\": 14, \"content\": "
           "\"abc\", "
           "\"normalized\": false}], " MODEL "}",
           "abcab", "14 8");
}

static void normalized_added_tokens_are_found_in_the_normalized_text(void **state) {
    (void)state;
    static const char lowered[] = "{\"added_tokens\": [{\"id\": 14, \"content\": \"CA\", \"normalized\": true}], "
                                  "\"normalizer\": {\"type\": \"Lowercase\"}, " MODEL "}";
    static const char raw[] = "{\"added_tokens\": [{\"id\": 14, \"content\": \"CA\", \"normalized\": false}], "
                              "\"normalizer\": {\"type\": \"Lowercase\"}, " MODEL "}";
    expect(lowered, "AcaCA", "4 14 14");
    expect(raw, "AcaCA", "4 6 4 14");
}

static void post_processors_wrap_the_text(void **state) {
    (void)state;
    static const char json[] =
        "{\"post_processor\": {\"type\": \"Sequence\", \"processors\": [{\"type\": \"BertProcessing\", \"cls\": "
        "[\"a\", 4], "
        "\"sep\": [\"b\", 5]}, {\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": \"x\", "
        "\"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"SpecialToken\": {\"id\": \"y\", "
        "\"type_id\": "
        "0}}], \"pair\": [{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"B\", \"type_id\": "
        "0}}], "
        "\"special_tokens\": {\"x\": {\"id\": \"x\", \"ids\": [1, 6], \"tokens\": [\"<s>\", \"c\"]}, \"y\": {\"id\": "
        "\"y\", "
        "\"ids\": [2], \"tokens\": [\"</s>\"]}}}]}, " MODEL "}";
    struct tokenizer *tokenizer = open_text(json);
    expect_ids(tokenizer, "ab", true, "1 6 4 8 5 2");
    expect_ids(tokenizer, "ab", false, "8");
    tokenizer_close(tokenizer);
}

static void decoders_restore_blanks_and_bytes(void **state) {
    (void)state;
    struct tokenizer *tokenizer = open_text("{" ADDED("") LEGACY DECODER MODEL "}");
    expect_text(tokenizer, (const int32_t[]){9, 9, 10, 11, 2}, 5, false, "ab ab\xc3\xa9</s>");
    expect_text(tokenizer, (const int32_t[]){2, 9, 9}, 3, true, "ab ab");
    expect_text(tokenizer, (const int32_t[]){2, 9, 9}, 3, false, "</s> ab ab");
    tokenizer_close(tokenizer);
    /* Metaspace drops every mark of the first token. */
    tokenizer = open_text("{\"decoder\": {\"type\": \"Metaspace\", \"replacement\": \"" MARK
                          "\", \"prepend_scheme\": \"always\"}, " MODEL "}");
    expect_text(tokenizer, (const int32_t[]){13, 9}, 2, false, " ab");
    tokenizer_close(tokenizer);
    tokenizer = open_text("{" MODEL "}");
    expect_text(tokenizer, (const int32_t[]){8, 6}, 2, false, "ab c");
    tokenizer_close(tokenizer);
}

static void a_stream_holds_bytes_until_they_make_a_character(void **state) {
    (void)state;
    struct tokenizer *tokenizer = open_text("{" LEGACY DECODER MODEL "}");
    struct token_stream stream;
    struct error error = {0};
    struct text text = {0};
    token_stream_start(&stream, tokenizer, false);
    assert_true(token_stream_push(&stream, 9, &text, &error));
    assert_string_equal(text.data, "ab");
    assert_true(token_stream_push(&stream, 10, &text, &error));
    assert_string_equal(text.data, "ab");
    assert_false(token_stream_push(&stream, 99, &text, &error));
    assert_true(token_stream_push(&stream, 11, &text, &error));
    assert_string_equal(text.data, "ab\xc3\xa9");
    /* What is not completed becomes U+FFFD: when another token comes, and at the end. */
    assert_true(token_stream_push(&stream, 10, &text, &error));
    assert_true(token_stream_push(&stream, 6, &text, &error));
    assert_string_equal(text.data, "ab\xc3\xa9\xef\xbf\xbd\x63");
    assert_true(token_stream_push(&stream, 11, &text, &error));
    assert_true(token_stream_push(&stream, 10, &text, &error));
    assert_true(token_stream_flush(&stream, &text, &error));
    assert_string_equal(text.data, "ab\xc3\xa9\xef\xbf\xbd\x63\xef\xbf\xbd\xef\xbf\xbd");
    text_free(&text);
    tokenizer_close(tokenizer);
}

/* A byte-level vocabulary of the 256 bytes, id = byte. */
static struct tokenizer *open_bytes(void) {
    struct text json = {0};
    text_add(&json,
             "{\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": true}, "
             "\"decoder\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": {");
    unsigned int hidden = 0x100;
    for (unsigned int byte = 0; byte < 256; byte++) {
        const bool prints = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
        text_printf(&json, "%s\"\\u%04x\": %u", byte == 0 ? "" : ", ", prints ? byte : hidden, byte);
        hidden += !prints;
    }
    text_add(&json, "}}}");
    struct tokenizer *tokenizer = open_text(json.data);
    text_free(&json);
    return tokenizer;
}

static void byte_level_ids_that_are_no_utf8_become_one_mark_each_longest_part(void **state) {
    (void)state;
    struct tokenizer *tokenizer = open_bytes();
    /* The example of the Unicode Standard, table 3-8: 61 F1 80 80 E1 80 C2 62 80 63 80 BF 64. */
    static const int32_t ids[] = {0x61, 0xf1, 0x80, 0x80, 0xe1, 0x80, 0xc2, 0x62, 0x80, 0x63, 0x80, 0xbf, 0x64};
    expect_text(tokenizer, ids, sizeof ids / sizeof ids[0], false,
                "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
                "b\xef\xbf\xbd"
                "c\xef\xbf\xbd\xef\xbf\xbd"
                "d");
    static const int32_t surrogate[] = {0xed, 0xa0, 0x80, 0xf0, 0x9f, 0x99, 0x82};
    expect_text(tokenizer, surrogate, 7, false, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xf0\x9f\x99\x82");
    tokenizer_close(tokenizer);
}

static void the_space_of_patterns_is_unicodes(void **state) {
    (void)state;
    /* U+180E is no white space (PCRE2 takes it for one), U+0085 is: GPT-2's \s+(?!\S) keeps one blank for the word. */
    struct tokenizer *tokenizer = open_text(
        "{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"\\\\s+\"}, \"behavior\": \"Removed\", "
        "\"invert\": false}, \"model\": {\"type\": \"BPE\", \"unk_token\": \"<unk>\", " PIECES ", " MERGES "}}");
    expect_ids(tokenizer, "a\xc2\x85\xe3\x80\x80 b", false, "4 5");
    expect_ids(tokenizer, "a\xe1\xa0\x8e", false, "4 0");
    tokenizer_close(tokenizer);
}

#define VOCABULARY \
    "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nheart\nfail\n##ure\n,\n\xe6\xbc\xa2\ncafe\n##s\n.\ncaf\xc3\xa9\nHeart\n"

static struct tokenizer *open_vocabulary(const char *vocabulary, const char *config) {
    struct error error = {0};
    struct tokenizer *tokenizer;
    unlink(folder_path("tokenizer.json"));
    unlink(folder_path("tokenizer_config.json"));
    folder_write_text("vocab.txt", vocabulary);
    if (config != NULL) folder_write_text("tokenizer_config.json", config);
    if (!tokenizer_open(&tokenizer, folder_path("."), &error)) fail_msg("%s", error.message);
    unlink(folder_path("tokenizer_config.json"));
    return tokenizer;
}

static void wordpiece_takes_the_longest_pieces_of_cleaned_words(void **state) {
    (void)state;
    struct tokenizer *tokenizer = open_vocabulary(VOCABULARY, NULL);
    expect_ids(tokenizer, "Heart failure,\x01 CAF\xc3\x89s", false, "5 6 7 8 10 11");
    expect_ids(tokenizer, "heart\xe6\xbc\xa2heart", false, "5 9 5");
    expect_ids(tokenizer, "heart unknown", true, "2 5 1 3");
    expect_ids(tokenizer, "heart[SEP]", false, "5 3");
    expect_text(tokenizer, (const int32_t[]){2, 5, 6, 7, 8, 10, 11, 12, 3}, 9, true, "heart failure, cafes.");
    tokenizer_close(tokenizer);
}

static void a_word_of_over_100_characters_is_unknown(void **state) {
    (void)state;
    char word[5 + 96 + 1] = "heart";
    struct tokenizer *tokenizer = open_vocabulary(VOCABULARY, NULL);
    memset(word + 5, 's', 95);
    struct token_list ids = {0};
    assert_true(tokenizer_encode(tokenizer, word, 100, false, &ids, NULL));
    assert_int_equal(ids.count, 96);
    ids.count = 0;
    word[100] = 's';
    assert_true(tokenizer_encode(tokenizer, word, 101, false, &ids, NULL));
    assert_string_equal(list_ids(&ids), "1");
    token_list_free(&ids);
    tokenizer_close(tokenizer);
}

static void vocabulary_files_may_have_crlf_duplicates_and_empty_lines(void **state) {
    (void)state;
    struct tokenizer *tokenizer = open_vocabulary("[UNK]\r\nheart\r\n\r\nheart\r\n##s", NULL);
    assert_int_equal(tokenizer_vocabulary(tokenizer), 5);
    expect_ids(tokenizer, "hearts", true, "3 4");
    expect_text(tokenizer, (const int32_t[]){1, 4}, 2, false, "hearts");
    tokenizer_close(tokenizer);
}

static void the_config_of_a_vocabulary_decides_on_case_and_special_tokens(void **state) {
    (void)state;
    struct tokenizer *tokenizer = open_vocabulary(
        VOCABULARY, "{\"do_lower_case\": false, \"cls_token\": {\"content\": \"[MASK]\"}, \"sep_token\": \"[PAD]\", "
                    "\"added_tokens_decoder\": {\"20\": {\"content\": \"<note>\", \"special\": true}}}");
    expect_ids(tokenizer, "Heart<note>caf\xc3\xa9", true, "4 14 20 13 0");
    assert_int_equal(tokenizer_token_id(tokenizer, "<note>"), 20);
    tokenizer_close(tokenizer);
}

static void refuse(const char *name, const char *content, const char *part) {
    struct error error = {0};
    struct tokenizer *tokenizer;
    assert_false(tokenizer_open(&tokenizer, folder_write_text(name, content), &error));
    if (strstr(error.message, part) == NULL) fail_msg("message \"%s\" does not say \"%s\"", error.message, part);
}

static void refuse_json(const char *json, const char *part) {
    refuse("bad.json", json, part);
}

static void what_is_not_computed_is_refused_by_name(void **state) {
    (void)state;
    refuse_json("{\"normalizer\": {\"type\": \"Precompiled\"}, " MODEL "}", "Precompiled");
    refuse_json("{\"pre_tokenizer\": {\"type\": \"UnicodeScripts\"}, " MODEL "}", "UnicodeScripts");
    refuse_json(
        "{\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"ByteLevel\"}, {\"type\": "
        "\"Digits\"}]}, " MODEL "}",
        "Digits");
    refuse_json("{\"decoder\": {\"type\": \"CTC\"}, " MODEL "}", "CTC");
    refuse_json("{\"decoder\": {\"type\": \"Strip\", \"content\": \" \", \"start\": 1, \"stop\": 0}, " MODEL "}",
                "Strip");
    refuse_json("{\"decoder\": {\"type\": \"ByteLevel\"}, " MODEL "}", "ByteLevel");
    refuse_json("{\"post_processor\": {\"type\": \"Mystery\"}, " MODEL "}", "Mystery");
    refuse_json("{\"model\": {\"type\": \"BPE\", \"end_of_word_suffix\": \"</w>\", " PIECES ", " MERGES "}}",
                "end_of_word_suffix");
    refuse_json("{\"model\": {\"type\": \"BPE\", \"dropout\": 0.1, " PIECES ", " MERGES "}}", "dropout");
}

static void contradictions_are_refused_by_the_member_that_is_wrong(void **state) {
    (void)state;
    refuse_json("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 2147483648}, \"merges\": []}}", "valid id");
    refuse_json("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0.5}, \"merges\": []}}", "valid id");
    refuse_json("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a b\"]}}",
                "not in the vocabulary");
    refuse_json("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a a\"]}}", "entry 0 makes");
    refuse_json("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a\"]}}", "no pair");
    refuse_json("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a a a\"]}}", "no pair");
    refuse_json("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [[\"a\"]]}}", "no pair");
    refuse_json("{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": 5}}", "model.merges");
    refuse_json("{\"model\": {\"type\": \"BPE\", \"unk_token\": \"x\", \"vocab\": {\"a\": 0}, \"merges\": []}}",
                "unk_token");
    refuse_json("{\"model\": {\"type\": \"WordPiece\", \"vocab\": {\"a\": 0}}}", "unk_token");
    refuse_json("{\"added_tokens\": [{\"id\": 4194304, \"content\": \"x\"}], " MODEL "}", "\"id\"");
    refuse_json("{\"added_tokens\": [{\"id\": 4, \"content\": \"x\"}], " MODEL "}", "another piece");
    refuse_json("{\"added_tokens\": [{\"id\": 30, \"content\": \"\"}], " MODEL "}", "content");
    refuse_json("{\"added_tokens\": [{\"id\": 30, \"content\": \"x\"}, {\"id\": 31, \"content\": \"x\"}], " MODEL "}",
                "twice");
    refuse_json("{\"post_processor\": {\"type\": \"BertProcessing\", \"cls\": [\"a\", 99], \"sep\": [\"b\", 5]}, " MODEL
                "}",
                "not in the vocabulary");
    refuse_json("{\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": []}, " MODEL "}", "single");
    refuse_json(
        "{\"pre_tokenizer\": {\"type\": \"Split\", \"pattern\": {\"Regex\": \"(\"}, \"behavior\": \"Isolated\", "
        "\"invert\": false}, " MODEL "}",
        "regular expression");
    refuse_json("{\"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"ab\"}, " MODEL "}", "replacement");
    refuse_json("{\"normalizer\": {\"type\": \"Replace\", \"pattern\": {\"String\": \"\"}, \"content\": \"x\"}, " MODEL
                "}",
                "empty pattern");
}

static void a_normalizer_that_swells_the_text_is_stopped(void **state) {
    (void)state;
    struct text json = {0}, swollen = {0};
    for (int i = 0; i < 1000; i++) text_add_char(&swollen, 'a');
    text_printf(&json, "{\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [");
    for (int i = 0; i < 8; i++)
        text_printf(&json, "%s{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}, \"content\": \"%s\"}",
                    i == 0 ? "" : ", ", swollen.data);
    text_add(&json, "]}, " MODEL "}");
    struct tokenizer *tokenizer = open_text(json.data);
    struct error error = {0};
    struct token_list ids = {0};
    assert_false(tokenizer_encode(tokenizer, "aaaa", 4, false, &ids, &error));
    assert_non_null(strstr(error.message, "normalizer"));
    token_list_free(&ids);
    tokenizer_close(tokenizer);
    text_free(&json);
    text_free(&swollen);
}

static void vocabularies_and_models_that_are_none_are_refused(void **state) {
    (void)state;
    refuse("vocab.txt", "", "empty");
    refuse("vocab.txt", "a\nb\n", "[UNK]");
    refuse("vocab.txt", "[UNK]\n\xff\n", "UTF-8");
    refuse("tokenizer.model", "", "SentencePiece");
    refuse("tokenizer.model", "hello", "SentencePiece");
    /* One piece "a", and no type of model: Unigram is the default. */
    refuse("tokenizer.model", "\x0a\x03\x0a\x01\x61", "Unigram");
    /* A length that leaves the file. */
    refuse("tokenizer.model", "\x0a\x7f\x0a\x01\x61", "SentencePiece");
}

static void damaged_sentencepiece_models_never_crash(void **state) {
    (void)state;
    struct text whole = {0};
    struct error error = {0};
    struct rng rng;
    if (!path_exists("../shared/tokenizers/llama2/tokenizer.model")) {
        printf("skipped: ../shared/tokenizers/llama2 is not here\n");
        skip();
    }
    rng_seed(&rng, 11);
    assert_true(file_read(&whole, "../shared/tokenizers/llama2/tokenizer.model", 0, &error));
    for (int round = 0; round < 60; round++) {
        /* The beginning, and what stands behind the pieces: the specifications. */
        const size_t kept = 200 + rng_below(&rng, 2000), tail = 800;
        struct text mutant = {0};
        struct tokenizer *tokenizer;
        text_append(&mutant, whole.data, round % 2 == 0 ? kept : 4096);
        text_append(&mutant, whole.data + whole.length - tail, tail);
        for (int i = 0; i < 4; i++) mutant.data[rng_below(&rng, mutant.length)] = (char)rng_below(&rng, 256);
        if (tokenizer_open(&tokenizer, folder_write("mutant.model", mutant.data, mutant.length), &error))
            tokenizer_close(tokenizer);
        text_free(&mutant);
    }
    text_free(&whole);
}

/* Opens, encodes, decodes and writes a conversation; false where memory ran short. */
static bool use(const char *path, const char *form) {
    struct error error = {0};
    struct tokenizer *tokenizer;
    struct chat *chat = NULL;
    struct token_list ids = {0};
    struct text text = {0};
    const struct chat_message message = {"user", " ab\xc3\xa9 heart failure", 19};
    if (!tokenizer_open(&tokenizer, path, &error)) return false;
    bool done = tokenizer_encode(tokenizer, message.content, message.length, true, &ids, &error) &&
                tokenizer_decode(tokenizer, ids.ids, ids.count, false, &text, &error);
    if (done && form != NULL) done = chat_open_named(&chat, tokenizer, form, &error);
    if (done && form != NULL) done = chat_encode(chat, &message, 1, true, &ids, &error);
    chat_close(chat);
    token_list_free(&ids);
    text_free(&text);
    tokenizer_close(tokenizer);
    return done;
}

static void memory_may_run_short_at_every_allocation(void **state) {
    (void)state;
    static const char json[] =
        "{\"added_tokens\": [{\"id\": 2, \"content\": \"</s>\", \"special\": true}, {\"id\": 1, "
        "\"content\": \"<s>\", \"special\": true}], " LEGACY DECODER METASPACE(
            "") "\"post_processor\": {\"type\": \"BertProcessing\", \"cls\": [\"<s>\", 1], \"sep\": "
                "[\"</s>\", 2]}, " MODEL "}";
    static const char model[] = "\x0a\x0e\x0a\x05<unk>\x15\x00\x00\x00\x00\x18\x02\x0a\x03\x0a\x01\x61\x0a\x03\x0a\x01"
                                "b\x0a\x05\x0a\x03" MARK "\x0a\x04\x0a\x02"
                                "ab\x12\x02\x18\x02";
    char paths[3][1024];
    snprintf(paths[0], sizeof paths[0], "%s", folder_write_text("memory.json", json));
    snprintf(paths[1], sizeof paths[1], "%s", folder_write_text("vocab.txt", VOCABULARY));
    snprintf(paths[2], sizeof paths[2], "%s", folder_write("memory.model", model, sizeof model - 1));
    for (int file = 0; file < 3; file++) {
        int64_t allocations = 0;
        bool done = false;
        for (; !done && allocations < 10000; allocations++) {
            memory_fail_after(allocations);
            done = use(paths[file], file == 0 ? "llama2" : NULL);
        }
        memory_fail_after(-1);
        assert_true(done);
        assert_true(allocations > 20);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sentencepiece_style_files_prepend_and_replace_the_blank),
        cmocka_unit_test(characters_without_a_piece_fall_back_on_bytes_or_become_unknown),
        cmocka_unit_test(merges_may_be_written_as_pairs),
        cmocka_unit_test(metaspace_prepends_always_first_or_never),
        cmocka_unit_test(added_tokens_take_white_space_and_respect_words_as_flagged),
        cmocka_unit_test(normalized_added_tokens_are_found_in_the_normalized_text),
        cmocka_unit_test(post_processors_wrap_the_text),
        cmocka_unit_test(decoders_restore_blanks_and_bytes),
        cmocka_unit_test(a_stream_holds_bytes_until_they_make_a_character),
        cmocka_unit_test(byte_level_ids_that_are_no_utf8_become_one_mark_each_longest_part),
        cmocka_unit_test(the_space_of_patterns_is_unicodes),
        cmocka_unit_test(wordpiece_takes_the_longest_pieces_of_cleaned_words),
        cmocka_unit_test(a_word_of_over_100_characters_is_unknown),
        cmocka_unit_test(vocabulary_files_may_have_crlf_duplicates_and_empty_lines),
        cmocka_unit_test(the_config_of_a_vocabulary_decides_on_case_and_special_tokens),
        cmocka_unit_test(what_is_not_computed_is_refused_by_name),
        cmocka_unit_test(contradictions_are_refused_by_the_member_that_is_wrong),
        cmocka_unit_test(a_normalizer_that_swells_the_text_is_stopped),
        cmocka_unit_test(vocabularies_and_models_that_are_none_are_refused),
        cmocka_unit_test(damaged_sentencepiece_models_never_crash),
        cmocka_unit_test(memory_may_run_short_at_every_allocation),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
