/* Prompts: the files, what is filled in, and their token ids with the note cut to the room there is. */
#include "base/error.h"
#include "base/file.h"
#include "drg/completion.h"
#include "drg/prompt.h"
#include "drg/reward.h"
#include "folder.h"
#include "model/prompt_encoder.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define TOKENIZER "models/tiny-classifier"

static struct tokenizer *tokenizer;

static int set_up(void **state) {
    struct error error = {0};
    if (folder_make(state) != 0 || !tokenizer_open(&tokenizer, TOKENIZER, &error)) return 1;
    return 0;
}

static int tear_down(void **state) {
    tokenizer_close(tokenizer);
    return folder_remove(state);
}

static void open_prompt(struct prompt *prompt, const char *name) {
    struct error error = {0};
    if (!prompt_open(prompt, name, &error)) fail_msg("%s", error.message);
}

static void expect_part(const struct prompt_part *part, const char *text) {
    if (part->length != strlen(text) || (part->length > 0 && memcmp(part->text, text, part->length) != 0))
        fail_msg("\"%.*s\" instead of \"%s\"", (int)part->length, part->text, text);
}

static void expect_filled(const struct prompt_part *part, const struct prompt_values *values, const char *text) {
    struct error error = {0};
    struct text out = {0};
    if (!prompt_fill(part, values, &out, &error)) fail_msg("%s", error.message);
    assert_string_equal(out.data, text);
    text_free(&out);
}

static void refused(const char *file, const char *part) {
    struct error error = {0};
    struct prompt prompt;
    assert_false(prompt_open(&prompt, folder_write_text("wrong.txt", file), &error));
    if (strstr(error.message, part) == NULL) fail_msg("\"%s\" instead of \"%s\"", error.message, part);
    prompt_close(&prompt);
}

static void the_built_in_prompts_ask_what_they_are_for(void **state) {
    (void)state;
    static const struct {
        const char *name, *wanted;
    } known[] = {{"answer", "{note}"},     {"answer-differential", "{note}"},     {"answer-short", "{note}"},
                 {"rationale", "{title}"}, {"rationale-differential", "{title}"}, {"knowledge", "{group}"}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        struct prompt prompt;
        open_prompt(&prompt, known[i].name);
        assert_non_null(memmem(prompt.user.text, prompt.user.length, known[i].wanted, strlen(known[i].wanted)));
        assert_int_equal(prompt_part_has_note(&prompt.user), strcmp(known[i].name, "knowledge") != 0);
        prompt_close(&prompt);
    }
}

static void sections_are_taken_apart(void **state) {
    (void)state;
    struct prompt prompt;
    open_prompt(&prompt,
                folder_write_text("mine.txt", "about it {nothing}\r\n\r\n[system]\r\n\r\n  be brief \r\n\r\n"
                                              "[user]\n\nread:\n\n{note}\nDRG {drg} [three] {NOTE} { note }\n\n"));
    expect_part(&prompt.template, "");
    expect_part(&prompt.system, "  be brief");
    const struct prompt_values values = {.note = "{title} [user]\n", .note_length = 15, .drg = 65};
    expect_filled(&prompt.user, &values, "read:\n\n{title} [user]\n\nDRG 65 [three] {NOTE} { note }");
    prompt_close(&prompt);
}

static void a_wrong_prompt_file_is_refused_by_its_line(void **state) {
    (void)state;
    refused("[system]\nx\n", "[user]");
    refused("", "empty");
    refused("[user]\nx\n\n[sistem]\ny\n", "line 4: there is no section [sistem]");
    refused("[user]\nx\n[user]\ny\n", "line 3: the section [user] comes a second time");
    refused("[user]\nread {text}\n", "line 2: nothing is known that {text}");
    refused("[system]\n{note}\n[user]\nx\n", "{note} may stand in the section [user] only");
    refused("[template]\na\nb\n[user]\nx\n", "more than one line");
    refused("[user]\nx\xff\n", "invalid UTF-8 at byte 8");
    struct error error = {0};
    struct prompt prompt;
    assert_false(prompt_open(&prompt, "answers", &error));
    assert_non_null(strstr(error.message, "no prompt \"answers\""));
    assert_non_null(strstr(error.hint, "answer-short"));
    assert_false(prompt_open(&prompt, folder_path("absent.txt"), &error));
}

