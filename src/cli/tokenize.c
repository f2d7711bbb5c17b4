/* casemix tokenize: text or conversations to token ids, and ids back to text. */
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "cli/commands.h"
#include "tokenizer/chat.h"
#include "tokenizer/tokenizer.h"
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define TEXT_LIMIT ((size_t)1 << 30)

static void print_help(void) {
    puts("usage: casemix tokenize --model DIR [OPTIONS] [FILE|-]\n\n"
         "Reads a text (standard input without FILE) and prints its token ids, or the other way round.\n\n"
         "  --model DIR   a directory with tokenizer.json, vocab.txt or tokenizer.model, or such a file\n"
         "  --jsonl       lines {\"text\": …} in, lines {\"ids\": […]} out (with --decode the reverse)\n"
         "  --special     add the tokens that the tokenizer's post-processor adds (BOS, …)\n"
         "  --plain       tokens written in the text, such as <|im_end|>, are characters like others\n"
         "  --decode      ids in, text out; without --special special tokens are left out\n"
         "  --count       print the number of ids instead of the ids\n"
         "  --chat        lines {\"messages\": [{\"role\": …, \"content\": …}, …]} in, through the model's\n"
         "                chat template; a member \"add_generation_prompt\" overrides --answer\n"
         "  --answer      with --chat: add what the assistant's answer begins with\n"
         "  --render      with --chat: lines {\"text\": …} instead of the ids\n"
         "  --template T  with --chat: chatml, qwen2.5, llama2, llama3 or llama3.1, whatever the model's\n"
         "                files say\n\n"
         "  echo 'Pt with CHF' | casemix tokenize --model models/tiny-classifier\n"
         "  casemix tokenize --model models/tiny-classifier --jsonl notes.jsonl > ids.jsonl");
}

struct tokenize {
    struct tokenizer *tokenizer;
    struct chat *chat;
    bool special, plain, decode, count, answer, render;
    struct token_list ids;
    struct chat_message *messages;
    size_t message_capacity;
    struct text out;
};

static bool print_text(struct text *text, struct error *error) {
    if (!text_ok(text, error)) return false;
    if (text->length > 0 && fwrite(text->data, 1, text->length, stdout) != text->length)
        return error_system(error, "standard output");
    text_clear(text);
    return true;
}

static void add_id(struct text *out, int32_t id) {
    char digits[16];
    size_t at = sizeof digits;
    do digits[--at] = (char)('0' + id % 10);
    while ((id /= 10) > 0);
    text_append(out, digits + at, sizeof digits - at);
}

static void add_ids(struct text *out, const struct token_list *ids, const char *separator) {
    for (size_t i = 0; i < ids->count; i++) {
        if (i > 0) text_add(out, separator);
        add_id(out, ids->ids[i]);
    }
}

static void add_ids_line(struct tokenize *t) {
    if (t->count) {
        text_printf(&t->out, "{\"count\": %zu}\n", t->ids.count);
        return;
    }
    text_add(&t->out, "{\"ids\": [");
    add_ids(&t->out, &t->ids, ", ");
    text_add(&t->out, "]}\n");
}

static bool encode(struct tokenize *t, const char *bytes, size_t length, struct error *error) {
    t->ids.count = 0;
    return t->plain ? tokenizer_encode_content(t->tokenizer, bytes, length, true, &t->ids, error)
                    : tokenizer_encode(t->tokenizer, bytes, length, t->special, &t->ids, error);
}

static bool encode_line(void *context, uint64_t line, const json_node *root, struct error *error) {
    struct tokenize *t = context;
    const char *text = NULL;
    (void)line;
    if (!json_get_string(root, "text", true, &text, error) || !encode(t, text, strlen(text), error)) return false;
    add_ids_line(t);
    return print_text(&t->out, error);
}

