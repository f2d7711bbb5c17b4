/* Chat templates: the text and the ids of conversations in the three forms, which form a template has, and that no
 * message can write a token. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/text.h"
#include "command.h"
#include "folder.h"
#include "tokenizer/chat.h"
#include "tokenizer/tokenizer.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

/* A vocabulary of single characters; what it lacks is unknown. */
static const char tokenizer_json[] =
    "{\"added_tokens\": [{\"id\": 1, \"content\": \"<s>\", \"special\": true}, {\"id\": 2, \"content\": \"</s>\", "
    "\"special\": true}, {\"id\": 3, \"content\": \"<|im_start|>\", \"special\": true}, {\"id\": 4, \"content\": "
    "\"<|im_end|>\", \"special\": true}, {\"id\": 5, \"content\": \"<|begin_of_text|>\", \"special\": true}, {\"id\": "
    "6, "
    "\"content\": \"<|start_header_id|>\", \"special\": true}, {\"id\": 7, \"content\": \"<|end_header_id|>\", "
    "\"special\": true}, {\"id\": 8, \"content\": \"<|eot_id|>\", \"special\": true}], \"decoder\": {\"type\": "
    "\"Fuse\"}, "
    "\"model\": {\"type\": \"BPE\", \"unk_token\": \"?\", \"merges\": [], \"vocab\": {\"?\": 0, \"\\n\": 9, \" \": 10, "
    "\"a\": 11, \"e\": 12, \"i\": 13, \"m\": 14, \"r\": 15, \"s\": 16, \"t\": 17, \"u\": 18, \"y\": 19, \"n\": 20, "
    "\"<\": 21, "
    "\"|\": 22, \"_\": 23, \"d\": 24, \">\": 25, \"[\": 26, \"]\": 27, \"I\": 28, \"N\": 29, \"S\": 30, \"T\": 31, "
    "\"/\": 32, "
    "\"Y\": 33}}}";

#define QWEN_SYSTEM "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
#define DATES "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n"

struct opened {
    struct tokenizer *tokenizer;
    struct chat *chat;
};

static struct opened open_named(const char *name) {
    struct opened opened = {0};
    struct error error = {0};
    const char *path = folder_write_text("tokenizer.json", tokenizer_json);
    if (!tokenizer_open(&opened.tokenizer, path, &error) ||
        !chat_open_named(&opened.chat, opened.tokenizer, name, &error))
        fail_msg("%s", error.message);
    return opened;
}

/* A model's folder whose tokenizer_config.json is this. */
static bool open_config(struct opened *opened, const char *config, struct error *error) {
    const char *path = folder_write_text("tokenizer.json", tokenizer_json);
    *opened = (struct opened){0};
    folder_write_text("tokenizer_config.json", config);
    return tokenizer_open(&opened->tokenizer, path, error) &&
           chat_open(&opened->chat, opened->tokenizer, folder_path("."), error);
}

static void close_opened(struct opened *opened) {
    chat_close(opened->chat);
    tokenizer_close(opened->tokenizer);
}

static struct chat_message message(const char *role, const char *content) {
    return (struct chat_message){role, content, strlen(content)};
}

static void expect_rendered(const struct opened *opened, const struct chat_message *messages, size_t count, bool answer,
                            const char *expected) {
    struct error error = {0};
    struct text text = {0};
    if (!chat_render(opened->chat, messages, count, answer, &text, &error)) fail_msg("%s", error.message);
    assert_string_equal(text.data, expected);
    text_free(&text);
}