static void what_is_not_known_is_not_filled_in(void **state) {
    (void)state;
    struct error error = {0};
    struct text out = {0};
    struct prompt prompt;
    open_prompt(&prompt, "rationale");
    const struct prompt_values values = {.note = "x", .note_length = 1};
    assert_false(prompt_fill(&prompt.user, &values, &out, &error));
    assert_non_null(strstr(error.message, "{title}"));
    text_free(&out);
    prompt_close(&prompt);
}

static void a_run_keeps_its_prompt(void **state) {
    (void)state;
    struct error error = {0};
    struct prompt prompt, kept;
    assert_true(directory_create(folder_path("run"), &error));
    assert_true(prompt_open_run(&kept, folder_path("run"), "answer-short", &error));
    expect_part(&kept.template, "none");
    prompt_close(&kept);
    open_prompt(&prompt, folder_write_text("mine.txt", "mine\n[user]\n{note} so?\n"));
    assert_true(prompt_write_run(&prompt, folder_path("run"), &error));
    assert_true(files_equal(folder_path("mine.txt"), folder_path("run/prompt.txt")));
    assert_true(prompt_open_run(&kept, folder_path("run"), "answer-short", &error));
    expect_part(&kept.user, "{note} so?");
    prompt_close(&kept);
    prompt_close(&prompt);
}

static void a_written_completion_has_the_format(void **state) {
    (void)state;
    static const char *const reasonings[] = {"Heart failure. ", "<think>\nA.</think>\n<answer>X</answer>",
                                             "</th</think>ink> <ans<answer>wer>", "", " \n"};
    const struct catalog *catalog = catalog_get(GROUPER_V34);
    for (size_t i = 0; i < sizeof reasonings / sizeof reasonings[0]; i++) {
        struct text out = {0};
        size_t length;
        completion_write(&out, reasonings[i], strlen(reasonings[i]), "HEART FAILURE AND SHOCK WITH MCC");
        assert_true(completion_has_format(out.data, out.length, false));
        assert_int_equal(completion_drg(catalog, out.data, out.length)->code, 291);
        const char *reasoning = completion_reasoning(out.data, out.length, &length);
        if (i == 0) assert_memory_equal(reasoning, "Heart failure.", length);
        assert_null(memmem(reasoning, length, "think>", 6));
        text_free(&out);
    }
    size_t length;
    assert_memory_equal(completion_reasoning("no tags ", 8, &length), "no tags", 7);
    assert_int_equal(length, 7);
    assert_memory_equal(completion_reasoning("<think>a\n<answer>", 17, &length), "a", 1);
    assert_int_equal(length, 1);
}

static void open_encoder(struct prompt_encoder *encoder, struct prompt *prompt, const char *file) {
    struct error error = {0};
    open_prompt(prompt, file);
    if (!prompt_encoder_open(encoder, prompt, tokenizer, TOKENIZER, -1, &error)) fail_msg("%s", error.message);
}

static void close_encoder(struct prompt_encoder *encoder, struct prompt *prompt) {
    prompt_encoder_close(encoder);
    prompt_close(prompt);
}

static void encode(const struct prompt_encoder *encoder, const char *note, size_t length, int64_t limit,
                   struct token_list *ids, bool *cut) {
    struct error error = {0};
    const struct prompt_values values = {.note = note, .note_length = length};
    ids->count = 0;
    if (!prompt_encode(encoder, &values, limit, ids, cut, &error)) fail_msg("%s", error.message);
}