static bool read_messages(struct tokenize *t, const json_node *list, size_t *count, struct error *error) {
    if (!json_is_array(list)) return error_set(error, "member \"messages\" is not a list");
    *count = 0;
    for (const json_node *node = json_first(list); node != NULL; node = json_next(node)) {
        const char *role = NULL, *content = NULL;
        if (!json_get_string(node, "role", true, &role, error) ||
            !json_get_string(node, "content", true, &content, error))
            return error_context(error, "message %zu", *count + 1);
        if (!memory_grow(&t->messages, &t->message_capacity, *count + 1, sizeof *t->messages, error)) return false;
        t->messages[(*count)++] = (struct chat_message){role, content, strlen(content)};
    }
    return true;
}

static bool chat_line(void *context, uint64_t line, const json_node *root, struct error *error) {
    struct tokenize *t = context;
    size_t count = 0;
    bool answer = t->answer;
    (void)line;
    t->ids.count = 0;
    if (!read_messages(t, json_member(root, "messages"), &count, error) ||
        !json_get_bool(root, "add_generation_prompt", false, &answer, error))
        return false;
    if (t->render) {
        struct text text = {0};
        const bool done = chat_render(t->chat, t->messages, count, answer, &text, error);
        text_add(&t->out, "{\"text\": ");
        if (done) text_add_json(&t->out, text.data == NULL ? "" : text.data, text.length);
        text_add(&t->out, "}\n");
        text_free(&text);
        return done && print_text(&t->out, error);
    }
    if (!chat_encode(t->chat, t->messages, count, answer, &t->ids, error)) return false;
    add_ids_line(t);
    return print_text(&t->out, error);
}

static bool push_id(struct tokenize *t, int64_t id, struct error *error) {
    if (id < 0 || id > INT32_MAX) return error_set(error, "%lld is no token id", (long long)id);
    if (!memory_grow(&t->ids.ids, &t->ids.capacity, t->ids.count + 1, sizeof *t->ids.ids, error)) return false;
    t->ids.ids[t->ids.count++] = (int32_t)id;
    return true;
}

static bool decode_line(void *context, uint64_t line, const json_node *root, struct error *error) {
    struct tokenize *t = context;
    const json_node *list = json_member(root, "ids");
    struct text text = {0};
    (void)line;
    t->ids.count = 0;
    if (!json_is_array(list)) return error_set(error, "member \"ids\" is not a list");
    for (const json_node *id = json_first(list); id != NULL; id = json_next(id)) {
        int64_t value;
        if (!json_integer(id, &value)) return error_set(error, "\"ids\" holds something that is no id");
        if (!push_id(t, value, error)) return false;
    }
    const bool decoded = tokenizer_decode(t->tokenizer, t->ids.ids, t->ids.count, !t->special, &text, error);
    text_add(&t->out, "{\"text\": ");
    if (decoded) text_add_json(&t->out, text.data == NULL ? "" : text.data, text.length);
    text_add(&t->out, "}\n");
    text_free(&text);
    return decoded && print_text(&t->out, error);
}

static bool encode_whole(struct tokenize *t, const char *path, struct error *error) {
    struct text text = {0};
    bool done =
        file_read(&text, path, TEXT_LIMIT, error) && encode(t, text.data == NULL ? "" : text.data, text.length, error);
    text_free(&text);
    if (!done) return false;
    if (t->count)
        text_printf(&t->out, "%zu", t->ids.count);
    else
        add_ids(&t->out, &t->ids, " ");
    text_add_char(&t->out, '\n');
    return print_text(&t->out, error);
}

static bool decode_whole(struct tokenize *t, const char *path, struct error *error) {
    struct text text = {0};
    bool done = file_read(&text, path, TEXT_LIMIT, error);
    for (char *word = done && text.data != NULL ? strtok(text.data, " \t\r\n") : NULL; done && word != NULL;
         word = strtok(NULL, " \t\r\n")) {
        int64_t id;
        done = parse_int64(word, &id) ? push_id(t, id, error) : error_set(error, "\"%.40s\" is no token id", word);
    }
    done = done && tokenizer_decode(t->tokenizer, t->ids.ids, t->ids.count, !t->special, &t->out, error) &&
           print_text(&t->out, error);
    text_free(&text);
    return done;
}