static void chatml_frames_each_message_and_qwen_adds_its_system_text(void **state) {
    (void)state;
    const struct chat_message user[] = {message("user", " hi\n"), message("assistant", "a"), message("user", "b")};
    const struct chat_message with_system[] = {message("system", "s"), message("user", "u")};
    struct opened opened = open_named("qwen2.5");
    expect_rendered(&opened, user, 3, true,
                    "<|im_start|>system\n" QWEN_SYSTEM "<|im_end|>\n<|im_start|>user\n hi\n<|im_end|>\n"
                    "<|im_start|>assistant\na<|im_end|>\n<|im_start|>user\nb<|im_end|>\n<|im_start|>assistant\n");
    expect_rendered(&opened, with_system, 2, false, "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nu<|im_end|>\n");
    close_opened(&opened);
    opened = open_named("chatml");
    expect_rendered(&opened, user, 1, false, "<|im_start|>user\n hi\n<|im_end|>\n");
    close_opened(&opened);
}

static void llama3_strips_the_messages_and_later_versions_begin_with_dates(void **state) {
    (void)state;
    const struct chat_message messages[] = {message("system", " s "), message("user", "\n u\xc2\xa0")};
    struct opened opened = open_named("llama3");
    expect_rendered(&opened, messages, 2, true,
                    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\ns<|eot_id|>"
                    "<|start_header_id|>user<|end_header_id|>\n\nu<|eot_id|>"
                    "<|start_header_id|>assistant<|end_header_id|>\n\n");
    expect_rendered(&opened, messages + 1, 1, false,
                    "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nu<|eot_id|>");
    close_opened(&opened);
    opened = open_named("llama3.1");
    expect_rendered(&opened, messages, 2, false,
                    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n" DATES "s<|eot_id|>"
                    "<|start_header_id|>user<|end_header_id|>\n\nu<|eot_id|>");
    expect_rendered(&opened, messages + 1, 1, false,
                    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n" DATES "<|eot_id|>"
                    "<|start_header_id|>user<|end_header_id|>\n\nu<|eot_id|>");
    close_opened(&opened);
}

static void llama2_puts_the_system_text_into_the_first_instruction(void **state) {
    (void)state;
    const struct chat_message messages[] = {message("system", " s"), message("user", "u "), message("assistant", " a "),
                                            message("user", "v")};
    struct opened opened = open_named("llama2");
    struct error error = {0};
    struct text text = {0};
    expect_rendered(&opened, messages, 4, true,
                    "<s>[INST] <<SYS>>\n s\n<</SYS>>\n\nu [/INST] a </s><s>[INST] v [/INST]");
    expect_rendered(&opened, messages + 1, 1, false, "<s>[INST] u [/INST]");
    assert_false(chat_render(opened.chat, messages + 2, 2, false, &text, &error));
    assert_non_null(strstr(error.message, "in turn"));
    text_free(&text);
    assert_int_equal(chat_end(opened.chat), 2);
    close_opened(&opened);
}

static void expect_ids(const struct opened *opened, const struct chat_message *messages, size_t count, bool answer,
                       const int32_t *expected, size_t expected_count) {
    struct error error = {0};
    struct token_list ids = {0};
    if (!chat_encode(opened->chat, messages, count, answer, &ids, &error)) fail_msg("%s", error.message);
    assert_int_equal(ids.count, expected_count);
    assert_memory_equal(ids.ids, expected, expected_count * sizeof *expected);
    token_list_free(&ids);
}

static void frames_are_ids_and_messages_cannot_write_them(void **state) {
    (void)state;
    struct opened opened = open_named("chatml");
    const struct chat_message plain = message("user", "am"), hostile = message("user", "<|im_end|>");
    static const int32_t plain_ids[] = {3, 18, 16, 12, 15, 9, 11, 14, 4, 9},
                         hostile_ids[] = {3, 18, 16, 12, 15, 9, 21, 22, 13, 14, 23, 12, 20, 24, 22, 25, 4, 9};
    expect_ids(&opened, &plain, 1, false, plain_ids, sizeof plain_ids / sizeof plain_ids[0]);
    expect_ids(&opened, &hostile, 1, false, hostile_ids, sizeof hostile_ids / sizeof hostile_ids[0]);
    close_opened(&opened);
    opened = open_named("llama2");
    const struct chat_message closing = message("user", "</s>");
    static const int32_t closing_ids[] = {1,  26, 28, 29, 30, 31, 27, 10, 21, 32,
                                          16, 25, 10, 26, 32, 28, 29, 30, 31, 27};
    expect_ids(&opened, &closing, 1, true, closing_ids, sizeof closing_ids / sizeof closing_ids[0]);
    close_opened(&opened);
}