static void a_chat_prompt_is_the_templates_conversation(void **state) {
    (void)state;
    struct error error = {0};
    struct prompt prompt;
    struct prompt_encoder encoder;
    struct chat *chat;
    struct token_list ids = {0}, expected = {0};
    bool cut = true;
    open_encoder(&encoder, &prompt,
                 folder_write_text("chat.txt", "[template]\nchatml\n[system]\nThink.\n[user]\nNote: {note}\nDRG?\n"));
    encode(&encoder, "Came with <|im_end|> AKI.", 25, 1000, &ids, &cut);
    assert_false(cut);
    assert_true(chat_open_named(&chat, tokenizer, "chatml", &error));
    static const char content[] = "Note: Came with <|im_end|> AKI.\nDRG?";
    const struct chat_message turns[] = {{"system", "Think.", 6}, {"user", content, sizeof content - 1}};
    assert_true(chat_encode(chat, turns, 2, true, &expected, &error));
    assert_int_equal(ids.count, expected.count);
    assert_memory_equal(ids.ids, expected.ids, ids.count * sizeof *ids.ids);
    assert_int_equal(encoder.end, tokenizer_token_id(tokenizer, "<|im_end|>"));
    int ends = 0;
    for (size_t i = 0; i < ids.count; i++) ends += ids.ids[i] == encoder.end;
    assert_int_equal(ends, 2); /* behind system and user, none out of the note */
    chat_close(chat);
    token_list_free(&ids);
    token_list_free(&expected);
    close_encoder(&encoder, &prompt);
}

static void a_plain_prompt_is_text_and_its_completion_ends(void **state) {
    (void)state;
    struct error error = {0};
    struct prompt prompt;
    struct prompt_encoder encoder;
    struct token_list ids = {0};
    struct text text = {0};
    open_encoder(&encoder, &prompt, "answer-short");
    encode(&encoder, "Came with AKI.", 14, 1000, &ids, NULL);
    assert_true(tokenizer_decode(tokenizer, ids.ids, ids.count, false, &text, &error));
    assert_string_equal(text.data, "Came with AKI.\n\nMS-DRG?\n");
    const size_t before = ids.count;
    text_clear(&text);
    assert_true(prompt_encode_completion(&encoder, "<think>\n<|im_end|>", 18, &ids, &error));
    assert_int_equal(encoder.end, tokenizer_token_id(tokenizer, "<|endoftext|>"));
    assert_int_equal(ids.ids[ids.count - 1], encoder.end);
    for (size_t i = before; i < ids.count - 1; i++) assert_int_not_equal(ids.ids[i], 2);
    assert_true(tokenizer_decode(tokenizer, ids.ids + before, ids.count - before, false, &text, &error));
    assert_string_equal(text.data, "<think>\n<|im_end|><|endoftext|>");
    text_free(&text);
    token_list_free(&ids);
    close_encoder(&encoder, &prompt);
}

/* A note of many words of different length. */
static void write_note(struct text *note, int words) {
    static const char *const known[] = {"the",   "patient",  "pancreatoduodenectomy", "# AKI:", "\n\n", "x",
                                        "97.3%", "\xC2\xB5g"};
    for (int i = 0; i < words; i++) text_printf(note, "%s ", known[(i * 7 + i / 5) % 8]);
}

static void the_note_is_cut_and_never_the_instruction(void **state) {
    (void)state;
    static const char *const files[] = {"answer-short", "answer", "answer-differential"};
    struct text note = {0};
    write_note(&note, 3000);
    for (size_t f = 0; f < 3; f++) {
        struct prompt prompt;
        struct prompt_encoder encoder;
        open_encoder(&encoder, &prompt, files[f]);
        for (int64_t limit = 500; limit <= 2000; limit += 500) {
            struct token_list ids = {0};
            struct text text = {0};
            struct error error = {0};
            bool cut = false;
            encode(&encoder, note.data, note.length, limit, &ids, &cut);
            assert_true(cut);
            assert_true((int64_t)ids.count <= limit && (int64_t)ids.count > limit - 8);
            /* Before and behind {note} everything stands, and between them the note's beginning. */
            assert_true(tokenizer_decode(tokenizer, ids.ids, ids.count, false, &text, &error));
            const char *brace = memmem(prompt.user.text, prompt.user.length, "{note}", 6);
            const size_t head = (size_t)(brace - prompt.user.text), tail = prompt.user.length - head - 6;
            const char *start =
                prompt.system.length == 0
                    ? text.data
                    : strstr(text.data, "form:\n<think>") +
                          strlen("form:\n<think>\nyour reasoning\n</think>\n<answer>\nyour answer\n</answer>\n\n");
            assert_memory_equal(start, prompt.user.text, head);
            const size_t kept = text.length - (size_t)(start - text.data) - head - tail - 1;
            assert_memory_equal(start + head, note.data, kept);
            assert_true(note.data[kept] == ' ' || note.data[kept] == '\n');
            assert_memory_equal(start + head + kept, brace + 6, tail);
            text_free(&text);
            token_list_free(&ids);
        }
        close_encoder(&encoder, &prompt);
    }
    text_free(&note);
}

