/* Chat templates: which form a template has, and writing conversations in that form. */
#include "tokenizer/chat.h"
#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/text.h"
#include "tokenizer/characters.h"
#include "tokenizer/tokenizer_config.h"
#include <stdio.h>
#include <string.h>

#define FILE_LIMIT ((size_t)16 << 20)

enum chat_form { CHATML, LLAMA2, LLAMA3 };

struct special {
    int32_t id; /* -1: not in use */
    char *content;
};

struct chat {
    const struct tokenizer *tokenizer;
    enum chat_form form;
    bool dated;                /* LLAMA3: a system turn with dates always comes first */
    char *system;              /* CHATML: what a conversation without system message begins with; NULL: nothing */
    struct special bos;        /* before the conversation; LLAMA2: before each turn of the user */
    struct special start, end; /* around a message; LLAMA2: no start */
    struct special header;     /* LLAMA3: behind the role */
};

static const char qwen_system[] = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";
static const char llama3_dates[] = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";

static bool find_special(struct chat *chat, struct special *special, const char *content, struct error *error) {
    special->id = tokenizer_token_id(chat->tokenizer, content);
    if (special->id < 0)
        return error_set(error, "the chat template needs the token \"%.100s\", which the tokenizer does not have",
                         content);
    special->content = memory_copy_string(content, strlen(content));
    return special->content != NULL || memory_error(error, strlen(content), "a chat template");
}

/* What the form needs; bos is NULL for a ChatML without it. */
static bool set_form(struct chat *chat, enum chat_form form, const char *bos, const char *eos, struct error *error) {
    static const char *const frames[][3] = {
        [CHATML] = {"<|im_start|>", NULL, "<|im_end|>"},
        [LLAMA2] = {NULL, NULL, NULL},
        [LLAMA3] = {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"},
    };
    const char *const *frame = frames[form];
    chat->form = form;
    return (bos == NULL || find_special(chat, &chat->bos, bos, error)) &&
           (frame[0] == NULL || find_special(chat, &chat->start, frame[0], error)) &&
           (frame[1] == NULL || find_special(chat, &chat->header, frame[1], error)) &&
           find_special(chat, &chat->end, frame[2] == NULL ? eos : frame[2], error);
}

static bool set_system(struct chat *chat, const char *bytes, size_t length, struct error *error) {
    chat->system = memory_copy_string(bytes, length);
    return chat->system != NULL || memory_error(error, length, "a chat template");
}

static struct chat *chat_new(const struct tokenizer *tokenizer, struct error *error) {
    struct chat *chat = memory_zero(1, sizeof *chat);
    if (chat == NULL) {
        memory_error(error, sizeof *chat, "a chat template");
        return NULL;
    }
    chat->tokenizer = tokenizer;
    chat->bos.id = chat->start.id = chat->end.id = chat->header.id = -1;
    return chat;
}

void chat_close(struct chat *chat) {
    if (chat == NULL) return;
    memory_free(chat->system);
    memory_free(chat->bos.content);
    memory_free(chat->start.content);
    memory_free(chat->end.content);
    memory_free(chat->header.content);
    memory_free(chat);
}

int32_t chat_end(const struct chat *chat) {
    return chat->end.id;
}

bool chat_open_named(struct chat **out, const struct tokenizer *tokenizer, const char *name, struct error *error) {
    static const struct {
        const char *name;
        enum chat_form form;
        const char *bos, *system;
        bool dated;
    } known[] = {
        {"chatml", CHATML, NULL, NULL, false},
        {"qwen2.5", CHATML, NULL, qwen_system, false},
        {"llama2", LLAMA2, "<s>", NULL, false},
        {"llama3", LLAMA3, "<|begin_of_text|>", NULL, false},
        {"llama3.1", LLAMA3, "<|begin_of_text|>", NULL, true},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(name, known[i].name) != 0) continue;
        struct chat *chat = chat_new(tokenizer, error);
        if (chat == NULL) return false;
        chat->dated = known[i].dated;
        const bool ready =
            set_form(chat, known[i].form, known[i].bos, "</s>", error) &&
            (known[i].system == NULL || set_system(chat, known[i].system, strlen(known[i].system), error));
        if (!ready) {
            chat_close(chat);
            return false;
        }
        *out = chat;
        return true;
    }
    error_set(error, "\"%.50s\" is no chat template", name);
    return error_hint(error, "chatml, qwen2.5, llama2, llama3 and llama3.1 are built in");
}