struct arguments {
    const char *model, *template, *path;
    bool jsonl, chat;
};

static bool read_arguments(int argc, char **argv, struct tokenize *t, struct arguments *arguments, bool *help,
                           struct error *error) {
    enum { MODEL = 1, JSONL, SPECIAL, PLAIN, DECODE, COUNT, CHAT, ANSWER, RENDER, TEMPLATE, HELP };
    static const struct option names[] = {
        {"model", 1, 0, MODEL},   {"jsonl", 0, 0, JSONL},       {"special", 0, 0, SPECIAL}, {"plain", 0, 0, PLAIN},
        {"decode", 0, 0, DECODE}, {"count", 0, 0, COUNT},       {"chat", 0, 0, CHAT},       {"answer", 0, 0, ANSWER},
        {"render", 0, 0, RENDER}, {"template", 1, 0, TEMPLATE}, {"help", 0, 0, HELP},       {0, 0, 0, 0}};
    bool *const flags[] = {[JSONL] = &arguments->jsonl, [SPECIAL] = &t->special, [PLAIN] = &t->plain,
                           [DECODE] = &t->decode,       [COUNT] = &t->count,     [CHAT] = &arguments->chat,
                           [ANSWER] = &t->answer,       [RENDER] = &t->render,   [HELP] = help};
    optind = 0;
    opterr = 0;
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (option == MODEL) {
            arguments->model = optarg;
        } else if (option == TEMPLATE) {
            arguments->template = optarg;
        } else if (option >= JSONL && option <= HELP) {
            *flags[option] = true;
        } else {
            error_usage(error, "tokenize: unknown option or missing value: %s", argv[optind - 1]);
            return error_hint(error, "casemix tokenize --help");
        }
    }
    if (*help) return true;
    if (arguments->model == NULL) return error_usage(error, "tokenize needs --model DIR");
    if (optind + 1 < argc) return error_usage(error, "tokenize takes one file");
    if (!arguments->chat && (t->answer || t->render || arguments->template != NULL))
        return error_usage(error, "--answer, --render and --template go with --chat");
    if (t->decode && (arguments->chat || t->plain || t->count))
        return error_usage(error, "--decode does not go with --chat, --plain or --count");
    if (arguments->chat && (t->special || t->plain))
        return error_usage(error, "--chat does not go with --special or --plain: the template says what is a token");
    if (t->special && t->plain) return error_usage(error, "--special does not go with --plain");
    arguments->path = optind < argc ? argv[optind] : "-";
    return true;
}

static bool run(struct tokenize *t, const struct arguments *arguments, struct error *error) {
    if (arguments->chat) {
        const bool opened = arguments->template != NULL
                                ? chat_open_named(&t->chat, t->tokenizer, arguments->template, error)
                                : chat_open(&t->chat, t->tokenizer, arguments->model, error);
        return opened && json_lines(arguments->path, chat_line, t, error);
    }
    if (arguments->jsonl) return json_lines(arguments->path, t->decode ? decode_line : encode_line, t, error);
    return t->decode ? decode_whole(t, arguments->path, error) : encode_whole(t, arguments->path, error);
}

bool command_tokenize(int argc, char **argv, struct error *error) {
    struct tokenize t = {0};
    struct arguments arguments = {0};
    bool help = false;
    if (!read_arguments(argc, argv, &t, &arguments, &help, error)) return false;
    if (help) {
        print_help();
        return true;
    }
    const bool done = tokenizer_open(&t.tokenizer, arguments.model, error) && run(&t, &arguments, error);
    chat_close(t.chat);
    text_free(&t.out);
    token_list_free(&t.ids);
    memory_free(t.messages);
    tokenizer_close(t.tokenizer);
    return done;
}
