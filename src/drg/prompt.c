/* Prompt files read, kept and filled in: see prompt.h. */
#include "drg/prompt.h"
#include "base/error.h"
#include "base/file.h"
#include "drg/prompt_texts.h"
#include <string.h>

#define PROMPT_FILE_LIMIT ((size_t)64 << 10)
static const char run_file[] = "prompt.txt";

static bool part_is(const struct prompt_part *part, const char *string) {
    return part->length == strlen(string) && memcmp(part->text, string, part->length) == 0;
}

/* Empty lines at both ends cut off, and blanks behind the last word. */
static struct prompt_part strip_lines(const char *start, const char *end) {
    for (const char *line = start; line < end;) {
        while (line < end && (*line == ' ' || *line == '\t')) line++;
        if (line < end && *line != '\n') break;
        if (line < end) line++;
        start = line;
    }
    while (end > start && strchr(" \t\n", end[-1]) != NULL) end--;
    return (struct prompt_part){start, (size_t)(end - start)};
}

/* "[word]" alone on a line. */
static bool is_heading(const struct prompt_part *line) {
    if (line->length < 3 || line->text[0] != '[' || line->text[line->length - 1] != ']') return false;
    for (size_t i = 1; i < line->length - 1; i++) {
        if (line->text[i] < 'a' || line->text[i] > 'z') return false;
    }
    return true;
}

/* The word in braces at the start of the text; its length with the braces, 0 when there is none. */
static size_t brace_word(const char *text, const char *end, struct prompt_part *word) {
    if (text == end || *text != '{') return 0;
    const char *at = text + 1;
    while (at < end && *at >= 'a' && *at <= 'z') at++;
    if (at == text + 1 || at == end || *at != '}') return 0;
    *word = (struct prompt_part){text + 1, (size_t)(at - text - 1)};
    return word->length + 2;
}

enum value { VALUE_NOTE, VALUE_TITLE, VALUE_DRG, VALUE_GROUP, VALUE_UNKNOWN };

static enum value value_named(const struct prompt_part *word) {
    static const char *const names[] = {"note", "title", "drg", "group"};
    enum value value = VALUE_NOTE;
    while (value < VALUE_UNKNOWN && !part_is(word, names[value])) value++;
    return value;
}

static bool check_line(const struct prompt_part *line, struct error *error) {
    struct prompt_part word;
    for (size_t i = 0; i < line->length; i++) {
        if (brace_word(line->text + i, line->text + line->length, &word) == 0) continue;
        if (value_named(&word) != VALUE_UNKNOWN) continue;
        error_set(error, "nothing is known that {%.*s} could stand for", (int)(word.length < 50 ? word.length : 50),
                  word.text);
        return error_hint(error, "{note}, {title}, {drg} and {group} are filled in");
    }
    return true;
}

/* The part that a heading opens; NULL for an unknown one. */
static struct prompt_part *part_named(struct prompt *prompt, const struct prompt_part *heading) {
    if (part_is(heading, "[template]")) return &prompt->template;
    if (part_is(heading, "[system]")) return &prompt->system;
    if (part_is(heading, "[user]")) return &prompt->user;
    return NULL;
}

static bool read_line(struct prompt *prompt, struct prompt_part **part, const char *start, const char *end,
                      struct error *error) {
    const struct prompt_part line = strip_lines(start, end);
    if (!is_heading(&line)) {
        if (*part == NULL) return true;
        (*part)->length = (size_t)(end - (*part)->text);
        return check_line(&line, error);
    }
    *part = part_named(prompt, &line);
    if (*part == NULL) {
        error_set(error, "there is no section %.*s", (int)(line.length < 50 ? line.length : 50), line.text);
        return error_hint(error, "the sections of a prompt are [template], [system] and [user]");
    }
    if ((*part)->text != NULL)
        return error_set(error, "the section %.*s comes a second time", (int)line.length, line.text);
    (*part)->text = end;
    return true;
}

static bool finish(struct prompt *prompt, struct error *error) {
    struct prompt_part *const parts[] = {&prompt->template, &prompt->system, &prompt->user};
    for (size_t i = 0; i < 3; i++) {
        if (parts[i]->text != NULL) *parts[i] = strip_lines(parts[i]->text, parts[i]->text + parts[i]->length);
    }
    if (prompt->user.length == 0) return error_set(error, "a prompt needs words in its section [user]");
    if (prompt_part_has_note(&prompt->system) || prompt_part_has_note(&prompt->template))
        return error_set(error, "{note} may stand in the section [user] only");
    if (memchr(prompt->template.text == NULL ? "" : prompt->template.text, '\n', prompt->template.length) != NULL)
        return error_set(error, "the section [template] has more than one line");
    return true;
}