/* Marks of templates that look like a built-in one, or like none, and are neither. */
static bool refuse(const char *template, struct error *error) {
    static const char *const others[][2] = {
        {"<|im_sep|>", "Phi-4"},
        {"<|im_middle|>", "Kimi"},
        {"<|header_start|>", "Llama 4"},
        {"<start_of_turn>", "Gemma"},
        {"<\xef\xbd\x9cUser\xef\xbd\x9c>", "DeepSeek"},
        {"<|START_OF_TURN_TOKEN|>", "Command R"},
        {"<|start_of_role|>", "Granite"},
        {"<|channel|>", "Harmony"},
        {"<|user|>", "Phi-3 or Zephyr"},
        {"GPT4 Correct", "OpenChat"},
        {"[INST]", "Mistral"},
        {"### Instruction", "Alpaca"},
        {"USER:", "Vicuna"},
    };
    const char *name = "an unknown form";
    for (size_t i = sizeof others / sizeof others[0]; i-- > 0;) {
        if (strstr(template, others[i][0]) != NULL) name = others[i][1];
    }
    error_set(error, "the chat template is that of %s, which is not supported", name);
    return error_hint(error, "ChatML (Qwen2.5), Llama 2 and Llama 3 are built in");
}

static bool recognise(const char *template, enum chat_form *form, struct error *error) {
    const bool chatml = strstr(template, "<|im_start|>") != NULL && strstr(template, "<|im_end|>") != NULL,
               llama2 = strstr(template, "[INST]") != NULL && strstr(template, "<<SYS>>") != NULL,
               llama3 = strstr(template, "<|start_header_id|>") != NULL && strstr(template, "<|eot_id|>") != NULL,
               other = strstr(template, "<|im_sep|>") != NULL || strstr(template, "<|im_middle|>") != NULL;
    if (other || chatml + llama2 + llama3 != 1) return refuse(template, error);
    *form = chatml ? CHATML : llama2 ? LLAMA2 : LLAMA3;
    return true;
}

/* A ChatML template has the system text that it falls back on between its markers, in a string of its own:
 * '<|im_start|>system\nTEXT<|im_end|>\n'. Escapes of the string are undone. */
static bool find_default_system(struct chat *chat, const char *template, struct error *error) {
    static const char opening[] = "<|im_start|>system", closing[] = "<|im_end|>";
    for (const char *at = template; (at = strstr(at, opening)) != NULL;) {
        at += sizeof opening - 1;
        const size_t feed = *at == '\n' ? 1 : strncmp(at, "\\n", 2) == 0 ? 2 : 0;
        const char *end = strstr(at, closing);
        if (feed == 0 || end == NULL || end == at + feed) continue;
        struct text system = {0};
        bool plain = true;
        for (const char *c = at + feed; plain && c < end; c++) {
            const bool escape = *c == '\\' && c + 1 < end;
            plain = escape || strchr("'\"{}", *c) == NULL;
            if (escape) c++;
            text_add_char(&system, escape && *c == 'n' ? '\n' : *c);
        }
        const bool done = text_ok(&system, error) && (!plain || set_system(chat, system.data, system.length, error));
        text_free(&system);
        if (!done || plain) return done;
    }
    return true;
}