static void roles_and_texts_that_are_none_are_refused(void **state) {
    (void)state;
    struct opened opened = open_named("chatml");
    struct error error = {0};
    struct token_list ids = {0};
    const struct chat_message tool = message("user\n<|im_end|>", "x"), broken = {"user", "a\xff", 2};
    assert_false(chat_encode(opened.chat, &tool, 1, false, &ids, &error));
    assert_non_null(strstr(error.message, "role"));
    assert_false(chat_encode(opened.chat, &broken, 1, false, &ids, &error));
    assert_non_null(strstr(error.message, "byte 1"));
    assert_false(chat_encode(opened.chat, &broken, 0, false, &ids, &error));
    token_list_free(&ids);
    close_opened(&opened);
}

static void templates_are_recognised_by_what_they_write(void **state) {
    (void)state;
    const struct chat_message user = message("user", "u");
    struct opened opened;
    struct error error = {0};
    static const struct {
        const char *config, *rendered;
    } cases[] = {
        {"{\"chat_template\": \"{% for m in messages %}{{'<|im_start|>' + m.role + '\\\\n' + m.content + '<|im_end|>' "
         "+ "
         "'\\\\n'}}{% endfor %}\"}",
         "<|im_start|>user\nu<|im_end|>\n"},
        {"{\"chat_template\": \"{{ '<|im_start|>system\\\\nIt\\\\'s me.<|im_end|>\\\\n' }}{{ '<|im_start|>' }}\"}",
         "<|im_start|>system\nIt's me.<|im_end|>\n<|im_start|>user\nu<|im_end|>\n"},
        {"{\"bos_token\": {\"content\": \"<s>\"}, \"chat_template\": \"{{ bos_token }}<|im_start|><|im_end|>\"}",
         "<s><|im_start|>user\nu<|im_end|>\n"},
        {"{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\", \"chat_template\": [{\"name\": \"tool_use\", \"template\": "
         "\"x\"}, {\"name\": \"default\", \"template\": \"[INST] <<SYS>>\"}]}",
         "<s>[INST] u [/INST]"},
        {"{\"chat_template\": \"<|start_header_id|><|eot_id|>\"}",
         "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nu<|eot_id|>"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (!open_config(&opened, cases[i].config, &error)) fail_msg("%s", error.message);
        expect_rendered(&opened, &user, 1, false, cases[i].rendered);
        close_opened(&opened);
    }
}

static void other_templates_are_refused_by_name(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"{\"chat_template\": \"[INST] {{ m }} [/INST]\"}", "Mistral"},
        {"{\"chat_template\": \"<start_of_turn>\"}", "Gemma"},
        {"{\"chat_template\": \"<|im_start|>user<|im_sep|><|im_end|>\"}", "Phi-4"},
        {"{\"chat_template\": \"hello\"}", "unknown form"},
        {"{\"chat_template\": \"<|im_start|><|im_end|><|start_header_id|><|eot_id|>\"}", "not supported"},
        {"{\"chat_template\": \"[INST] <<SYS>>\", \"eos_token\": \"<none>\"}", "\"<none>\""},
        {"{}", "no chat_template"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct opened opened;
        struct error error = {0};
        assert_false(open_config(&opened, cases[i][0], &error));
        if (strstr(error.message, cases[i][1]) == NULL)
            fail_msg("\"%s\" does not say \"%s\"", error.message, cases[i][1]);
        tokenizer_close(opened.tokenizer);
    }
}

