/* Reading files of examples: see example_lines.h. */
#include "train/example_lines.h"
#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "drg/completion.h"
#include <string.h>

/* A file while it is read. */
struct reading {
    struct example_file *file;
    struct examples_writer *writer;
    struct arena *arena;
};

static const char *copy_string(struct reading *reading, const char *string, struct error *error) {
    const char *copy = arena_string(reading->arena, string, strlen(string));
    if (copy == NULL) memory_error(error, strlen(string), "an example");
    return copy;
}

/* "messages", or "prompt" when that is a list: copied. */
static bool read_turns(struct reading *reading, const json_node *list, const char *name, struct example_text *text,
                       struct error *error) {
    const size_t count = json_count(list);
    if (reading->file->reader.encoder->chat == NULL) {
        error_set(error, "\"%s\" is a conversation, and the model has no chat template", name);
        return error_hint(error, "give prompts as strings, or a directory with a chat template by --tokenizer");
    }
    if (count == 0) return error_set(error, "\"%s\" is an empty list", name);
    struct chat_message *turns = arena_alloc(reading->arena, count, sizeof *turns);
    if (turns == NULL) return memory_error(error, count * sizeof *turns, "an example");
    text->turns = turns;
    text->turn_count = 0;
    for (const json_node *node = json_first(list); node != NULL; node = json_next(node)) {
        const char *role, *content;
        if (!json_is_object(node)) return error_set(error, "\"%s\" holds something that is no message", name);
        if (!json_get_string(node, "role", true, &role, error) ||
            !json_get_string(node, "content", true, &content, error))
            return error_context(error, "message %zu", text->turn_count + 1);
        role = copy_string(reading, role, error);
        content = copy_string(reading, content, error);
        if (role == NULL || content == NULL) return false;
        turns[text->turn_count++] = (struct chat_message){role, content, strlen(content)};
    }
    return true;
}

static bool read_prompt(struct reading *reading, const json_node *root, struct example_text *text,
                        struct error *error) {
    const json_node *prompt = json_member(root, "prompt");
    if (json_is_array(prompt)) return read_turns(reading, prompt, "prompt", text, error);
    const char *string;
    if (!json_get_string(root, "prompt", true, &string, error)) return false;
    if (string[0] == '\0') return error_set(error, "\"prompt\" is empty");
    text->prompt = copy_string(reading, string, error);
    return text->prompt != NULL;
}

/* A string, or a list of one message. */
static bool read_completion(struct reading *reading, const json_node *root, const char *name, const char **completion,
                            struct error *error) {
    const json_node *list = json_member(root, name);
    const char *string;
    if (json_is_array(list)) {
        const char *role = json_string(json_member(json_first(list), "role"));
        if (json_count(list) != 1 || role == NULL || strcmp(role, "assistant") != 0)
            return error_set(error, "\"%s\" is a list, but not of one message of the assistant", name);
        if (!json_get_string(json_first(list), "content", true, &string, error))
            return error_context(error, "%s", name);
    } else if (!json_get_string(root, name, true, &string, error)) {
        return false;
    }
    if (string[0] == '\0') return error_set(error, "\"%s\" is empty", name);
    *completion = copy_string(reading, string, error);
    return *completion != NULL;
}

/* An example for each turn of the assistant: what stands before it is the prompt. */
static bool add_conversation(struct reading *reading, const json_node *root, struct example_text *text,
                             struct error *error) {
    if (!read_turns(reading, json_member(root, "messages"), "messages", text, error)) return false;
    const size_t count = text->turn_count;
    size_t added = 0;
    for (size_t i = 1; i < count; i++) {
        if (strcmp(text->turns[i].role, "assistant") != 0) continue;
        if (text->turns[i].length == 0) return error_set(error, "message %zu, of the assistant, is empty", i + 1);
        text->completions[0] = text->turns[i].content;
        text->turn_count = i;
        if (!examples_writer_add(reading->writer, text, error)) return false;
        added++;
    }
    return added > 0 || error_set(error, "\"messages\" holds no answer of the assistant");
}