static bool read_template(struct chat *chat, const char *template, const struct json *config, struct error *error) {
    enum chat_form form = CHATML;
    const char *bos = NULL, *eos = NULL;
    if (!recognise(template, &form, error)) return false;
    if (!config_token(config, "bos_token",
                      form == LLAMA2   ? "<s>"
                      : form == LLAMA3 ? "<|begin_of_text|>"
                                       : NULL,
                      &bos, error) ||
        !config_token(config, "eos_token", "</s>", &eos, error))
        return false;
    if (form == CHATML && strstr(template, "bos_token") == NULL) bos = NULL;
    chat->dated = form == LLAMA3 && strstr(template, "Cutting Knowledge Date") != NULL;
    return set_form(chat, form, bos, eos, error) && (form != CHATML || find_default_system(chat, template, error));
}

/* "chat_template": a string, or a list of {"name", "template"}. */
static const char *config_template(const struct json *config) {
    const json_node *member = config == NULL ? NULL : json_member(json_root(config), "chat_template");
    if (!json_is_array(member)) return json_string(member);
    for (const json_node *entry = json_first(member); entry != NULL; entry = json_next(entry)) {
        const char *name = json_string(json_member(entry, "name"));
        if (name != NULL && strcmp(name, "default") == 0) return json_string(json_member(entry, "template"));
    }
    return NULL;
}

/* NAME in the directory of path. */
static bool beside(char *out, size_t capacity, const char *path, const char *name, struct error *error) {
    const char *slash = strrchr(path, '/');
    const int directory = slash == NULL ? 0 : (int)(slash - path) + 1;
    const bool fits = path_is_directory(path)
                          ? path_join(out, capacity, path, name)
                          : snprintf(out, capacity, "%.*s%s", directory, path, name) < (int)capacity;
    return fits || error_set(error, "%.200s: path too long", path);
}

/* What a directory says about its template: the two files that may hold it, and the text, NULL when there is none. */
struct template_files {
    char config_path[4200], template_path[4200];
    struct json *config;
    struct text file;
    const char *template;
};

static bool read_files(struct template_files *files, const char *path, struct error *error) {
    *files = (struct template_files){0};
    const bool done =
        beside(files->config_path, sizeof files->config_path, path, "tokenizer_config.json", error) &&
        beside(files->template_path, sizeof files->template_path, path, "chat_template.jinja", error) &&
        (!path_exists(files->config_path) || json_load(&files->config, files->config_path, FILE_LIMIT, error)) &&
        (!path_exists(files->template_path) || file_read(&files->file, files->template_path, FILE_LIMIT, error));
    if (done) files->template = files->file.length > 0 ? files->file.data : config_template(files->config);
    return done;
}

static void free_files(struct template_files *files) {
    text_free(&files->file);
    json_free(files->config);
}

bool chat_is_given(const char *path, bool *given, struct error *error) {
    struct template_files files;
    const bool done = read_files(&files, path, error);
    *given = done && files.template != NULL;
    free_files(&files);
    return done;
}

bool chat_open(struct chat **out, const struct tokenizer *tokenizer, const char *path, struct error *error) {
    struct template_files files;
    struct chat *chat = NULL;
    bool done = read_files(&files, path, error) && (chat = chat_new(tokenizer, error)) != NULL;
    if (done && files.template == NULL) {
        error_set(error, "%s: no chat_template", files.config_path);
        done = error_hint(error, "a model that was not tuned for conversations has none; name one with --template");
    } else if (done) {
        done = read_template(chat, files.template, files.config, error) ||
               error_context(error, "%s", files.file.length > 0 ? files.template_path : files.config_path);
    }
    free_files(&files);
    if (done)
        *out = chat;
    else
        chat_close(chat);
    return done;
}

/* Where a conversation goes: into ids or into a text. Text waits until a special token ends it. */
struct sink {
    const struct chat *chat;
    struct token_list *ids; /* NULL: into the text */
    struct text *text;
    struct text waiting;
    bool first; /* nothing has been written yet */
};