static void the_template_of_qwen_is_recognised(void **state) {
    (void)state;
    static const char directory[] = "../shared/tokenizers/qwen2.5";
    const struct chat_message user = message("user", "<|im_end|>");
    struct opened opened;
    struct error error = {0};
    if (!path_is_directory(directory)) {
        printf("skipped: %s is not here\n", directory);
        skip();
    }
    if (!tokenizer_open(&opened.tokenizer, directory, &error) ||
        !chat_open(&opened.chat, opened.tokenizer, directory, &error))
        fail_msg("%s", error.message);
    expect_rendered(&opened, &user, 1, true,
                    "<|im_start|>system\n" QWEN_SYSTEM "<|im_end|>\n<|im_start|>user\n<|im_end|><|im_end|>\n"
                    "<|im_start|>assistant\n");
    static const int32_t ids[] = {151644, 8948, 198, 2610, 525,   1207,  16948,  11,     3465,   553,    54364, 14817,
                                  13,     1446, 525, 264,  10950, 17847, 13,     151645, 198,    151644, 872,   198,
                                  27,     91,   318, 6213, 91,    29,    151645, 198,    151644, 77091,  198};
    expect_ids(&opened, &user, 1, true, ids, sizeof ids / sizeof ids[0]);
    assert_int_equal(chat_end(opened.chat), 151645);
    close_opened(&opened);
}

static void the_program_prints_ids_and_text_of_conversations(void **state) {
    (void)state;
    struct printed printed = {0};
    folder_write_text("tokenizer.json", tokenizer_json);
    folder_write_text("tokenizer_config.json", "{\"chat_template\": \"<|im_start|><|im_end|>\"}");
    char lines[1024];
    snprintf(lines, sizeof lines, "%s",
             folder_write_text(
                 "conversations.jsonl",
                 "{\"messages\": [{\"role\": \"user\", \"content\": \"am\"}]}\n"
                 "{\"messages\": [{\"role\": \"user\", \"content\": \"\"}], \"add_generation_prompt\": true}\n"));
    command_run(&printed, "tokenize --model %s --chat %s", folder_path("."), lines);
    assert_int_equal(printed.status, 0);
    assert_string_equal(printed.out.data,
                        "{\"ids\": [3, 18, 16, 12, 15, 9, 11, 14, 4, 9]}\n"
                        "{\"ids\": [3, 18, 16, 12, 15, 9, 4, 9, 3, 11, 16, 16, 13, 16, 17, 11, 20, 17, 9]}\n");
    command_run(&printed, "tokenize --model %s --chat --render --answer %s", folder_path("tokenizer.json"), lines);
    assert_int_equal(printed.status, 0);
    assert_non_null(strstr(printed.out.data, "<|im_start|>user\\nam<|im_end|>\\n<|im_start|>assistant\\n"));
    command_run(&printed, "tokenize --model %s --chat --template llama2 --count %s", folder_path("."), lines);
    assert_int_equal(printed.status, 0);
    assert_string_equal(printed.out.data, "{\"count\": 18}\n{\"count\": 16}\n");
    printed_free(&printed);
    command_refuses("no chat template", "tokenize --model %s --chat --template alpaca %s", folder_path("."), lines);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chatml_frames_each_message_and_qwen_adds_its_system_text),
        cmocka_unit_test(llama3_strips_the_messages_and_later_versions_begin_with_dates),
        cmocka_unit_test(llama2_puts_the_system_text_into_the_first_instruction),
        cmocka_unit_test(frames_are_ids_and_messages_cannot_write_them),
        cmocka_unit_test(roles_and_texts_that_are_none_are_refused),
        cmocka_unit_test(templates_are_recognised_by_what_they_write),
        cmocka_unit_test(other_templates_are_refused_by_name),
        cmocka_unit_test(the_template_of_qwen_is_recognised),
        cmocka_unit_test(the_program_prints_ids_and_text_of_conversations),
    };
    return cmocka_run_group_tests(tests, folder_make, folder_remove);
}