/* Takes the sections out of prompt->source. */
static bool parse(struct prompt *prompt, struct error *error) {
    struct text *source = &prompt->source;
    size_t kept = 0, bad;
    for (size_t i = 0; i < source->length; i++) { /* as on Windows: a line may end in CR LF */
        if (source->data[i] != '\r' || i + 1 == source->length || source->data[i + 1] != '\n')
            source->data[kept++] = source->data[i];
    }
    if (kept > 0) source->data[kept] = '\0';
    source->length = kept;
    if (kept == 0) return error_set(error, "the file is empty");
    if (memchr(source->data, '\0', kept) != NULL) return error_set(error, "the file holds a NUL byte");
    if (!utf8_valid(source->data, kept, &bad)) return error_set(error, "invalid UTF-8 at byte %zu", bad);
    struct prompt_part *part = NULL;
    const char *end = source->data + kept, *start = source->data;
    for (int line = 1; start < end; line++) {
        const char *feed = memchr(start, '\n', (size_t)(end - start)), *next = feed == NULL ? end : feed + 1;
        if (!read_line(prompt, &part, start, next, error)) return error_context(error, "line %d", line);
        start = next;
    }
    return finish(prompt, error);
}

static const struct prompt_file *find_built_in(const char *name) {
    const struct prompt_file *file;
    for (size_t i = 0; (file = prompt_file_at(i)) != NULL; i++) {
        if (strcmp(file->name, name) == 0) return file;
    }
    return NULL;
}

static bool no_such_prompt(const char *name, struct error *error) {
    struct text names = {0};
    const struct prompt_file *file;
    for (size_t i = 0; (file = prompt_file_at(i)) != NULL; i++) text_printf(&names, "%s, ", file->name);
    error_set(error, "there is no prompt \"%.100s\"", name);
    error_hint(error, "%sor a file by its path, such as ./mine.txt", names.data == NULL ? "" : names.data);
    text_free(&names);
    return false;
}

bool prompt_open(struct prompt *prompt, const char *name, struct error *error) {
    *prompt = (struct prompt){0};
    const struct prompt_file *built_in = find_built_in(name);
    if (built_in == NULL && strpbrk(name, "/.") == NULL) return no_such_prompt(name, error);
    if (built_in != NULL) text_append(&prompt->source, built_in->bytes, (size_t)(built_in->end - built_in->bytes));
    const bool done = (built_in != NULL || file_read(&prompt->source, name, PROMPT_FILE_LIMIT, error)) &&
                      text_ok(&prompt->source, error) && (parse(prompt, error) || error_context(error, "%.300s", name));
    if (!done) prompt_close(prompt);
    return done;
}

bool prompt_open_run(struct prompt *prompt, const char *directory, const char *otherwise, struct error *error) {
    char path[4200];
    *prompt = (struct prompt){0};
    if (!path_join(path, sizeof path, directory, run_file)) return error_set(error, "%.200s: path too long", directory);
    return prompt_open(prompt, path_exists(path) ? path : otherwise, error);
}

bool prompt_write_run(const struct prompt *prompt, const char *directory, struct error *error) {
    char path[4200];
    if (!path_join(path, sizeof path, directory, run_file)) return error_set(error, "%.200s: path too long", directory);
    return file_write(path, prompt->source.data, prompt->source.length, error);
}

void prompt_close(struct prompt *prompt) {
    text_free(&prompt->source);
    *prompt = (struct prompt){0};
}

bool prompt_part_has_note(const struct prompt_part *part) {
    return part->length > 0 && memmem(part->text, part->length, "{note}", strlen("{note}")) != NULL;
}

static bool add_value(enum value value, const struct prompt_values *values, struct text *out, struct error *error) {
    switch (value) {
    case VALUE_NOTE:
        if (values->note == NULL) return error_set(error, "the prompt wants a {note} where there is none");
        text_append(out, values->note, values->note_length);
        return true;
    case VALUE_TITLE:
        if (values->title == NULL) return error_set(error, "the prompt wants a {title} where none is known");
        text_add(out, values->title);
        return true;
    case VALUE_DRG:
        if (values->drg == 0) return error_set(error, "the prompt wants a {drg} where none is known");
        text_printf(out, "%d", values->drg);
        return true;
    case VALUE_GROUP:
        if (values->group == NULL) return error_set(error, "the prompt wants a {group} where there is none");
        text_add(out, values->group);
        return true;
    case VALUE_UNKNOWN:
        break;
    }
    return error_set(error, "the prompt holds an unknown word in braces");
}

bool prompt_fill(const struct prompt_part *part, const struct prompt_values *values, struct text *out,
                 struct error *error) {
    struct prompt_part word;
    for (size_t i = 0; i < part->length;) {
        const size_t size = brace_word(part->text + i, part->text + part->length, &word);
        if (size == 0) {
            text_add_char(out, part->text[i++]);
            continue;
        }
        if (!add_value(value_named(&word), values, out, error)) return false;
        i += size;
    }
    return text_ok(out, error);
}