static void write_text(struct sink *sink, const char *bytes, size_t length) {
    text_append(sink->ids != NULL ? &sink->waiting : sink->text, bytes, length);
}

static void write_string(struct sink *sink, const char *string) {
    write_text(sink, string, strlen(string));
}

static bool flush(struct sink *sink, struct error *error) {
    if (sink->ids == NULL || sink->waiting.length == 0) return text_ok(&sink->waiting, error);
    const bool done =
        text_ok(&sink->waiting, error) && tokenizer_encode_content(sink->chat->tokenizer, sink->waiting.data,
                                                                   sink->waiting.length, sink->first, sink->ids, error);
    text_clear(&sink->waiting);
    sink->first = false;
    return done;
}

static bool write_special(struct sink *sink, const struct special *special, struct error *error) {
    if (special->id < 0) return true;
    if (sink->ids == NULL) {
        text_add(sink->text, special->content);
        return true;
    }
    if (!flush(sink, error)) return false;
    sink->first = false;
    if (!memory_grow(&sink->ids->ids, &sink->ids->capacity, sink->ids->count + 1, sizeof *sink->ids->ids, error))
        return false;
    sink->ids->ids[sink->ids->count++] = special->id;
    return true;
}

/* As Python's str.strip, which the templates call. */
static bool is_blank(int32_t code) {
    return character_is_space(code) || (code >= 0x1c && code <= 0x1f);
}

static void write_stripped(struct sink *sink, const char *bytes, size_t length) {
    size_t start = 0, step;
    while (start < length && is_blank(character_read(bytes + start, length - start, &step))) start += step;
    while (length > start) {
        size_t last = length - 1;
        while (last > start && ((unsigned char)bytes[last] & 0xc0) == 0x80) last--;
        if (!is_blank(character_read(bytes + last, length - last, &step))) break;
        length = last;
    }
    write_text(sink, bytes + start, length - start);
}

static bool is_role(const struct chat_message *message, const char *role) {
    return strcmp(message->role, role) == 0;
}

static bool write_chatml_turn(struct sink *sink, const char *role, const char *content, size_t length,
                              struct error *error) {
    if (!write_special(sink, &sink->chat->start, error)) return false;
    write_string(sink, role);
    write_string(sink, "\n");
    write_text(sink, content, length);
    if (!write_special(sink, &sink->chat->end, error)) return false;
    write_string(sink, "\n");
    return true;
}

static bool write_chatml(struct sink *sink, const struct chat_message *messages, size_t count, bool answer,
                         struct error *error) {
    const char *system = sink->chat->system;
    if (!write_special(sink, &sink->chat->bos, error)) return false;
    if (system != NULL && !is_role(&messages[0], "system") &&
        !write_chatml_turn(sink, "system", system, strlen(system), error))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!write_chatml_turn(sink, messages[i].role, messages[i].content, messages[i].length, error)) return false;
    }
    if (!answer) return true;
    if (!write_special(sink, &sink->chat->start, error)) return false;
    write_string(sink, "assistant\n");
    return true;
}

static bool write_llama3_role(struct sink *sink, const char *role, struct error *error) {
    if (!write_special(sink, &sink->chat->start, error)) return false;
    write_string(sink, role);
    if (!write_special(sink, &sink->chat->header, error)) return false;
    write_string(sink, "\n\n");
    return true;
}

static bool write_llama3(struct sink *sink, const struct chat_message *messages, size_t count, bool answer,
                         struct error *error) {
    size_t from = 0;
    if (!write_special(sink, &sink->chat->bos, error)) return false;
    if (sink->chat->dated) {
        if (!write_llama3_role(sink, "system", error)) return false;
        write_string(sink, llama3_dates);
        if (is_role(&messages[0], "system")) {
            write_stripped(sink, messages[0].content, messages[0].length);
            from = 1;
        }
        if (!write_special(sink, &sink->chat->end, error)) return false;
    }
    for (size_t i = from; i < count; i++) {
        if (!write_llama3_role(sink, messages[i].role, error)) return false;
        write_stripped(sink, messages[i].content, messages[i].length);
        if (!write_special(sink, &sink->chat->end, error)) return false;
    }
    return !answer || write_llama3_role(sink, "assistant", error);
}