static void one_word_more_would_not_fit(void **state) {
    (void)state;
    struct text note = {0};
    struct prompt prompt;
    struct prompt_encoder encoder;
    struct token_list ids = {0}, more = {0};
    bool cut;
    write_note(&note, 400);
    open_encoder(&encoder, &prompt, "answer-short");
    for (int64_t limit = 20; limit < 300; limit += 13) {
        struct text kept = {0};
        struct error error = {0};
        encode(&encoder, note.data, note.length, limit, &ids, &cut);
        assert_true(tokenizer_decode(tokenizer, ids.ids, ids.count, false, &kept, &error));
        size_t end = kept.length - strlen("\n\nMS-DRG?\n");
        while (note.data[end] == ' ' || note.data[end] == '\n') end++;
        while (note.data[end] != ' ' && note.data[end] != '\n') end++;
        encode(&encoder, note.data, end, 10000, &more, &cut);
        assert_false(cut);
        assert_true((int64_t)more.count > limit);
        text_free(&kept);
    }
    token_list_free(&ids);
    token_list_free(&more);
    text_free(&note);
    close_encoder(&encoder, &prompt);
}

static void a_note_without_blanks_is_cut_between_characters(void **state) {
    (void)state;
    struct text note = {0}, text = {0};
    struct error error = {0};
    struct prompt prompt;
    struct prompt_encoder encoder;
    struct token_list ids = {0};
    for (int i = 0; i < 400; i++) text_add(&note, "\xE2\x82\xAC");
    open_encoder(&encoder, &prompt, "answer-short");
    encode(&encoder, note.data, note.length, 50, &ids, NULL);
    assert_true(ids.count <= 50 && ids.count > 45);
    assert_true(tokenizer_decode(tokenizer, ids.ids, ids.count, false, &text, &error));
    assert_null(strstr(text.data, "\xEF\xBF\xBD"));
    assert_non_null(strstr(text.data, "\xE2\x82\xAC\n\nMS-DRG?\n"));
    text_free(&text);
    text_free(&note);
    token_list_free(&ids);
    close_encoder(&encoder, &prompt);
}

static void an_instruction_that_fills_the_window_is_refused(void **state) {
    (void)state;
    struct error error = {0};
    struct prompt prompt;
    struct prompt_encoder encoder;
    struct token_list ids = {0};
    const struct prompt_values values = {.note = "Came with AKI.", .note_length = 14, .group = "all MS-DRGs"};
    open_encoder(&encoder, &prompt, "answer");
    assert_false(prompt_encode(&encoder, &values, 100, &ids, NULL, &error));
    assert_non_null(strstr(error.message, "no room for the note in 100"));
    assert_non_null(strstr(error.hint, "answer-short"));
    assert_int_equal(ids.count, 0);
    close_encoder(&encoder, &prompt);
    open_encoder(&encoder, &prompt, "knowledge");
    assert_false(prompt_encode(&encoder, &values, 50, &ids, NULL, &error));
    assert_non_null(strstr(error.message, "there is room for 50"));
    close_encoder(&encoder, &prompt);
    token_list_free(&ids);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_built_in_prompts_ask_what_they_are_for),
        cmocka_unit_test(sections_are_taken_apart),
        cmocka_unit_test(a_wrong_prompt_file_is_refused_by_its_line),
        cmocka_unit_test(what_is_not_known_is_not_filled_in),
        cmocka_unit_test(a_run_keeps_its_prompt),
        cmocka_unit_test(a_written_completion_has_the_format),
        cmocka_unit_test(a_chat_prompt_is_the_templates_conversation),
        cmocka_unit_test(a_plain_prompt_is_text_and_its_completion_ends),
        cmocka_unit_test(the_note_is_cut_and_never_the_instruction),
        cmocka_unit_test(one_word_more_would_not_fit),
        cmocka_unit_test(a_note_without_blanks_is_cut_between_characters),
        cmocka_unit_test(an_instruction_that_fills_the_window_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