/* A question with values of the prompt, answered with a rationale. */
static bool add_answer(struct reading *reading, struct example_text *text, const struct prompt_values *values,
                       const struct rationale *rationale, const char *answer, struct error *error) {
    struct text completion = {0};
    struct prompt_values *kept = arena_alloc(reading->arena, 1, sizeof *kept);
    completion_write(&completion, rationale->text, strlen(rationale->text), answer);
    bool done = text_ok(&completion, error) && (kept != NULL || memory_error(error, sizeof *kept, "an example"));
    if (done) {
        *kept = *values;
        text->values = kept;
        text->completions[0] = copy_string(reading, completion.data, error);
        done = text->completions[0] != NULL && examples_writer_add(reading->writer, text, error);
    }
    text_free(&completion);
    return done;
}

static bool add_stay(struct reading *reading, const json_node *root, struct example_text *text, struct error *error) {
    const char *note, *note_id;
    int64_t drg;
    if (reading->file->rationales == NULL) {
        error_set(error, "a stay is answered with its rationale, and the recipe names no rationales");
        return error_hint(error, "write them with `casemix rationales`, and name the file as sft.rationales");
    }
    if (!json_get_string(root, "text", true, &note, error) ||
        !json_get_string(root, "note_id", true, &note_id, error) ||
        !json_get_int(root, "drg", true, 1, 999, &drg, error))
        return false;
    const struct rationale *rationale = rationales_find(reading->file->rationales, note_id);
    if (rationale == NULL) {
        reading->file->unexplained++;
        return true;
    }
    if (rationale->drg != drg)
        return error_set(error, "the stay has DRG %d, its rationale explains DRG %d", (int)drg, rationale->drg);
    if (note[0] == '\0') return error_set(error, "\"text\" is empty");
    note = copy_string(reading, note, error);
    if (note == NULL) return false;
    const struct prompt_values values = {.note = note, .note_length = strlen(note)};
    return add_answer(reading, text, &values, rationale, rationale->title, error);
}

/* Knowledge rows, numbered as lines of their own file. */
static bool add_knowledge(struct reading *reading, struct error *error) {
    const struct rationales *rationales = reading->file->rationales;
    size_t added = 0;
    for (size_t i = 0; i < rationales->count; i++) {
        const struct rationale *row = &rationales->items[i];
        if (row->group == NULL) continue;
        struct example_text text = {.encoder = reading->file->knowledge};
        const struct prompt_values values = {.group = row->group};
        if (!add_answer(reading, &text, &values, row, row->answer, error)) return false;
        added++;
    }
    if (added > 0) return true;
    error_set(error, "sft.knowledge is true, and the file of rationales holds no knowledge rows");
    return error_hint(error, "`casemix rationales` writes them");
}

static bool add_line(void *context, uint64_t line, const json_node *root, struct error *error) {
    struct reading *reading = context;
    struct example_text text = {.line = line};
    if (!json_is_object(root)) return error_set(error, "not a JSON object");
    switch (reading->file->kind) {
    case EXAMPLES_TEXT:
        return read_completion(reading, root, "text", &text.completions[0], error) &&
               examples_writer_add(reading->writer, &text, error);
    case EXAMPLES_PREFERENCE:
        return read_prompt(reading, root, &text, error) &&
               read_completion(reading, root, "chosen", &text.completions[0], error) &&
               read_completion(reading, root, "rejected", &text.completions[1], error) &&
               examples_writer_add(reading->writer, &text, error);
    case EXAMPLES_COMPLETION:
        break;
    }
    if (json_member(root, "messages") != NULL) return add_conversation(reading, root, &text, error);
    if (json_member(root, "text") != NULL) return add_stay(reading, root, &text, error);
    return read_prompt(reading, root, &text, error) &&
           read_completion(reading, root, "completion", &text.completions[0], error) &&
           examples_writer_add(reading->writer, &text, error);
}

bool example_file_load(struct examples *examples, struct example_file *file, const char *path, struct error *error) {
    struct reading reading = {.file = file};
    file->unexplained = 0;
    if (!examples_writer_open(&reading.writer, examples, file->kind == EXAMPLES_PREFERENCE ? 2 : 1, &file->reader, path,
                              error))
        return false;
    reading.arena = examples_writer_arena(reading.writer);
    const bool read =
        json_lines(path, add_line, &reading, error) && (file->knowledge == NULL || add_knowledge(&reading, error));
    if (!examples_writer_finish(reading.writer, read, error)) return false;
    if (file->unexplained > 0) log_warning("%s: %zu stays have no rationale and are left out", path, file->unexplained);
    return true;
}