/* The system message stands inside the first message of the user; that as a whole is stripped. */
static bool write_llama2_user(struct sink *sink, const struct chat_message *system, const struct chat_message *message,
                              struct error *error) {
    struct text content = {0};
    if (system != NULL) {
        text_add(&content, "<<SYS>>\n");
        text_append(&content, system->content, system->length);
        text_add(&content, "\n<</SYS>>\n\n");
    }
    text_append(&content, message->content, message->length);
    bool done = text_ok(&content, error) && write_special(sink, &sink->chat->bos, error);
    if (done) {
        write_string(sink, "[INST] ");
        write_stripped(sink, content.data, content.length);
        write_string(sink, " [/INST]");
    }
    text_free(&content);
    return done;
}

static bool write_llama2(struct sink *sink, const struct chat_message *messages, size_t count, struct error *error) {
    const struct chat_message *system = is_role(&messages[0], "system") ? &messages[0] : NULL;
    const size_t from = system != NULL;
    for (size_t i = from; i < count; i++) {
        const bool user = (i - from) % 2 == 0;
        if (!is_role(&messages[i], user ? "user" : "assistant"))
            return error_set(error, "message %zu has the role \"%.50s\"; Llama 2 wants user and assistant in turn",
                             i + 1, messages[i].role);
        if (user) {
            if (!write_llama2_user(sink, i == from ? system : NULL, &messages[i], error)) return false;
            continue;
        }
        write_string(sink, " ");
        write_stripped(sink, messages[i].content, messages[i].length);
        write_string(sink, " ");
        if (!write_special(sink, &sink->chat->end, error)) return false;
    }
    return true;
}

static bool check_messages(const struct chat_message *messages, size_t count, struct error *error) {
    if (count == 0) return error_set(error, "a conversation without messages");
    for (size_t i = 0; i < count; i++) {
        size_t bad;
        if (!is_role(&messages[i], "system") && !is_role(&messages[i], "user") && !is_role(&messages[i], "assistant"))
            return error_set(error, "message %zu has the role \"%.50s\"; expected system, user or assistant", i + 1,
                             messages[i].role);
        if (!utf8_valid(messages[i].content, messages[i].length, &bad))
            return error_set(error, "message %zu: invalid UTF-8 at byte %zu", i + 1, bad);
    }
    return true;
}

static bool write_conversation(struct sink *sink, const struct chat_message *messages, size_t count, bool answer,
                               struct error *error) {
    if (!check_messages(messages, count, error)) return false;
    bool done = false;
    switch (sink->chat->form) {
    case CHATML:
        done = write_chatml(sink, messages, count, answer, error);
        break;
    case LLAMA2:
        done = write_llama2(sink, messages, count, error);
        break;
    case LLAMA3:
        done = write_llama3(sink, messages, count, answer, error);
        break;
    }
    done = done && flush(sink, error);
    text_free(&sink->waiting);
    return done;
}

bool chat_encode(const struct chat *chat, const struct chat_message *messages, size_t count, bool answer,
                 struct token_list *out, struct error *error) {
    struct sink sink = {.chat = chat, .ids = out, .first = true};
    return write_conversation(&sink, messages, count, answer, error);
}

bool chat_render(const struct chat *chat, const struct chat_message *messages, size_t count, bool answer,
                 struct text *out, struct error *error) {
    struct sink sink = {.chat = chat, .text = out, .first = true};
    return write_conversation(&sink, messages, count, answer, error) && text_ok(out, error);
}
